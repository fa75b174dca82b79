"""The same runs through `mlflow server`: metrics, checkpoints and figures go over HTTP."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from mlflow import MlflowClient
from small_results import make_cell, make_pair
from small_study import DIGESTS, NUMERICS, make_plan, open_tracker, weights, write_run

from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.common.errors import LmcError
from lmc_repro.common.progress import Lines
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.study import Judgement
from lmc_repro.pipeline.publish import publish_study
from lmc_repro.results.write import write_results
from lmc_repro.tracking.find import StoredRun
from lmc_repro.tracking.server import HOST, free_port, mlflow_server

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server and the folder in which it keeps artifacts."""
    root = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, root / "server.db")
    port = free_port(5999)
    with mlflow_server(f"sqlite:///{root}/server.db", root, port, root / "log"):
        yield f"http://{HOST}:{port}", root / "mlartifacts"


def comparable(run: StoredRun) -> dict[str, Any]:
    return {**vars(run), "metrics": {name: repr(value) for name, value in run.metrics.items()}}  # NaN equals nothing


def test_everything_over_http(
    server: tuple[str, Path],
    project: Project,
    plan: StudyPlan,
    cell: Cell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address, stored = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    folders = [write_run(tmp_path, config) for config in cell.runs[:2]]
    trains, pairs, cells = set(), set(), set()
    for _ in range(2):
        tracker = open_tracker(project, plan)
        trains |= {tracker.sync_train(cell, c, f) for c, f in zip(cell.runs, folders, strict=False)}
        pairs.add(tracker.log_pair(cell, "a" * 16, make_pair(cell.pairs[0]), lambda: {"path.png": b"a picture"}))
        cells.add(tracker.finish_cell(cell, make_cell(cell)))
    assert [len(ids) for ids in (trains, pairs, cells)] == [2, 1, 1]
    client = MlflowClient(address)
    assert client.get_run(pairs.copy().pop()).data.metrics["barrier/test"] == 35.0
    here = [tracker.run_ids()["experiment_id"]]
    assert len(client.search_logged_models(here)) == 2
    client.log_metric(trains.copy().pop(), "test/loss", float("nan"), step=9)
    parsed = client.search_runs(here, order_by=["attributes.start_time ASC"], max_results=100)
    read = tracker.reader.runs({}, here)
    assert list(map(comparable, read)) == [comparable(StoredRun.of(run)) for run in parsed]
    assert len(read) == 4 and any(run.models for run in read)
    found = tracker.runs(cell, [folder.fingerprint for folder in folders])
    run = found[folders[1].fingerprint]
    assert torch.equal(tracker.checkpoint(run, 2).tensors()["weight"], weights(cell.runs[1], 2)["weight"])
    assert "Downloading" not in capfd.readouterr().err  # MLflow's bar, one for each file
    other = open_tracker(project, make_plan("two"))
    other.sync_train(cell, cell.runs[1], folders[1])
    again = other.runs(cell, [folders[1].fingerprint])[folders[1].fingerprint]
    assert torch.equal(other.checkpoint(again, 4).tensors()["weight"], weights(cell.runs[1], 4)["weight"])
    assert not (project.root / "mlartifacts").exists()
    for path in stored.rglob("epoch-0004.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(LmcError, match=r"epoch-0004\.safetensors: damaged"):
        tracker.checkpoint(run, 4)
    archives = {path: path.read_bytes() for path in stored.rglob("run.zip")}
    for path in archives:
        path.write_bytes(b"no archive")
    with pytest.raises(LmcError, match=r"run\.zip: damaged"):
        open_tracker(project, plan).checkpoint(run, 2)
    for path, content in archives.items():  # as the last version left them, then as the one before did
        path.unlink()
        ZipFile(BytesIO(content)).extractall(path.parent)
        for folder in path.parent.glob("checkpoints"):  # a reused training has none
            files = sorted(folder.iterdir())
            with ZipFile(folder / "earlier.zip", "w") as earlier:
                for file in files:
                    earlier.write(file, file.name)
                    file.rename(file.with_suffix(".away"))
    for name in ("earlier.zip", "epoch-*.away"):
        if name != "earlier.zip":
            for path in stored.rglob(name):
                path.rename(path.with_suffix(".safetensors"))
                path.with_name("earlier.zip").unlink(missing_ok=True)
        reader = open_tracker(project, plan)
        assert reader.runs(cell, [run.fingerprint])[run.fingerprint].status == run.status
        assert torch.equal(reader.checkpoint(run, 2).tensors()["weight"], weights(cell.runs[1], 2)["weight"])
    for path in stored.rglob("epoch-0002.safetensors"):
        path.unlink()
    with pytest.raises(LmcError, match=r"epoch-0002\.safetensors: cannot be read"):
        reader.checkpoint(run, 2)


def test_requests_of_each_run(
    server: tuple[str, Path], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New trainings, pairs and cells are not looked up one by one; those that are there cost no request."""
    address, stored = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    plan = make_plan(evaluations=(0, 1, 4))  # of no other test: nothing to reuse
    cell = next(cell for cell in plan.cells if cell.key == "deep--fast")
    log, read = stored.parent / "log", 0

    def asked() -> list[str]:
        """Return the requests since the last call: method and the last word of the address, sorted."""
        nonlocal read
        lines = re.findall(r'"([A-Z]+) ([^? ]+)\S* HTTP', log.read_text()[read:])
        read = len(log.read_text())
        return sorted(f"{method} {re.sub('m-[0-9a-f]{32}', 'ID', path).split('/')[-1]}" for method, path in lines)

    folders = {config: write_run(tmp_path, config) for config in cell.runs[:2]}
    tracker = open_tracker(project, plan)
    tracker.begin([cell], {folder.fingerprint for folder in folders.values()})
    asked()
    files = ("run.zip", "epoch-0004.safetensors")
    run = ["POST create", "POST log-batch", "POST log-inputs", "POST update"]
    train = sorted([*run, *(f"PUT {name}" for name in files), "POST logged-models", "PATCH ID", "POST outputs"])
    elsewhere = ["POST search", "POST search"]  # experiments, and their runs that have such a training: once
    for config, folder in folders.items():
        tracker.sync_train(cell, config, folder)
        assert asked() == sorted(train + elsewhere)
        elsewhere = []
    tracker.log_pair(cell, "a" * 16, make_pair(cell.pairs[0]), lambda: {"path.png": b"a picture"})
    assert asked() == sorted([*run, "PUT path.json", "PUT path.png"])
    tracker.finish_cell(cell, make_cell(cell), lambda: {"cells.json": b"[]"})
    assert asked() == ["POST log-batch", "POST update", "PUT cells.json"]
    for expected in (["POST search"], []):  # for runs that another folder finished, too
        tracker.close()
        assert asked() == expected
    again = open_tracker(project, plan)
    asked()
    for config, folder in folders.items():
        again.sync_train(cell, config, folder)
    again.log_pair(cell, "a" * 16, make_pair(cell.pairs[0]), dict)
    again.finish_cell(cell, make_cell(cell), dict)
    again.close()
    assert asked() == []


def test_publishing_over_http(server: tuple[str, Path], project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    address, _ = server
    plan = dataclasses.replace(make_plan(evaluations=(0, 4)), study="three")  # other runs than those of the test above
    cell = next(cell for cell in plan.cells if cell.key == "deep--fast")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for config in cell.runs:
        write_run(project.runs / "one", config)
    result = judge_cell([make_pair(pair) for pair in cell.pairs], Judgement(threshold=2.0), 10)
    write_results(project.results / "one", plan, {cell.key: result}, [], DIGESTS, {}, NUMERICS, "cpu")
    (project.root / "mlflow.db").unlink()
    for expected in ((7, 0), (0, 7)):
        found = publish_study(project, plan, project.runs / "one", project.results / "one", Lines())
        assert (found.published, found.there) == expected
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("lmc/three/tiny")
    assert experiment is not None and "mlflow.sharedViewState.lmc-pairs" in experiment.tags
    (pair, _) = client.search_runs([experiment.experiment_id], "tags.`lmc.kind` = 'pair'")
    assert pair.data.metrics["barrier/test"] == 35.0
    assert {file.path for file in client.list_artifacts(pair.info.run_id)} == {"path.json", "path.svg"}
    assert not (project.root / "mlflow.db").exists() and not (project.root / "mlartifacts").exists()

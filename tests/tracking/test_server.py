"""The same runs through `mlflow server`: metrics, checkpoints and figures go over HTTP."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from small_results import make_cell, make_pair
from small_study import DIGESTS, NUMERICS, make_plan, open_tracker, weights, write_run

from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.cli.progress import Lines
from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.study import Judgement
from lmc_repro.pipeline.publish import publish_study
from lmc_repro.results.write import write_results
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
    assert len(client.search_logged_models([tracker.run_ids()["experiment_id"]])) == 2
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
    for path in stored.rglob("epoch-0002.safetensors"):
        path.unlink()
    with pytest.raises(LmcError, match=r"epoch-0002\.safetensors: cannot be read"):
        tracker.checkpoint(run, 2)


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

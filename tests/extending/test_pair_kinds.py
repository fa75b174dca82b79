"""Pairs of two (run, epoch), a kind from outside the package among them: from params.yaml to results and MLflow."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_study
from commands import lmc
from ruamel.yaml import YAML
from trained_store import write_prepared

from lmc_repro.common.project import Project
from lmc_repro.data.dataset import Dataset
from lmc_repro.results.read import read_study
from lmc_repro.results.schema import CellRecord, StudyResults
from lmc_repro.results.write import results_files
from lmc_repro.tracking.find import Reader
from lmc_repro.training.run_folder import RunFolder

CHAIN = Path(__file__).parents[2] / "examples" / "pairs" / "chain.py"
PAGE = (CHAIN.parents[2] / "docs" / "extending.md").read_text()
OUT = Path("out/tiny/one")
ROWS: dict[str, dict[str, Any]] = {
    "noise": {},
    "spawn-0": {"pair": "spawn", "spawn_at": 0},
    "spawn-4": {"pair": "spawn", "spawn_at": 4},
    "snapshots": {"pair": "snapshots", "snapshot_epochs": [0, 4]},
    "same": {"pair": "snapshots", "snapshot_epochs": [4, 4]},
    "half": {"pair": "snapshots", "snapshot_epochs": [0.5, 3]},
    "chain": {"pair": "chain.py:chain"},
}


def write_project(root: Path) -> None:
    params = copy.deepcopy(small_study.PARAMS)
    params["profiles"]["tiny"] |= {"pairs": 1, "points": 5}
    params["profiles"]["tiny"]["settings"] |= {"epochs": 4, "evaluate_at": [0, 0.5, 3, 4]}
    params["profiles"]["tiny"]["settings"]["model"]["width"] = 8
    one = params["studies"]["one"]
    del params["studies"]["two"], one["reported"]
    one["rows"] = {key: {"label": key, "model": {"depth": 2}, **row} for key, row in ROWS.items()}
    one["columns"] = {"c": {"label": "C", "optimizer": "fast"}}
    with open(root / "params.yaml", "w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    shutil.copy(CHAIN, root)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, digits: Dataset) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("pairs")
    shutil.copy(empty_store, root)
    write_prepared(Project(root), digits)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        write_project(root)
        code, out, err = lmc("run", "one", "--jobs", "1")
        assert code == 0, out + err
        assert "trained 3, reused 0" in out  # two of the noise pair, one spawned from the first
        yield root


def study(root: Path) -> StudyResults:
    return read_study(root / OUT / "results/one")


def cells(root: Path) -> dict[str, CellRecord]:
    return {cell.row: cell for cell in study(root).cells}


@pytest.mark.slow
def test_results_say_own_epochs_and_ends_are_the_runs_own_counts(project: Path) -> None:
    results, found = study(project), cells(project)
    folder = project / OUT / "results/one"
    assert results_files(results) == {path.name: path.read_bytes() for path in folder.iterdir()}
    written = {cell["row"]: cell["pairs"] for cell in json.loads((folder / "cells.json").read_text())}
    assert ["epochs" in written[row][0] for row in ROWS] == [False, False, False, True, True, True, True]
    assert [pair["epochs"] for pair in written["chain"]] == [[0, 0.5], [0.5, 3], [3, 4]]
    assert {row: found[row].pair_kind for row in ROWS if row != "chain"} == {
        row: settings.get("pair", "noise") for row, settings in ROWS.items() if row != "chain"
    }
    first = found["noise"].pairs[0].fingerprints[0]
    logged = {(row.epoch, row.split): row.wrong for row in RunFolder(project / OUT / "runs" / first).metrics()}
    for row in ("snapshots", "same", "half", "chain"):
        assert found[row].n_runs == 1
        for pair in found[row].pairs:
            assert pair.fingerprints == (first, first) and pair.epoch == max(e for e in pair.epochs if e is not None)
            for split in ("train", "test"):
                curve = results.curves[found[row].key, pair.pair, pair.epoch, split]  # type: ignore[index]
                assert (curve.wrong[0], curve.wrong[-1]) == tuple(logged[epoch, split] for epoch in pair.epochs)


@pytest.mark.slow
def test_known_answers_of_spawn_and_of_one_snapshot(project: Path) -> None:
    results, found = study(project), cells(project)
    noise, at_0, at_4, same = (found[row] for row in ("noise", "spawn-0", "spawn-4", "same"))
    assert at_0.pairs == noise.pairs  # fingerprints, distance and numbers, to the bit
    paths = {cell.row: [curve for key, curve in results.curves.items() if key[0] == cell.key] for cell in (noise, at_0)}
    assert len(paths["noise"]) == 8 and paths["spawn-0"] == paths["noise"]  # four evaluation epochs, two splits
    assert at_4.pairs[0].fingerprints != noise.pairs[0].fingerprints and at_4.n_runs == 2
    finals = {run.fingerprint: run.final_sha256 for run in results.runs}
    assert len({finals[name] for name in at_4.pairs[0].fingerprints}) == 1  # two trainings, one network
    for cell in (at_4, same):
        (pair,) = cell.pairs
        assert pair.distance == 0.0 and pair.status == ("trained", "trained")
        assert all(barriers is not None and barriers.barrier == 0.0 for barriers in pair.barriers.values())
        for split in ("train", "test"):
            curve = results.curves[cell.key, pair.pair, pair.epoch, split]  # type: ignore[index]
            assert len(curve.loss) == 5 and len({*curve.loss}) == len({*curve.wrong}) == 1
    assert noise.pairs[0].distance not in (None, 0.0)


@pytest.mark.slow
def test_mlflow_has_the_models_of_both_epochs(project: Path) -> None:
    reader = Reader.open(project)
    (experiment,) = reader.experiments()
    pairs = {run.tags["lmc.row"]: run for run in reader.runs({"lmc.kind": "pair"}, [experiment.experiment_id])
             if run.tags["lmc.pair"] == "0"}  # fmt: skip
    for row, epochs in {"snapshots": ["0", "4"], "same": ["4"], "half": ["0.5", "3"]}.items():
        run = pairs[row]
        inputs = reader.client.get_run(run.run_id).inputs.model_inputs
        models = [reader.client.get_logged_model(entry.model_id) for entry in inputs]
        assert sorted(model.params["epoch"] for model in models) == epochs
        assert run.params["pair_epochs"] == json.dumps(ROWS[row]["snapshot_epochs"])
        ends = re.findall(r"^- theta_\d: run \w+, epoch ([\d.]+),", run.tags["mlflow.note.content"], re.MULTILINE)
        assert ends == [f"{epoch:g}" for epoch in ROWS[row]["snapshot_epochs"]]
        for model in models:
            (file,) = reader.client.list_logged_model_artifacts(model.model_id)
            assert model.tags["lmc.sha256"] and file.path.startswith("epoch-")
    assert "pair_epochs" not in pairs["noise"].params


@pytest.mark.slow
def test_a_pair_of_one_run_is_reproduced_with_one_training(project: Path) -> None:
    reader = Reader.open(project)
    wanted = {"lmc.kind": "pair", "lmc.row": "half"}
    (run,) = reader.runs(wanted, [experiment.experiment_id for experiment in reader.experiments()])
    code, out, err = lmc("reproduce", run.run_id, "--json")
    assert code == 0, out + err
    certificate = json.loads(out)
    assert (certificate["identical"], certificate["trained"]) == (True, 1)


@pytest.mark.slow
def test_verify_measures_them_again_and_finds_an_epoch_that_is_not_theirs(project: Path) -> None:
    code, out, err = lmc("verify", "one")
    assert code == 0 and "paths measured again   9 of 9" in out, out + err
    path = project / OUT / "results/one/cells.json"
    before = path.read_bytes()
    try:
        written = json.loads(before)
        next(cell for cell in written if cell["row"] == "chain")["pairs"][2]["epochs"] = [0, 4]
        path.write_text(json.dumps(written))
        code, out, _ = lmc("verify", "one")
        assert code == 1 and "epoch 0 says" in out
    finally:
        path.write_bytes(before)


@pytest.mark.slow
def test_published_from_files_alone_it_is_the_same_and_twice_adds_nothing(project: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        write_project(tmp_path)
        code, out, err = lmc("publish", str(project / OUT))
        assert code == 0, out + err
        again = lmc("publish", str(project / OUT))
        assert again.code == 0 and "published 0" in again.out, again.out + again.err
        tags = ("lmc.row", "lmc.pair", "lmc.pair_key", "lmc.content")
        there, here = (
            sorted([run.tags[tag] for tag in tags] for run in reader.runs({"lmc.kind": "pair"}))
            for reader in (Reader.open(project), Reader.open(tmp_path))
        )
        assert there == here and len(here) == 9


def test_the_page_has_the_example() -> None:
    assert f"```python\n{CHAIN.read_text()}```" in PAGE

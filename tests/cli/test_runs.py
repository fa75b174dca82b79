"""`lmc compare RUN_A RUN_B`, `lmc show` and `lmc list` over a small store of real networks."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_study
import torch
from small_results import make_cell, make_pair
from trained_store import TrainedStore, make_trained_store, network, use_real_networks, write_params

from lmc_repro.barriers.barrier import mean_barrier
from lmc_repro.cli import main
from lmc_repro.cli.runs import compare_runs_command, list_command, show_command
from lmc_repro.compare import measure
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.errors import LmcError
from lmc_repro.project import Project
from lmc_repro.tracking.store import import_mlflow

import_mlflow("sqlite:///")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> TrainedStore:
    root = tmp_path_factory.mktemp("runs") / "a project"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN"):
            patch.delenv(name, raising=False)
        for name, value in use_real_networks(digits).items():
            patch.setattr(small_study, name, value)
        made = make_trained_store(Project(root), digits)
        plan = small_study.make_plan()
        cell = next(cell for cell in plan.cells if cell.key == "deep--fast")
        tracker = small_study.open_tracker(made.project, plan)
        tracker.log_pair(cell, "k" * 16, make_pair(cell.pairs[0]), dict)
        tracker.finish_cell(cell, make_cell(cell))
        tracker.close()
    return made


@pytest.fixture
def store(made: TrainedStore, monkeypatch: pytest.MonkeyPatch) -> TrainedStore:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "LMC_PROJECT_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(made.project.root)
    return made


def said(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def errors_by_hand(store: TrainedStore, dataset: Dataset, points: int) -> list[int]:
    """Wrong test predictions along the path of the first pair of deep--fast, without the project's own code."""
    plan = small_study.make_plan()
    cell = next(cell for cell in plan.cells if cell.key == "deep--fast")
    a, b = (network(config, config.epochs, dataset) for config in cell.pairs[0].runs)
    images = normalise(dataset.test.images, dataset.info).flatten(1)
    counts = []
    for i in range(points):
        w = {name: torch.lerp(a[name], b[name], i / (points - 1)) for name in a}
        out = images
        names = sorted({name.rpartition(".")[0] for name in w})
        for name in names:
            out = out @ w[f"{name}.weight"].T + w[f"{name}.bias"]  # slope 1: no activation
        counts.append(int((out.argmax(1) != dataset.test.labels).sum()))
    return counts


def test_two_runs_give_the_path_between_their_last_checkpoints(
    store: TrainedStore, digits: Dataset, capsys: Capture
) -> None:
    compare_runs_command(store.runs["deep--fast", 0], store.runs["deep--fast", 1], 21, None, True)
    found = said(capsys)
    by_hand = errors_by_hand(store, digits, 21)
    assert found["test"]["curve"]["wrong"] == by_hand
    assert found["test"]["barrier"] == pytest.approx(mean_barrier(by_hand) * 100 / 898)
    assert found["test"]["barrier_at_11_points"] == pytest.approx(mean_barrier(by_hand[::2]) * 100 / 898)
    assert len(found["train"]["curve"]["alpha"]) == 21
    assert (found["kind"], found["points"], found["differences"]) == ("noise", 21, {})
    assert [end["seeds"]["loader"] for end in found["runs"]] == [0, 1]


def test_the_profile_says_how_many_points_unless_asked(store: TrainedStore, capsys: Capture) -> None:
    compare_runs_command(store.runs["deep--fast", 0], store.runs["deep--slow", 1], None, None, False)
    printed = capsys.readouterr().out
    assert "3 points on digits" in printed
    assert "the runs differ in optimizer.lr: 0.1 and 0.01" in printed
    assert "barrier (Eq. 1)" in printed and "at alpha" in printed and "floor" in printed
    assert "test error in points, alpha 0 to 1" in printed


def test_runs_of_other_initialisations_are_said_to_be(store: TrainedStore, capsys: Capture) -> None:
    compare_runs_command(store.runs["deep--fast", 0], store.runs["deep--fast", 2], None, None, False)
    assert "different initialisations; 3 points" in capsys.readouterr().out


@pytest.mark.parametrize(("least", "flags"), [(None, ["undertrained"]), (0.1, [])])
def test_undertrained_ends_have_a_barrier_and_a_flag(
    store: TrainedStore, capsys: Capture, least: float | None, flags: list[str]
) -> None:
    write_params(store.project, min_train_accuracy=least)
    for as_json in (True, False):
        compare_runs_command(store.runs["deep--fast", 0], store.runs["deep--fast", 1], None, None, as_json)
        if as_json:
            found = said(capsys)
    assert [end["status"] for end in found["runs"]] == ["trained", "trained"]
    assert found["train"]["error_0"] > 45 and found["test"]["barrier"] is not None
    assert found["test"]["verdict"] is not None and found["test"]["flags"] == flags
    assert ("undertrained: " in capsys.readouterr().out) == bool(flags)


def test_ends_that_are_collapsed_have_no_barrier(store: TrainedStore, capsys: Capture, digits: Dataset) -> None:
    """Real networks on images that are all wrong for them: labels moved by one class."""
    moved = replace(digits, train=replace(digits.train, labels=(digits.train.labels + 1) % 10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "_dataset", lambda prepared, name, device: moved)
        compare_runs_command(store.runs["deep--fast", 0], store.runs["deep--fast", 1], None, None, True)
    found = said(capsys)
    assert [end["status"] for end in found["runs"]] == ["collapsed", "collapsed"]
    for split in ("test", "train"):
        assert (found[split]["barrier"], found[split]["verdict"], found[split]["flags"]) == (None, None, [])
        assert found[split]["error_0"] > 50


@pytest.mark.parametrize(
    ("a", "b", "line"),
    [
        (("deep--fast", 0), ("deep--fast", 0), "no SGD noise: the same training"),
        (("deep--fast", 0), ("deep--slow", 0), "same initialisation, same batches (they differ in: optimizer.lr"),
        (("deep--fast", 0), ("shallow--fast", 1), "other architectures: depth 2 and 1"),
    ],
)
def test_two_that_do_not_fit_are_refused_in_one_line(
    store: TrainedStore, a: tuple[str, int], b: tuple[str, int], line: str
) -> None:
    with pytest.raises(LmcError) as error:
        compare_runs_command(store.runs[a], store.runs[b], None, None, False)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_other_data_than_here_are_refused(store: TrainedStore) -> None:
    status = store.project.prepared / "digits" / "status.json"
    before = status.read_text()
    status.write_text(json.dumps({**json.loads(before), "digest": "e" * 64}))
    try:
        with pytest.raises(LmcError, match=r"digest eeeeeeeeeeee, but the runs saw"):
            compare_runs_command(store.runs["deep--fast", 0], store.runs["deep--fast", 1], None, None, False)
    finally:
        status.write_text(before)


def test_what_is_no_training_is_refused(store: TrainedStore, capsys: Capture) -> None:
    list_command("one", None, None, True)
    (cell,) = [cell for cell in said(capsys)["cells"] if cell["cell"] == "deep--fast"]
    with pytest.raises(LmcError, match="is of kind cell, not a training"):
        compare_runs_command(store.runs["deep--fast", 0], cell["run_id"], None, None, False)
    with pytest.raises(LmcError, match="run 'nothing'"):
        compare_runs_command("nothing", cell["run_id"], None, None, False)


def test_show_a_training(store: TrainedStore, capsys: Capture) -> None:
    show_command(store.runs["deep--fast", 1], None, True)
    found = said(capsys)
    assert (found["kind"], found["status"], found["cell"]) == ("train", "FINISHED", "deep--fast")
    assert found["config"]["seeds.loader"] == 1 and found["config"]["optimizer.lr"] == 0.1
    assert [step for step, _ in found["curves"]["test/error"]] == [0, 2, 4]
    assert found["curves"]["test/error"][1][1] == pytest.approx(100 * 601 / 898)
    assert [pair["test_barrier"] for pair in found["pairs"]] == [found["pairs"][0]["test_barrier"]] != [None]
    show_command(store.runs["deep--fast", 1], None, False)
    printed = capsys.readouterr().out
    assert "seeds: loader 1, trainer 0" in printed
    assert " 66.93" in printed


def test_show_a_cell_and_its_pair(store: TrainedStore, capsys: Capture) -> None:
    show_command(store.runs["deep--fast", 0], None, True)
    parent = said(capsys)["parent"]
    show_command(parent, None, True)
    cell = said(capsys)
    assert cell["numbers"]["barrier/test_mean"] == 3.0
    assert {t["run_id"] for t in cell["trainings"]} == {store.runs["deep--fast", i] for i in (0, 1, 2)}
    (pair,) = cell["pairs"]
    assert pair["test_error"] == [10.0, 50.0, 20.0]
    show_command(parent, None, False)
    printed = capsys.readouterr().out
    assert "mean barrier" in printed and "test: disconnected (provisional unstable)" in printed
    show_command(pair["run_id"], None, True)
    ends = said(capsys)["ends"]
    assert [end["run_id"] for end in ends] == [store.runs["deep--fast", 0], store.runs["deep--fast", 1]]
    show_command(pair["run_id"], None, False)
    printed = capsys.readouterr().out
    assert "barrier (Eq. 1)     35.00    25.00" in printed
    assert f"theta_1: fast deep seeds 0-1, trained, run {store.runs['deep--fast', 1]}" in printed


def test_list_the_cells_of_the_store(store: TrainedStore, capsys: Capture) -> None:
    list_command("one", None, None, True)
    found = said(capsys)
    assert found["source"] == store.uri
    cells = {cell["cell"]: cell for cell in found["cells"]}
    assert list(cells) == ["shallow--fast", "deep--fast", "deep--slow"]  # as in params.yaml
    assert cells["deep--fast"]["mean"] == {"test": 3.0, "train": 3.0}
    assert cells["deep--fast"]["curve"]["test"] == [10.0, 50.0, 20.0]
    assert cells["deep--slow"]["verdict"]["test"] is None
    list_command("one", None, None, False)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("deep--fast")]
    assert cells["deep--fast"]["line"] == {"test": 2.5, "train": 2.5}
    assert "3.00   2.50   3.00   2.50" in line and "disconnected P U" in line and cells["deep--fast"]["run_id"] in line
    assert "not compared" in next(line for line in lines if line.startswith("deep--slow"))


def test_any_store_can_be_named(store: TrainedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no project here
    show_command(store.runs["deep--fast", 0], store.uri, True)
    with pytest.raises(LmcError, match=r"no params\.yaml"):
        show_command(store.runs["deep--fast", 0], None, True)
    with pytest.raises(LmcError, match=r"none\.db: no MLflow store"):
        show_command(store.runs["deep--fast", 0], f"sqlite:///{tmp_path}/none.db", True)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("store_is", ["absent", "broken"])
def test_without_a_store_the_results_are_listed(
    store_is: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    write_params(Project(tmp_path))
    if store_is == "broken":
        (tmp_path / "mlflow.db").write_bytes(b"no database" * 500)
    with pytest.raises(LmcError, match="there are no results; run `lmc run one`"):
        list_command("one", None, None, False)
    from lmc_repro.compare.files import write_results

    plan = small_study.make_plan()
    results = {cell.key: make_cell(cell) for cell in plan.cells if cell.row == "deep"}
    write_results(tmp_path / "results/one", plan, results, [], small_study.DIGESTS, {}, "portable", "cpu")
    list_command("one", None, None, True)
    found = said(capsys)
    assert found["source"] == str(tmp_path / "results/one")
    assert [cell["cell"] for cell in found["cells"]] == ["deep--fast", "deep--slow"]
    assert found["cells"][0]["curve"]["test"] == [10.0, 50.0, 20.0]
    assert found["cells"][0]["run_id"] is None


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lmc", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_line_tells_two_runs_from_a_study(
    store: TrainedStore, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    a, b = store.runs["deep--fast", 0], store.runs["deep--fast", 1]
    assert run(monkeypatch, "compare", a, b, "--points", "5", "--tracking-uri", store.uri, "--json") == 0
    assert said(capsys)["points"] == 5
    assert run(monkeypatch, "compare", "one", "--points", "5") == 2
    assert "these are for two runs" in capsys.readouterr().err
    assert run(monkeypatch, "compare", a) == 2
    assert "a second run id is missing" in capsys.readouterr().err
    assert run(monkeypatch, "list", "three") == 2
    assert capsys.readouterr().err.startswith("error: STUDY: found 'three', allowed: one, two")


def test_the_report_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from lmc_repro.compare.files import write_results

    monkeypatch.chdir(tmp_path)
    write_params(Project(tmp_path))
    plan = small_study.make_plan()
    results = {cell.key: make_cell(cell) for cell in plan.cells if cell.row == "deep"}
    write_results(tmp_path / "results/one", plan, results, [], small_study.DIGESTS, {}, "portable", "cpu")
    assert run(monkeypatch, "report", "--json") == 0
    found = said(capsys)
    assert list(found["studies"]) == ["one"]
    cells = {(cell["row"], cell["column"]): cell for cell in found["studies"]["one"]["cells"]}
    assert cells["deep", "fast"]["test"]["mean"] == 3.0
    assert cells["shallow", "fast"]["run"] is False
    missing = [(cell["study"], cell["label"], cell["reason"]) for cell in found["not_run"]]
    assert missing[:2] == [("one", "1-Layer, SGD fast", "not chosen"), ("one", "1-Layer, SGD slow", "not chosen")]
    assert [cell[::2] for cell in missing[2:]] == [("two", "no results; `lmc run two`")] * 4
    shutil.rmtree(tmp_path / "report")

"""`lmc compare RUN_A RUN_B`, `lmc show` and `lmc list` over a small store of real networks."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import small_study
import torch
from commands import lmc, refused
from small_results import make_cell, make_pair
from trained_store import TrainedStore, make_trained_store, network, use_real_networks, write_params

from lmc_repro.barriers import measure
from lmc_repro.barriers.barrier import mean_barrier
from lmc_repro.common.project import Project
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.tracking.store import import_mlflow

import_mlflow("sqlite:///")
LAB = Path(__file__).parents[2] / "examples" / "paths" / "lab.py"


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


def errors_by_hand(dataset: Dataset, points: int, mirrored: bool = False) -> list[int]:
    """Wrong test predictions along the path of the first pair of deep--fast, without the project's own code.

    `mirrored` reverses the hidden units of the second network.
    """
    plan = small_study.make_plan()
    cell = next(cell for cell in plan.cells if cell.key == "deep--fast")
    a, b = (network(config, config.epochs, dataset) for config in cell.pairs[0].runs)
    names = sorted({name.rpartition(".")[0] for name in a})
    if mirrored:
        for lower, upper in pairwise(names):
            b |= {f"{lower}.{kind}": b[f"{lower}.{kind}"].flip(0) for kind in ("weight", "bias")}
            b[f"{upper}.weight"] = b[f"{upper}.weight"].flip(1)
    images = normalise(dataset.test.images, dataset.info).flatten(1)
    counts = []
    for i in range(points):
        w = {name: torch.lerp(a[name], b[name], i / (points - 1)) for name in a}
        out = images
        for name in names:
            out = out @ w[f"{name}.weight"].T + w[f"{name}.bias"]  # slope 1: no activation
        counts.append(int((out.argmax(1) != dataset.test.labels).sum()))
    return counts


def two(store: TrainedStore, a: tuple[str, int], b: tuple[str, int]) -> list[str]:
    return ["compare", store.runs[a], store.runs[b]]


NOISE = ("deep--fast", 0), ("deep--fast", 1)


@pytest.mark.slow
def test_two_runs_give_the_path_between_their_last_checkpoints(store: TrainedStore, digits: Dataset) -> None:
    found = lmc(*two(store, *NOISE), "--points", 21, "--tracking-uri", store.uri, "--json").json
    by_hand = errors_by_hand(digits, 21)
    assert found["test"]["curve"]["wrong"] == by_hand
    assert found["test"]["barrier"] == pytest.approx(mean_barrier(by_hand) * 100 / 898)
    assert found["test"]["barrier_at_11_points"] == pytest.approx(mean_barrier(by_hand[::2]) * 100 / 898)
    assert len(found["train"]["curve"]["alpha"]) == 21
    assert (found["kind"], found["points"], found["differences"]) == ("noise", 21, {})
    assert [end["seeds"]["loader"] for end in found["runs"]] == [0, 1]


@pytest.mark.slow
def test_two_runs_with_an_alignment_of_ones_own(store: TrainedStore, digits: Dataset) -> None:
    shutil.copy(LAB, store.project.root)
    found = lmc(*two(store, *NOISE), "--points", 5, "--align", "lab.py:mirrored", "--json").json
    by_hand = errors_by_hand(digits, 5, mirrored=True)
    assert found["align"].startswith("lab.py:mirrored#") and found["test"]["curve"]["wrong"] == by_hand
    plain = errors_by_hand(digits, 5)
    assert by_hand[::4] == plain[::4] and by_hand[1:4] != plain[1:4]  # the ends' functions, another way between
    assert "theta_1 is aligned by lab.py:mirrored\n" in lmc(*two(store, *NOISE), "--align", "lab.py:mirrored").out
    assert "lab.py: found no mirror, allowed: " in refused(*two(store, *NOISE), "--align", "lab.py:mirror")


def test_the_profile_says_how_many_points_unless_asked(store: TrainedStore) -> None:
    words = two(store, ("deep--fast", 0), ("deep--slow", 1))
    found = lmc(*words, "--json").json
    assert (found["points"], found["dataset"], found["kind"]) == (3, "digits", "noise")
    assert found["differences"] == {"optimizer.lr": [0.1, 0.01]}
    printed = lmc(*words).out
    assert "the runs differ in optimizer.lr: 0.1 and 0.01" in printed
    assert "barrier (Eq. 1)" in printed and "at alpha" in printed and "floor" in printed


def test_runs_of_other_initialisations_are_said_to_be(store: TrainedStore) -> None:
    words = two(store, ("deep--fast", 0), ("deep--fast", 2))
    assert lmc(*words, "--json").json["kind"] == "init"
    assert "different initialisations; 3 points" in lmc(*words).out


@pytest.mark.parametrize(("least", "flags"), [(None, ["undertrained"]), (0.1, [])])
def test_undertrained_ends_have_a_barrier_and_a_flag(
    store: TrainedStore, least: float | None, flags: list[str]
) -> None:
    write_params(store.project, min_train_accuracy=least)
    found = lmc(*two(store, *NOISE), "--json").json
    assert [end["status"] for end in found["runs"]] == ["trained", "trained"]
    assert found["train"]["error_0"] > 45 and found["test"]["barrier"] is not None
    assert found["test"]["verdict"] is not None and found["test"]["flags"] == flags
    assert ("undertrained: " in lmc(*two(store, *NOISE)).out) == bool(flags)


def test_ends_that_are_collapsed_have_no_barrier(store: TrainedStore, digits: Dataset) -> None:
    """Real networks on images that are all wrong for them: labels moved by one class."""
    moved = replace(digits, train=replace(digits.train, labels=(digits.train.labels + 1) % 10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "_dataset", lambda prepared, name, device: moved)
        found = lmc(*two(store, *NOISE), "--json").json
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
    assert line in refused(*two(store, a, b))


def test_other_data_than_here_are_refused(store: TrainedStore) -> None:
    status = store.project.prepared / "digits" / "status.json"
    before = status.read_text()
    status.write_text(json.dumps({**json.loads(before), "digest": "e" * 64}))
    try:
        assert "digest eeeeeeeeeeee, but the runs saw" in refused(*two(store, *NOISE))
    finally:
        status.write_text(before)


def test_what_is_no_training_is_refused(store: TrainedStore) -> None:
    (cell,) = [cell for cell in lmc("list", "one", "--json").json["cells"] if cell["cell"] == "deep--fast"]
    assert "is of kind cell, not a training" in refused("compare", store.runs["deep--fast", 0], cell["run_id"])
    assert "run 'nothing'" in refused("compare", "nothing", cell["run_id"])


def test_a_study_and_two_runs_have_options_of_their_own(store: TrainedStore) -> None:
    assert refused("compare", "one", "--points", 5).startswith("--points, --align, --tracking-uri, --json: ")
    assert refused("compare", a := store.runs["deep--fast", 0]).startswith(f"{a}: a second run id is missing")
    assert refused("list", "three").startswith("STUDY: found 'three', allowed: one, two")


def test_show_a_training(store: TrainedStore) -> None:
    found = lmc("show", store.runs["deep--fast", 1], "--json").json
    assert (found["kind"], found["status"], found["cell"]) == ("train", "FINISHED", "deep--fast")
    assert found["config"]["seeds.loader"] == 1 and found["config"]["optimizer.lr"] == 0.1
    assert [step for step, _ in found["curves"]["test/error"]] == [0, 2, 4]
    assert found["curves"]["test/error"][1][1] == pytest.approx(100 * 601 / 898)
    assert [pair["test_barrier"] for pair in found["pairs"]] == [found["pairs"][0]["test_barrier"]] != [None]
    printed = lmc("show", store.runs["deep--fast", 1]).out
    assert "seeds: loader 1, trainer 0" in printed and " 66.93" in printed


def test_show_a_cell_and_its_pair(store: TrainedStore) -> None:
    parent = lmc("show", store.runs["deep--fast", 0], "--json").json["parent"]
    cell = lmc("show", parent, "--json").json
    assert cell["numbers"]["barrier/test"] == 3.0
    assert {t["run_id"] for t in cell["trainings"]} == {store.runs["deep--fast", i] for i in (0, 1, 2)}
    (pair,) = cell["pairs"]
    assert pair["test_error"] == [10.0, 50.0, 20.0]
    printed = lmc("show", parent).out
    assert re.search(r"^n +\d+ +\d+$", printed, re.M)
    assert "mean barrier" in printed and "test: disconnected (provisional unstable)" in printed
    ends = lmc("show", pair["run_id"], "--json").json["ends"]
    assert [end["run_id"] for end in ends] == [store.runs["deep--fast", 0], store.runs["deep--fast", 1]]
    printed = lmc("show", pair["run_id"]).out
    assert "barrier (Eq. 1)     35.00    25.00" in printed
    assert f"theta_1: seeds 0-1 fast deep, trained, run {store.runs['deep--fast', 1]}" in printed


def test_list_the_cells_of_the_store(store: TrainedStore) -> None:
    found = lmc("list", "one", "--json").json
    assert found["source"] == store.uri
    cells = {cell["cell"]: cell for cell in found["cells"]}
    assert list(cells) == ["shallow--fast", "deep--fast", "deep--slow"]  # as in params.yaml
    assert cells["deep--fast"]["mean"] == {"test": 3.0, "train": 3.0}
    assert cells["deep--fast"]["line"] == {"test": 2.5, "train": 2.5}
    assert cells["deep--fast"]["curve"]["test"] == [10.0, 50.0, 20.0]
    assert cells["deep--slow"]["verdict"]["test"] is None
    lines = {line.split()[0]: line for line in lmc("list", "one").out.splitlines() if line}
    line = lines["deep--fast"]
    assert "3.00   2.50   3.00   2.50" in line and "disconnected P U" in line and cells["deep--fast"]["run_id"] in line
    assert "not compared" in lines["deep--slow"]


def test_any_store_can_be_named(store: TrainedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no project here
    run_id = store.runs["deep--fast", 0]
    assert lmc("show", run_id, "--tracking-uri", store.uri, "--json").json["run_id"] == run_id
    assert "no params.yaml" in refused("show", run_id)
    assert "none.db: no MLflow store" in refused("show", run_id, "--tracking-uri", f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


@pytest.fixture
def only_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a store, and the folder where the results of study `one` belong."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    write_params(Project(tmp_path))
    return tmp_path / "results" / "one"


def write_deep(folder: Path) -> None:
    from lmc_repro.results.write import write_results

    plan = small_study.make_plan()
    results = {cell.key: make_cell(cell) for cell in plan.cells if cell.row == "deep"}
    write_results(folder, plan, results, [], small_study.DIGESTS, {}, "portable", "cpu")


@pytest.mark.parametrize("store_is", ["absent", "broken"])
def test_without_a_store_the_results_are_listed(store_is: str, only_files: Path, tmp_path: Path) -> None:
    if store_is == "broken":
        (tmp_path / "mlflow.db").write_bytes(b"no database" * 500)
    known = "and no results; run `lmc run one`" if store_is == "absent" else "cannot be read as MLflow's store"
    assert known in refused("list", "one")
    write_deep(only_files)
    said = lmc("list", "one", "--json")
    assert (said.code, known in said.err) == ((0, False) if store_is == "absent" else (2, True))
    found = said.json
    assert found["source"] == str(only_files)
    assert [cell["cell"] for cell in found["cells"]] == ["deep--fast", "deep--slow"]
    assert found["cells"][0]["curve"]["test"] == [10.0, 50.0, 20.0]
    assert found["cells"][0]["run_id"] is None


def test_without_a_study_the_state_of_each_is_listed(only_files: Path, tmp_path: Path) -> None:
    def states() -> dict[str, tuple[object, ...]]:
        found = lmc("list", "--json").json["states"]
        keys = ("done", "planned", "other", "verdicts", "where")
        return {state["key"]: tuple(state[key] for key in keys) for state in found}

    nothing = {"one": (0, 4, 0, None, None), "two": (0, 4, 0, None, None)}
    assert states() == nothing
    write_deep(only_files)
    assert states() == nothing | {"one": (2, 4, 0, {"disconnected": 2}, "results/one")}
    assert [line.split()[0] for line in lmc("list").out.splitlines()[1:]] == ["one", "two"]
    cells = json.loads((only_files / "cells.json").read_text())
    cells[0]["config"]["optimizer"]["lr"] = 7.0
    (only_files / "cells.json").write_text(json.dumps(cells))
    assert states()["one"] == (1, 4, 1, {"disconnected": 1}, "results/one")
    runs = json.loads((only_files / "runs.json").read_text())
    (only_files / "runs.json").write_text(json.dumps({**runs, "profile": "another"}))
    assert states() == nothing
    assert refused("list", "--tracking-uri", "sqlite:///x.db").startswith("--tracking-uri: found without STUDY")


def test_results_of_a_renamed_column_are_not_listed(only_files: Path, tmp_path: Path) -> None:
    write_deep(only_files)
    params = json.loads((tmp_path / "params.yaml").read_text())
    params["studies"]["one"]["columns"]["slower"] = params["studies"]["one"]["columns"].pop("slow")
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    assert [cell["cell"] for cell in lmc("list", "one", "--json").json["cells"]] == ["deep--fast"]


@pytest.mark.slow
def test_the_report_as_json(only_files: Path) -> None:
    write_deep(only_files)
    found = lmc("report", "--json").json
    assert list(found["studies"]) == ["one"]
    cells = {(cell["row"], cell["column"]): cell for cell in found["studies"]["one"]["cells"]}
    assert cells["deep", "fast"]["test"]["mean"] == 3.0
    assert cells["shallow", "fast"]["run"] is False
    missing = [(cell["study"], cell["label"], cell["reason"]) for cell in found["not_run"]]
    assert missing[:2] == [("one", "1-Layer, SGD fast", "not chosen"), ("one", "1-Layer, SGD slow", "not chosen")]
    assert [cell[::2] for cell in missing[2:]] == [("two", "no results; `lmc run two`")] * 4

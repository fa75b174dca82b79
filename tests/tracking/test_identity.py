"""Records are chosen by identity: what does not belong to the present params.yaml and results is shown as such."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_study
from small_results import make_cell, make_pair
from small_study import DIGESTS, NUMERICS, write_run

from lmc_repro.cli.views import list_, present_of, show
from lmc_repro.common.project import Project
from lmc_repro.config.expand import plan_study
from lmc_repro.config.params import Params
from lmc_repro.config.plan import StudyPlan
from lmc_repro.results.write import write_results
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.views import find_shown

Capture = pytest.CaptureFixture[str]
Change = Callable[[dict[str, Any]], object]


def params_of(change: Change = lambda params: None) -> dict[str, Any]:
    params = copy.deepcopy(small_study.PARAMS)
    change(params)
    return params


def plan_of(params: dict[str, Any]) -> StudyPlan:
    return plan_study(Params.model_validate(params), "one")


def run_study(
    project: Project, params: dict[str, Any], mean: float, runs: Path, digest: str = DIGESTS["digits"], key: str = "a"
) -> None:
    """Write params.yaml, publish the cells of the row `deep`, judged with that mean, and write their results."""
    project.params.write_text(json.dumps(params))
    plan = plan_of(params)
    cells = {cell.key: make_cell(cell, mean) for cell in plan.cells if "deep" in cell.key}
    with Tracker.open(project, plan, {"digits": digest}, NUMERICS) as tracker:
        for cell in (cell for cell in plan.cells if cell.key in cells):
            tracker.sync_train(cell, cell.runs[0], write_run(runs, cell.runs[0]))
            tracker.log_pair(cell, key * 16, make_pair(cell.pairs[0]), dict)
            tracker.finish_cell(cell, cells[cell.key])
    write_results(project.results / "one", plan, cells, [], {"digits": digest}, {}, NUMERICS, "cpu")


def listed(project: Project, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(project.root)
    list_("one", as_json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def means(found: dict[str, Any]) -> dict[str, float]:
    return {cell["cell"]: cell["mean"]["test"] for cell in found["cells"]}


def other_rate(params: dict[str, Any]) -> None:
    params["profiles"]["tiny"]["optimizers"]["fast"]["lr"] = 0.02


def other_rates(params: dict[str, Any]) -> None:
    for optimizer in params["profiles"]["tiny"]["optimizers"].values():
        optimizer["lr"] = 0.03


def other_threshold(params: dict[str, Any]) -> None:
    params["profiles"]["tiny"]["judgement"]["threshold"] = 50.0


def renamed_row(params: dict[str, Any]) -> None:
    rows = params["studies"]["one"]["rows"]
    params["studies"]["one"]["rows"] = {"shallow": rows["shallow"], "deep2": rows["deep"]}


OTHER, GONE = (
    "made with other settings than those of params.yaml, or by another version",
    "study one of params.yaml has no such cell",
)
BOTH = {"deep--fast": 3.0, "deep--slow": 3.0}


def test_an_experiment_and_back(
    project: Project, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc exp run -S ...lr=0.02`, then `git checkout` and `dvc checkout`: the cell of the settings that are here."""
    run_study(project, params_of(), 3.0, tmp_path / "runs")
    shutil.copytree(project.results, tmp_path / "before")
    run_study(project, params_of(other_rate), 0.5, tmp_path / "other")
    found = listed(project, capsys, monkeypatch)
    assert means(found) == {"deep--fast": 0.5, "deep--slow": 0.5}
    assert [(run["cell"], run["why"]) for run in found["strangers"]] == [("deep--fast", OTHER)]
    project.params.write_text(json.dumps(params_of()))
    shutil.rmtree(project.results)
    shutil.copytree(tmp_path / "before", project.results)
    found = listed(project, capsys, monkeypatch)
    assert means(found) == {"deep--fast": 3.0, "deep--slow": 0.5}
    assert list(found["remarks"]) == ["deep--slow"]  # one run in both, judged last with the other experiment
    (stranger,) = found["strangers"]
    show(stranger["run_id"], as_json=True)
    assert json.loads(capsys.readouterr().out)["stranger"] == OTHER
    show(found["cells"][0]["run_id"], as_json=True)
    assert json.loads(capsys.readouterr().out)["stranger"] is None
    _, (shown,) = find_shown(project, "one", None, None, present_of(project))
    assert (len(shown.pairs), shown.strangers) == (2, {OTHER: 1})
    list_("one")
    assert f"not shown, {OTHER}: deep--fast {stranger['run_id']}" in capsys.readouterr().out
    ids = [cell["run_id"] for cell in found["cells"]]
    project.params.write_text(json.dumps(params_of(other_rates)))  # of no cell's run: the results, and their runs
    found = listed(project, capsys, monkeypatch)
    assert found["source"] == str(project.results / "one") and list(found["remarks"]) == list(BOTH)
    assert [cell["run_id"] for cell in found["cells"]] == ids and found["strangers"] == [stranger]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "left", "strangers"),
    [
        (other_rate, {"deep--slow": 3.0}, {"deep--fast": OTHER}),  # settings from the command line, or an edit
        (renamed_row, {}, dict.fromkeys(BOTH, GONE)),
        (other_threshold, BOTH, {}),  # not the cell's: what is judged anew is the same run
        (lambda params: params["profiles"]["tiny"].update(pairs=1), BOTH, {}),
    ],
)
def test_an_edited_params_yaml(
    change: Change,
    left: dict[str, float],
    strangers: dict[str, str],
    project: Project,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_study(project, params_of(), 3.0, tmp_path / "runs")
    project.params.write_text(json.dumps(params_of(change)))
    found = listed(project, capsys, monkeypatch)
    assert {run["cell"]: run["why"] for run in found["strangers"]} == strangers
    if left:
        assert means(found) == left and "sqlite" in found["source"]
    else:
        assert found["source"] == str(project.results / "one")


@pytest.mark.slow
def test_a_deleted_study_is_said_to_be(project: Project, tmp_path: Path) -> None:
    run_study(project, params_of(), 3.0, tmp_path / "runs")
    project.params.write_text(json.dumps(params_of(lambda params: params["studies"].pop("one"))))
    _, (shown,) = find_shown(project, None, None, None, present_of(project))
    assert shown.pairs == () and shown.strangers == {"params.yaml has no study one under profile tiny": 2}


@pytest.mark.slow
def test_two_clones_on_one_store_list_their_own(
    project: Project, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same settings on other data: the clones' results say whose cell is whose."""
    clone = Project(tmp_path / "clone")
    clone.root.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/mlflow.db")
    run_study(project, params_of(), 3.0, tmp_path / "runs")
    run_study(clone, params_of(), 0.5, tmp_path / "others", digest="e" * 64)
    for here, mean in ((project, 3.0), (clone, 0.5)):
        found = listed(here, capsys, monkeypatch)
        assert means(found) == dict.fromkeys(BOTH, mean)
        assert {run["why"] for run in found["strangers"]} == {"made with other data than the results"}
    shutil.rmtree(project.results)  # without results, both belong to params.yaml
    assert listed(project, capsys, monkeypatch)["strangers"] == []


@pytest.mark.slow
def test_a_clock_that_jumps_back_hides_nothing(
    project: Project, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(project, params_of(), 3.0, tmp_path / "runs")
    now = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now() - 10**9 * 86_400)
        run_study(project, params_of(), 0.5, tmp_path / "runs")
    found = listed(project, capsys, monkeypatch)
    assert means(found) == {"deep--fast": 0.5, "deep--slow": 0.5} and not found["remarks"]


@pytest.mark.slow
def test_pairs_of_another_number_of_points_are_not_mixed_in(
    project: Project, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(project, params_of(), 3.0, tmp_path / "runs")
    project.params.write_text(json.dumps(params_of(lambda params: params["profiles"]["tiny"].update(points=5))))
    assert {tuple(cell["curve"]["test"]) for cell in listed(project, capsys, monkeypatch)["cells"]} == {()}

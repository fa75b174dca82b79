from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_results import make_cell, make_pair
from small_study import make_plan, open_tracker, write_run

from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.find import StoredRun
from lmc_repro.tracking.project_run import NOTE_LIMIT, project_note


def start_project_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> str:
    """Do what `mlflow run` does: a run in the experiment Default, and its id in the environment."""
    run_id = str(client(project).create_run("0").info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    return run_id


def client(project: Project) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project.root}/mlflow.db")


def compare(project: Project, cell: Cell, runs: Path, study: str = "one") -> tuple[Tracker, str]:
    """Train, compare and link one cell of a study; return its tracker and the cell's run."""
    tracker = open_tracker(project, make_plan(study))
    for config in cell.runs[:2]:
        tracker.sync_train(cell, config, write_run(runs, config))
    tracker.log_pair(cell, "a" * 16, make_pair(cell.pairs[0]), dict)
    cell_run = tracker.finish_cell(cell, make_cell(cell))
    assert tracker.link_project_run([cell]) is None
    return tracker, cell_run


def note(project: Project, run_id: str) -> str:
    return str(client(project).get_run(run_id).data.tags.get("mlflow.note.content", ""))


def test_the_note_leads_to_the_cells_of_every_study(
    project: Project, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_run = start_project_run(project, monkeypatch)
    links = []
    for study in ("one", "two"):
        tracker, cell_run = compare(project, cell, tmp_path, study)
        links.append(f"[deep fast](#/experiments/{tracker.run_ids()['experiment_id']}/runs/{cell_run})")
        assert client(project).get_run(cell_run).data.tags["lmc.project_run"] == project_run
    written = note(project, project_run)
    assert [line.split(" | ")[0] for line in written.splitlines() if "/runs/" in line] == [f"| {x}" for x in links]
    row = make_cell(cell).summary
    means = " | ".join(f"{row[split].mean:.2f} | {row[split].line_mean:.2f}" for split in ("test", "train"))
    assert written.count(f"{means} | {row['test'].verdict} | {row['train'].verdict} |") == 2


def test_a_second_project_run_takes_the_cells_over_and_the_first_keeps_its_note(
    project: Project, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start_project_run(project, monkeypatch)
    _, cell_run = compare(project, cell, tmp_path)
    before = note(project, first)
    second = start_project_run(project, monkeypatch)
    assert compare(project, cell, tmp_path)[1] == cell_run
    assert client(project).get_run(cell_run).data.tags["lmc.project_run"] == second
    assert note(project, first) == note(project, second) == before
    assert cell_run in before


def test_no_project_run_and_a_foreign_one_do_no_harm(
    project: Project, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, cell_run = compare(project, cell, tmp_path)
    assert "lmc.project_run" not in client(project).get_run(cell_run).data.tags
    for foreign in ("f" * 32, "no run's id' or"):
        monkeypatch.setenv("MLFLOW_RUN_ID", foreign)
        tracker = open_tracker(project, make_plan())
        remark = tracker.link_project_run([cell])
        assert remark is not None
        assert f"mlflow.db: project run {foreign} is not there" in remark
        assert "\n" not in remark


def test_missing_cells_are_told(project: Project, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    project_run = start_project_run(project, monkeypatch)
    remark = open_tracker(project, make_plan()).link_project_run([cell])
    assert remark == "MLflow lacks 1 cells of one; `lmc compare one` brings them back"
    assert note(project, project_run) == ""


def test_a_long_note_is_cut_between_lines() -> None:
    runs = [StoredRun(f"{i:032x}", "7", "FINISHED", "", {}, _tags(i), {}, {}, set()) for i in range(200)]
    text = project_note(runs)
    rows = [line for line in text.splitlines() if "/runs/" in line]
    assert len(text) <= NOTE_LIMIT
    assert all(line.endswith("| none |") for line in rows)
    assert 50 < len(rows) < 200
    assert f"And {200 - len(rows)} more cells" in text.splitlines()[-1]


def _tags(number: int) -> dict[str, str]:
    return {"lmc.study": "one", "lmc.profile": "p", "lmc.row": f"row-{number:03}", "lmc.column": "c"}

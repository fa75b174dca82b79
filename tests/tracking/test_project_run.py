from __future__ import annotations

import pytest
from mlflow import MlflowClient
from small_results import Small, make_cell

from lmc_repro.tracking import Tracker
from lmc_repro.tracking.find import StoredRun
from lmc_repro.tracking.project_run import NOTE_LIMIT, project_note


def start_project_run(small: Small, monkeypatch: pytest.MonkeyPatch) -> str:
    """Do what `mlflow run` does: a run in the experiment Default, and its id in the environment."""
    run_id = str(MlflowClient(f"sqlite:///{small.project.root}/mlflow.db").create_run("0").info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    return run_id


def compare(small: Small, study: str = "one") -> tuple[Tracker, str]:
    """Train, compare and link one cell of a study; return its tracker and the cell's run."""
    tracker = small.open(study)
    small.sync(tracker)
    small.pair(tracker)
    cell_run = small.finish(tracker)
    assert tracker.link_project_run([small.cell]) is None
    return tracker, cell_run


def note(small: Small, run_id: str) -> str:
    return str(small.run(run_id).data.tags.get("mlflow.note.content", ""))


def test_the_note_leads_to_the_cells_of_every_study(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    project_run = start_project_run(small, monkeypatch)
    links = []
    for study in ("one", "two"):
        tracker, cell_run = compare(small, study)
        links.append(f"[deep fast](#/experiments/{tracker.run_ids()['experiment_id']}/runs/{cell_run})")
        assert small.run(cell_run).data.tags["lmc.project_run"] == project_run
    written = note(small, project_run)
    assert [line.split(" | ")[0] for line in written.splitlines() if "/runs/" in line] == [f"| {x}" for x in links]
    row = make_cell(small.cell).summary
    means = " | ".join(f"{row[split].mean:.2f} | {row[split].line_mean:.2f}" for split in ("test", "train"))
    assert written.count(f"{means} | {row['test'].verdict} | {row['train'].verdict} |") == 2


def test_a_second_project_run_takes_the_cells_over_and_the_first_keeps_its_note(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start_project_run(small, monkeypatch)
    _, cell_run = compare(small)
    before = note(small, first)
    second = start_project_run(small, monkeypatch)
    assert compare(small)[1] == cell_run
    assert small.run(cell_run).data.tags["lmc.project_run"] == second
    assert note(small, first) == note(small, second) == before
    assert cell_run in before


def test_no_project_run_and_a_foreign_one_do_no_harm(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    _, cell_run = compare(small)
    assert "lmc.project_run" not in small.run(cell_run).data.tags
    for foreign in ("f" * 32, "no run's id' or"):
        monkeypatch.setenv("MLFLOW_RUN_ID", foreign)
        remark = small.open().link_project_run([small.cell])
        assert remark is not None
        assert f"mlflow.db: project run {foreign} is not there" in remark
        assert "\n" not in remark


def test_missing_cells_are_told(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    project_run = start_project_run(small, monkeypatch)
    remark = small.open().link_project_run([small.cell])
    assert remark == "MLflow lacks 1 cells of one; `lmc compare one` brings them back"
    assert note(small, project_run) == ""


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

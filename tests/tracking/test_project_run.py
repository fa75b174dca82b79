from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_results import Small, make_cell

from lmc_repro.tracking import Tracker
from lmc_repro.tracking.find import StoredRun
from lmc_repro.tracking.project_run import NOTE_LIMIT, keep_results, project_note


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
    assert remark == "MLflow lacks 1 cell of one; `lmc compare one` brings back what is missing"
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


def test_results_are_kept_for_a_project_among_temporary_files_alone(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = small.client.create_experiment("caller", artifact_location=(tmp_path / "kept").as_uri())
    run = small.client.create_run(experiment).info.run_id
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "cells.json").write_text("{}")
    folders = {"results": tmp_path / "made"}
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert keep_results(small.project, folders) is None, "no `mlflow run` started us"
    monkeypatch.setenv("LMC_PROJECT_RUN", "f" * 32)
    assert keep_results(small.project, folders) is None, "its run is in another store"
    monkeypatch.setenv("LMC_PROJECT_RUN", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    assert keep_results(small.project, folders) is None
    assert not (tmp_path / "kept").exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run in str(keep_results(small.project, folders))
    assert (tmp_path / "kept" / run / "artifacts" / "results" / "cells.json").read_text() == "{}"

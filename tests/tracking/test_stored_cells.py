"""The cells of a database, read without MLflow: the same as MLflow gives."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest
from small_results import make_cell, make_pair
from small_study import DIGESTS, NUMERICS, make_plan, open_tracker, write_run

from lmc_repro.errors import LmcError
from lmc_repro.project import Project
from lmc_repro.schemas.plan import StudyPlan
from lmc_repro.tracking import Tracker
from lmc_repro.tracking.environment import tracking_uri
from lmc_repro.tracking.stored_cells import StoredCell, _ask_mlflow, stored_cells


def publish(tracker: Tracker, plan: StudyPlan, runs: Path, means: dict[str, float | None], key: str = "a") -> None:
    """Publish both pairs of the cells in `means`, judged with that mean."""
    for cell in plan.cells:
        if cell.key in means:
            for config in cell.runs:
                tracker.sync_train(cell, config, write_run(runs, config))
            for i, pair in enumerate(cell.pairs):
                tracker.log_pair(cell, key * 15 + str(i), make_pair(pair), dict)
            tracker.finish_cell(cell, make_cell(cell, means[cell.key]))


def as_read(project: Project) -> list[StoredCell]:
    _, cells = stored_cells(project.root, None, "one", "tiny")
    return cells


def plain(cells: list[StoredCell]) -> list[dict[str, object]]:
    """Return cells as values that compare: NaN equals NaN, and pairs have no order."""
    told = []
    for cell in cells:
        values = dataclasses.asdict(cell)
        values["metrics"] = {key: "nan" if math.isnan(value) else value for key, value in cell.metrics.items()}
        values["paths"] = sorted(cell.paths, key=repr)
        told.append(values)
    return told


def test_the_database_and_mlflow_say_the_same(project: Project, plan: StudyPlan, tmp_path: Path) -> None:
    tracker = open_tracker(project, plan)
    publish(tracker, plan, tmp_path, {"deep--fast": 3.0, "shallow--fast": 0.5, "deep--slow": None})
    # Judged again on other data: another run of the cell, with pairs of its own.
    later = Tracker.open(project, plan, {**DIGESTS, "digits": "e" * 64}, NUMERICS)
    publish(later, plan, tmp_path / "later", {"deep--fast": 1.0}, key="b")
    # Another study, and a run that a person deleted.
    other = open_tracker(project, make_plan("two"))
    publish(other, make_plan("two"), tmp_path, {"deep--fast": 9.0})
    gone = next(cell for cell in as_read(project) if cell.tags["lmc.cell"] == "shallow--fast")
    from mlflow import MlflowClient

    MlflowClient(tracking_uri(project.root)).delete_run(gone.run_id)

    cells = as_read(project)
    assert [cell.tags["lmc.cell"] for cell in cells] == ["deep--fast", "deep--slow"]
    assert cells[0].metrics["barrier/test_mean"] == 1.0
    assert [len(cell.paths) for cell in cells] == [2, 2]
    assert cells[0].paths[0]["path/test_error"] == [10.0, 50.0, 20.0]
    assert plain(cells) == plain(_ask_mlflow(project.root, tracking_uri(project.root), "one", "tiny"))


def test_a_store_without_the_study_has_no_cells_and_none_at_all_is_an_error(project: Project, tmp_path: Path) -> None:
    assert as_read(project) == []
    with pytest.raises(LmcError, match="no MLflow store"):
        stored_cells(tmp_path / "nothing", None, "one", "tiny")
    (project.root / "mlflow.db").write_bytes(b"no database" * 500)
    with pytest.raises(LmcError, match=r"mlflow\.db: cannot be read as MLflow's store"):
        as_read(project)


def test_neither_mlflow_nor_torch_is_imported_for_a_database(project: Project) -> None:
    program = (
        "import sys; from pathlib import Path; import lmc_repro.report.listing; "
        "from lmc_repro.tracking.stored_cells import stored_cells; "
        f"stored_cells(Path({str(project.root)!r}), None, 'one', 'tiny'); "
        "print(sorted({'torch', 'mlflow', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

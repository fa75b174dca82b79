"""The run of `mlflow run` itself: a note on it links the cells it made or found."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from lmc_repro.common.project import Project
from lmc_repro.common.words import counted
from lmc_repro.tracking import names
from lmc_repro.tracking.content import TAG_LIMIT, number
from lmc_repro.tracking.find import Reader, StoredRun
from lmc_repro.tracking.store import one_line_errors, take_project_run, tracking_uri

NOTE_LIMIT = TAG_LIMIT
_REST = 200  # reserved for the last line of a truncated note
_HEAD = ("| cell | test | line | train | line | verdict on test | on train |", "|---|---|---|---|---|---|---|")


def link_cells(reader: Reader, project_run: str, study: str, cells: Sequence[StoredRun | None]) -> str | None:
    """Tag a study's cells (None: missing) with the project run that started us, and write its note.

    The note is made from the store: it has the cells of every study that carry this project run, so that the stages of
    one `dvc repro` add to one another's. The caller holds the store's lock.

    Returns:
        One line if the project run or a cell is not there, else None.
    """
    from mlflow.exceptions import MlflowException

    client, known = reader.client, None
    try:
        known = client.get_run(project_run)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    if known is None or known.info.lifecycle_stage != "active":
        gone = f"{reader.uri}: project run {project_run} is not there, and so leads to no cells"
        return f"{gone}; start `mlflow run .` in the project's folder"
    for run in cells:
        if run is not None and run.tags.get(names.PROJECT_RUN) != project_run:
            client.set_tag(run.run_id, names.PROJECT_RUN, project_run)
            run.tags[names.PROJECT_RUN] = project_run
    carried = reader.runs({names.PROJECT_RUN: project_run, names.KIND: "cell"})
    note = project_note([run for run in carried if run.finished])
    if note != known.data.tags.get(names.NOTE, ""):
        client.set_tag(project_run, names.NOTE, note)
    missing = sum(run is None for run in cells)
    lacks = f"MLflow lacks {counted(missing, 'cell')} of {study}; `lmc compare {study}` brings back what is missing"
    return lacks if missing else None


def keep_results(project: Project, folders: Mapping[str, Path]) -> str | None:
    """Keep folders as artifacts of the project run that started us, where the project lies among temporary files.

    There `mlflow run` puts the clone of a git address; its records of trainings, pairs and cells are in MLflow's store
    already, and nothing else of it remains.

    Returns:
        One line that says where they are; None if nothing had to be kept, or the project run is not in the store.
    """
    run = take_project_run()
    if run is None or not project.root.is_relative_to(Path(tempfile.gettempdir()).resolve()):
        return None
    client = Reader(uri := tracking_uri(project.home)).client
    from mlflow.exceptions import MlflowException

    with one_line_errors(uri):
        try:
            client.get_run(run)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # `link_cells` has said so
                return None
            raise
        for name, folder in folders.items():
            client.log_artifacts(run, str(folder), name)
    return f"kept as artifacts of run {run}: {', '.join(folders)}"


def project_note(runs: Sequence[StoredRun]) -> str:
    """Return Markdown of at most 8000 characters: by study and profile, every cell with its barriers and a link."""
    lines: list[str] = []
    left_out = 0
    for (study, profile), group in groupby(sorted(runs, key=_place), key=lambda run: _place(run)[:2]):
        cells = list(group)
        experiment = f"#/experiments/{cells[0].experiment_id}"
        count = counted(len(cells), "cell")
        head = ["", f"**[{study}]({experiment}), profile {profile}**: {count}, barriers in points", "", *_HEAD]
        rows = [_row(run, f"{experiment}/runs/{run.run_id}") for run in cells]
        for block in (head + rows[:1], *([row] for row in rows[1:])):
            if left_out or len("\n".join([*lines, *block])) >= NOTE_LIMIT - _REST:
                left_out += 1
            else:
                lines += block
    rest = ["", f"And {left_out} more cells with the tag `{names.PROJECT_RUN}` of this run."] if left_out else []
    return "\n".join([*lines, *rest, ""])[1:]


def _place(run: StoredRun) -> tuple[str, ...]:
    return tuple(run.tags.get(tag, "") for tag in (names.STUDY, names.PROFILE, names.ROW, names.COLUMN))


def _row(run: StoredRun, link: str) -> str:
    name = f"{run.tags.get(names.ROW)} {run.tags.get(names.COLUMN)}"
    metrics = names.renamed(run.metrics)
    barriers = [number(metrics.get(f"barrier/{split}{end}")) for split in ("test", "train") for end in ("", "_line")]
    verdicts = [run.tags.get(f"lmc.verdict.{split}", "none") for split in ("test", "train")]
    return f"| [{name}]({link}) | {' | '.join(barriers + verdicts)} |"

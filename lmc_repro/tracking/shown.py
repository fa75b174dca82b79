"""What of the store `lmc ui` shows: the experiments of a study and their pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock

from lmc_repro.errors import LmcError
from lmc_repro.tracking import names
from lmc_repro.tracking.environment import database_path, import_mlflow, tracking_uri
from lmc_repro.tracking.failures import check_database, one_line_errors
from lmc_repro.tracking.index import PAGE
from lmc_repro.tracking.view import ORDER, PAIRS, publish_view

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

    from lmc_repro.project import Project


@dataclass(frozen=True)
class Shown:
    """An experiment, and its pairs' run ids, the largest test barrier first, those without one last."""

    name: str
    experiment_id: str
    pairs: tuple[str, ...]


def find_shown(project: Project, study: str | None, row: str | None, column: str | None) -> tuple[str, list[Shown]]:
    """Return the store's address and its experiments of `study` (None: all of ours), with the pairs of a row or column.

    Each experiment gets its view if it lacks it. LmcError if there is no store or it holds nothing of that name.
    """
    uri = tracking_uri(project.root)
    first = f"run `dvc repro` or `lmc run {study or 'table1'}` first"
    if (database := database_path(uri)) is not None:
        if not database.is_file():
            raise LmcError(f"{database}: no MLflow store here yet; {first}")
        check_database(database)
    import_mlflow(uri)
    from mlflow import MlflowClient

    project.working.mkdir(parents=True, exist_ok=True)
    with one_line_errors(uri), FileLock(project.working / "mlflow.lock"):
        client = MlflowClient(tracking_uri=uri)
        ours = client.search_experiments(filter_string=f"name LIKE '{names.EXPERIMENT_PREFIX}%'", order_by=["name"])
        if not ours:
            raise LmcError(f"{uri}: holds no study; {first}")
        chosen = [e for e in ours if study in (None, _study(e))]
        if not chosen:
            raise LmcError(f"STUDY: found {study!r}, the store holds: {', '.join(sorted(set(map(_study, ours))))}")
        for experiment in chosen:
            publish_view(client, experiment)
        found = {experiment: _pairs(client, experiment) for experiment in chosen}
    every = [run for runs in found.values() for run in runs]
    for option, tag, wanted in (("--row", names.ROW, row), ("--column", names.COLUMN, column)):
        if wanted is not None and wanted not in (there := {run.data.tags.get(tag, "") for run in every}):
            raise LmcError(f"{option}: found {wanted!r}, the pairs have: {', '.join(sorted(there)) or 'none, yet'}")
    wanted_tags = {tag: value for tag, value in ((names.ROW, row), (names.COLUMN, column)) if value is not None}
    return uri, [
        Shown(
            experiment.name,
            experiment.experiment_id,
            tuple(run.info.run_id for run in runs if wanted_tags.items() <= run.data.tags.items()),
        )
        for experiment, runs in found.items()
    ]


def narrowed(query: str, row: str | None, column: str | None) -> str:
    """Return a search for what `query` finds (empty: all) in a row or column."""
    tags = ((names.ROW, row), (names.COLUMN, column))
    return " and ".join([query] * bool(query) + [f"tags.`{tag}` = '{value}'" for tag, value in tags if value])


def _study(experiment: Experiment) -> str:
    return str(experiment.name).removeprefix(names.EXPERIMENT_PREFIX).rpartition("/")[0]


def _pairs(client: MlflowClient, experiment: Experiment) -> list[Run]:
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], PAIRS, max_results=PAGE, order_by=[f"{ORDER} DESC"], page_token=token
        )
        runs += page
        if not (token := page.token):
            return runs

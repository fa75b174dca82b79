"""A project opened by each of its doors, one after another: `dvc repro`, `mlflow run .`, the server of MLflow's UI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from browsing import served
from project_run import mlflow_run
from tiny_project import Finished, TinyProject


@dataclass(frozen=True)
class Doors:
    """The project, what the first two doors printed, the second's run, and the third's links; its server answers."""

    project: TinyProject
    repro: str
    mlflow_run: str
    run_id: str
    links: dict[str, str]

    @property
    def base(self) -> str:
        """The server's address."""
        return _place(self.links["view"])[0]

    @property
    def experiment(self) -> str:
        """The id of the study's experiment."""
        return _place(self.links["view"])[1]

    @property
    def results(self) -> Path:
        return self.project.root / "results" / "table1"

    def search(self, kind: str) -> list[dict[str, Any]]:
        """Return the runs of a kind as MLflow's pages get them, by its REST API; params, metrics and tags as dicts."""
        return runs_behind(self.links["view"], kind)


def runs_behind(link: str, kind: str) -> list[dict[str, Any]]:
    """Return the runs of a kind in the experiment of a link, as MLflow's pages get them; see `Doors.search`."""
    base, experiment = _place(link)
    query = {"experiment_ids": [experiment], "filter": f"tags.`lmc.kind` = '{kind}'", "max_results": 1000}
    address = f"{base}/api/2.0/mlflow/runs/search"
    request = Request(address, json.dumps(query).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        runs = json.load(answer)["runs"]
    parts = ("params", "metrics", "tags")
    return [run["info"] | {part: _values(run["data"], part) for part in parts} for run in runs]


def _place(link: str) -> tuple[str, str]:
    """Return the server's address and the experiment's id."""
    return link.partition("/#/")[0], urlsplit(link).fragment.split("/")[2]


@contextmanager
def open_doors(finished: Finished, root: Path) -> Iterator[Doors]:
    """Copy the project that `dvc repro` has finished, and open the other doors in turn."""
    project = finished.copy(root)
    printed, run_id = mlflow_run(project, "-P", "study=table1")
    with served(project.start, "table1") as links:
        yield Doors(project, finished.printed, printed, run_id, links)


def _values(data: dict[str, Any], part: str) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in data.get(part, [])}

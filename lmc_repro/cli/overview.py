"""The state of each study and exhibit: cells run of those planned, from results alone and without torch and MLflow."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.common.project import Project
from lmc_repro.config.expand import Choice, NoCells, plan_study
from lmc_repro.config.params import Params


@dataclass(frozen=True)
class State:
    """A study or exhibit: its cells that have results, those planned, and the verdicts on test of the former.

    `other` counts cells with results of other settings than params.yaml's; `where` is the folder that was read, None
    where there are no results, and `written` the local time of its last change. `remark` says why no more is known.
    """

    key: str
    kind: str
    title: str
    planned: int = 0
    done: int = 0
    other: int = 0
    verdicts: dict[str, int] | None = None
    where: str | None = None
    written: str | None = None
    remark: str | None = None

    def said(self) -> str:
        """Return the state as one line."""
        words = [f"{self.done} of {self.planned} cells" if self.kind == "study" else "exhibit"]
        words += [f"{count} {verdict}" for verdict, count in (self.verdicts or {}).items()]
        words += [f"{self.other} of other settings"] if self.other else []
        words += [self.remark] if self.remark else []
        words += [f"{self.where}, {self.written}"] if self.where else []
        return f"{', '.join(words)}  ({self.title})"


def study_state(project: Project, params: Params, study: str, profile: str) -> State:
    """Return the state of a study under a profile: of results/, or of out/ where that has none of the profile."""
    title = params.studies[study].title
    try:
        plan = plan_study(params, study, Choice(profile=profile))
    except NoCells:
        return State(study, "study", title, remark="left out by this profile")
    except LmcError as error:
        return State(study, "study", title, remark=str(error))
    planned = {cell.key: (cell.config, len(cell.pairs)) for cell in plan.cells}
    for folder in (project.results / study, project.out / profile / study / "results" / study):
        if not (folder / "cells.json").is_file():
            continue
        try:
            made: dict[str, Any] = read_json(folder / "runs.json", f"run `lmc compare {study}`")
            cells: list[dict[str, Any]] = read_json(folder / "cells.json", f"run `lmc compare {study}`")
            if made["profile"] != profile:
                continue
            found = {cell["cell"]: (cell["config"], len(cell["pairs"])) for cell in cells}
            same = [cell for cell in cells if _plain(planned.get(cell["cell"])) == list(found[cell["cell"]])]
            verdicts = Counter(str(cell["test"]["verdict"] or "without verdict") for cell in same)
        except (LmcError, KeyError, TypeError, AttributeError) as error:
            remark = str(error) if isinstance(error, LmcError) else "damaged results; `lmc verify` names the file"
            return State(study, "study", title, len(planned), remark=remark)
        where = str(folder.relative_to(project.root))
        counts = dict(sorted(verdicts.items()))
        written = _written(folder / "cells.json")
        return State(study, "study", title, len(planned), len(same), len(cells) - len(same), counts, where, written)
    return State(study, "study", title, len(planned), remark=f"no results; `lmc run {study}`")


def exhibit_state(project: Project, params: Params, key: str) -> State:
    """Return the state of an exhibit."""
    title, path = params.exhibits[key].title, project.results / key / "exhibit.json"
    if not path.is_file():
        return State(key, "exhibit", title, remark=f"no results; `lmc exhibit {key}`")
    return State(key, "exhibit", title, where=str(path.parent.relative_to(project.root)), written=_written(path))


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    return json.loads(json.dumps(value))


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")

"""All that a report is made of: the studies as they were read back, exhibits, and what was not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmc_repro.config.exhibit import Claim
from lmc_repro.report.model import Section, Table
from lmc_repro.report.planned import NotRun, Planned, cells_not_run
from lmc_repro.report.statements import Finding, findings
from lmc_repro.report.table import StudyTable, study_table
from lmc_repro.report.values import ValuePlot, value_plot
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import PaperTable


@dataclass(frozen=True)
class Asked:
    """What is known of a study besides its results.

    `paper` and `claim` are the paper's numbers and statements; `planned` the cells that there are to be under
    `profile`, and `unplanned` the reason where they cannot be.
    """

    title: str
    paper: PaperTable = field(default_factory=dict)
    claim: Claim | None = None
    profile: str | None = None
    planned: tuple[Planned, ...] = ()
    unplanned: str | None = None


@dataclass(frozen=True)
class StudyPart:
    """A study in the report; `table` is None where there are no results."""

    study: str
    title: str
    table: StudyTable | None
    claim: Claim | None
    findings: tuple[Finding, ...]
    plot: ValuePlot | None
    not_run: tuple[NotRun, ...]

    @property
    def section_key(self) -> str:
        """The name of its section in links."""
        return f"study-{self.study}"


Shown = tuple[str, str, tuple[Table, ...]]
"""One sentence on the outcome and whether it is the paper's, what is shown, and its tables."""


@dataclass(frozen=True)
class Exhibit:
    """A table or figure that needs no training of its own, as a section.

    `outcome` is one sentence of the overview; `data` is what `lmc report --json` prints of it.
    """

    key: str
    outcome: str
    section: Section
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """The whole report."""

    parts: tuple[StudyPart, ...]
    exhibits: tuple[Exhibit, ...] = ()

    @property
    def tables(self) -> list[StudyTable]:
        """The grids of the studies that have results."""
        return [part.table for part in self.parts if part.table is not None]

    @property
    def not_run(self) -> list[NotRun]:
        """Every cell that was not run, study by study."""
        return [cell for part in self.parts for cell in part.not_run]


def read_report(results: Path, studies: Mapping[str, Asked], exhibits: Sequence[Exhibit] = ()) -> Report:
    """Return the report of results/<study>/; LmcError on damaged files. A study without results is not run."""
    return Report(tuple(_part(results / study, study, asked) for study, asked in studies.items()), tuple(exhibits))


def _part(folder: Path, study: str, asked: Asked) -> StudyPart:
    table = study_table(read_study(folder), asked.paper) if has_results(folder) else None
    return part_of(study, table, asked)


def part_of(study: str, table: StudyTable | None, asked: Asked) -> StudyPart:
    """Return a study's part of the report, with what follows from its table."""
    # Results of another profile than the plan's say nothing about what is missing.
    fits = table is None or asked.profile == table.results.profile
    return StudyPart(
        study=study,
        title=table.results.title if table else asked.title,
        table=table,
        claim=asked.claim,
        findings=tuple(findings(table, asked.claim)) if table else (),
        plot=value_plot(table) if table else None,
        not_run=tuple(cells_not_run(study, asked.title, asked.planned, table, asked.unplanned)) if fits else (),
    )

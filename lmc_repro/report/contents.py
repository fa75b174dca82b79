"""The contents of a report: the studies as read back, exhibits, and cells not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lmc_repro.common.words import counted
from lmc_repro.config.exhibit import Claim
from lmc_repro.config.reported import of_paper
from lmc_repro.report.agreement import Finding, findings, tally
from lmc_repro.report.grid import LEFT_OUT, NO_VERDICT, NONE, NOT_RUN, Entry, StudyTable, study_table
from lmc_repro.report.model import Section, Table
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import PaperTable

GFLOPS = 100.0
"""Of the core that hours are predicted for (float32 products): a round number, so that pages do not depend on who
prints them."""

OURS = "Ours"
"""In the overview, what is no exhibit of the paper."""

EXHIBITS = (
    ("Table 1", "linear networks", "table1"),
    ("Table 2", "optimizer and warm-up", "table2"),
    ("Table 3", "parameter counts", "table3"),
    ("Table 4", "test accuracies", "table4"),
    ("Figure 1", "from linear networks to ReLU", "figure1"),
    ("Figure 2", "locality, weight sharing, attention", "figure2"),
    ("Figure 3", "harder tasks", "figure3"),
    ("Figure 4", "batches of loaders", "figure4"),
    ("Figure 5", "ADAM on MLPs", "figure5"),
    ("Text", "logistic regression", "logistic"),
    ("Appendix A", "control of the SGD noise (Figure 4)", "figure4"),
    ("Appendix C", "ablations", "appendix_c"),
    ("Appendix D", "a convolution as one linear layer", "tests/models/test_dense_equivalent.py"),
    ("Appendix E", "data sets of growing difficulty (Figure 3)", "figure3"),
)
"""The paper's exhibit, its subject, and the study or exhibit of this project that remakes it (or a test)."""


@dataclass(frozen=True)
class Planned:
    """A cell of a study under a profile, and what it costs: FLOPs of its runs, hours of one core."""

    row: str
    column: str
    label: str
    paper: dict[str, float] | None
    model: str
    runs: int
    flops: float
    hours: float


@dataclass(frozen=True)
class NotRun:
    """A cell that was not run, or (without costs) all of a study that cannot be planned."""

    study: str
    title: str
    label: str
    flops: float | None
    hours: float | None
    reason: str


@dataclass(frozen=True)
class Asked:
    """Facts of a study besides its results.

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
    """A study in the report, with what follows from its table; `table` is None where there are no results."""

    study: str
    table: StudyTable | None
    asked: Asked

    @property
    def title(self) -> str:
        """The title of its results, or of params.yaml."""
        return self.table.results.title if self.table else self.asked.title

    @property
    def section_key(self) -> str:
        """The name of its section in links."""
        return f"study-{self.study}"

    @property
    def of_paper(self) -> bool:
        """Whether the paper has the study, so that the report may speak of the paper."""
        cells = self.table.results.cells if self.table else ()
        return of_paper(self.study, (*self.asked.paper.values(), *(cell.paper for cell in cells)))

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The paper's statements, checked against its cells."""
        return findings(self.table, self.asked.claim) if self.table else ()

    @property
    def outcome(self) -> str:
        """The outcome in one sentence: verdicts on test, then statements."""
        if self.table is None:
            return f"{NOT_RUN.capitalize()}: no results."
        cells, judged = cells_judged(self.table.entries)
        data = ", ".join(dataset.name for dataset in self.table.results.datasets)
        statements = f"; statements: {tally(self.findings)}" if self.findings else ""
        return f"{cells}{f' on {data}' if data else ''}: {judged}{statements}."

    @property
    def not_run(self) -> list[NotRun]:
        """The planned cells that the results lack, and why."""
        table, asked = self.table, self.asked
        if table is not None and (asked.unplanned or asked.profile != table.results.profile):
            return []  # results of another profile than the plan's say nothing about what is missing
        if asked.unplanned is not None:
            return [NotRun(self.study, asked.title, "every cell", None, None, asked.unplanned)]
        done = {(cell.row, cell.column) for cell in table.results.cells} if table else set()
        reasons = table.results.not_run if table else {}
        other = "not chosen" if table else f"no results; `lmc run {self.study}`"
        return [
            NotRun(self.study, asked.title, c.label, c.flops, c.hours, reasons.get(f"{c.row}--{c.column}", other))
            for c in asked.planned
            if (c.row, c.column) not in done
        ]


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
    def of_paper(self) -> bool:
        """Whether it holds a study or an exhibit of the paper."""
        return bool(self.exhibits) or any(part.of_paper for part in self.parts)

    @property
    def not_run(self) -> list[NotRun]:
        """Every cell that was not run, study by study."""
        return [cell for part in self.parts for cell in part.not_run]


def read_report(results: Path, studies: Mapping[str, Asked], exhibits: Sequence[Exhibit] = ()) -> Report:
    """Return the report of results/<study>/; LmcError on damaged files. A study without results is not run."""
    parts = []
    for study, asked in studies.items():
        there = has_results(results / study)
        parts.append(StudyPart(study, study_table(read_study(results / study), asked.paper) if there else None, asked))
    return Report(tuple(parts), tuple(exhibits))


@dataclass(frozen=True)
class Line:
    """A line of the overview; `key` is a study or an exhibit of the report, None where it has neither."""

    exhibit: str
    subject: str
    key: str | None
    place: str
    outcome: str


def overview(report: Report) -> list[Line]:
    """Return the paper's exhibits in its order where the report has any of them, then what is ours alone."""
    made = {part.study: (part.title, part.outcome) for part in report.parts}
    made |= {exhibit.key: (exhibit.section.title, exhibit.outcome) for exhibit in report.exhibits}
    lines: list[Line] = []
    named: dict[str, str] = {}
    for exhibit, subject, key in EXHIBITS if report.of_paper else ():
        said = f"{NOT_RUN.capitalize()}: not in this report."
        if key in made:
            said = f"See {named[key]}." if key in named else made[key][1]
        elif key.startswith("tests/"):
            said = "A test: its weights as one linear layer give equal values and gradients."
        lines.append(Line(exhibit, subject, key if key in made else None, key, said))
        named.setdefault(key, exhibit)
    return lines + [Line(OURS, title, key, key, said) for key, (title, said) in made.items() if key not in named]


def cells_judged(entries: Iterable[Entry]) -> tuple[str, str]:
    """Return the number of cells, and how they are judged on test: `2 connected, 1 not run (1 left out)`."""
    counts = Counter(entry.outcome for entry in entries)
    left = f" ({counts[LEFT_OUT]} {LEFT_OUT})" if counts[LEFT_OUT] else ""
    words = ("connected", "disconnected", "unequal ends", NO_VERDICT, NOT_RUN)
    judged = ", ".join(f"{counts[word]} {word}" for word in words if counts[word])
    return counted(sum(counts[word] for word in words), "cell"), judged + left


def costs(flops: float | None, hours: float | None) -> tuple[str, str]:
    """Return FLOPs and hours of one core as text, hours with one decimal below 10."""
    hour = NONE if hours is None else f"{hours:.1f}" if hours < 10 else f"{hours:.0f}"
    return NONE if flops is None else f"{flops:.1e}", hour


def total(cells: Iterable[NotRun]) -> str:
    """Return what all of them cost, in words; runs that cells share are counted in each."""
    known = [(cell.flops, cell.hours) for cell in cells if cell.flops is not None and cell.hours is not None]
    spent = sum(hours for _, hours in known)
    flops, hours = costs(sum(flops for flops, _ in known), spent)
    time = "under a minute" if 60 * spent < 1 else f"about {hours} hours"
    return f"{counted(len(known), 'cell')}, {flops} FLOPs, {time} of one core ({GFLOPS:g} GFLOP/s)"

"""The cells that there are to be, and what the missing ones would cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmc_repro.report.table import StudyTable
from lmc_repro.report.words import NONE, cells_text

GFLOPS = 100.0
"""Of the core that hours are predicted for (float32 products): a round number, so that pages do not depend on who
prints them."""


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


def cells_not_run(
    study: str, title: str, planned: Sequence[Planned], table: StudyTable | None, why: str | None = None
) -> list[NotRun]:
    """Return the planned cells that the results lack, and why; `why` stands for a plan that there cannot be."""
    if why is not None:
        return [] if table else [NotRun(study, title, "every cell", None, None, why)]
    done = {(cell.row, cell.column) for cell in table.results.cells} if table else set()
    reasons = table.results.not_run if table else {}
    other = "not chosen" if table else f"no results; `lmc run {study}`"
    return [
        NotRun(study, title, cell.label, cell.flops, cell.hours, reasons.get(f"{cell.row}--{cell.column}", other))
        for cell in planned
        if (cell.row, cell.column) not in done
    ]


def total(cells: Iterable[NotRun]) -> str:
    """Return what all of them cost, in words; runs that cells share are counted in each."""
    known = [(cell.flops, cell.hours) for cell in cells if cell.flops is not None and cell.hours is not None]
    flops, hours = sum(flops for flops, _ in known), sum(hours for _, hours in known)
    return (
        f"{cells_text(len(known))}, {flops:.1e} FLOPs, about {hours_text(hours)} hours of one core ({GFLOPS:g} GFLOP/s)"
    )


def hours_text(hours: float) -> str:
    """Return hours with one decimal below 10."""
    return f"{hours:.1f}" if hours < 10 else f"{hours:.0f}"


def costs(flops: float | None, hours: float | None) -> tuple[str, str]:
    """Return FLOPs and hours of one core as text."""
    return NONE if flops is None else f"{flops:.1e}", NONE if hours is None else hours_text(hours)

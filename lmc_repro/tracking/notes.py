"""The notes that MLflow shows above an experiment and a cell's run, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmc_repro.barriers.curve import SPLITS

if TYPE_CHECKING:
    from lmc_repro.barriers.results import CellResult
    from lmc_repro.schemas.plan import Cell, StudyPlan


def experiment_note(plan: StudyPlan) -> str:
    """Return what the study asks and how to read its runs."""
    analogue = "\n\nAn analogue on other data, not a reproduction." if plan.profile_config.analogue else ""
    return f"""**{plan.study_config.title}**, profile {plan.profile}: {plan.profile_config.title}

{plan.study_config.question}{analogue}

A run of kind `cell` is one entry of the table; below it stand its trainings (`train`) and their pairs (`pair`).
Errors and barriers are in percentage points, losses in nats. `barrier/test` is the maximum of the error on the path \
minus the mean of its ends.

Filter by ``tags.`lmc.kind` = 'pair'`` and sort by a metric to lay the `path/` curves of all pairs over one another: \
their step is 1000 alpha, and `path/alpha` is there as an x axis.
"""


def cell_note(cell: Cell, result: CellResult) -> str:
    """Return a cell's summary beside the paper's number."""
    lines = [
        f"**{cell.row_label}, {cell.column_label}**: barriers of {len(result.pairs)} {cell.pair_kind} pairs, in points",
        "",
        "| split | mean | line | median | range | n | verdict | flags | paper |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for split in SPLITS:
        s = result.summary[split]
        spread = "-" if s.min is None or s.max is None else f"{s.min:.2f} to {s.max:.2f}"
        cells = [split, _number(s.mean), _number(s.line_mean), _number(s.median), spread, str(len(s.values))]
        cells += [s.verdict or "none", ", ".join(s.flags) or "-", _number((cell.paper or {}).get(split))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

"""The cells of a study as one table, for a paper or for another program."""

from __future__ import annotations

from itertools import product

from lmc_repro.report.grid import NO_VERDICT, ORDER, StudyTable, points
from lmc_repro.report.model import Table


def export_table(table: StudyTable, joined: bool = True) -> Table:
    """Return a row per cell with results and split: barrier of Eq. 1 and line barrier L in points, n, verdict.

    `joined`: mean and standard deviation are one value, as a reader takes them; otherwise two columns for programs.
    """
    rows = []
    for entry, split in product(table.entries, ORDER):
        if entry.cell is not None:
            s = entry.cell.summary[split]
            mean, sd = points(s.mean), points(s.sd)
            value = (mean if s.sd is None else f"{mean} ± {sd}",) if joined else (mean, sd)
            place, n = (entry.row.label, entry.column.label, split), str(len(s.values))
            rows.append((*place, *value, points(s.line_mean), n, s.verdict or NO_VERDICT))
    caption = (
        f"{table.results.title}. Barrier (Eq. 1{', mean ± standard deviation' if joined else ''} over n trainer seeds) "
        "and line barrier L, in percentage points."
    )
    values = ("barrier",) if joined else ("barrier", "sd")
    return Table(caption, ("row", "column", "split", *values, "L", "n", "verdict"), tuple(rows))

"""What a table or a figure shows, and whether ours agrees with the paper: one sentence each, for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lmc_repro.barriers.curve import SplitName
from lmc_repro.report.agreement import OUTCOMES, VERDICTS, Compared, compared, two_by_two, unequal_ends
from lmc_repro.report.figures import panel_axes
from lmc_repro.report.plots import ValuePlot
from lmc_repro.report.statements import Finding, tally
from lmc_repro.report.table import Entry, StudyTable
from lmc_repro.report.words import LEFT_OUT, NO_VERDICT, NOT_RUN, points
from lmc_repro.schemas.exhibit import Claim

ORDER: tuple[SplitName, SplitName] = ("test", "train")
JUDGED = ("connected", "disconnected", "unequal ends", NO_VERDICT, NOT_RUN)
"""What `outcome` returns of the cells of a profile, in the order of a sentence."""

NOT_COUNTED = "An analogue: it counts no agreement with the paper."
OTHER = "not counted (other data or epochs than the paper's, or the same runs counted before)"


def table_shows(table: StudyTable) -> str:
    """Return what a study's grid holds: how many of its cells, and how they are judged on test."""
    counts = Counter(outcome(entry) for entry in table.entries)
    left = counts.pop(LEFT_OUT, 0)
    judged = ", ".join(f"{counts[name]} {name}" for name in JUDGED if counts[name]) + (
        f" ({left} {LEFT_OUT})" if left else ""
    )
    data = ", ".join(d.title for d in table.results.datasets) or "no data"
    return (
        f"Mean barrier in points, test / train, of {_cells(sum(counts.values()))} on {data}; "
        f"on test: {judged} (threshold {table.results.threshold:g} points)."
    )


def figure_shows(table: StudyTable) -> str:
    """Return what a study's curves are, and where the highest of its mean barriers stands."""
    means = [(found, e) for e in table.entries if e.cell and (found := e.cell.summary["test"].mean) is not None]
    shows = (
        "Error in percent along the straight line from one network (alpha 0) to the other (alpha 1) at the last epoch: "
        "a panel a cell, a line a pair, all on the same axes. A flat line is a connected pair, a hill is a barrier."
    )
    rows, columns = panel_axes(table)
    if (drawn := len(rows) * len(columns)) < len(table.entries):
        shows += f" Drawn are {drawn} of {_cells(len(table.entries))}; the details have all of them."
    if not means:
        return shows
    highest, where = max(means, key=lambda found: found[0])
    return f"{shows} The highest mean test barrier is {points(highest)} points ({where.label})."


def values_show(plot: ValuePlot, table: StudyTable) -> str:
    """Return what the plot that a study asks for is made of, and between which values its means lie."""
    what = (
        "Barrier in points" if plot.value == "barrier" else "Barrier as a share of the test accuracy (Eq. 2, percent)"
    )
    over = "over training" if plot.over_training else f"by {plot.x_label}"
    spread = "band" if plot.over_training else "bar"
    said = (
        f"{what} {over}, test above train: a line of means over trainer seeds, a light {spread} from the smallest to "
        "the largest, a dot a seed"
    )
    said += f"; the dotted line is the threshold, {plot.threshold:g} points." if plot.threshold is not None else "."
    if plot.over_training:
        return (
            f"{said} Where an end is not trained yet there is no barrier, and no mark; the "
            "last marks before the end are in the details."
        )
    points_of = [p for panel in plot.panels["test"] for series in panel.series for p in series.points if p.seeds]
    low, high = min(p.mean for p in points_of), max(p.mean for p in points_of)
    return f"{said} The means on test lie between {points(low)} and {points(high)}."


def statements_show(claim: Claim, found: Sequence[Finding]) -> str:
    """Return the paper's claim, and how its statements come out."""
    said = f"The paper: {claim.text}."
    if not found:
        return said
    here = "" if any(finding.counted for finding in found) else " An analogue or another length counts no agreement."
    return f"{said} As ordered statements: {tally(found)}.{here}"


def agrees(table: StudyTable, split: SplitName = "test") -> str:
    """Return whether a study's verdicts are the paper's: counts by the paper's verdict, never one percentage."""
    if table.results.analogue:
        return NOT_COUNTED
    if not table.with_paper:
        return "The paper prints no number for it: no agreement is counted."
    cells = compared([table], split)
    counts = two_by_two(cells)
    parts = []
    for paper in VERDICTS:
        ours = counts[paper]
        if total := sum(ours.values()):
            found = ", ".join(f"{ours[name]} {name}" for name in OUTCOMES if ours[name])
            parts.append(f"of {_cells(total)} {paper} in the paper ours are {found}")
    if not parts:
        return "No cell has the paper's data set and epochs: no agreement is counted."
    return " ".join([f"Agreement with the paper on {split}: {'; '.join(parts)}.", unequal_ends(cells)]).rstrip()


def cell_agrees(entry: Entry, table: StudyTable) -> str:
    """Return whether one cell's verdicts are the paper's, both splits."""
    if table.results.analogue:
        return NOT_COUNTED
    if entry.paper is None:
        return "The paper prints no number for this cell: no agreement is counted."
    parts = []
    for split in ORDER:
        found = [c for c in compared([table], split) if c.entry is entry]
        parts.append(f"{split}: {_judged(found[0]) if found else OTHER}")
    return f"Agreement with the paper, {'; '.join(parts)}."


def outcome(entry: Entry) -> str:
    """Return an entry's verdict on test, or why there is none, in a word or two."""
    if entry.cell is None:
        return LEFT_OUT if entry.left_out else NOT_RUN
    return entry.verdict("test") or NO_VERDICT


def _judged(found: Compared) -> str:
    verdicts = f"paper {found.paper}, ours {found.ours}"
    if found.ours not in VERDICTS:
        return f"{verdicts} (neither agreement nor disagreement)"
    ends = "; unequal ends" if found.unequal_ends else ""
    return f"{verdicts} ({'disagrees' if found.disagrees else 'agrees'}{ends})"


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"

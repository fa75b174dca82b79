"""A study's grid: every cell, run or not, the paper's number beside it; and the words and numbers of every medium."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from lmc_repro.barriers.curve import SplitName
from lmc_repro.barriers.results import CellSummary, Verdict
from lmc_repro.barriers.verdict import judge_barrier
from lmc_repro.config.catalog import CATALOG
from lmc_repro.config.own_code import short_name
from lmc_repro.models.registry import begins_as, network
from lmc_repro.report.model import Table
from lmc_repro.results.schema import CONVERGED_PERCENT, NOT_CONVERGED, Axis, CellRecord, PaperTable, StudyResults

NOT_RUN = "not run"
LEFT_OUT = "left out"
NO_VERDICT = "no verdict"

ORDER: tuple[SplitName, SplitName] = ("test", "train")
"""The splits as the paper's tables have them."""

PAPER = "paper"
"""The paper's numbers, which are never ours; `paper_name` adds the data that they were measured on."""

NONE = "-"
PAIRS = {
    "noise": "same initialisation, other SGD noise",
    "init": "other initialisation, other SGD noise",
    "order": "same initialisation and augmentation draws, other order",
    "augmentation": "same initialisation and order, other augmentation draws",
    "spawn": "one trajectory up to an epoch, other SGD noise after it",
    "snapshots": "one run at two epochs",
}

FLAGS = {
    "provisional": ("P", "provisional: fewer than 3 trainer seeds"),
    "borderline": ("B", "borderline: a mean that the verdict rests on lies within one sd of the threshold"),
    "unstable": ("U", "unstable: the verdict changes among the last five evaluations"),
    "undertrained": ("T", "undertrained: an end has less train accuracy than halfway from chance to 1, or as set"),
    "nothing_to_lose": (
        "C",
        "nothing to lose: the ends are close to chance, less than twice the threshold above it; no verdict by points, "
        "the normalised barrier stands for it",
    ),
    NOT_CONVERGED: (
        "N",
        f"not converged: a ReLU network under SGD on MNIST ends with a train error above {CONVERGED_PERCENT:g} %",
    ),
}

GLOSSARY = {
    "barrier (Eq. 1)": (
        "the largest error on the path minus the mean error of its two ends, in percentage points. A cell shows the "
        "mean over its trainer seeds, test / train, then the range; n is the number of trainer seeds"
    ),
    "curves": (
        "the error along the straight line from one network (α 0) to the other (α 1), a curve per pair, test solid, "
        "train dashed, grey without a verdict; all curves of a study share their scale"
    ),
    "L, line": "the largest rise above the chord between the ends",
    "verdict": (
        "`connected` if the mean barrier is below the threshold; `disconnected` (marked where either split is) if the "
        "mean line barrier is not below it either; else `unequal ends`: one end is worse than the other, and there is "
        "no hill between them. The strict verdict asks every pair; it is shown where it differs (`mixed`: the pairs do "
        "not agree)"
    ),
    NO_VERDICT: (
        "an endpoint diverged or collapsed (it is no better than a constant predictor, and its barrier of 0 would pass "
        "for connected), or the ends are so close to chance that there is nothing to lose"
    ),
    "floor": "half the difference of the ends; Eq. 1 cannot be lower",
    "middle": "the error at α 0.5 minus the mean of the ends; negative where the middle is better",
    "normalised": "the barrier as a share of the test accuracy (Eq. 2); ordered, not judged",
    "error of the ends": "the mean error of all endpoints, collapsed ones too",
    "sd": "standard deviation (n - 1), from three trainer seeds on",
    "statement": (
        "what the paper says without numbers. B is the test barrier, N the normalised one, A = |N_test - N_train|. A "
        "seed is in favour if its own pair shows the order. Only on the paper's data and length does a statement hold "
        "or not hold; elsewhere it is seen or not seen. One that rests on unequal ends is not decided"
    ),
    PAPER: "what the paper prints, with its data set. Never ours",
    **dict(FLAGS.values()),
}
"""How to read a report: every word and every flag's letter, with its meaning."""


@dataclass(frozen=True)
class Entry:
    """One place of the grid. `cell` is None where it was not run; `paper` in points, None where nothing is printed.

    `left_out`: the profile has no such cell, for a reason that the study gives once.
    """

    row: Axis
    column: Axis
    cell: CellRecord | None
    paper: Mapping[str, float] | None
    left_out: bool = False

    @property
    def label(self) -> str:
        """The cell's name for people."""
        return f"{self.row.label}, {self.column.label}"

    @property
    def n(self) -> int:
        """Trainer seeds with a barrier: pairs whose endpoints are not trained have none."""
        return len(self.cell.summary["test"].values) if self.cell else 0

    @property
    def outcome(self) -> str:
        """The verdict on test, or why there is none, in a word or two."""
        if self.cell is None:
            return LEFT_OUT if self.left_out else NOT_RUN
        return self.verdict("test") or NO_VERDICT

    def mean(self, split: SplitName) -> float | None:
        """Our mean barrier in points, None where there is none."""
        return self.cell.summary[split].mean if self.cell else None

    def verdict(self, split: SplitName) -> Verdict | None:
        """Our verdict, None where there is none."""
        return self.cell.summary[split].verdict if self.cell else None

    def paper_verdict(self, split: SplitName, threshold: float) -> Verdict | None:
        """The verdict on the paper's number under the same threshold."""
        return judge_barrier(self.paper[split], threshold) if self.paper else None


@dataclass(frozen=True)
class StudyTable:
    """The grid of a study, row by row."""

    results: StudyResults
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    entries: tuple[Entry, ...]

    @property
    def with_paper(self) -> bool:
        """Whether the paper prints any number of this grid."""
        return any(entry.paper is not None for entry in self.entries)

    def narrowed(self, kept: Callable[[Entry], object]) -> StudyTable:
        """The rows and columns that hold entries that are kept."""
        places = [(entry.row, entry.column) for entry in self.entries if kept(entry)]
        rows, columns = ({place[i] for place in places} for i in (0, 1))
        there = tuple(entry for entry in self.entries if entry.row in rows and entry.column in columns)
        ordered = (tuple(a for a in self.rows if a in rows), tuple(a for a in self.columns if a in columns))
        return StudyTable(self.results, *ordered, there)

    def line(self, row: Axis) -> tuple[Entry, ...]:
        """The entries of one row, in the order of the columns."""
        return tuple(entry for entry in self.entries if entry.row == row)


def study_table(results: StudyResults, paper: PaperTable | None = None) -> StudyTable:
    """Return the grid of a study.

    `paper`, where given, also fills the paper's numbers of cells that were not run, and adds rows and columns that
    the results do not have. Rows and columns that the profile leaves out are none of the grid.
    """
    paper = paper or {}
    cells = {(cell.row, cell.column): cell for cell in results.cells}
    rows = _axes(results.rows, [row for row, _ in paper])
    columns = _axes(results.columns, [column for _, column in paper])
    entries = []
    for row, column in product(rows, columns):
        cell = cells.get(place := (row.key, column.key))
        out = cell is None and any(part.covers(*place) for part in results.left_out)
        entries.append(Entry(row, column, cell, cell.paper if cell else paper.get(place), out))
    whole = StudyTable(results, rows, columns, tuple(entries))
    return whole.narrowed(lambda entry: not entry.left_out)


def _axes(known: tuple[Axis, ...], keys: list[str]) -> tuple[Axis, ...]:
    labels = {axis.key: axis for axis in known}
    order = dict.fromkeys([*keys, *labels] if set(labels) <= set(keys) else [*labels, *keys])
    return tuple(labels.get(key) or Axis(key, key) for key in order)


def untrained(cell: CellRecord) -> str | None:
    """Return why pairs of a cell have no numbers, in words, or None if all have some."""
    words = ("diverged", "collapsed")
    counts = Counter(next((word for word in words if word in pair.status), "") for pair in cell.pairs)
    found = " and ".join(f"{counts[word]} {word}" for word in words if counts[word])
    return f"of {len(cell.pairs)} pairs {found}" if found else None


def by_seed(values: Iterable[tuple[int, float | None]]) -> dict[int, float]:
    """Return the mean value of each trainer seed, of those that have one: its pairs are dependent."""
    seeds: dict[int, list[float]] = {}
    for seed, value in values:
        if value is not None:
            seeds.setdefault(seed, []).append(value)
    return {seed: statistics.fmean(found) for seed, found in seeds.items()}


def points(value: float | None) -> str:
    """Return a number of percentage points with two decimals."""
    return NONE if value is None else f"{value:.2f}"


def paper_name(results: StudyResults) -> str:
    """Return the heading of the paper's numbers of a study: with the data sets that the study itself names."""
    named = {results.own_dataset(row.key, column.key): None for row in results.rows for column in results.columns}
    titles = [CATALOG[name].title if name in CATALOG else name for name in named if name is not None]
    return f"{PAPER} ({', '.join(titles)})" if titles else PAPER


def spread(summary: CellSummary) -> str:
    """Return the range of the values."""
    return NONE if summary.min is None else f"{points(summary.min)}-{points(summary.max)}"


def both(cell: CellRecord, value: Callable[[CellSummary], str]) -> str:
    """Return a value of both splits, test / train; one dash where neither has it."""
    found = [value(cell.summary[split]) for split in ORDER]
    return NONE if set(found) == {NONE} else " / ".join(found)


def means(cell: CellRecord) -> str:
    """Return our mean barriers, test / train."""
    return both(cell, lambda summary: points(summary.mean))


def paper_numbers(paper: Mapping[str, float] | None) -> str:
    """Return the paper's barriers, test / train."""
    return NONE if paper is None else " / ".join(points(paper[split]) for split in ORDER)


def said(entry: Entry) -> str:
    """Return an entry's means and outcome, or the outcome alone."""
    return f"{means(entry.cell)}, {entry.outcome}" if entry.cell is not None and entry.n else entry.outcome


def verdict(cell: CellRecord) -> str:
    """Return the verdict, with the strict one where it differs, or why there is none beside numbers."""
    found = []
    for summary in (cell.summary[split] for split in ORDER):
        strict = "" if summary.verdict_strict == summary.verdict else f" (strict: {summary.verdict_strict})"
        lost = "" if summary.mean is None else ": nothing to lose"
        found.append(f"{summary.verdict or NO_VERDICT + lost}{strict}")
    return found[0] if found[0] == found[1] else f"test {found[0]}, train {found[1]}"


def pair_kind(cell: CellRecord) -> str:
    """Return in which way the ends of a cell's pairs differ."""
    return PAIRS.get(cell.pair_kind, short_name(cell.pair_kind))


def letter(flag: str) -> str:
    """Return a flag's letter; a flag that this report does not know is shown as it is."""
    return FLAGS[flag][0] if flag in FLAGS else flag


def flags(cell: CellRecord) -> str:
    """Return the letters of the cell's flags; one that holds for one split only names it."""
    found: dict[str, list[str]] = {}
    for split, summary in cell.summary.items():
        for flag in summary.flags:
            found.setdefault(flag, []).append(split)
    several = len(cell.summary)
    return " ".join(letter(f) if len(where) == several else f"{letter(f)}({where[0]})" for f, where in found.items())


def entry_lines(entry: Entry) -> tuple[str, ...]:
    """Return the lines of an entry's place in the grid, the most important first; never the paper's numbers."""
    cell = entry.cell
    if cell is None:
        return (entry.outcome,)
    reason = untrained(cell)
    if entry.n == 0:
        return (NO_VERDICT, reason) if reason else (NO_VERDICT,)
    line = f"L {both(cell, lambda summary: points(summary.line_mean))}"
    about = ", ".join(filter(None, (line, f"n {entry.n}", flags(cell))))
    lines = (means(cell), verdict(cell), about)
    return (*lines, f"not counted: {reason}") if reason else lines


def late_epochs(summary: CellSummary) -> str:
    """Return how the last evaluation epochs judge: `5 connected, 0.20-0.31`."""
    counts = Counter(epoch.verdict or NO_VERDICT for epoch in summary.late)
    values = [epoch.mean for epoch in summary.late if epoch.mean is not None]
    found = [f"{count} {word}" for word, count in counts.items()]
    return ", ".join([*found, f"{points(min(values))}-{points(max(values))}"] if values else found)


def axis_label(axis: Axis, axes: Sequence[Axis]) -> str:
    """Return a row's or a column's name, with its base."""
    base = next((other.label for other in axes if other.key == axis.varies), None)
    return f"{axis.label} (against {base})" if base else axis.label


def heading(results: StudyResults) -> tuple[tuple[str, str], ...]:
    """Return the settings and versions behind the numbers, as (name, value)."""
    models = [cell.config["model"] for cell in results.cells]
    data = [
        f"{d.title} ({d.name}): {d.n_train} training and {d.n_test} test images, {d.classes} classes, "
        f"digest {d.digest[:12]}"
        for d in results.datasets
    ]
    one = [f"{d.name} {100 / d.n_test:.2g} test, {100 / d.n_train:.2g} train" for d in results.datasets]
    out: dict[str, list[str]] = {}
    for part in results.left_out:
        out.setdefault(part.why, []).append(part.label)
    found = {
        "profile": ": ".join(dict.fromkeys((results.profile, results.profile_title))),
        "data": "; ".join(data),
        "resolution": f"one image in points: {'; '.join(one)}",
        "epochs": several(cell.config["epochs"] for cell in results.cells),
        "width": several(width for model in models if (width := model.get("width")) is not None),
        "networks": several((network(m) for m in models if m.get("kind", "mlp") != "mlp"), "; ", ""),
        "init": several(init(cell) for cell in results.cells),
        "pairs": several(map(pair_kind, results.cells)),
        "path": f"{results.points} points, ends included",
        "threshold": f"{results.threshold:g} points",
        "made with": (
            f"device {results.device}, numerics {results.numerics}, torch {results.torch}, training numerics "
            f"{results.training_numerics}, evaluation numerics {results.evaluation_numerics}"
        ),
        "left out": "; ".join(f"{'; '.join(labels)} ({why})" for why, labels in out.items()),
    }
    optional = ("networks", "left out")
    return tuple((name, value) for name, value in found.items() if value or name not in optional)


def init(cell: CellRecord) -> str:
    """Return how a cell's networks were initialised."""
    model = cell.config["model"]
    gain = f" (gain {model['gain']})" if model.get("gain") else ""
    start = f" as {kind}" if (kind := begins_as(model)) else ""
    return f"{model['init']}{gain}{start}"


def several(values: Iterable[Any], between: str = ", ", none: str = NONE) -> str:
    """Return values as text, each once."""
    return between.join(dict.fromkeys(map(str, values))) or none


def export_table(table: StudyTable, joined: bool = True) -> Table:
    """Return a table for papers and programs: barrier of Eq. 1 and line barrier L in points, n, verdict.

    A row per split of each cell with results. `joined`: mean and standard deviation are one value, as a reader takes
    them; otherwise two columns for programs.
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

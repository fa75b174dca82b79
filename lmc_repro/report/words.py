"""The words and numbers of a report, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lmc_repro.barriers.results import CellSummary
from lmc_repro.data.catalog import CATALOG
from lmc_repro.models.names import begins_as, network
from lmc_repro.report.table import Entry, same_for_splits, untrained
from lmc_repro.results.schema import CONVERGED_PERCENT, NOT_CONVERGED, Axis, CellRecord, StudyResults

PAPER = "paper"
"""The paper's numbers, which are never ours; `paper_name` adds the data that they were measured on."""

NONE = "-"
NOT_RUN = "not run"
LEFT_OUT = "left out"
NO_VERDICT = "no verdict"

PAIRS = {"noise": "same initialisation, other SGD noise", "init": "other initialisation, other SGD noise"}

FLAGS = {
    "provisional": ("P", "provisional: fewer than 3 trainer seeds"),
    "borderline": ("B", "borderline: a mean that the verdict rests on lies within one sd of the threshold"),
    "unstable": ("U", "unstable: the verdict changes among the last five marks"),
    "undertrained": ("T", "undertrained: an end has less train accuracy than halfway from chance to 1, or as set"),
    "nothing_to_lose": (
        "C",
        "nothing to lose: the ends are close to chance, less than twice the threshold above it; no verdict by points, "
        "the normalised barrier stands for it",
    ),
    NOT_CONVERGED: (
        "N",
        f"not converged: a ReLU network under SGD on MNIST ends with a train error above {CONVERGED_PERCENT:g} % "
        "(the paper's reach about zero training loss)",
    ),
}


def points(value: float | None) -> str:
    """Return a number of percentage points with two decimals."""
    return NONE if value is None else f"{value:.2f}"


def paper_name(results: StudyResults) -> str:
    """Return the heading of the paper's numbers of a study: with the data sets that the study itself names."""
    named = dict.fromkeys(
        results.own_dataset(row.key, column.key) for row in results.rows for column in results.columns
    )
    titles = [CATALOG[name].title if name in CATALOG else name for name in named if name is not None]
    return f"{PAPER} ({', '.join(titles)})" if titles else PAPER


def left_out(results: StudyResults) -> str | None:
    """Return what the profile leaves out of a study and why; None where that is nothing."""
    by_reason: dict[str, list[str]] = {}
    for part in results.left_out:
        by_reason.setdefault(part.why, []).append(part.label)
    parts = [f"{'; '.join(labels)} ({why})" for why, labels in by_reason.items()]
    return "; ".join(parts) or None


def spread(summary: CellSummary) -> str:
    """Return the range of the values."""
    return NONE if summary.min is None else f"{points(summary.min)}-{points(summary.max)}"


def both(test: str, train: str) -> str:
    """Return both splits, test first as in the paper's tables."""
    return NONE if test == train == NONE else f"{test} / {train}"


def means(cell: CellRecord, bold: str = "") -> str:
    """Return our mean barriers, test / train; `bold` goes around those that are disconnected."""
    found = []
    for summary in (cell.summary["test"], cell.summary["train"]):
        around = bold if summary.verdict == "disconnected" else ""
        found.append(f"{around}{points(summary.mean)}{around}")
    return both(*found)


def line_means(cell: CellRecord) -> str:
    """Return our mean line barriers, test / train."""
    return both(*(points(cell.summary[split].line_mean) for split in ("test", "train")))


def spreads(cell: CellRecord) -> str:
    """Return the ranges over trainer seeds, test / train."""
    return both(*(spread(cell.summary[split]) for split in ("test", "train")))


def paper_numbers(entry: Entry) -> str:
    """Return the paper's barriers, test / train."""
    paper = entry.paper
    return NONE if paper is None else both(points(paper["test"]), points(paper["train"]))


def verdict(cell: CellRecord) -> str:
    """Return the verdict, with the strict one where it differs, or why there is none beside numbers."""
    found = {}
    for split, summary in cell.summary.items():
        strict = "" if summary.verdict_strict == summary.verdict else f" (strict: {summary.verdict_strict})"
        lost = "" if summary.mean is None else ": nothing to lose"
        found[split] = f"{summary.verdict or NO_VERDICT + lost}{strict}"
    return same_for_splits(found)


def flags(cell: CellRecord) -> str:
    """Return the letters of the cell's flags; one that holds for one split only names it."""
    found = []
    for flag in dict.fromkeys(flag for summary in cell.summary.values() for flag in summary.flags):
        where = [split for split, summary in cell.summary.items() if flag in summary.flags]
        found.append(letter(flag) if len(where) == len(cell.summary) else f"{letter(flag)}({where[0]})")
    return " ".join(found)


def letter(flag: str) -> str:
    """Return a flag's letter; a flag that this report does not know is shown as it is."""
    return FLAGS[flag][0] if flag in FLAGS else flag


def entry_lines(entry: Entry, bold: str = "") -> list[str]:
    """Return what stands in an entry's place of the grid, the most telling line first; never the paper's numbers."""
    cell = entry.cell
    if cell is None:
        return [LEFT_OUT if entry.left_out else NOT_RUN]
    reason = untrained(cell)
    if entry.n == 0:
        return [NO_VERDICT, *([reason] if reason else [])]
    marks = flags(cell)
    n = f"n {entry.n}" + (f", {marks}" if marks else "")
    said = [means(cell, bold), f"line {line_means(cell)}", spreads(cell), verdict(cell), n]
    return [*said, f"not counted: {reason}"] if reason else said


def late_marks(summary: CellSummary) -> str:
    """Return how the last marks judge: `5 connected, 0.20-0.31`."""
    counts: dict[str, int] = {}
    for mark in summary.late:
        word = mark.verdict or NO_VERDICT
        counts[word] = counts.get(word, 0) + 1
    values = [mark.mean for mark in summary.late if mark.mean is not None]
    found = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{found}, {points(min(values))}-{points(max(values))}" if values else found


def axis_label(axis: Axis, axes: Sequence[Axis]) -> str:
    """Return a row's or a column's name, with the one that it changes one thing about."""
    base = next((other.label for other in axes if other.key == axis.varies), None)
    return f"{axis.label} (against {base})" if base else axis.label


def heading(results: StudyResults) -> list[tuple[str, str]]:
    """Return what the numbers were made with, as (name, value)."""
    models = [cell.config["model"] for cell in results.cells]
    others = [network(model) for model in models if model.get("kind", "mlp") != "mlp"]
    data = [
        f"{d.title} ({d.name}): {d.n_train} training and {d.n_test} test images, {d.classes} classes, "
        f"digest {d.digest[:12]}"
        for d in results.datasets
    ]
    resolution = "; ".join(f"{d.name} {_one(d.n_test)} test, {_one(d.n_train)} train" for d in results.datasets)
    return [
        ("profile", f"{results.profile}: {results.profile_title}"),
        ("data", "; ".join(data)),
        ("resolution", f"one image in points: {resolution}"),
        ("epochs", _several(cell.config["epochs"] for cell in results.cells)),
        ("width", _several(width for model in models if (width := model.get("width")) is not None)),
        *([("networks", "; ".join(dict.fromkeys(others)))] if others else []),
        ("init", _several(init(cell) for cell in results.cells)),
        ("pairs", _several(PAIRS.get(cell.pair_kind, cell.pair_kind) for cell in results.cells)),
        ("path", f"{results.points} points, ends included"),
        ("threshold", f"{results.threshold:g} points"),
        ("made with", made_with(results)),
        *([("left out", missing)] if (missing := left_out(results)) else []),
    ]


def init(cell: CellRecord) -> str:
    """Return how a cell's networks were initialised."""
    model = cell.config["model"]
    gain = model.get("gain")
    drawn = f"{model['init']} (gain {gain})" if gain else str(model["init"])
    return f"{drawn} as {start}" if (start := begins_as(model)) else drawn


def made_with(results: StudyResults) -> str:
    """Return device, numerics and versions: what else the bits depend on."""
    return (
        f"device {results.device}, numerics {results.numerics}, torch {results.torch}, "
        f"training numerics {results.training_numerics}, evaluation numerics {results.evaluation_numerics}"
    )


def analogue_note(results: StudyResults) -> str | None:
    """Return the sentence that an analogue's report carries, None for the paper's own data."""
    if not results.analogue:
        return None
    names = ", ".join(d.name for d in results.datasets)
    return f"An analogue on other data ({names}), not a reproduction: no agreement with the paper is counted."


def _one(n: int) -> str:
    return f"{100 / n:.2g}"


def _several(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values)) or NONE

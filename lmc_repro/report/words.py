"""The words and numbers of a report, the same in every medium."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lmc_repro.barriers.curve import SplitName
from lmc_repro.barriers.results import CellSummary
from lmc_repro.config.catalog import CATALOG
from lmc_repro.config.own_code import short_name
from lmc_repro.models.registry import begins_as, network
from lmc_repro.report.table import Entry, same_for_splits, untrained
from lmc_repro.results.schema import CONVERGED_PERCENT, NOT_CONVERGED, Axis, CellRecord, StudyResults

PAPER = "paper"
"""The paper's numbers, which are never ours; `paper_name` adds the data that they were measured on."""

NONE = "-"
NOT_RUN = "not run"
LEFT_OUT = "left out"
NO_VERDICT = "no verdict"

ORDER: tuple[SplitName, SplitName] = ("test", "train")
"""The splits as the paper's tables have them."""

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

GLOSSARY = (
    (
        "barrier (Eq. 1)",
        "the largest error on the path minus the mean error of its two ends, in percentage points. A cell shows the "
        "mean over its trainer seeds, test / train, then the range; n is the number of trainer seeds",
    ),
    ("line", "the largest rise above the chord between the ends"),
    (
        "verdict",
        "`connected` if the mean barrier is below the threshold; `disconnected` (marked where either split is) if the "
        "mean line barrier is not below it either; else `unequal ends`: one end is worse than the other, and there is "
        "no hill between them. The strict verdict asks every pair; it is shown where it differs (`mixed`: the pairs do "
        "not agree)",
    ),
    (
        NO_VERDICT,
        "an endpoint diverged or collapsed (it is no better than a constant predictor, and its barrier of 0 would pass "
        "for connected), or the ends are so close to chance that there is nothing to lose",
    ),
    ("floor", "half the difference of the ends; Eq. 1 cannot be lower"),
    ("middle", "the error at alpha 0.5 minus the mean of the ends; negative where the middle is better"),
    ("normalised", "the barrier as a share of the test accuracy (Eq. 2); ordered, not judged"),
    ("error of the ends", "the mean error of all endpoints, collapsed ones too"),
    ("sd", "standard deviation (n - 1), from three trainer seeds on"),
    (
        "statement",
        "what the paper says without numbers. B is the test barrier, N the normalised one, A = |N_test - N_train|. A "
        "seed is in favour if its own pair shows the order. Only on the paper's data and length does a statement hold "
        "or not hold; elsewhere it is seen or not seen. One that rests on unequal ends is not decided",
    ),
    (PAPER, "what the paper prints, with its data set. Never ours"),
    *FLAGS.values(),
)
"""How to read a report: every word and every flag's letter, with its meaning."""


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


def both(cell: CellRecord, value: Callable[[CellSummary], str]) -> str:
    """Return a value of both splits, test / train; one dash where neither has it."""
    found = [value(cell.summary[split]) for split in ORDER]
    return NONE if set(found) == {NONE} else " / ".join(found)


def means(cell: CellRecord) -> str:
    """Return our mean barriers, test / train."""
    return both(cell, lambda summary: points(summary.mean))


def line_means(cell: CellRecord) -> str:
    """Return our mean line barriers, test / train."""
    return both(cell, lambda summary: points(summary.line_mean))


def paper_numbers(paper: Mapping[str, float] | None) -> str:
    """Return the paper's barriers, test / train."""
    return NONE if paper is None else " / ".join(points(paper[split]) for split in ORDER)


def outcome(entry: Entry) -> str:
    """Return an entry's verdict on test, or why there is none, in a word or two."""
    if entry.cell is None:
        return LEFT_OUT if entry.left_out else NOT_RUN
    return entry.verdict("test") or NO_VERDICT


def cells_text(count: int) -> str:
    """Return a number of cells in words."""
    return f"{count} cell{'' if count == 1 else 's'}"


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


def entry_lines(entry: Entry) -> tuple[str, ...]:
    """Return what stands in an entry's place of the grid, the most telling line first; never the paper's numbers."""
    cell = entry.cell
    if cell is None:
        return (outcome(entry),)
    reason = untrained(cell)
    if entry.n == 0:
        return (NO_VERDICT, *([reason] if reason else []))
    marks = flags(cell)
    n = f"n {entry.n}" + (f", {marks}" if marks else "")
    said = (means(cell), f"line {line_means(cell)}", both(cell, spread), verdict(cell), n)
    return (*said, f"not counted: {reason}") if reason else said


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
        ("pairs", _several(map(pair_kind, results.cells))),
        ("path", f"{results.points} points, ends included"),
        ("threshold", f"{results.threshold:g} points"),
        ("made with", made_with(results)),
        *([("left out", missing)] if (missing := left_out(results)) else []),
    ]


def pair_kind(cell: CellRecord) -> str:
    """Return in which way the ends of a cell's pairs differ."""
    return PAIRS.get(cell.pair_kind, short_name(cell.pair_kind))


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

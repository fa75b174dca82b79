"""A path as lines of text, with small curves: what `lmc compare RUN_A RUN_B` and `lmc barrier` print."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lmc_repro.barriers.barrier import coarse_barrier
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import EpochResult
from lmc_repro.barriers.verdict import judge_pair, pair_flags
from lmc_repro.config.study import Judgement
from lmc_repro.report.grid import FLAGS, NO_VERDICT, NONE, ORDER

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " .:-=+*%#@"
WIDTH = 51  # characters that a plot may take: 101 points in pairs

ROWS = {
    "barrier (Eq. 1)": "barrier", "  at 11 points": "barrier_at_11_points", "floor": "floor", "line": "line",
    "middle": "midpoint_excess", "at alpha": "argmax_alpha", "error of theta_0": "error_0",
    "error of theta_1": "error_1",
}  # fmt: skip


def ramp() -> str:
    """Return the characters from empty to full that standard output can show."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def spark(values: Sequence[float | None], low: float, high: float) -> str:
    """Return one character per value: the lowest bar at `low` or below, a full block at `high`; `?` for no number."""
    marks = ramp()[1:]
    drawn = ""
    for value in values:
        if value is None or not math.isfinite(value):
            drawn += "?"
        else:
            share = (value - low) / (high - low) if high > low else 0.0
            drawn += marks[max(0, min(len(marks) - 1, round(share * (len(marks) - 1))))]
    return drawn


def plot(values: Sequence[float], high: float, height: int = 4) -> list[str]:
    """Return `height` lines, the first the highest, of columns that stand on 0 and would be full at `high`.

    Of more than WIDTH values each column is the largest of its neighbours, so that no peak is lost.
    """
    marks, count = ramp(), len(values)
    steps = len(marks) - 1
    if count > WIDTH:
        values = [max(values[i * count // WIDTH : (i + 1) * count // WIDTH]) for i in range(WIDTH)]
    wide = WIDTH // max(1, len(values))  # characters per value: 11 points alone would be a narrow picture
    shares = (value / high if high > 0.0 else 0.0 for value in values)
    levels = [max(1, min(height * steps, round(share * height * steps))) for share in shares]  # 1: along the bottom
    return [
        "".join(marks[max(0, min(steps, level - line * steps))] * wide for level in levels)
        for line in reversed(range(height))
    ]


def path_plots(paths: Mapping[Any, Sequence[float]]) -> Iterator[str]:
    """Yield a plot of each split's errors (points) along the path, on one scale from 0."""
    high = max((error for errors in paths.values() for error in errors), default=0.0)
    for split in ORDER:
        if errors := paths.get(split):
            first, *lines, last = plot(errors, high)
            yield f"{high:>6.2f} |{first}|"
            yield from (f"{'':6} |{line}|" for line in lines)
            yield f"{'0':>6} |{last}|"
            yield f"{'':6}  {split} error in points, alpha 0 to 1, {len(errors)} points"


def split_table(rows: Mapping[str, Mapping[Any, float | None]], splits: Sequence[str] = ORDER) -> Iterator[str]:
    """Yield a table with a column for each split."""
    width = max(len(title) for title in rows)
    yield " " * width + "".join(split.rjust(9) for split in splits)
    for title, row in rows.items():
        yield title.ljust(width) + "".join(number(row.get(split)).rjust(9) for split in splits)


def number(value: float | None) -> str:
    """Return a number with two decimals, small losses with more digits."""
    if value is None:
        return NONE
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.4f}"


def split_records(
    mark: EpochResult, judgement: Judgement, classes: int, splits: Iterable[SplitName] = SPLITS
) -> dict[str, Any]:
    """Return curve, barriers, verdict and flags of each split, for JSON.

    Errors are in points. Barriers and verdict are null where an end is no network, the verdict alone where there is
    nothing to lose.
    """
    records: dict[str, Any] = {}
    for split in splits:
        curve, found = mark.curves[split], mark.barriers[split] if mark.barriers else None
        records[split] = {
            **(dataclasses.asdict(found) if found else {"barrier": None}),
            "error_0": 100.0 * curve.errors[0],
            "error_1": 100.0 * curve.errors[-1],
            "barrier_at_11_points": coarse_barrier(curve) if found else None,
            "verdict": judge_pair(found, judgement.threshold, classes) if found else None,
            "flags": pair_flags(mark, split, judgement, classes),
            "curve": {"alpha": curve.alphas, "wrong": curve.wrong, "n": curve.n, "loss": curve.loss, **curve.columns},
        }
    return records


def path_lines(records: Mapping[str, Any], threshold: float) -> Iterator[str]:
    """Yield barriers, verdicts and plots of a result of `split_records`."""
    splits = [split for split in ORDER if split in records]
    table = {title: {split: records[split].get(key) for split in splits} for title, key in ROWS.items()}
    yield from split_table({t: row for t, row in table.items() if any(v is not None for v in row.values())}, splits)
    for split in splits:
        lost = ": an end diverged or collapsed" if records[split]["barrier"] is None else ""
        yield f"{split}: {records[split]['verdict'] or NO_VERDICT + lost} (threshold {threshold:g} points)"
    for flag in dict.fromkeys(flag for split in splits for flag in records[split]["flags"]):
        yield FLAGS[flag][1]
    yield from path_plots({split: _errors(records[split]) for split in splits})


def point_lines(records: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table of all points: alpha, errors in percent, losses in nats."""
    splits = [split for split in ORDER if split in records]
    yield "alpha" + "".join(f"{f'{split} error':>13}{f'{split} loss':>12}" for split in splits)
    for i, alpha in enumerate(records[splits[0]]["curve"]["alpha"]):
        cells = (f"{_errors(records[s])[i]:13.2f}{number(records[s]['curve']['loss'][i]):>12}" for s in splits)
        yield f"{alpha:5.3g}" + "".join(cells)


def _errors(record: Mapping[str, Any]) -> list[float]:
    return [100.0 * wrong / record["curve"]["n"] for wrong in record["curve"]["wrong"]]

"""From the barriers of a cell's pairs to a verdict, with everything that weakens it said beside it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import CellResult, CellSummary, Late, PairResult, StrictVerdict, Verdict

LATE_MARKS = 5


def judge(mean: float | None, threshold: float) -> Verdict | None:
    """Return connected if the mean barrier is below the threshold (points), disconnected if not, None without one."""
    if mean is None:
        return None
    return "connected" if mean < threshold else "disconnected"


def judge_strict(values: Sequence[float], threshold: float) -> StrictVerdict | None:
    """Return the verdict that every pair shares, or `mixed`; None without pairs."""
    if not values:
        return None
    below = [value < threshold for value in values]
    return "connected" if all(below) else "disconnected" if not any(below) else "mixed"


def per_seed(
    pairs: Sequence[PairResult], mark: int, read: Callable[[Barriers], float | None], split: SplitName
) -> list[float]:
    """Return one number a trainer seed at the mark with this index: the mean over the seed's pairs that have one."""
    seeds: dict[int, list[float]] = {}
    for pair in pairs:
        found = pair.marks[mark].barriers
        value = None if found is None else read(found[split])
        if value is not None:
            seeds.setdefault(pair.trainer_seed, []).append(value)
    return [statistics.fmean(values) for values in seeds.values()]


def summarise(pairs: Sequence[PairResult], split: SplitName, threshold: float) -> CellSummary:
    """Return the summary of one split over a cell's pairs, which all have the same marks."""
    values = per_seed(pairs, -1, lambda b: b.barrier, split)
    strict_values = [p.final.barriers[split].barrier for p in pairs if p.final.barriers is not None]
    lines = per_seed(pairs, -1, lambda b: b.line, split)
    shares = per_seed(pairs, -1, lambda b: b.normalised, split)
    mean = statistics.fmean(values) if values else None
    sd = statistics.stdev(values) if len(values) >= 3 else None
    verdict = judge(mean, threshold)
    late = []
    for mark in range(-min(LATE_MARKS, len(pairs[0].marks)), 0):
        there = per_seed(pairs, mark, lambda b: b.barrier, split)
        there_mean = statistics.fmean(there) if there else None
        late.append(Late(pairs[0].marks[mark].epoch, there_mean, judge(there_mean, threshold)))
    line_mean = statistics.fmean(lines) if lines else None
    flags = []
    if mean is not None and len(values) < 3:
        flags.append("provisional")
    if mean is not None and sd is not None and abs(mean - threshold) <= sd:
        flags.append("borderline")
    if judge(line_mean, threshold) != verdict:
        flags.append("endpoint_mismatch")
    if len({entry.verdict for entry in late}) > 1:
        flags.append("unstable")
    return CellSummary(
        values=tuple(values),
        mean=mean,
        median=statistics.median(values) if values else None,
        min=min(values, default=None),
        max=max(values, default=None),
        sd=sd,
        line_mean=line_mean,
        normalised_mean=statistics.fmean(shares) if shares else None,
        verdict=verdict,
        verdict_strict=judge_strict(strict_values, threshold),
        flags=tuple(flags),
        late=tuple(late),
    )


def judge_cell(pairs: Sequence[PairResult], threshold: float) -> CellResult:
    """Return the cell's result for both splits."""
    return CellResult(tuple(pairs), {split: summarise(pairs, split, threshold) for split in SPLITS})

"""Verdicts from the barriers of a cell's pairs, with flags for everything that weakens them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from lmc_repro.barriers.barrier import Barriers, to_lose
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import CellResult, CellSummary, EpochResult, Late, PairResult, StrictVerdict, Verdict
from lmc_repro.barriers.status import minimum_accuracy
from lmc_repro.config.study import Judgement

LATE_EPOCHS = 5


def judge(barrier: float, line: float, accuracy: float, threshold: float) -> Verdict | None:
    """Return the verdict on one split, of a pair or of means over pairs; all in points.

    Args:
        barrier: Eq. 1.
        line: The line barrier: without it, a barrier of Eq. 1 is only an end that is worse than the other.
        accuracy: The mean accuracy of the ends above chance.
        threshold: The least barrier that counts.

    Returns:
        None where the ends have nothing to lose: less than twice the threshold. The normalised barriers stand for it.
    """
    if accuracy < 2 * threshold:
        return None
    if line < threshold <= barrier:
        return "unequal ends"
    return judge_barrier(barrier, threshold)


def judge_barrier(barrier: float, threshold: float) -> Verdict:
    """Return the verdict by Eq. 1 alone, the paper's own rule: connected below the threshold, else disconnected."""
    return "connected" if barrier < threshold else "disconnected"


def judge_pair(found: Barriers, threshold: float, classes: int) -> Verdict | None:
    """Return the verdict on one split of one pair."""
    return judge(found.barrier, found.line, to_lose(found, classes), threshold)


def judge_strict(verdicts: Sequence[Verdict | None]) -> StrictVerdict | None:
    """Return the verdict that every pair shares, or `mixed`; None without pairs."""
    shared = set(verdicts)
    return "mixed" if len(shared) > 1 else next(iter(shared), None)


def pair_flags(epoch: EpochResult, split: SplitName, judgement: Judgement, classes: int) -> tuple[str, ...]:
    """Return the flags beside the verdict of one pair: `undertrained`, `nothing_to_lose`."""
    if epoch.barriers is None:
        return ()
    flags = []
    if _undertrained(epoch, judgement, classes):
        flags.append("undertrained")
    if judge_pair(epoch.barriers[split], judgement.threshold, classes) is None:
        flags.append("nothing_to_lose")
    return tuple(flags)


def per_seed(
    pairs: Sequence[PairResult], index: int, read: Callable[[Barriers], float | None], split: SplitName
) -> list[float]:
    """Return one number per trainer seed at the evaluation epoch of this index: the mean over the seed's pairs."""
    seeds: dict[int, list[float]] = {}
    for pair in pairs:
        found = pair.evaluations[index].barriers
        value = None if found is None else read(found[split])
        if value is not None:
            seeds.setdefault(pair.trainer_seed, []).append(value)
    return [statistics.fmean(values) for values in seeds.values()]


def summarise(pairs: Sequence[PairResult], split: SplitName, judgement: Judgement, classes: int) -> CellSummary:
    """Return the summary of one split over a cell's pairs, at the last evaluation epochs that all of them have."""
    values = per_seed(pairs, -1, lambda b: b.barrier, split)
    lines = per_seed(pairs, -1, lambda b: b.line, split)
    shares = per_seed(pairs, -1, lambda b: b.normalised, split)
    threshold = judgement.threshold
    count = min(LATE_EPOCHS, *(len(pair.evaluations) for pair in pairs))
    late = [_at_index(pairs, index, split, threshold, classes) for index in range(-count, 0)]
    last = late[-1]
    own = [judge_pair(p.final.barriers[split], threshold, classes) for p in pairs if p.final.barriers is not None]
    flags = []
    if 0 < len(values) < 3:
        flags.append("provisional")
    # The line barrier decides between the two verdicts that Eq. 1 at or above the threshold leaves.
    decisive = [] if last.verdict is None else [values] if last.verdict == "connected" else [values, lines]
    if any(_near(numbers, threshold) for numbers in decisive):
        flags.append("borderline")
    # Nothing is trained at epoch 0, so its verdict does not count.
    if len({at.verdict for at in late if at.epoch > 0 and at.verdict is not None}) > 1:
        flags.append("unstable")
    if any(_undertrained(pair.final, judgement, classes) for pair in pairs if pair.final.barriers is not None):
        flags.append("undertrained")
    if values and last.verdict is None:
        flags.append("nothing_to_lose")
    return CellSummary(
        values=tuple(values),
        mean=last.mean,
        median=statistics.median(values) if values else None,
        min=min(values, default=None),
        max=max(values, default=None),
        sd=statistics.stdev(values) if len(values) >= 3 else None,
        line_mean=last.line_mean,
        normalised_mean=statistics.fmean(shares) if shares else None,
        verdict=last.verdict,
        verdict_strict=None if last.verdict is None else judge_strict(own),
        flags=tuple(flags),
        late=tuple(late),
    )


def judge_cell(pairs: Sequence[PairResult], judgement: Judgement, classes: int) -> CellResult:
    """Return the cell's result for both splits."""
    return CellResult(tuple(pairs), {split: summarise(pairs, split, judgement, classes) for split in SPLITS})


def _at_index(pairs: Sequence[PairResult], index: int, split: SplitName, threshold: float, classes: int) -> Late:
    """Return the means over trainer seeds at an evaluation epoch, and their verdict."""
    epoch = max(pair.evaluations[index].epoch for pair in pairs)
    columns = [
        per_seed(pairs, index, read, split)
        for read in (lambda b: b.barrier, lambda b: b.line, lambda b: to_lose(b, classes))
    ]
    if not columns[0]:
        return Late(epoch, None, None, None)
    barrier, line, accuracy = map(statistics.fmean, columns)
    return Late(epoch, barrier, line, judge(barrier, line, accuracy, threshold))


def _undertrained(epoch: EpochResult, judgement: Judgement, classes: int) -> bool:
    """Return whether an end of the path has less train accuracy than a network should."""
    least = minimum_accuracy(classes, judgement.min_train_accuracy)
    return any(1.0 - epoch.curves["train"].errors[end] < least for end in (0, -1))


def _near(values: Sequence[float], threshold: float) -> bool:
    """Return whether the mean lies within one sd of the threshold; three values or more have an sd."""
    return len(values) >= 3 and abs(statistics.fmean(values) - threshold) <= statistics.stdev(values)

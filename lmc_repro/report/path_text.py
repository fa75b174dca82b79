"""A path between two networks as JSON and as lines of text: what `lmc compare RUN_A RUN_B` and `lmc barrier` print."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmc_repro.barriers.barrier import coarse_barrier
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import MarkResult
from lmc_repro.barriers.verdict import judge_pair, pair_flags
from lmc_repro.config.study import Judgement
from lmc_repro.report.run_text import number, path_plots, split_table
from lmc_repro.report.words import FLAGS, NO_VERDICT

ROWS = {
    "barrier (Eq. 1)": "barrier", "  at 11 points": "barrier_at_11_points", "floor": "floor", "line": "line",
    "middle": "midpoint_excess", "at alpha": "argmax_alpha", "error of theta_0": "error_0",
    "error of theta_1": "error_1",
}  # fmt: skip


def split_records(
    mark: MarkResult, judgement: Judgement, classes: int, splits: Iterable[SplitName] = SPLITS
) -> dict[str, Any]:
    """Return curve, barriers, verdict and flags of each split, for JSON.

    Errors are in points. Barriers and verdict are null where an end is no network, the verdict alone where there is
    nothing to lose.
    """
    records: dict[str, Any] = {}
    for split in splits:
        curve, numbers = mark.curves[split], mark.barriers
        records[split] = {
            **(dataclasses.asdict(numbers[split]) if numbers else {"barrier": None}),
            "error_0": 100.0 * curve.errors[0],
            "error_1": 100.0 * curve.errors[-1],
            "barrier_at_11_points": coarse_barrier(curve) if numbers else None,
            "verdict": judge_pair(numbers[split], judgement.threshold, classes) if numbers else None,
            "flags": pair_flags(mark, split, judgement, classes),
            "curve": {"alpha": curve.alphas, "wrong": curve.wrong, "n": curve.n, "loss": curve.loss}
            | dict(curve.columns),
        }
    return records


def path_lines(records: Mapping[str, Any], threshold: float) -> Iterator[str]:
    """Yield barriers, verdicts and plots of what `split_records` returned."""
    splits = [split for split in reversed(SPLITS) if split in records]
    table = {title: {split: records[split].get(key) for split in splits} for title, key in ROWS.items()}
    yield from split_table({t: row for t, row in table.items() if any(v is not None for v in row.values())}, splits)
    for split in splits:
        lost = records[split]["barrier"] is None
        verdict = f"{NO_VERDICT}: an end diverged or collapsed" if lost else records[split]["verdict"] or NO_VERDICT
        yield f"{split}: {verdict} (threshold {threshold:g} points)"
    for flag in dict.fromkeys(flag for split in splits for flag in records[split]["flags"]):
        yield FLAGS[flag][1]
    yield from path_plots({split: _errors(records[split]) for split in splits})


def point_lines(records: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table of all points: alpha, errors in percent, losses in nats."""
    splits = [split for split in reversed(SPLITS) if split in records]
    yield "alpha" + "".join(f"{f'{split} error':>13}{f'{split} loss':>12}" for split in splits)
    for i, alpha in enumerate(records[splits[0]]["curve"]["alpha"]):
        cells = (f"{_errors(records[s])[i]:13.2f}{number(records[s]['curve']['loss'][i]):>12}" for s in splits)
        yield f"{alpha:5.3g}" + "".join(cells)


def _errors(record: Mapping[str, Any]) -> list[float]:
    return [100.0 * wrong / record["curve"]["n"] for wrong in record["curve"]["wrong"]]

"""All that the results hold of a cell, as tables of text: what a page opens on demand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SplitName
from lmc_repro.report.sentences import ORDER
from lmc_repro.report.table import Entry, mean_error, mean_floor
from lmc_repro.report.words import NO_VERDICT, NONE, PAIRS, letter, points, spread
from lmc_repro.results.schema import CellRecord, PairRecord, StudyResults
from lmc_repro.schemas.base import mark_text

Rows = list[list[str]]

SUMMARY = (
    "split", "n", "values", "mean", "median", "range", "sd", "floor", "line", "normalised %", "error of the ends",
    "verdict", "strict", "flags",
)  # fmt: skip
PAIR = (
    "pair", "split", "barrier", "floor", "line", "middle", "alpha of the maximum", "normalised %", "errors of the ends",
    "loss barrier",
)  # fmt: skip
ENDS = ("pair", "trainer seed", "end", "status", "fingerprint")
LATE = ("epoch", "test mean", "test line", "test verdict", "train mean", "train line", "train verdict")


@dataclass(frozen=True)
class CellDetails:
    """Tables of a cell: header, then rows whose first entry names them."""

    summary: tuple[tuple[str, ...], Rows]
    pairs: tuple[tuple[str, ...], Rows]
    ends: tuple[tuple[str, ...], Rows]
    late: tuple[tuple[str, ...], Rows]
    path: tuple[tuple[str, ...], Rows]
    config: list[tuple[str, str]]


def cell_details(entry: Entry, cell: CellRecord, results: StudyResults) -> CellDetails:
    """Return a cell's details: barriers and errors in points, normalised barriers in percent, losses in nats."""
    return CellDetails(
        summary=(SUMMARY, [_summary(entry, cell, split) for split in ORDER]),
        pairs=(PAIR, [_barriers(pair, split) for pair in cell.pairs for split in ORDER]),
        ends=(ENDS, [row for pair in cell.pairs for row in _ends(pair)]),
        late=(LATE, _late(cell)),
        path=_path(cell, results),
        config=[
            ("cell", cell.key),
            ("parameters", str(cell.parameters)),
            ("pairs", PAIRS.get(cell.pair_kind, cell.pair_kind)),
            ("trainer seeds", str(cell.n_trainer_seeds)),
            ("runs", str(cell.n_runs)),
            *flat(cell.config),
        ],
    )


def values(value: Any) -> str:
    """Return a value of a config as text."""
    return value if isinstance(value, str) else json.dumps(value)


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a config's values by dotted key."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", values(value)


def _summary(entry: Entry, cell: CellRecord, split: SplitName) -> list[str]:
    s = cell.summary[split]
    return [
        split, str(entry.n), ", ".join(points(value) for value in s.values) or NONE, points(s.mean), points(s.median),
        spread(s), points(s.sd), points(mean_floor(cell, split)), points(s.line_mean), points(s.normalised_mean),
        points(mean_error(cell, split)), s.verdict or NO_VERDICT, s.verdict_strict or NONE,
        " ".join(letter(flag) for flag in s.flags) or NONE,
    ]  # fmt: skip


def _barriers(pair: PairRecord, split: SplitName) -> list[str]:
    found: Barriers | None = pair.barriers[split]
    ends = " / ".join(points(error) for error in pair.errors[split])
    if found is None:
        return [pair.pair, split, *[NONE] * 6, ends, NONE]
    loss = NONE if found.loss_barrier is None else f"{found.loss_barrier:.4f}"
    return [
        pair.pair, split, points(found.barrier), points(found.floor), points(found.line), points(found.midpoint_excess),
        f"{found.argmax_alpha:g}", points(found.normalised), ends, loss,
    ]  # fmt: skip


def _ends(pair: PairRecord) -> Rows:
    both = zip(("alpha 0", "alpha 1"), pair.status, pair.fingerprints, strict=True)
    return [[pair.pair, str(pair.trainer_seed), end, status, fingerprint] for end, status, fingerprint in both]


def _late(cell: CellRecord) -> Rows:
    both = zip(cell.summary["test"].late, cell.summary["train"].late, strict=True)
    return [
        [
            mark_text(test.epoch),
            *(
                text
                for mark in (test, train)
                for text in (points(mark.mean), points(mark.line_mean), mark.verdict or NO_VERDICT)
            ),
        ]
        for test, train in both
    ]


def _path(cell: CellRecord, results: StudyResults) -> tuple[tuple[str, ...], Rows]:
    """Return the errors in percent at every alpha: the drawing in numbers."""
    curves = [
        (f"pair {pair.pair}, {split}", results.curves[cell.key, pair.pair, pair.epoch, split])
        for pair in cell.pairs
        for split in ORDER
    ]
    alphas = curves[0][1].alphas if curves else ()
    rows = [[name, *(points(100 * error) for error in curve.errors)] for name, curve in curves]
    return ("alpha", *(f"{alpha:g}" for alpha in alphas)), rows

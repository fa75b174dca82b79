"""Results of a comparison that was not made: small numbers that tell pairs, epochs and splits apart."""

from __future__ import annotations

from small_study import fingerprint

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.results import CellResult, CellSummary, Late, MarkResult, PairResult
from lmc_repro.config.plan import Cell, Pair


def make_mark(epoch: float, shift: int, trained: bool = True) -> MarkResult:
    """A path of three points: errors 10, 40 and 20 per cent, higher by `shift` images; the last loss not finite."""
    curves: dict[SplitName, Curve] = {
        "train": Curve((10 + shift, 40 + shift, 20 + shift), 100, (0.5, 1.5, None)),
        "test": Curve((20, 100, 40 + shift), 200, (0.25, 0.75, 0.5)),
    }
    if not trained:
        return MarkResult(epoch, ("trained", "diverged"), curves, None)
    return MarkResult(epoch, ("trained", "trained"), curves, {s: barriers(curves, s, classes=10) for s in curves})


def make_pair(pair: Pair, trained: bool = True, middle: float = 2) -> PairResult:
    marks = (make_mark(0, 3), make_mark(middle, 1), make_mark(4, 0, trained))
    return PairResult(
        pair=pair.name,
        trainer_seed=pair.trainer_seed,
        fingerprints=(fingerprint(pair.runs[0]), fingerprint(pair.runs[1])),
        largest_class=10,
        marks=marks,
        distance=3.5,
        cosine=None,
        disagreement={"train": 0.25, "test": 0.5},
    )


def make_cell(cell: Cell, mean: float | None = 3.0) -> CellResult:
    known = mean is not None
    summary = CellSummary(
        values=(mean - 1.0, mean + 1.0) if mean is not None else (),
        mean=mean,
        median=mean,
        min=mean - 1.0 if mean is not None else None,
        max=mean + 1.0 if mean is not None else None,
        sd=None,
        line_mean=2.5 if known else None,
        normalised_mean=3.25 if known else None,
        verdict="disconnected" if known else None,
        verdict_strict="mixed" if known else None,
        flags=("provisional", "unstable") if known else (),
        late=(
            Late(2, 1.5, 1.25, "connected"),
            Late(4, mean, 2.5 if known else None, "disconnected" if known else None),
        ),
    )
    return CellResult(tuple(make_pair(pair) for pair in cell.pairs), {"train": summary, "test": summary})

"""Path settings: alignment, repair, and metrics beside error and loss."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from lmc_repro.config.base import Strict
from lmc_repro.config.own_code import pinned
from lmc_repro.config.registry import ALIGNMENTS, PAIR_KINDS, PATH_METRICS, REPAIRS, named

PairKindName = Annotated[str, AfterValidator(named(PAIR_KINDS))]
AlignmentName = Annotated[str, AfterValidator(named(ALIGNMENTS))]
RepairName = Annotated[str, AfterValidator(named(REPAIRS))]
MetricNames = Annotated[tuple[Annotated[str, AfterValidator(named(PATH_METRICS))], ...], Field(strict=False)]
OwnNames = Annotated[tuple[Annotated[str, AfterValidator(named({}))], ...], Field(strict=False)]
"""Objects of one's own alone, each FILE.py:NAME."""


class PathConfig(Strict):
    """Names of a pair's alignment, repair and metrics; objects of one's own are pinned, `FILE.py:NAME#<sha256>`.

    `align` moves theta_1 before the path is drawn, `repair` moves every inner point of it, `metrics` add columns to
    curves.csv.
    """

    metrics: MetricNames = ()
    align: AlignmentName = "none"
    repair: RepairName = "none"

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from a plain path's: part of the pair key, of cells.json and of MLflow."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def pinned(self) -> PathConfig:
        """Return the same with objects of one's own pinned to their files; LmcError if one is not there."""
        return PathConfig(
            metrics=tuple(map(pinned, self.metrics)), align=pinned(self.align), repair=pinned(self.repair)
        )


PLAIN_PATH = PathConfig()

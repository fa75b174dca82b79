"""Path settings: alignment, repair, and metrics beside error and loss; planes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from lmc_repro.common import bounds
from lmc_repro.config.base import Size, Strict
from lmc_repro.config.own_code import pinned
from lmc_repro.config.registry import ALIGNMENTS, PAIR_KINDS, PATH_METRICS, REPAIRS, named

PairKindName = Annotated[str, AfterValidator(named(PAIR_KINDS))]
AlignmentName = Annotated[str, AfterValidator(named(ALIGNMENTS))]
RepairName = Annotated[str, AfterValidator(named(REPAIRS))]
MetricNames = Annotated[tuple[Annotated[str, AfterValidator(named(PATH_METRICS))], ...], Field(strict=False)]
OwnNames = Annotated[tuple[Annotated[str, AfterValidator(named({}))], ...], Field(strict=False)]
"""Objects of one's own alone, each FILE.py:NAME."""


class LayersConfig(Strict):
    """The layers that a path moves, counted from 1 at the input: one alone, all up to one, or all but one."""

    only: Size | None = None
    up_to: Size | None = None
    all_but: Size | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> LayersConfig:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give one of only, up_to and all_but")
        return self


class PlaneConfig(Strict):
    """A grid on the plane through three runs: `points` per side, `margin` around the runs, of their longer side."""

    points: int = Field(default=21, ge=2, le=bounds.PLANE_POINTS)
    margin: float = Field(default=0.2, ge=0.0, le=10.0)


class PathConfig(Strict):
    """Names of a pair's alignment, repair and metrics; objects of one's own are pinned, `FILE.py:NAME#<sha256>`.

    `align` moves theta_1 before the path is drawn, `repair` moves every inner point of it, `metrics` add columns to
    curves.csv. `layers` moves these layers alone, the others stay theta_0's.
    """

    metrics: MetricNames = ()
    align: AlignmentName = "none"
    repair: RepairName = "none"
    layers: LayersConfig | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from a plain path's: part of the pair key, of cells.json and of MLflow."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def pinned(self) -> PathConfig:
        """Return the same with objects of one's own pinned to their files; LmcError if one is not there."""
        own = {"metrics": tuple(map(pinned, self.metrics)), "align": pinned(self.align), "repair": pinned(self.repair)}
        return self.model_copy(update=own)


PLAIN_PATH = PathConfig()


def plane_given(plane: PlaneConfig | None) -> dict[str, Any]:
    """Return a grid as plain JSON values, nothing for no plane: part of a cell's identity, of cells.json and MLflow."""
    return plane.model_dump(mode="json") if plane else {}

"""How the path between two networks is drawn, and what is measured on it beside error and loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticKnownError

from lmc_repro.config.base import Strict
from lmc_repro.config.own_code import is_own, pinned
from lmc_repro.config.registry import ALIGNMENTS, PATH_METRICS, REPAIRS


def _known(table: Mapping[str, str]) -> Callable[[str], str]:
    """Return what refuses a name that is neither in the table nor FILE.py:NAME."""

    def check(name: str) -> str:
        if name not in table and not is_own(name):
            raise PydanticKnownError("literal_error", {"expected": ", ".join((*map(repr, table), "FILE.py:NAME"))})
        return name

    return check


AlignmentName = Annotated[str, AfterValidator(_known(ALIGNMENTS))]
RepairName = Annotated[str, AfterValidator(_known(REPAIRS))]
MetricNames = Annotated[tuple[Annotated[str, AfterValidator(_known(PATH_METRICS))], ...], Field(strict=False)]
OwnName = Annotated[str, AfterValidator(_known({}))]
"""An object of one's own, FILE.py:NAME."""
OwnNames = Annotated[tuple[OwnName, ...], Field(strict=False)]


class PathConfig(Strict):
    """The names of what a pair's path is made with; objects of one's own are pinned, `FILE.py:NAME#<sha256>`.

    `align` moves theta_1 before the path is drawn, `repair` moves every inner point of it, `metrics` add columns to
    curves.csv.
    """

    metrics: MetricNames = ()
    align: AlignmentName = "none"
    repair: RepairName = "none"

    def given(self) -> dict[str, Any]:
        """Return what is not as on a plain path: part of the pair key, of cells.json and of MLflow."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def pinned(self) -> PathConfig:
        """Return the same with objects of one's own pinned to their files; LmcError if one is not there."""

        def pin(name: str) -> str:
            return pinned(name) if is_own(name) else name

        return PathConfig(metrics=tuple(map(pin, self.metrics)), align=pin(self.align), repair=pin(self.repair))


PLAIN_PATH = PathConfig()

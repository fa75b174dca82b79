"""What the paper says of a figure without printing a number: ordered statements about named cells."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lmc_repro.schemas.base import Strict
from lmc_repro.schemas.study import Key

Keys = Annotated[tuple[Key, ...], Field(strict=False, min_length=1)]


class Statement(Strict):
    """One statement, held to cells once for each key in `rows` or `columns`.

    `greater`, `increasing` and `connected` name keys along the other axis: the first cell's value is the greater one,
    the values grow in this order, the cells are connected. `connected: every` is about all cells of the study and
    has no other axis. `of`: the test barrier (B), the test barrier normalised by Eq. 2 (N), or the gap |N_test -
    N_train| (A).
    """

    text: str
    of: Literal["barrier", "normalised", "gap"] = "barrier"
    greater: Annotated[tuple[Key, Key] | None, Field(strict=False)] = None
    increasing: Keys | None = None
    connected: Keys | Literal["every"] | None = None
    rows: Keys | None = None
    columns: Keys | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Statement:
        said = [name for name in ("greater", "increasing", "connected") if getattr(self, name) is not None]
        if len(said) != 1:
            raise ValueError("give one of greater, increasing, connected")
        places = [name for name in ("rows", "columns") if getattr(self, name) is not None]
        if len(places) != (0 if self.connected == "every" else 1):
            raise ValueError("give one of rows, columns (and none with connected: every)")
        if self.increasing is not None and len(self.increasing) < 2:
            raise ValueError("increasing: name two cells or more")
        return self


class Claim(Strict):
    """What the text claims of one table or figure."""

    text: str
    statements: Annotated[tuple[Statement, ...], Field(strict=False)] = ()

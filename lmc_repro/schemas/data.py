"""Which images a run sees, and in what order."""

from __future__ import annotations

from typing import Literal

from lmc_repro.schemas.base import Strict

OrderRule = Literal["philox", "ffcv"]
LoaderKind = Literal["resident", "ffcv"]


class DataConfig(Strict):
    """The data set and the rule that turns (loader seed, epoch) into an order.

    `order: ffcv` is FFCV's own rule (seed + epoch), which makes neighbouring seeds share their orders one epoch apart.
    """

    dataset: str
    order: OrderRule = "philox"
    drop_last: bool = False

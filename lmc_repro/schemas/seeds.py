"""The three seeds of a run (paper, appendix A.1)."""

from __future__ import annotations

from pydantic import Field

from lmc_repro.schemas.base import Strict


class Seeds(Strict):
    """Three independent streams: initialisation, data order, augmentation draws.

    `augmentation` is null where nothing is augmented, so that it cannot tell two equal runs apart.
    """

    trainer: int = Field(ge=0)
    loader: int = Field(ge=0)
    augmentation: int | None = Field(default=None, ge=0)

"""The three seeds of a run (paper, appendix A.1)."""

from __future__ import annotations

from pydantic import Field, model_validator

from lmc_repro.schemas.base import Strict


class EarlyNoise(Strict):
    """The SGD noise of epochs before `until`, in place of the run's own: runs that share it are one trajectory.

    Frankle et al. 2020 (arXiv 1912.05671) spawn two networks from one after k epochs that way.
    """

    until: int = Field(ge=1, description="epochs")
    loader: int = Field(ge=0, lt=2**63)
    augmentation: int | None = Field(default=None, ge=0, lt=2**63)


class Seeds(Strict):
    """Three independent streams: initialisation, data order, augmentation draws.

    `augmentation` is null where nothing is augmented, so that it cannot tell two equal runs apart.
    """

    trainer: int = Field(ge=0, lt=2**63)
    loader: int = Field(ge=0, lt=2**63)
    augmentation: int | None = Field(default=None, ge=0, lt=2**63)
    early: EarlyNoise | None = None

    @model_validator(mode="after")
    def _early_fits(self) -> Seeds:
        if self.early and (self.early.augmentation is None) != (self.augmentation is None):
            raise ValueError("early.augmentation: give it where augmentation is given, and only there")
        return self

    def loader_at(self, epoch: int) -> int:
        """Return the seed that orders epoch `epoch` (from 0)."""
        return self.early.loader if self.early and epoch < self.early.until else self.loader

    def augmentation_at(self, epoch: int) -> int | None:
        """Return the seed of the augmentation draws of epoch `epoch` (from 0); None where nothing is augmented."""
        return self.early.augmentation if self.early and epoch < self.early.until else self.augmentation

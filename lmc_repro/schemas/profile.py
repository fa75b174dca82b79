"""A profile: on what data, at what size and with which rates the studies run, and where each number comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from lmc_repro.schemas.base import Strict
from lmc_repro.schemas.data import LoaderKind
from lmc_repro.schemas.optimizer import OptimizerConfig
from lmc_repro.schemas.study import Key, Settings

SOURCES = ("paper", "author-code", "cited", "inferred", "ours")
Provenance = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(SOURCES)}): \S.*$")]
"""`source: remark`: the paper, its first author's later code, a paper it cites, our inference, our choice."""


class Judgement(Strict):
    """When a pair counts as connected and an endpoint as trained."""

    threshold: float = Field(gt=0.0, description="points of error (Frankle et al. 2020)")
    min_train_accuracy: float | None = Field(default=None, ge=0.0, le=1.0, description="null: halfway from chance to 1")


class Override(Strict):
    """Settings for the cells of one study, row or column under this profile only."""

    study: Key
    row: Key | None = None
    column: Key | None = None
    set: Settings


class ProfileConfig(Strict):
    """Everything that differs between a quick look on embedded data and the paper at full scale."""

    title: str
    analogue: bool = Field(description="true: shows the effects on other data, never counted as agreement")
    numerics: Literal["portable", "native"]
    datasets: tuple[str, ...] = Field(strict=False, min_length=1)
    replace_dataset: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    loader: LoaderKind = "resident"
    pairs: int = Field(default=3, ge=1)
    replicas: int = Field(default=2, ge=2)
    points: int = Field(default=11, ge=2, description="alphas on the path, both ends included")
    judgement: Judgement
    settings: Settings
    optimizers: dict[Key, OptimizerConfig]
    batches: dict[Key, Annotated[int, Field(ge=1)]]
    overrides: tuple[Override, ...] = Field(default=(), strict=False)
    provenance: dict[str, Provenance]

    @model_validator(mode="after")
    def _every_number_has_a_source(self) -> ProfileConfig:
        leaves = self.hyper_parameters()
        if missing := sorted(leaf for leaf in leaves if self.source(leaf) is None):
            raise ValueError(
                f"provenance: no entry for {', '.join(missing)}; say where it comes from ({', '.join(SOURCES)})"
            )
        if unused := sorted(key for key in self.provenance if not any(_covers(key, leaf) for leaf in leaves)):
            raise ValueError(f"provenance: {', '.join(unused)} names no hyper-parameter of this profile")
        return self

    def hyper_parameters(self) -> dict[str, object]:
        """Return every hyper-parameter of the profile by its dotted path."""
        leaves: dict[str, object] = {
            f"judgement.{name}": getattr(self.judgement, name) for name in Judgement.model_fields
        }
        leaves |= {f"settings.{name}": value for name, value in self.settings.given().items()}
        for key, optimizer in self.optimizers.items():
            leaves |= {f"optimizers.{key}.{name}": getattr(optimizer, name) for name in type(optimizer).model_fields}
        return leaves | {f"batches.{name}": size for name, size in self.batches.items()}

    def source(self, leaf: str) -> str | None:
        """Return `source: remark` of a hyper-parameter; the longest entry that covers it counts."""
        entries = [key for key in self.provenance if _covers(key, leaf)]
        return self.provenance[max(entries, key=len)] if entries else None


def _covers(entry: str, leaf: str) -> bool:
    return leaf == entry or leaf.startswith(entry + ".")

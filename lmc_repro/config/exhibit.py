"""Exhibits, the tables and figures without training of their own, and claims, the paper's statements about cells."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lmc_repro.config.base import Key, Line, Seed, Strict
from lmc_repro.config.run import AugmentConfig, ModelConfig
from lmc_repro.config.study import Provenance


class _Exhibit(Strict):
    """The fields of every exhibit.

    `made_from` is `READS`, filled in with the exhibit's own fields: DVC orders stages by it.
    """

    READS: ClassVar[str]

    title: Line
    question: Line
    made_from: str
    provenance: dict[str, Provenance] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_its_own_fields_and_what_it_reads(self) -> _Exhibit:
        if unused := sorted(self.provenance.keys() - type(self).model_fields.keys()):
            raise ValueError(f"provenance: {', '.join(unused)}: no field of this exhibit")
        if self.made_from != (reads := self.READS.format(**vars(self))):
            raise ValueError(f"made_from: found {self.made_from!r}, allowed: {reads!r}")
        return self


class Network(Strict):
    """A network whose parameters are counted, and its name in the paper's table."""

    label: Line
    reported: str | None = None
    model: ModelConfig


class ParametersExhibit(_Exhibit):
    """Parameter counts: of `networks` on the shape of `dataset` under every profile, and of a study's own networks.

    The counts are those of the model configs, so no data are needed.
    """

    READS: ClassVar[str] = "params.yaml"

    kind: Literal["parameters"]
    reported: str | None = None
    dataset: str
    networks: dict[Key, Network] = Field(min_length=1)
    study: Key | None = None


class LoaderSeeds(Strict):
    """A loader: its two seeds (the trainer seed has no part in it)."""

    label: Line
    loader: Seed
    augmentation: Seed


class BatchesExhibit(_Exhibit):
    """The first batches of loaders with equal and with other seeds; the others are compared with the first.

    `augment` is by data set: what shows on an image of 32 pixels a side leaves little of one of 8.
    """

    READS: ClassVar[str] = "data/prepared"

    kind: Literal["batches"]
    dataset: str
    augment: dict[str, AugmentConfig] = Field(min_length=1)
    batch_size: int = Field(ge=2, le=32)
    batches: int = Field(ge=1, le=8)
    loaders: dict[Key, LoaderSeeds] = Field(min_length=2)


class AccuraciesExhibit(_Exhibit):
    """Final test accuracies of a study's networks, its columns downwards and its rows across.

    `rows` are columns of the study with their names in the paper's table, `columns` its rows.
    """

    READS: ClassVar[str] = "results/{study}"

    kind: Literal["accuracies"]
    study: Key
    reported: str
    rows: dict[Key, str] = Field(min_length=1)
    columns: dict[Key, str] = Field(min_length=1)


ExhibitConfig = Annotated[ParametersExhibit | BatchesExhibit | AccuraciesExhibit, Field(discriminator="kind")]

Keys = Annotated[tuple[Key, ...], Field(strict=False, min_length=1)]


class Statement(Strict):
    """One statement, checked against cells once per key in `rows` or `columns`.

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
        given = self.model_dump(exclude_none=True).keys()
        if len(given & {"greater", "increasing", "connected"}) != 1:
            raise ValueError("give one of greater, increasing, connected")
        if len(given & {"rows", "columns"}) != (self.connected != "every"):
            raise ValueError("give one of rows, columns (and none with connected: every)")
        if self.increasing is not None and len(self.increasing) < 2:
            raise ValueError("increasing: name two cells or more")
        return self


class Claim(Strict):
    """The text's claims about one table or figure."""

    text: str
    statements: Annotated[tuple[Statement, ...], Field(strict=False)] = ()

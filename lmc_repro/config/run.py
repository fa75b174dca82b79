"""One training of one network: seeds, network, optimizer, schedule, data; all that decides its bits but the machine."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationInfo,
    model_validator,
)

from lmc_repro.common import bounds
from lmc_repro.config.base import BatchSize, Epochs, EvaluationEpochs, Positive, Rate, Seed, Size, Strict
from lmc_repro.config.own_code import STORED, PinnedName, own_object, pin, short_name
from lmc_repro.config.registry import AUGMENTATIONS, MODELS, OPTIMIZERS, SCHEDULES, chosen, named

InitKind = Literal["torch-default", "kaiming-normal"]
GainKind = Literal["slope", "sqrt2"]
BiasKind = Literal["unit", "filter"]
ModelKind = Annotated[str, AfterValidator(named(MODELS))]
OptimizerKind = Annotated[str, AfterValidator(named(OPTIMIZERS))]


class ModelSettings(Strict):
    """The fields of every kind of network: its name, and how its linear maps are initialised.

    `gain` belongs to kaiming-normal: of the slope, sqrt(2 / (1 + slope^2)), or the square root of 2 whatever the slope.
    A kind that is not `stacks` computes networks one after another.
    """

    stacks: ClassVar[bool] = True
    init: InitKind = "torch-default"
    gain: GainKind | None = None
    kind: str

    @model_validator(mode="after")
    def _gain_fits(self) -> ModelSettings:
        if (self.gain is not None) != (self.init == "kaiming-normal"):
            raise ValueError("gain and init: gain (slope or sqrt2) goes with kaiming-normal, and only with it")
        return self


class PatchShape(Strict):
    """Square patches side by side (stride = kernel), each with this number of filters."""

    filters: Size
    kernel: Size


class MlpConfig(ModelSettings):
    """An N-layer fully connected network; N counts linear layers, so depth 1 is logistic regression.

    `slope` is that of the leaky ReLU between layers: 1 is a linear network, 0 is ReLU. `start_from_local`: the weights
    begin as those of a locally connected network of this shape, dense from then on; its hidden layer must have
    positions x filters units.
    """

    kind: Literal["mlp"]
    depth: int = Field(ge=1, le=64)
    width: Size | None = None
    slope: float = Field(default=1.0, ge=0.0, le=1.0)
    bias: bool = True
    start_from_local: PatchShape | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> MlpConfig:
        if self.depth > 1 and self.width is None:
            raise ValueError(f"depth {self.depth} has hidden layers: give their width")
        if self.depth == 1 and (self.width is not None or self.slope != 1.0):
            raise ValueError("depth 1 has no hidden layer: leave out width and slope")
        if self.start_from_local and (self.depth != 2 or not self.bias):
            raise ValueError("start_from_local: a locally connected network has depth 2 and biases")
        return self


class LocalConfig(ModelSettings):
    """A locally connected hidden layer (a filter bank of its own at every position), a leaky ReLU, a linear layer.

    `bias` of the hidden layer: one per `unit` (filter and position) or per `filter`. `start_from_conv`: the filters
    of all positions begin as those of a CNN with the same trainer seed.
    """

    kind: Literal["local"]
    filters: Size
    kernel: Size
    slope: float = Field(default=0.0, ge=0.0, le=1.0)
    bias: BiasKind = "unit"
    start_from_conv: bool = False


class ConvConfig(ModelSettings):
    """A convolution with stride = kernel and no padding, a leaky ReLU, a linear layer."""

    kind: Literal["conv"]
    filters: Size
    kernel: Size
    slope: float = Field(default=0.0, ge=0.0, le=1.0)


class AttentionConfig(ModelSettings):
    """One self-attention block over patches, without skips and without an MLP part (paper, Section 3.3)."""

    kind: Literal["attention"]
    patch: Size
    heads: Size
    head_dim: Size


def _function(name: str, info: ValidationInfo) -> str:
    if info.context is not STORED and not callable(own_object(name)):
        raise ValueError(f"{short_name(name)} is no function")
    return name


class ModuleConfig(ModelSettings):
    """A torch module of one's own: `module` names FILE.py:FUNCTION, `options` are the function's keyword arguments.

    The module initialises itself from the trainer seed, so that `init` has no other value.
    """

    stacks: ClassVar[bool] = False
    kind: Literal["module"]
    init: Literal["torch-default"] = "torch-default"
    module: Annotated[str, AfterValidator(named({})), AfterValidator(pin), AfterValidator(_function)]
    options: dict[str, int | float | bool | str] = Field(default_factory=dict)

    def __hash__(self) -> int:  # pydantic's own cannot hash a dict
        return hash((self.module, frozenset(self.options.items())))


class OwnModel(ModelSettings, extra="allow"):
    """The settings of a network of one's own, as its `Config` has checked them."""


ModelConfig = Annotated[SerializeAsAny[ModelSettings], BeforeValidator(chosen(MODELS, OwnModel))]
"""The settings of any kind, of the registry or of one's own."""


class OptimizerSettings(Strict):
    """The fields of every kind of optimizer."""

    kind: str
    lr: Rate


class SgdConfig(OptimizerSettings):
    """SGD with (heavy-ball) momentum as in torch.optim.SGD; `weight_decay` times the weight joins the gradient."""

    kind: Literal["sgd"]
    momentum: float = Field(ge=0.0, lt=1.0)
    weight_decay: Rate = 0.0


class SamConfig(OptimizerSettings):
    """SAM over SGD: the gradient is that of the weights plus `rho` along the gradient's direction, twice the work."""

    kind: Literal["sam"]
    rho: Positive
    momentum: float = Field(ge=0.0, lt=1.0)
    weight_decay: Rate = 0.0


class _AdamFields(OptimizerSettings):
    beta1: float = Field(ge=0.0, lt=1.0)
    beta2: float = Field(ge=0.0, lt=1.0)
    eps: Positive
    weight_decay: Rate = 0.0


class AdamConfig(_AdamFields):
    """ADAM with bias correction, as in torch.optim.Adam; `weight_decay` times the weight joins the gradient."""

    kind: Literal["adam"]


class AdamWConfig(_AdamFields):
    """AdamW, as in torch.optim.AdamW: a step first shrinks the weights by the rate times `weight_decay`."""

    kind: Literal["adamw"]


class MuonConfig(_AdamFields):
    """Muon: `lr` and `momentum` are those of hidden weight matrices; all else is AdamW's, at `lr` times `adam_share`.

    `weight_decay` is AdamW's for all weights. torch.optim.Muon has a momentum of 0.95.
    """

    kind: Literal["muon"]
    momentum: float = Field(ge=0.0, lt=1.0)
    adam_share: Positive


class OwnOptimizer(OptimizerSettings, extra="allow"):
    """The settings of an optimizer of one's own, as its `Config` has checked them."""


OptimizerConfig = Annotated[SerializeAsAny[OptimizerSettings], BeforeValidator(chosen(OPTIMIZERS, OwnOptimizer))]
"""The settings of any kind, of the registry or of one's own."""


class ClipConfig(Strict):
    """Clipping of each network's own gradient: to a Euclidean norm, or every entry to [-value, value]."""

    norm: Positive | None = None
    value: Positive | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> ClipConfig:
        if (self.norm is None) == (self.value is None):
            raise ValueError("give either norm or value")
        return self


ScheduleKind = Annotated[str, AfterValidator(named(SCHEDULES))]
WarmupRule = Literal["from-zero", "from-first-step"]


class ScheduleConfig(Strict):
    """A linear warm-up, then the schedule of its kind: a constant rate, or one that falls to 0 along half a cosine.

    Step k (from 0) of a warm-up of W steps uses lr * k / W (`from-zero`) or lr * (k + 1) / W (`from-first-step`).
    After it, cosine uses lr * (1 + cos(pi * (k - W) / (T - W))) / 2 for T steps in all.
    """

    kind: Annotated[ScheduleKind, AfterValidator(pin)] = "constant"
    warmup_epochs: int = Field(default=0, ge=0, le=bounds.EPOCHS)
    warmup_rule: WarmupRule = "from-zero"


OrderRule = Literal["philox", "ffcv"]
LoaderKind = Literal["resident", "ffcv"]


class StepSettings(Strict):
    """The fields of every kind of augmentation step."""

    kind: str


class OwnStep(StepSettings, extra="allow"):
    """The settings of a step of one's own, as its `Config` has checked them."""


AugmentStep = Annotated[SerializeAsAny[StepSettings], BeforeValidator(chosen(AUGMENTATIONS, OwnStep))]


class AugmentConfig(Strict):
    """The augmentation seed's draws for each sample and epoch, in this order.

    `flip`: left to right, with probability 1/2. `crop`: pad with zeros (of the raw image) by so many pixels on every
    side, cut the image's size out at a random place. `cutout`: a square of this side, at a random centre, becomes the
    data set's mean (DeVries and Taylor 2017, arXiv 1708.04552). `steps`: those of one's own, after these.
    """

    flip: bool = False
    crop: int = Field(default=0, ge=0, le=32)
    cutout: int = Field(default=0, ge=0, le=64)
    # Where there are none, configs keep the bytes and identity that they had before there were steps.
    steps: tuple[AugmentStep, ...] = Field(default=(), strict=False, exclude_if=lambda steps: not steps)

    @model_validator(mode="after")
    def _does_something(self) -> AugmentConfig:
        if not (self.flip or self.crop or self.cutout or self.steps):
            raise ValueError("changes nothing: give flip, crop or cutout, or leave augment out")
        kinds = [step.kind for step in self.steps]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"steps: found {', '.join(kinds)}: give each kind once")
        return self


class DataConfig(Strict):
    """The data set, what is changed about it, and the rule that turns (loader seed, epoch) into an order.

    `order: ffcv` is FFCV's own rule (seed + epoch), which makes neighbouring seeds share their orders one epoch apart.
    `label_noise` is the share of training labels that are replaced by another class, once, the same for all runs.
    """

    dataset: PinnedName
    order: OrderRule = "philox"
    drop_last: bool = False
    augment: AugmentConfig | None = None
    label_noise: float = Field(default=0.0, ge=0.0, lt=1.0)


class EarlyNoise(Strict):
    """The SGD noise of epochs before `until`, in place of the run's own: runs that share it are one trajectory.

    Frankle et al. 2020 (arXiv 1912.05671) spawn two networks from one after k epochs that way.
    """

    until: Epochs
    loader: Seed
    augmentation: Seed | None = None


class Seeds(Strict):
    """Three independent streams: initialisation, data order, augmentation draws.

    `augmentation` is null where nothing is augmented, so that equal runs have equal seeds.
    """

    trainer: Seed
    loader: Seed
    augmentation: Seed | None = None
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


Precision = Literal["float32", "tf32", "bf16"]
"""Precision of training's matrix products; weights, optimizer and all measurements are always float32.

`tf32`, on a GPU: factors rounded to 10 bits of mantissa, sums in float32. `bf16`, on a GPU or a CPU with AMX or
AVX512-BF16: factors and products rounded to 7 bits.
"""


class RunConfig(Strict):
    """The config of one run. Equal configs on equal data give equal weights (see training.fingerprint)."""

    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    clip: ClipConfig | None = None
    schedule: ScheduleConfig = ScheduleConfig()
    batch_size: BatchSize
    epochs: Epochs
    evaluate_at: EvaluationEpochs
    # Files of float32 runs keep the bytes that they had before there was a choice.
    precision: Precision = Field(default="float32", exclude_if=lambda precision: precision == "float32")
    seeds: Seeds

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        if self.evaluate_at[-1] != self.epochs:
            raise ValueError(
                f"evaluate_at and epochs: found evaluations up to {self.evaluate_at[-1]} in {self.epochs} epochs, "
                f"allowed: the last one at {self.epochs}"
            )
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs and epochs: found a warm-up of {self.schedule.warmup_epochs} epochs, allowed: "
                f"up to {self.epochs}, the length of the run"
            )
        if (self.data.augment is None) != (self.seeds.augmentation is None):
            raise ValueError("seeds.augmentation: give it where data.augment is given, and only there")
        if self.seeds.early and self.seeds.early.until > self.epochs:
            raise ValueError(
                f"seeds.early.until: {self.seeds.early.until} epochs are longer than the run of {self.epochs}"
            )
        return self

    def without_seeds(self) -> dict[str, Any]:
        """Return the fields that all runs of a cell share, as plain JSON values."""
        return self.model_dump(mode="json", exclude={"seeds"})

    def flat(self) -> dict[str, Any]:
        """Return `a.b: value` for every field, seeds included: the parameters that a tracker shows."""
        flat: dict[str, Any] = {}

        def walk(prefix: str, value: Any) -> None:
            if isinstance(value, dict):
                for key, inner in value.items():
                    walk(f"{prefix}.{key}" if prefix else key, inner)
            else:
                flat[prefix] = value

        walk("", {**self.model_dump(mode="json"), "precision": self.precision})
        return flat

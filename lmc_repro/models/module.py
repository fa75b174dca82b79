"""Any torch module of one's own as the network of a run: `FILE.py:FUNCTION` makes it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.config.base import canonical_json
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.config.own_code import STORED, own_object, short_name
from lmc_repro.config.run import ModuleConfig
from lmc_repro.data.dataset import Split, normalise
from lmc_repro.models.base import Axes, Forward, Weights
from lmc_repro.models.batchnorm import estimated, running_norms, statistic
from lmc_repro.models.portable import portable_products
from lmc_repro.models.units import Units, collected, units_of

BATCH = 250
"""Images per batch when estimating statistics, if all together are too many."""

AT_ONCE_BYTES = 2**30
"""Limit in bytes of the largest tensors of one pass over all training images."""

_TRIED = 2  # images of the probe


class Module:
    """A module as a function of its parameters, one network of a stack after another.

    `shapes` are those of its parameters, and checkpoints hold nothing else. In training, BatchNorm has the statistics
    of the batch; for an evaluation, `calibrated` estimates them at the weights that are evaluated. All other buffers
    are constants: those of a module that is built with seed 0.
    """

    def __init__(self, config: ModuleConfig, info: DatasetInfo) -> None:
        self.config, self.info = config, info
        self.name = f"model.module {short_name(config.module)}"
        self._facts = _facts(canonical_json(config.model_dump(mode="json")), info)
        self.shapes = self._facts.shapes
        self._net = _built(config, info, Generator().manual_seed(0))

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the parameters of a module built while torch's global generator stands where `generator` does.

        The global generator is put back, and `generator` stands where the module left it: the weights of trainer seed s
        are those after `torch.manual_seed(s)`.
        """
        again = Generator()
        again.set_state(generator.get_state())
        first, second = (_parameters(_built(self.config, self.info, each)) for each in (generator, again))
        for name, tensor in first.items():
            if not torch.equal(tensor, second[name]):
                raise LmcError(f"{self.name}: {name} differs from build to build; draw it from torch's own generator")
        return {name: tensor.detach().float() for name, tensor in first.items()}

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [C, b, classes] as in training, for inputs [C, b, channels, height, width]."""
        return torch.stack([self._trained(_of(weights, i), batch) for i, batch in enumerate(inputs)])

    def calibrated(self, weights: Weights, train: Split) -> Forward:
        """Return the network for the evaluation of `weights` [C, ...], with statistics of all training images."""
        norms = running_norms(self._net)
        statistics: list[dict[str, Tensor]] = [{} for _ in range(len(next(iter(weights.values()))))]
        if norms:
            size = len(train)
            if 4 * size * self._facts.widest > AT_ONCE_BYTES:
                size = BATCH
            batches = [train.images[start : start + size] for start in range(0, len(train), size)]
            for i, found in enumerate(statistics):
                own = _of(weights, i)

                def forward(buffers: Mapping[str, Tensor], images: Tensor, own: Weights = own) -> Tensor:
                    device = next(iter(own.values())).device
                    return self._call(own, normalise(images.to(device), self.info), buffers, training=False)

                found |= estimated(norms, batches, forward)
        return _Calibrated(self, statistics)

    def axes(self) -> Axes:
        """Return the groups of units that the module names in its own `axes`, or that are derived from its layers."""
        return self._units.axes

    def hidden(self, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the layers that make each group, behind a norm where one follows, as in training."""
        found: list[dict[str, Tensor]] = []
        for i, batch in enumerate(inputs):
            with torch.no_grad(), collected(self._net, self._units) as outputs:
                self._trained(_of(weights, i), batch)
            found.append(outputs)
        return {group: torch.stack([outputs[group] for outputs in found]) for group in found[0]}

    @property
    def renormalised(self) -> bool:
        """Whether a norm with statistics puts out every unit: their estimation at each point is a repair."""
        layers = [self._net.get_submodule(site.layer) for site in self._units.sites]
        return bool(layers) and all(isinstance(layer, _BatchNorm) for layer in layers)

    @cached_property
    def _units(self) -> Units:
        return _units(canonical_json(self.config.model_dump(mode="json")), self.info)

    def forward_flops(self) -> tuple[int, int]:
        """Return 0 (no layer is known to be the first) and the FLOPs of a forward pass, as torch counts them."""
        return 0, self._facts.flops

    def activations(self) -> int:
        """Return the sizes of the outputs of all operations of a forward pass."""
        return self._facts.activations

    def _trained(self, weights: Weights, inputs: Tensor) -> Tensor:
        names = list(weights)

        def call(tensors: Sequence[Tensor]) -> Tensor:
            return self._call(dict(zip(names, tensors, strict=True)), inputs, {}, training=True)

        if not torch.is_grad_enabled():
            return call(list(weights.values()))
        return cast(Tensor, _Differentiated.apply(call, *weights.values()))

    def _call(self, weights: Weights, inputs: Tensor, buffers: Mapping[str, Tensor], training: bool) -> Tensor:
        """Return logits [b, classes] of one network; `buffers` replace the module's own."""
        net = self._net
        if net.training != training:
            net.train(training)
        if any(buffer.device != inputs.device for buffer in net.buffers()):
            net.to(inputs.device)
        with portable_products(inputs.device):
            logits: Tensor = own_code(
                self.name,
                lambda: functional_call(net, {**weights, **buffers}, (inputs,)),
                but=torch.OutOfMemoryError,
            )
        return logits


@dataclass
class _Calibrated:
    """A module's evaluation, with the statistics of each network of a stack."""

    module: Module
    statistics: list[dict[str, Tensor]]

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [C, b, classes]."""
        each = enumerate(zip(inputs, self.statistics, strict=True))
        return torch.stack([self.module._call(_of(weights, i), x, found, training=False) for i, (x, found) in each])


class _Differentiated(torch.autograd.Function):
    """A call whose backward pass runs with portable products too; a parameter that it did not use has gradient 0."""

    @staticmethod
    def forward(ctx: Any, call: Callable[[Sequence[Tensor]], Tensor], *weights: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.leaves = [weight.detach().requires_grad_() for weight in weights]
            ctx.logits = call(ctx.leaves)
        return cast(Tensor, ctx.logits.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with portable_products(gradients[0].device):
            found = torch.autograd.grad(ctx.logits, ctx.leaves, gradients[0], materialize_grads=True)
        return None, *found


def _of(weights: Weights, i: int) -> dict[str, Tensor]:
    return {name: stacked[i] for name, stacked in weights.items()}


def _parameters(net: nn.Module) -> dict[str, Tensor]:
    return dict(net.named_parameters())


def _built(config: ModuleConfig, info: DatasetInfo, generator: Generator) -> nn.Module:
    """Return the module that the user's function makes with `generator` in place of torch's global one."""
    name = f"model.module {short_name(config.module)}"
    build = own_object(config.module)
    with torch.random.fork_rng(devices=[]), portable_products(torch.device("cpu")):
        torch.set_rng_state(generator.get_state())
        net = own_code(name, lambda: build(info, **config.options))
        generator.set_state(torch.get_rng_state())
    if not isinstance(net, nn.Module):
        raise LmcError(f"{name}: returned a {type(net).__name__}, expected an nn.Module")
    return net


@dataclass(frozen=True)
class _Facts:
    """Costs of a module before training, per image: FLOPs, and the numbers that operations put out."""

    shapes: dict[str, tuple[int, ...]]
    flops: int
    activations: int
    widest: int


@cache
def _facts(config_json: str, info: DatasetInfo) -> _Facts:
    """Measure a new module by one forward pass.

    Raises:
        LmcError: For a module that draws random numbers, keeps a state of its own, has no parameters or other than
            float32, or returns other than logits.
    """
    config = ModuleConfig.model_validate_json(config_json, context=STORED)
    name = f"model.module {short_name(config.module)}"
    net = _built(config, info, Generator().manual_seed(0))
    parameters = _parameters(net)
    if not parameters:
        raise LmcError(f"{name}: has no parameters")
    check_sized(net, name)
    for key, parameter in parameters.items():
        if parameter.dtype != torch.float32:
            raise LmcError(f"{name}: {key} is {parameter.dtype}, expected torch.float32")
    inputs = _probe(info)
    cpu, sizes, counter = torch.device("cpu"), _Sizes(), FlopCounterMode(display=False)
    with torch.no_grad(), portable_products(cpu):
        _check_state(name, net, inputs)
        net.eval()
        with sizes, counter:
            logits = own_code(name, lambda: net(inputs))
    if not isinstance(logits, Tensor) or logits.shape != (_TRIED, info.classes) or logits.dtype != torch.float32:
        found = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise LmcError(f"{name}: returns {found}, expected logits torch.float32 [b, {info.classes}]")
    shapes = {key: tuple(parameter.shape) for key, parameter in parameters.items()}
    return _Facts(shapes, counter.get_total_flops() // _TRIED, sizes.total // _TRIED, sizes.widest // _TRIED)


@cache
def _units(config_json: str, info: DatasetInfo) -> Units:
    config = ModuleConfig.model_validate_json(config_json, context=STORED)
    net = _built(config, info, Generator().manual_seed(0)).eval()
    return units_of(net, _probe(info), f"model.module {short_name(config.module)}")


def _probe(info: DatasetInfo) -> Tensor:
    return torch.linspace(-1.0, 1.0, _TRIED * info.features).view(_TRIED, *info.shape)


def _check_state(name: str, net: nn.Module, inputs: Tensor) -> None:
    """Raise LmcError if a module draws random numbers in training or changes a buffer that is no running statistic."""
    statistics = {statistic(key, each) for key, norm in running_norms(net).items() for each, _ in norm.named_buffers()}
    constants = {key: buffer.clone() for key, buffer in net.named_buffers() if key not in statistics}
    with torch.random.fork_rng(devices=[]):
        drawing = first_drawing(net, lambda: own_code(name, lambda: net.train()(inputs)))
    if drawing is not None:
        raise LmcError(
            f"{name}: {drawing} draws random numbers in training, which belong to no seed of a run; leave it out, or "
            "set its probability to 0"
        )
    for key, buffer in net.named_buffers():
        if key in constants and not torch.equal(buffer, constants[key]):
            raise LmcError(f"{name}: buffer {key} changes in training, and checkpoints hold parameters alone")


def check_sized(net: nn.Module, name: str) -> None:
    """LmcError, naming the layer, for a module whose shapes are known after a first batch only."""
    for key, tensor in [*net.named_parameters(), *net.named_buffers()]:
        if is_lazy(tensor):
            layer = shown_layer(net, key.rpartition(".")[0])
            raise LmcError(f"{name}: {layer} has no shape before its first batch; give it its sizes, without Lazy")


def shown_layer(net: nn.Module, layer: str) -> str:
    """Return a layer's name with its kind, for people."""
    return f"{layer or 'the module'} ({type(net.get_submodule(layer)).__name__})"


def first_drawing(net: nn.Module, call: Callable[[], object]) -> str | None:
    """Return the innermost layer that draws random numbers while `call` runs the module, see `shown_layer`."""
    drawing: list[str] = []
    before: list[tuple[Any, ...]] = []

    def enter(module: nn.Module, args: Any) -> None:
        before.append(_generators())

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if before.pop() != _generators():
            drawing.append(names[module])

    names = {module: key for key, module in net.named_modules()}
    handles = []
    for module in names:
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return shown_layer(net, drawing[0]) if drawing else None  # the innermost ends first


def _generators() -> tuple[Any, ...]:
    """Return the states of the generators that a module may draw from unasked."""
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[index]


class _Sizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers that operations put out, views aside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = self.widest = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple) else (made,):
            if isinstance(tensor, Tensor) and not func.is_view:
                self.total += tensor.numel()
                self.widest = max(self.widest, tensor.numel())
        return made

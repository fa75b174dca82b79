"""The straight line between any two torch modules of one architecture, measured on any loader."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from lmc_repro.barriers.activations import IMAGES
from lmc_repro.barriers.alignment import permuted
from lmc_repro.barriers.curve import Curve, require_points
from lmc_repro.barriers.matching import match_hidden, match_weights
from lmc_repro.barriers.path import as_curve
from lmc_repro.barriers.results import DIFFERENT
from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.models.batchnorm import estimated, running_norms, statistic
from lmc_repro.models.module import check_sized, first_drawing, shown_layer
from lmc_repro.models.units import Units, collected, units_of
from lmc_repro.training.evaluate import Score, predicted

Loader = Iterable[Any]
Tensors = Mapping[str, Tensor]


def path_between(
    model_a: nn.Module, model_b: nn.Module, loader: Loader, points: int = 11, recalibrate: Loader | None = None
) -> Curve:
    """Return errors and losses on the line between two modules at `points` evenly spaced alphas; 0 is `model_a`.

    `loader` yields (inputs, labels int64 [b]) and gives the same samples in each iteration, one per point;
    the modules, in evaluation mode, return logits [b, classes]. Wrong are predictions that miss the label and those
    with a logit that is not finite; the loss is mean cross-entropy in nats. Parameters are interpolated, and the ends
    have the modules' own. Buffers are not, and must be equal; but BatchNorm's running statistics, which fit neither
    network between the ends, are estimated anew at every alpha, ends included (Jordan et al. 2023, arXiv 2211.08403):
    those of one batch of all samples of `recalibrate`, which is gone through once per layer. Inputs go to the
    parameters' device. Half precision (float16, bfloat16) is cast to float32, a module's with a warning. Both modules
    are left as they were. LmcError, naming the first key, where the two do not fit together, or a model or loader
    raises something, or for fewer than 3 points.
    """
    require_points(points)
    for name, model in (("model_a", model_a), ("model_b", model_b)):
        if isinstance(model, nn.Module) and (found := half_types(model)):
            warnings.warn(f"{name}: {found} cast to float32", stacklevel=2)
    where = "models, loader and recalibrate do not fit together"
    return cast(Curve, own_code(where, lambda: measured(model_a, model_b, loader, points, recalibrate)))


def align_modules(model_a: nn.Module, model_b: nn.Module, loader: Loader, by: str = "weights") -> nn.Module:
    """Return a copy of `model_b`, the same function, with its hidden units in the order that is nearest to `model_a`'s.

    Args:
        model_a: The module that stays.
        model_b: A module of the same architecture, which is left as it was.
        loader: Yields (inputs, labels), see `path_between`; activations are those of its first 10,000 samples.
        by: weights (Ainsworth et al. 2023, arXiv 2209.04836) or activations (Li et al. 2015, arXiv 1511.07543).

    Raises:
        LmcError: The two do not fit together, their units cannot be found (see `units_of`), or more than one sample in
            1000 is predicted differently afterwards.
    """
    return cast(
        nn.Module, own_code("models and loader do not fit together", lambda: _aligned(model_a, model_b, loader, by))
    )


@torch.no_grad()
def _aligned(model_a: nn.Module, model_b: nn.Module, loader: Loader, by: str) -> nn.Module:
    if by not in ("weights", "activations"):
        raise LmcError(f"align: found {by!r}, allowed: 'weights', 'activations'")
    theta_0, theta_1, _ = _fitting(model_a, model_b, running_norms(model_a))
    result, device = copy.deepcopy(model_b), next(iter(theta_0.values())).device
    with _evaluating(model_a):
        inputs = next((batch[0] for batch in loader), None)
        if inputs is None:
            raise LmcError("loader: gave no samples")
        units = units_of(model_a, inputs[:2].to(device), "align")
        if by == "weights":
            on_cpu = ({name: tensor.cpu() for name, tensor in theta.items()} for theta in (theta_0, theta_1))
            orders = match_weights(units.axes, *on_cpu)
        else:
            ends = ({**theta, **model.state_dict()} for theta, model in ((theta_0, model_a), (theta_1, model_b)))
            orders = match_hidden(units.axes, _hidden(model_a, tuple(ends), units, loader))
        places = {group: (*units.axes[group], *units.statistics[group]) for group in units.axes}
        before = {name: tensor.cpu() for name, tensor in model_b.state_dict().items()}
        after = permuted(before, places, orders)
        changed = n = 0
        for batch in loader:
            tensors = ({name: x.to(device, copy=True) for name, x in state.items()} for state in (before, after))
            first, second = (next(_outputs(model_a, each, [batch], "loader")) for each in tensors)
            changed, n = changed + int((predicted(first[0]) != predicted(second[0])).sum()), n + len(first[1])
    if changed > DIFFERENT * n:
        raise LmcError(
            f"align: {changed} of {n} samples are predicted differently after it; correct `axes` of the module"
        )
    result.load_state_dict(after)
    return result


def _hidden(model: nn.Module, ends: Sequence[Tensors], units: Units, loader: Loader) -> Iterator[dict[str, Tensor]]:
    """Yield outputs with the tensors of both ends, [2, samples, units] per group, BatchNorm as in training."""
    seen = 0
    for norm in running_norms(model).values():
        norm.train()
    for batch in loader:
        found = []
        for end in ends:
            with collected(model, units) as outputs:
                tensors = {name: tensor.clone() for name, tensor in end.items()}
                seen += len(next(_outputs(model, tensors, [batch], "loader"))[1])
            found.append(outputs)
        yield {group: torch.stack([outputs[group] for outputs in found]) for group in found[0]}
        if seen >= 2 * IMAGES:
            break
    model.eval()


@torch.no_grad()
def measured(
    model_a: nn.Module, model_b: nn.Module, loader: Loader, points: int = 11, recalibrate: Loader | None = None
) -> Curve:
    """Return what `path_between` does, exceptions of the models and loaders as they are."""
    for name, source in (("loader", loader), ("recalibrate", recalibrate)):
        if source is not None and iter(source) is source:
            raise LmcError(f"{name}: can be gone through once only; give a DataLoader, or a list of batches")
    for model, name in ((model_a, "the first model"), (model_b, "the second model")):
        check_sized(model, name)
    model_a, model_b = (copy.deepcopy(each).float() if half_types(each) else each for each in (model_a, model_b))
    norms = running_norms(model_a)
    theta_0, theta_1, buffers = _fitting(model_a, model_b, norms)
    if norms and recalibrate is None:
        raise LmcError(
            f"{next(iter(norms)) or 'the model'} has running statistics, which fit no network between the two; give "
            "recalibrate=<a loader of training images>, from which they are estimated at every alpha"
        )
    scores = []
    with _evaluating(model_a), _evaluating(model_b):
        _check_equal_functions(model_a, model_b, theta_1, loader)
        for i in range(points):
            alpha = i / (points - 1)
            weights = theta_0 if i == 0 else theta_1 if i == points - 1 else _between(theta_0, theta_1, alpha)
            tensors = {**weights, **{name: buffer.clone() for name, buffer in buffers.items()}}
            if norms and recalibrate is not None:
                tensors |= _estimated(model_a, norms, tensors, recalibrate)
            scores.append(_score(model_a, tensors, loader))
    if len({score.n for score in scores}) > 1:
        raise LmcError(f"loader: gave {scores[0].n} samples at first and {scores[-1].n} later; it must repeat itself")
    return as_curve(scores)


def half_types(model: nn.Module) -> str:
    """Return the types of a module's tensors that have less than float32's precision; empty where there are none."""
    tensors = (*model.parameters(), *model.buffers())
    return ", ".join(sorted({str(each.dtype).removeprefix("torch.") for each in tensors if _is_half(each)}))


def _is_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.itemsize < torch.float32.itemsize


def _between(theta_0: Tensors, theta_1: Tensors, alpha: float) -> dict[str, Tensor]:
    return {
        name: torch.lerp(start, theta_1[name], alpha) if start.is_floating_point() else start
        for name, start in theta_0.items()
    }


def _score(model: nn.Module, tensors: Tensors, loader: Loader) -> Score:
    wrong, n, loss = 0, 0, 0.0
    for logits, labels in _outputs(model, tensors, loader, "loader"):
        if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels) or labels.dtype.is_floating_point:
            found = f"logits {list(logits.shape)} and labels {labels.dtype} {list(labels.shape)}"
            raise LmcError(f"loader: found {found}, expected logits [b, classes] and whole labels [b]")
        if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
            found = f"labels from {int(labels.min())} to {int(labels.max())}"
            raise LmcError(f"loader: found {found}, expected 0 to {logits.shape[1] - 1}, one for each logit")
        wrong += int((predicted(logits) != labels).sum())
        loss += nn.functional.cross_entropy(logits.float(), labels.long(), reduction="none").double().sum().item()
        n += len(labels)
    if n == 0:
        raise LmcError("loader: gave no samples")
    return Score(wrong, n, loss / n if math.isfinite(loss) else None)


def _outputs(model: nn.Module, tensors: Tensors, loader: Loader, name: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (logits, labels) of every batch."""
    device = next(iter(tensors.values())).device
    for batch in loader:
        try:
            inputs, labels = batch
        except (TypeError, ValueError):
            raise LmcError(f"{name}: gave a {type(batch).__name__}, expected pairs of (inputs, labels)") from None
        if not (isinstance(inputs, Tensor) and isinstance(labels, Tensor)):
            found = f"{type(inputs).__name__} and {type(labels).__name__}"
            raise LmcError(f"{name}: gave pairs of {found}, expected tensors")
        inputs = inputs.to(device, torch.float32 if _is_half(inputs) else inputs.dtype)
        logits = functional_call(model, dict(tensors), (inputs,))
        if not isinstance(logits, Tensor):
            raise LmcError(f"the models return a {type(logits).__name__}, expected logits [b, classes]: wrap them")
        yield logits, labels.to(device)


def _fitting(
    model_a: nn.Module, model_b: nn.Module, norms: Mapping[str, _BatchNorm]
) -> tuple[Tensors, Tensors, Tensors]:
    """Return the parameters of both and the buffers that they share, statistics of `norms` aside."""
    if type(model_a) is not type(model_b):
        kinds = f"{type(model_a).__name__} and {type(model_b).__name__}"
        raise LmcError(f"the models are of two kinds, {kinds}: no line leads from one to the other")
    parameters = [dict(model.named_parameters(remove_duplicate=False)) for model in (model_a, model_b)]
    buffers = [dict(model.named_buffers(remove_duplicate=False)) for model in (model_a, model_b)]
    for kind, (first, second) in (("parameter", parameters), ("buffer", buffers)):
        for name in [*first, *second]:
            if name not in first or name not in second:
                raise LmcError(f"{kind} {name}: only the {'second' if name in second else 'first'} model has it")
            a, b = first[name], second[name]
            if a.shape != b.shape or a.dtype != b.dtype:
                found = f"{a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}"
                raise LmcError(f"{kind} {name}: found {found}: no line leads from one to the other")
    statistics = {statistic(layer, name) for layer, norm in norms.items() for name, _ in norm.named_buffers()}
    kept = {name: buffer for name, buffer in model_a.named_buffers() if name not in statistics}
    fixed = {name: p for name, p in parameters[0].items() if not p.is_floating_point()}
    for kind, tensors, others in (("buffer", kept, buffers[1]), ("parameter of whole numbers", fixed, parameters[1])):
        for name, tensor in tensors.items():
            if not torch.equal(tensor, others[name]):
                layer = shown_layer(model_a, name.rpartition(".")[0])
                raise LmcError(f"{kind} {name} of {layer}: differs, with no values in between; {_fix(model_a, name)}")
    ties = [{name: id(tensor) for name, tensor in found.items()} for found in parameters]
    for name in parameters[0]:
        shared = [[other for other in tie if tie[other] == tie[name]] for tie in ties]
        if shared[0] != shared[1]:
            raise LmcError(f"parameter {name}: shared as {shared[0]} in the first model, as {shared[1]} in the second")
    one = [{name: p.detach() for name, p in model.named_parameters()} for model in (model_a, model_b)]
    if not one[0]:
        raise LmcError("the models have no parameters: there is no line between them")
    return one[0], one[1], kept


def _fix(model: nn.Module, name: str) -> str:
    """Return what to do about a buffer that differs."""
    layer, _, last = name.rpartition(".")
    if isinstance(model.get_submodule(layer), _InstanceNorm):
        return "build it with track_running_stats=False"
    if last.endswith(("_u", "_v")):
        return "take spectral_norm off both models first (remove_parametrizations, or remove_spectral_norm)"
    return "give both models the same"


def _check_equal_functions(model_a: nn.Module, model_b: nn.Module, theta_1: Tensors, loader: Loader) -> None:
    """Raise LmcError if the modules differ in more than their tensors, such as a slope that is no parameter."""
    for batch in loader:
        ends = []
        for model in (model_a, model_b):
            tensors = {**theta_1, **{name: buffer.clone() for name, buffer in model_b.named_buffers()}}
            ends.append(next(_outputs(model, tensors, [batch], "loader"))[0])
        same = ends[0].shape == ends[1].shape
        if not same or not torch.allclose(ends[0], ends[1], rtol=1e-3, atol=1e-5, equal_nan=True):
            drawing = first_drawing(model_b, partial(next, _outputs(model_b, theta_1, [batch], "loader")))
            if drawing is not None:
                fix = "pass training=self.training to its dropout, or leave it out"
                raise LmcError(f"{drawing} draws random numbers in evaluation mode, so it has no one error; {fix}")
            raise LmcError("the models differ in more than their weights: with equal ones they give other logits")
        return


def _estimated(
    model: nn.Module, norms: Mapping[str, _BatchNorm], tensors: Tensors, recalibrate: Loader
) -> dict[str, Tensor]:
    """Return the statistics of `norms` with these weights, of all samples of `recalibrate`."""
    batches = 0

    def forward(statistics: Tensors, batch: Any) -> None:
        nonlocal batches
        batches += 1
        next(_outputs(model, {**tensors, **statistics}, [batch], "recalibrate"))

    found = estimated(norms, recalibrate, forward)
    if batches == 0:
        raise LmcError("recalibrate: gave no samples")
    return found


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Hold a module in evaluation mode, and give each part its own mode back."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training

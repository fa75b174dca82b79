"""Products of any module: ours and no other's in portable numerics, forward and backward, with torch's values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from helpers import run_config, tiny_dataset
from known_answers.golden import MODELS
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import is_portable
from lmc_repro.models.portable import portable_products
from lmc_repro.models.registry import build_model

pytestmark = pytest.mark.skipif(not is_portable(), reason="this CPU has no AVX2, or native numerics are tested")

CPU = torch.device("cpu")


def gradients(call: Callable[..., Tensor], tensors: Sequence[Tensor], *more: Any) -> list[Tensor]:
    """Return the outputs and their gradients by `tensors`, weighted so that no two outputs are alike."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = call(*leaves, *more)
    weights = torch.linspace(-1.0, 1.0, out.numel()).view(out.shape)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


CONVOLUTIONS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": (functional.conv2d, (3, 4, 7, 6), (5, 4, 3, 3), {}),
    "padded, strided": (functional.conv2d, (3, 4, 7, 6), (5, 4, 3, 2), {"padding": (2, 1), "stride": (2, 3)}),
    "grouped": (functional.conv2d, (3, 4, 7, 6), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": (functional.conv2d, (3, 4, 7, 6), (4, 1, 3, 3), {"groups": 4, "stride": 2}),
    "dilated": (functional.conv2d, (3, 4, 9, 9), (5, 4, 3, 3), {"dilation": 2, "padding": "same"}),
    "points": (functional.conv2d, (3, 4, 7, 6), (5, 4, 1, 1), {"stride": 2}),
    "a line": (functional.conv1d, (3, 4, 11), (5, 4, 3), {"padding": 1, "stride": 2}),
    "a volume": (functional.conv3d, (2, 2, 4, 5, 3), (3, 2, 2, 3, 2), {"padding": 1}),
}


@pytest.mark.parametrize("function, shape, weight, options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("columns", [2**22, 1])
def test_convolutions_are_torchs(
    columns: int,
    function: Callable[..., Tensor],
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmc_repro.models.portable._COLUMNS", columns)  # all samples together, or one by one
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(side, generator=generator) for side in (shape, weight, weight[:1])]

    def call(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return function(x, w, b, **options)

    expected = gradients(call, tensors)
    with portable_products(CPU):
        found = gradients(call, tensors)
    for ours, torchs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=1e-4)


def test_functions_that_mkl_would_compute() -> None:
    x = torch.linspace(-40.0, 40.0, 4001)
    for function, inputs in ((torch.exp, x), (torch.tanh, x), (torch.log, x.abs() + 1e-9), (torch.sqrt, x.abs())):
        exact = function(inputs.double())
        with portable_products(CPU):
            assert ((function(inputs).double() - exact) / exact.abs().clamp_min(1e-6)).abs().max() < 5e-7
            assert torch.equal(getattr(inputs.clone(), f"{function.__name__}_")(), function(inputs))


class Recorder(TorchDispatchMode):
    """Keeps the names of the operations that reach torch's own kernels: what a mode above it takes over never does."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.names.add(func._schema.name.removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


def mixed() -> tuple[list[Tensor], set[str]]:
    """Return logits and gradients of the golden module, and what ran in training and in evaluation."""
    dataset = tiny_dataset(shape=(1, 8, 8))
    model = build_model(run_config(model=MODELS["module"]).model, dataset.info)
    weights = model.init(torch.Generator().manual_seed(0))
    inputs = torch.randn(1, 16, *dataset.info.shape, generator=torch.Generator().manual_seed(1))

    def logits(*tensors: Tensor) -> Tensor:
        stacked = {name: tensor.unsqueeze(0) for name, tensor in zip(weights, tensors, strict=True)}
        return model.forward(stacked, inputs)

    with Recorder() as seen:
        found = gradients(logits, list(weights.values()))
        stacked = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
        with torch.no_grad():
            model.calibrated(stacked, dataset.train).forward(stacked, inputs)  # type: ignore[attr-defined]
    return found, seen.names


def test_a_network_of_all_sorts_calls_no_product_of_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, names = mixed()
    monkeypatch.setattr("lmc_repro.models.portable.is_portable", lambda: False)  # torch's own
    torchs, others = mixed()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    products = {"addmm", "mm", "bmm", "convolution", "convolution_backward", "exp", "log", "sqrt", "tanh"}
    assert products <= others and any("attention" in name for name in others)
    assert not {name for name in names if name in products or "attention" in name}
    assert {"native_batch_norm", "native_batch_norm_backward", "gelu"} <= names & others


def test_an_unknown_product_is_refused_and_the_switches_are_put_back() -> None:
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    with pytest.raises(LmcError, match="transposed convolution"), portable_products(CPU):
        nn.ConvTranspose2d(2, 2, 2)(torch.ones(1, 2, 3, 3))
    with pytest.raises(LmcError, match=r"_cdist_forward|_euclidean_dist"), portable_products(CPU):
        torch.cdist(torch.ones(30, 3), torch.ones(30, 3))
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == before
    assert torch.ones(2, 2).exp()[0, 0] == torch.e

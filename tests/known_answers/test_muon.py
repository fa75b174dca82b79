"""Muon on a stack against its formula in float64, and against torch.optim.Muon and AdamW, over 50 steps."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import MUON, run_config, tiny_dataset, train
from torch import Tensor, nn

from lmc_repro.common.errors import LmcError
from lmc_repro.training.optimizer import build_optimizer, orthogonal
from lmc_repro.training.stack import Layout

C: Any = run_config(optimizer=MUON).optimizer
STEPS, RATES = 50, (0.004, 0.001)
SHAPES: dict[str, tuple[int, ...]] = {
    "positions": (3, 5), "embed.weight": (5, 7), "a.weight": (9, 5), "a.bias": (9,), "b.weight": (9, 9),
    "c.weight": (9, 9), "conv.weight": (6, 2, 2, 3), "wide.weight": (5, 30), "head.weight": (4, 5), "head.bias": (4,),
}  # fmt: skip
HIDDEN = {"a.weight", "b.weight", "c.weight", "conv.weight", "wide.weight"}


def drawn(seed: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [{name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()} for _ in RATES]


def ours(rates: tuple[float, ...] = RATES, steps: int = STEPS, spoil: int | None = None) -> list[dict[str, Tensor]]:
    layout = Layout(SimpleNamespace(shapes=SHAPES))  # type: ignore[arg-type]
    weights = layout.stack(drawn(0)[: len(rates)])
    optimizer: Any = build_optimizer(C, weights)
    optimizer.lay_out(layout)
    for k in range(steps):
        gradient = layout.stack(drawn(1 + k)[: len(rates)])
        if spoil is not None:
            gradient[spoil] = torch.inf
        optimizer.update(weights, gradient, *optimizer.numbers(torch.tensor(rates).unsqueeze(1), k))
    return [layout.run(weights, run) for run in range(len(rates))]


def theirs(run: int, hidden_steps: Callable[[dict[str, nn.Parameter]], Callable[[], object]]) -> dict[str, Tensor]:
    """Return a run's weights: AdamW moves all but HIDDEN, and those, as matrices, `hidden_steps` of them."""
    start = drawn(0)[run]
    weights = {name: nn.Parameter(w.flatten(1) if name in HIDDEN else w) for name, w in start.items()}
    rest = torch.optim.AdamW(
        [w for name, w in weights.items() if name not in HIDDEN],
        lr=RATES[run] * C.adam_share, betas=(C.beta1, C.beta2), eps=C.eps, weight_decay=C.weight_decay,
    )  # fmt: skip
    step = hidden_steps({name: w for name, w in weights.items() if name in HIDDEN})
    for k in range(STEPS):
        for name, gradient in drawn(1 + k)[run].items():
            weights[name].grad = gradient.view_as(weights[name])
        rest.step()
        step()
    return {name: w.detach().view(SHAPES[name]) for name, w in weights.items()}


def written_out(rate: float) -> Callable[[dict[str, nn.Parameter]], Callable[[], object]]:
    def hidden_steps(hidden: dict[str, nn.Parameter]) -> Callable[[], object]:
        means = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in hidden.items()}

        @torch.no_grad()
        def step() -> None:
            for name, w in hidden.items():
                assert w.grad is not None
                g, mean = w.grad.double(), means[name]
                mean.copy_(C.momentum * mean + (1 - C.momentum) * g)
                u, s, v = torch.linalg.svd(C.momentum * mean + (1 - C.momentum) * g, full_matrices=False)
                s = s / s.norm()
                for _ in range(5):
                    s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
                scale = max(1, w.shape[0] / w.shape[1]) ** 0.5
                w.mul_(1 - rate * C.weight_decay).sub_(rate * scale * (u * s) @ v)

        return step

    return hidden_steps


def torchs(rate: float) -> Callable[[dict[str, nn.Parameter]], Callable[[], object]]:
    more = {"momentum": C.momentum, "weight_decay": C.weight_decay}
    return lambda hidden: torch.optim.Muon(list(hidden.values()), lr=rate, **more).step


def errors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> list[float]:
    return [float((found[name] - expected[name]).norm() / expected[name].norm()) for name in SHAPES]


@pytest.fixture(scope="module")
def moved() -> list[dict[str, Tensor]]:
    return ours()


@pytest.mark.parametrize("run", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_its_formula(run: int, moved: list[dict[str, Tensor]]) -> None:
    found, start = moved[run], drawn(0)[run]
    assert max(errors(found, theirs(run, written_out(RATES[run])))) < 1e-6
    assert all((found[name] - start[name]).norm() > 1e-3 for name in SHAPES)


@pytest.mark.parametrize("run", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_torch_in_float32(run: int, moved: list[dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch) -> None:
    """torch orthogonalises in bfloat16; here its own code does so in float32."""
    rounded = theirs(run, torchs(RATES[run]))
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.clone)
    expected = theirs(run, torchs(RATES[run]))
    assert max(errors(moved[run], expected)) < 1e-6
    assert 1e-5 < max(errors(rounded, expected)) < 1e-2


def test_a_run_has_the_bits_that_it_has_alone_beside_one_that_is_not_finite() -> None:
    (alone,), (stacked, lost) = ours(RATES[:1], 20), ours(RATES, 20, spoil=1)
    assert all(torch.equal(alone[name], stacked[name]) for name in SHAPES)
    assert all(lost[name].isnan().any() for name in HIDDEN)


def test_orthogonal_of_nothing_is_nothing() -> None:
    assert torch.equal(orthogonal(torch.zeros(2, 3, 5)), torch.zeros(2, 3, 5))


def test_a_network_without_a_hidden_matrix_is_refused(tmp_path: Any) -> None:
    with pytest.raises(LmcError):
        train([run_config(optimizer=MUON, model={"depth": 2, "width": 9})], tiny_dataset(), tmp_path)

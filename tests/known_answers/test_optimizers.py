"""Our optimizers on a stack against torch.optim on one module after another."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers import ADAM, ADAMW, SAM, SGD, run_config
from torch import Tensor, nn

from lmc_repro.config.run import RunConfig
from lmc_repro.models.mlp import Mlp
from lmc_repro.training.optimizer import build_optimizer, square_root
from lmc_repro.training.schedule import learning_rates
from lmc_repro.training.stack import Layout
from lmc_repro.training.step import TrainStep

STEPS, STEPS_PER_EPOCH, BATCH, CHILDREN = 100, 10, 16, 3


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    return [
        (
            torch.randn(CHILDREN, BATCH, 1, 3, 4, generator=generator),
            torch.randint(0, 5, (CHILDREN, BATCH), generator=generator),
        )
        for _ in range(STEPS)
    ]


def ours(configs: list[RunConfig]) -> list[dict[str, Tensor]]:
    model = Mlp(configs[0].model, features=12, classes=5)
    layout = Layout(model)
    weights = layout.stack([model.init(torch.Generator().manual_seed(i)) for i in range(CHILDREN)])
    step = TrainStep(model, layout, weights, build_optimizer(configs[0].optimizer, weights), configs[0].clip)
    for k, (inputs, labels) in enumerate(batches()):
        rates = torch.from_numpy(learning_rates(configs, k, STEPS_PER_EPOCH)).float().unsqueeze(1)
        step(inputs, labels, rates, k)
    return [layout.run(weights, i) for i in range(CHILDREN)]


def theirs(config: RunConfig, child: int) -> dict[str, Tensor]:
    sizes = [12, *[config.model.width] * (config.model.depth - 1), 5]
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(config.model.depth):
        layers += [nn.LeakyReLU(config.model.slope)] if i else []
        layers += [nn.Linear(sizes[i], sizes[i + 1])]
    module = nn.Sequential(*layers)
    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    start = Mlp(config.model, 12, 5).init(torch.Generator().manual_seed(child))
    for i, layer in enumerate(linear):
        layer.load_state_dict({"weight": start[f"layers.{i}.weight"], "bias": start[f"layers.{i}.bias"]})
    o: Any = config.optimizer
    if o.kind in ("sgd", "sam"):
        values: dict[str, Any] = {"momentum": o.momentum, "weight_decay": o.weight_decay}
        optimizer: torch.optim.Optimizer = torch.optim.SGD(module.parameters(), lr=o.lr, **values)
    else:
        values = {"betas": (o.beta1, o.beta2), "eps": o.eps, "weight_decay": o.weight_decay}
        made = torch.optim.AdamW if o.kind == "adamw" else torch.optim.Adam
        optimizer = made(module.parameters(), lr=o.lr, **values)
    warmup = config.schedule.warmup_epochs * STEPS_PER_EPOCH
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS) if config.schedule.kind == "cosine" else None
    clipped = 0
    for k, (inputs, labels) in enumerate(batches()):
        if cosine is None:
            optimizer.param_groups[0]["lr"] = o.lr * (min(1.0, k / warmup) if warmup else 1.0)
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(module(inputs[child]), labels[child]).backward()
        if o.kind == "sam":  # Foret et al. 2021, Algorithm 1: the gradient at w + rho g / |g|, then a step from w
            start = [p.detach().clone() for p in module.parameters()]
            gradients = [p.grad.clone() for p in module.parameters() if p.grad is not None]
            length = torch.stack([g.double().square().sum() for g in gradients]).sum() ** 0.5
            with torch.no_grad():
                for p, g in zip(module.parameters(), gradients, strict=True):
                    p.add_((o.rho * g.double() / length).float())
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(module(inputs[child]), labels[child]).backward()
            with torch.no_grad():
                for p, w in zip(module.parameters(), start, strict=True):
                    p.copy_(w)
        if config.clip and config.clip.norm is not None:
            clipped += int(nn.utils.clip_grad_norm_(module.parameters(), config.clip.norm) > config.clip.norm)
        elif config.clip and config.clip.value is not None:
            largest = max(float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None)
            clipped += largest > config.clip.value
            nn.utils.clip_grad_value_(module.parameters(), config.clip.value)
        optimizer.step()
        if cosine is not None:
            cosine.step()
    if config.clip:
        assert 0 < clipped < STEPS  # some steps are clipped, some are not
    named = {}
    for i, layer in enumerate(linear):
        named[f"layers.{i}.weight"], named[f"layers.{i}.bias"] = layer.weight.detach(), layer.bias.detach()
    return named


def assert_equal(found: list[dict[str, Tensor]], configs: list[RunConfig], within: float) -> None:
    for child, config in enumerate(configs):
        for name, expected in theirs(config, child).items():
            error = (found[child][name].double() - expected.double()).norm() / expected.double().norm()
            assert error < within, (child, name, float(error))


slow = pytest.mark.slow
BOTH = [(SGD, (0.02, 0.05, 0.01)), (ADAM, (0.002, 0.005, 0.001))]
RATES = pytest.mark.parametrize("optimizer, rates", BOTH, ids=["sgd", "adam"])


@pytest.mark.parametrize("depth, slope", [(1, 1.0), pytest.param(2, 0.0, marks=slow), (4, 0.3)])
@pytest.mark.parametrize(
    "optimizer, rates",
    [*BOTH, (ADAMW, (0.002, 0.005, 0.001)), (SAM, (0.02, 0.05, 0.01))],
    ids=["sgd", "adam", "adamw", "sam"],
)
def test_stack_equals_torch_optim(
    optimizer: dict[str, Any], rates: tuple[float, ...], depth: int, slope: float
) -> None:
    model = {"depth": depth, "width": 16, "slope": slope} if depth > 1 else {"depth": 1}
    more = {"model": model, "epochs": 10, "evaluate_at": [10]}
    configs = [
        run_config(optimizer={**optimizer, "lr": rate}, schedule={"warmup_epochs": warmup}, **more)
        for rate, warmup in zip(rates, (0, 4, 10), strict=True)
    ]
    assert_equal(ours(configs), configs, 1e-6)


STRATEGIES: dict[str, dict[str, Any]] = {
    "weight decay": {"weight_decay": 0.03},
    "cosine": {"schedule": {"kind": "cosine"}},
    "clip norm": {"clip": {"norm": 0.5}},
    "clip value": {"clip": {"value": 0.15}},
    "clip norm, weight decay, cosine": {
        "clip": {"norm": 0.5}, "weight_decay": 0.03, "schedule": {"kind": "cosine"},
    },
}  # fmt: skip


ALSO_COMBINED = ("weight decay", "cosine", "clip norm")


@pytest.mark.parametrize(
    "strategy",
    [pytest.param(s, id=name, marks=slow if name in ALSO_COMBINED else []) for name, s in STRATEGIES.items()],
)
@RATES
def test_strategies_equal_torch(optimizer: dict[str, Any], rates: tuple[float, ...], strategy: dict[str, Any]) -> None:
    changes = {key: value for key, value in strategy.items() if key != "weight_decay"}
    more = {"model": {"depth": 2, "width": 16, "slope": 0.3}, "epochs": 10, "evaluate_at": [10]}
    settings = {**optimizer, "weight_decay": strategy.get("weight_decay", 0.0)}
    configs = [run_config(optimizer={**settings, "lr": rate}, **more, **changes) for rate in rates]
    found = ours(configs)
    # torch adds 1e-6 to the norm that it divides by
    assert_equal(found, configs, 1e-5 if "norm" in strategy.get("clip", {}) else 1e-6)
    unlike = theirs(run_config(optimizer={**optimizer, "lr": rates[0]}, **more), 0)
    assert all((unlike[name] - tensor).norm() > 1e-3 for name, tensor in found[0].items())


def test_roots_are_correctly_rounded() -> None:
    """Of every float32 mantissa, at an even and an odd exponent: no other float32 lies nearer to the true root."""
    x = torch.arange(2**24, dtype=torch.int32).add_(0x3F800000).view(torch.float32)  # from 1 to below 4
    assert (x[0].item(), x[-1].item()) == (1.0, 4.0 - 2.0**-22)
    root = torch.empty_like(x)
    square_root(x, out=root)
    half = 2.0**-24  # of the spacing of float32 from 1 to 2; squares of 25 bits are exact in float64
    below, above = root.double() - half, root.double() + half
    assert ((below.square() < x) & (x < above.square())).all()


def test_roots_of_float64() -> None:
    x = torch.tensor([2.0, 3.0, 1e-300, 0.0], dtype=torch.float64)
    square_root(x, out=x)
    assert x.tolist() == [math.sqrt(2.0), math.sqrt(3.0), 1e-150, 0.0]

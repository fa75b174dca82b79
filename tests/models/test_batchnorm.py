"""BatchNorm's statistics at any weights: those that torch has of one batch of all images, however they are cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import run_config, tiny_dataset
from torch.func import functional_call

from lmc_repro.barriers.path import path_curves
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.models import module as own
from lmc_repro.models.batchnorm import estimated, running_norms
from lmc_repro.models.registry import build_model
from lmc_repro.training.evaluate import evaluate

CONFIG = run_config(model={"kind": "module", "module": f"{Path(__file__).with_name('own_modules.py')}:normed"}).model


def of_torch(net: torch.nn.Module, weights: dict[str, torch.Tensor], inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """What torch's own layers keep of a single batch, with a momentum of 1."""
    for norm in running_norms(net).values():
        norm.momentum = 1.0
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    functional_call(net.train(), {**weights, **buffers}, (inputs,))
    net.eval()
    return {name: buffer for name, buffer in buffers.items() if "running" in name}


@pytest.mark.parametrize("batch", [64, 899, 1])
def test_any_batch_size_gives_what_one_batch_gives(batch: int, digits: Dataset) -> None:
    model = build_model(CONFIG, digits.info)
    weights = model.init(torch.Generator().manual_seed(2))
    inputs = normalise(digits.train.images, digits.info)
    assert len(inputs) == 899  # 64: a last batch of 3
    if batch == 1:
        inputs = inputs[:50]
    net = own._built(CONFIG, digits.info, torch.Generator())  # type: ignore[arg-type]
    expected = of_torch(net, weights, inputs)
    passes = [0]

    def forward(statistics: dict[str, torch.Tensor], images: torch.Tensor) -> None:
        passes[0] += len(images)
        functional_call(net, {**weights, **statistics}, (images,))

    found = estimated(running_norms(net), inputs.split(batch), forward)  # type: ignore[arg-type, no-untyped-call]
    assert found.keys() == expected.keys() and len(found) == 6
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
        assert value.std() > 1e-3
    assert passes[0] == (899 if batch == 899 else 3 * len(inputs) + batch)  # a pass per layer, a batch to its end


@pytest.mark.parametrize("bound", [2**30, 0])
def test_every_point_of_a_path_has_statistics_of_its_own(
    bound: int, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "AT_ONCE_BYTES", bound)  # all images at once, or streamed
    model = build_model(CONFIG, digits.info)
    ends = [model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    curves = path_curves(model, *ends, digits, 3)
    net = own._built(CONFIG, digits.info, torch.Generator())  # type: ignore[arg-type]
    inputs = normalise(digits.train.images, digits.info)
    for i, alpha in enumerate((0.0, 0.5, 1.0)):
        weights = {name: torch.lerp(first, ends[1][name], alpha) for name, first in ends[0].items()}
        statistics = of_torch(net, weights, inputs)
        for split, part in (("train", digits.train), ("test", digits.test)):
            with torch.no_grad():
                logits = functional_call(net, {**weights, **statistics}, (normalise(part.images, digits.info),))
            loss = torch.nn.functional.cross_entropy(logits, part.labels).item()
            assert curves[split].loss[i] == pytest.approx(loss, abs=1e-4)  # type: ignore[index]
            wrong = int((logits.argmax(1) != part.labels).sum())
            assert abs(curves[split].wrong[i] - wrong) <= 1  # type: ignore[index]


def test_training_has_the_batchs_own_statistics() -> None:
    data = tiny_dataset()
    model = build_model(CONFIG, data.info)
    weights = model.init(torch.Generator().manual_seed(0))
    stacked = {name: weight.unsqueeze(0) for name, weight in weights.items()}
    inputs = normalise(data.train.images[:7], data.info)
    net = own._built(CONFIG, data.info, torch.Generator()).train()  # type: ignore[arg-type]
    torch.testing.assert_close(model.forward(stacked, inputs.unsqueeze(0))[0], functional_call(net, weights, (inputs,)))
    before = evaluate(model.calibrated(stacked, data.train), stacked, data.test, data.info)  # type: ignore[attr-defined]
    model.forward(stacked, 9.0 * inputs.unsqueeze(0))
    after = evaluate(model.calibrated(stacked, data.train), stacked, data.test, data.info)  # type: ignore[attr-defined]
    assert before == after  # no trace of what was seen

"""tf32 and bf16: products rounded as they say, everything else as before, and a CPU refuses both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import SGD, run_config, tiny_dataset

from lmc_repro.common.errors import LmcError
from lmc_repro.config.run import Precision, RunConfig
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.engine.devices import require_precision
from lmc_repro.models.mlp import Mlp
from lmc_repro.models.products import affine
from lmc_repro.models.registry import build_model
from lmc_repro.training.optimizer import build_optimizer
from lmc_repro.training.stack import Layout
from lmc_repro.training.step import TrainStep, products

CPU = torch.device("cpu")
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 3, "width": 9, "slope": 0.3},
    "local": {"kind": "local", "filters": 2, "kernel": 5},
    "conv": {"kind": "conv", "filters": 2, "kernel": 5},
    "attention": {"kind": "attention", "patch": 5, "heads": 2, "head_dim": 3},
}


def steps(precision: Precision, model: dict[str, Any], dataset: Dataset) -> TrainStep:
    """Two children after five steps on the whole training split."""
    config = run_config(model=model)
    network = build_model(config.model, dataset.info)
    layout = Layout(network)
    weights = layout.stack([network.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)])
    step = TrainStep(network, layout, weights, build_optimizer(config.optimizer, weights), None, precision)
    images, labels = normalise(dataset.train.images, dataset.info), dataset.train.labels
    for k in range(5):
        step(images.expand(2, *images.shape), labels.expand(2, -1), torch.full((2, 1), SGD["lr"]), k)
    return step


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_bf16_is_near_float32_and_not_it_and_all_that_is_kept_is_float32(model: dict[str, Any]) -> None:
    dataset = tiny_dataset()
    exact, rounded = steps("float32", model, dataset), steps("bf16", model, dataset)
    assert rounded.weights.dtype == torch.float32 and rounded.finite.all()
    assert {buffer.dtype for buffer in rounded.optimizer.state.values()} == {torch.float32}
    apart = (exact.weights - rounded.weights).abs().max().item()
    assert 0.0 < apart < 0.02
    assert not torch.equal(rounded.weights, rounded.weights.bfloat16().float())  # the master weights are not rounded


def test_bf16_rounds_both_factors_and_the_product() -> None:
    x, weight = torch.randn(2, 7, 5), torch.randn(2, 3, 5)
    with products("bf16", CPU):
        found = affine(x, weight)
    assert found.dtype == torch.bfloat16
    expected = torch.bmm(x.bfloat16().double(), weight.bfloat16().double().mT)
    assert torch.allclose(found.double(), expected, rtol=2**-7, atol=0.02)
    assert affine(x, weight).dtype == torch.float32  # and no longer, outside


def test_tf32_is_switched_on_inside_a_step_and_off_for_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = torch.backends.cuda.matmul
    before, seen = matmul.fp32_precision, []
    forward = Mlp.forward

    def watched(self: Mlp, *arguments: Any) -> Any:
        seen.append(matmul.fp32_precision)
        return forward(self, *arguments)

    monkeypatch.setattr(Mlp, "forward", watched)
    steps("tf32", MODELS["mlp"], tiny_dataset())
    assert set(seen) == {"tf32"} and matmul.fp32_precision == before != "tf32"


def test_a_cpu_refuses_what_only_a_gpu_has() -> None:
    configs = [run_config(), run_config(precision="bf16")]
    require_precision(configs, "cuda")
    require_precision(configs[:1], "cpu")
    with pytest.raises(LmcError, match="precision: found bf16, allowed on a CPU: float32; use --device cuda"):
        require_precision(configs, "cpu")


def test_float32_is_not_written_so_that_its_files_are_as_they_were() -> None:
    plain, rounded = run_config(), run_config(precision="bf16")
    assert "precision" not in plain.model_dump(mode="json") and "precision" not in plain.without_seeds()
    assert rounded.without_seeds()["precision"] == "bf16"
    assert plain.flat()["precision"] == "float32"  # but a tracker shows it
    for config in (plain, rounded):
        assert RunConfig.model_validate(config.model_dump(mode="json")) == config

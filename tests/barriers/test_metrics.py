"""Path metrics of the package: known answers by hand, and of a network with itself."""

from __future__ import annotations

from math import isnan, log
from typing import Any

import pytest
import torch
from helpers import run_config, tiny_dataset
from torch import Tensor

from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.layers import partial_end
from lmc_repro.barriers.methods import PathMethods, path_methods
from lmc_repro.barriers.metrics import ece, margin
from lmc_repro.barriers.path import path_curves
from lmc_repro.common.errors import LmcError
from lmc_repro.config.path import LayersConfig, PathConfig
from lmc_repro.config.registry import PATH_METRICS
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.models.base import Model
from lmc_repro.models.registry import build_model
from lmc_repro.training.evaluate import PathMetric

MODELS: dict[str, dict[str, Any]] = {
    "5 layers": {"depth": 5, "width": 12, "slope": 0.0},
    "conv": {"kind": "conv", "filters": 9, "kernel": 2},
    "local": {"kind": "local", "filters": 6, "kernel": 2},
    "attention": {"kind": "attention", "patch": 2, "heads": 3, "head_dim": 5},
}
ALL = path_methods(PathConfig(metrics=tuple(PATH_METRICS)))


def network(config: dict[str, Any]) -> tuple[Model, Dataset, list[dict[str, Tensor]]]:
    """Return a network for images of 4 x 4 pixels, such images, and two ends drawn from N(0, 1)."""
    dataset = tiny_dataset(shape=(1, 4, 4))
    model = build_model(run_config(model=config).model, dataset.info)
    generators = (torch.Generator().manual_seed(seed) for seed in range(2))
    return model, dataset, [{n: torch.randn(s, generator=g) for n, s in model.shapes.items()} for g in generators]


def value(metric: PathMetric, logits: Tensor, labels: Tensor) -> list[float]:
    sums = metric.sums(logits, labels).double()
    found: list[float] = (metric.finish(sums, len(labels)) if metric.finish else sums / len(labels)).tolist()
    return found


def column(curves: dict[SplitName, Curve], name: str) -> tuple[float, ...]:
    return tuple(x for x in curves["test"].columns[name] if x is not None)


def test_margin_and_calibration_of_four_logits_by_hand() -> None:
    """Confidences 0.9 (right), 0.9 (wrong), 0.6 (right), 0.6 (right): two bins; then mirrored."""
    odds = [log(9.0), log(9.0), log(1.5), log(1.5)]
    logits = torch.tensor([[[x, 0.0] for x in odds], [[0.0, x] for x in odds]])
    labels = torch.tensor([0, 1, 0, 0])
    lead = (log(9.0) - log(9.0) + 2 * log(1.5)) / 4
    assert value(margin, logits, labels) == pytest.approx([lead, -lead], abs=1e-6)
    # (|1.8 - 1| + |1.2 - 2|) / 4, and mirrored (|1.8 - 1| + |1.2 - 0|) / 4
    assert value(ece, logits, labels) == pytest.approx([0.4, 0.5], abs=1e-6)
    assert isnan(value(ece, torch.full((1, 4, 2), torch.nan), labels)[0])


def test_the_calibrated_loss_is_that_of_the_best_temperature() -> None:
    """Three of four right at odds of e^x each: the best x is log 3, whatever x was; to 1.5 % of a grid of root 2."""
    (calibrated,) = path_methods(PathConfig(metrics=("calibrated_loss",))).metrics
    assert isinstance(calibrated, PathMetric)
    labels = torch.tensor([0, 0, 0, 1])
    scales = (0.02, 1.0, 30.0 / 2)
    logits = torch.stack([torch.tensor([[x * log(3.0), 0.0]] * 4) for x in scales])
    best = -(0.75 * log(0.75) + 0.25 * log(0.25))
    found = value(calibrated, logits, labels)
    assert found[1] == pytest.approx(best, rel=1e-6)
    for each in found:
        assert best - 1e-6 <= each < 1.015 * best


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_a_network_with_itself(config: dict[str, Any]) -> None:
    """Its ensemble is itself at every alpha, its variances have ratio exactly 1, and its features are linear."""
    model, dataset, (theta, _) = network(config)
    for methods in (ALL, PathMethods(repair=lambda model, ends, data: lambda point: point, metrics=ALL.metrics)):
        for curve in path_curves(model, theta, dict(theta), dataset, 5, methods=methods).values():
            assert curve.columns["ensemble_error"] == curve.errors
            layers = {name for name in curve.columns if name.startswith(("variance_ratio_", "llfc_"))}
            assert layers
            for name in layers:
                wanted = 1.0 if name.startswith("variance_ratio") else pytest.approx(1.0, abs=1e-12)
                assert all(found == wanted for found in curve.columns[name])


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_features_before_the_first_activation_are_linear(config: dict[str, Any]) -> None:
    model, dataset, ends = network(config)
    curves = path_curves(model, *ends, dataset, 5, methods=ALL)
    if "attention" not in config.values():  # its tokens are normalised
        first = next(name for name in curves["test"].columns if name.startswith("llfc_"))
        assert column(curves, first) == pytest.approx([1.0] * 5, abs=1e-6)
    assert curves["test"].wrong == path_curves(model, *ends, dataset, 5)["test"].wrong
    for i in (0, -1):
        assert column(curves, "ensemble_error")[i] == curves["test"].errors[i]
    assert all(a <= b + 1e-12 for a, b in zip(column(curves, "calibrated_loss"), curves["test"].loss, strict=True) if b)


@pytest.mark.parametrize("moved", range(1, 5))
def test_features_of_a_linear_network_are_linear_where_one_layer_moves(moved: int) -> None:
    model, dataset, (first, second) = network({"depth": 4, "width": 12, "slope": 1.0})
    end = partial_end(model, first, second, LayersConfig(only=moved))
    curves = path_curves(model, first, end, dataset, 5, methods=ALL)
    for i in range(3):
        assert column(curves, f"llfc_layers_{i}") == pytest.approx([1.0] * 5, abs=1e-6)
    whole = path_curves(model, first, second, dataset, 5, methods=ALL)
    assert column(whole, "llfc_layers_2")[2] < 0.99  # a product of interpolated matrices is no interpolation


def test_deeper_features_are_not_linear_and_lose_variance() -> None:
    """Independent units at the middle have half of the ends' variance per layer, before any bias: exactly torch's."""
    model, dataset, ends = network(MODELS["5 layers"])
    curves = path_curves(model, *ends, dataset, 3, methods=ALL)
    assert column(curves, "llfc_layers_3")[1] < 0.9
    inputs = normalise(dataset.test.images, dataset.info)
    middle = {n: torch.lerp(ends[0][n], ends[1][n], 0.5) for n in ends[0]}
    networks = {n: torch.stack([ends[0][n], ends[1][n], middle[n]]) for n in middle}
    hidden = model.hidden(networks, inputs.expand(3, *inputs.shape))
    for i in range(4):
        units = hidden[f"layers.{i}"].double()
        first, second, here = units.var(1, correction=0)
        ratio = (here / ((first + second) / 2)).mean().item()
        assert column(curves, f"variance_ratio_layers_{i}")[1] == pytest.approx(ratio, rel=1e-9)
        cosines = torch.cosine_similarity(units[2], (units[0] + units[1]) / 2, dim=1)
        assert column(curves, f"llfc_layers_{i}")[1] == pytest.approx(cosines.mean().item(), rel=1e-9)


def test_the_ensemble_averages_logits() -> None:
    """Of linear networks the averaged logits are those of averaged weights: the path's own errors."""
    model, dataset, ends = network({"depth": 1})
    methods = path_methods(PathConfig(metrics=("ensemble_error",)))
    for curve in path_curves(model, *ends, dataset, 5, methods=methods).values():
        assert curve.columns["ensemble_error"] == curve.errors and len(set(curve.errors)) > 1


def test_a_network_without_named_units_is_refused() -> None:
    model, dataset, ends = network({"depth": 2, "width": 3})
    bare: Any = type("Bare", (), {name: getattr(model, name) for name in ("shapes", "forward", "activations")})()
    with pytest.raises(LmcError):
        path_curves(bare, *ends, dataset, 3, methods=path_methods(PathConfig(metrics=("llfc",))))

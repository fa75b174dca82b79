"""The straight line between two networks: its ends, its points, and what is counted there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import run_config, tiny_dataset
from pydantic import TypeAdapter
from torch import Tensor

from lmc_repro.barriers import path
from lmc_repro.barriers.curve import SPLITS
from lmc_repro.barriers.methods import PathMethods
from lmc_repro.barriers.path import path_curves, path_weights
from lmc_repro.config.run import ConvConfig, LocalConfig, MlpConfig, ModelConfig
from lmc_repro.data.dataset import Dataset, Split, normalise
from lmc_repro.models.base import AffineFirst, Model, Weights, count_parameters
from lmc_repro.models.mlp import Mlp
from lmc_repro.models.registry import build_model
from lmc_repro.training.evaluate import BATCH, PathMetric, Score, evaluate, predict


def network(dataset: Dataset, seed: int) -> tuple[Mlp, dict[str, Tensor]]:
    model = Mlp(MlpConfig(kind="mlp", depth=2, width=6, slope=0.0), dataset.info.features, dataset.info.classes)
    return model, model.init(torch.Generator().manual_seed(seed))


def test_ends_are_the_endpoints_own_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(1000, generator=generator), 1e-6 * torch.randn(1000, generator=generator)
    path = path_weights(a, b, 11)
    assert torch.equal(path[0], a) and torch.equal(path[-1], b)
    exact = torch.stack([(1 - i / 10) * a.double() + i / 10 * b.double() for i in range(11)])
    torch.testing.assert_close(path.double(), exact, rtol=1e-6, atol=1e-8)

    assert all(torch.equal(row, a) for row in path_weights(a, a, 11))  # between equal weights nothing moves
    b[3] = float("inf")
    assert torch.equal(path_weights(a, b, 11)[0], a)  # it does not spread to the other end


def test_points_are_the_networks_at_each_alpha() -> None:
    dataset = tiny_dataset()
    model, theta_0 = network(dataset, 0)
    _, theta_1 = network(dataset, 1)
    curves = path_curves(model, theta_0, theta_1, dataset, 5)
    assert curves["train"].alphas == (0.0, 0.25, 0.5, 0.75, 1.0)
    for i, alpha in enumerate(curves["train"].alphas):
        weights = {name: ((1 - alpha) * theta_0[name] + alpha * theta_1[name]).unsqueeze(0) for name in theta_0}
        for split, part in (("train", dataset.train), ("test", dataset.test)):
            (score,) = evaluate(model, weights, part, dataset.info)
            assert curves[split].wrong[i] == score.wrong and curves[split].n == len(part)
            assert abs(curves[split].loss[i] - score.loss) < 1e-5


def test_train_and_test_are_not_swapped() -> None:
    # Test labels are all wrong for a network that is right on train.
    dataset = tiny_dataset(n_train=40, n_test=40)
    model, theta = network(dataset, 0)
    stacked = {name: weight.unsqueeze(0) for name, weight in theta.items()}
    labels = predict(model, stacked, dataset.train, dataset.info)[0]
    train, test = Split(dataset.train.images, labels), Split(dataset.train.images, (labels + 1) % 4)
    curves = path_curves(model, theta, theta, replace(dataset, train=train, test=test), 3)
    assert curves["train"].wrong == (0, 0, 0) and curves["test"].wrong == (40, 40, 40)


def test_whole_split_is_counted_over_several_batches() -> None:
    # 2,345 images are two evaluation batches and a part of one.
    dataset = tiny_dataset(n_train=2345)
    model, theta = network(dataset, 0)
    whole = path_curves(model, theta, theta, dataset, 2)["train"]
    assert whole.n == 2345
    stacked = {name: weight.unsqueeze(0) for name, weight in theta.items()}
    halves = [Split(dataset.train.images[cut], dataset.train.labels[cut]) for cut in (slice(1000), slice(1000, None))]
    parts = [evaluate(model, stacked, half, dataset.info)[0] for half in halves]
    assert whole.wrong[0] == sum(part.wrong for part in parts)
    assert abs(whole.loss[0] - (1000 * parts[0].loss + 1345 * parts[1].loss) / 2345) < 1e-9


def test_nan_is_wrong_and_not_class_0() -> None:
    dataset = tiny_dataset()
    zeros = Split(dataset.train.images, torch.zeros(53, dtype=torch.int64))  # argmax of NaN would be right everywhere
    dataset = replace(dataset, train=zeros)
    model, theta = network(dataset, 0)
    theta["layers.1.bias"][0] += 100.0
    broken = {name: torch.full_like(w, float("nan")) for name, w in theta.items()}
    curve = path_curves(model, theta, broken, dataset, 11)["train"]
    assert curve.wrong[1:] == (53,) * 10 and curve.loss[1:] == (None,) * 10
    assert curve.wrong[0] == 0 and curve.loss[0] is not None


class Whole:
    """A model that does not say where its first layer ends."""

    def __init__(self, model: Model) -> None:
        self.shapes, self.init = model.shapes, model.init
        self.forward, self.forward_flops, self.activations = model.forward, model.forward_flops, model.activations


@pytest.mark.parametrize(
    "config",
    [
        MlpConfig(kind="mlp", depth=1),
        MlpConfig(kind="mlp", depth=2, width=9, slope=0.1),
        MlpConfig(kind="mlp", depth=3, width=9, slope=0.1, bias=False),
        ConvConfig(kind="conv", filters=5, kernel=2, slope=0.0),
        LocalConfig(kind="local", filters=3, kernel=2, slope=0.0, bias="unit"),
        LocalConfig(kind="local", filters=3, kernel=2, slope=0.0, bias="filter"),
    ],
    ids=lambda config: "-".join(str(value) for value in config.model_dump(exclude_defaults=True).values()),
)
def test_first_layers_from_two_products_count_as_products_at_every_point(config: ModelConfig) -> None:
    dataset = tiny_dataset(n_train=301, shape=(1, 4, 4))
    model = build_model(config, dataset.info)
    assert isinstance(model, AffineFirst)
    a, b = (model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    two, eleven = path_curves(model, a, b, dataset, 11), path_curves(Whole(model), a, b, dataset, 11)
    for split in SPLITS:
        assert two[split].wrong == eleven[split].wrong
        assert len(set(two[split].wrong)) > 1
        assert two[split].loss == pytest.approx(eleven[split].loss, rel=1e-5)
        # The ends have the bits that training logs, not only the counts.
        assert (two[split].loss[0], two[split].loss[-1]) == (eleven[split].loss[0], eleven[split].loss[-1])


def test_a_network_with_itself_is_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny_dataset()
    model, theta = network(dataset, 0)
    whole = path_curves(Whole(model), theta, theta, dataset, 11)
    children = []
    first_layer = Mlp.first_layer
    monkeypatch.setattr(Mlp, "first_layer", lambda self, w, x: children.append(len(x)) or first_layer(self, w, x))
    assert path_curves(model, theta, theta, dataset, 11) == whole
    assert children == [1, 1]
    assert len(whole["train"].wrong) == 11


MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "depth": 3, "width": 16, "slope": 0.0},
    "linear": {"kind": "mlp", "depth": 3, "width": 16, "slope": 1.0},
    "local": {"kind": "local", "filters": 3, "kernel": 2},
    "conv": {"kind": "conv", "filters": 3, "kernel": 2},
    "attention": {"kind": "attention", "patch": 2, "heads": 2, "head_dim": 3},
}


def made(kind: str, dataset: Dataset) -> tuple[Model, list[dict[str, Tensor]]]:
    """Return a network and two ends."""
    model = build_model(TypeAdapter(ModelConfig).validate_python(MODELS[kind]), dataset.info)
    return model, [model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]


@pytest.mark.parametrize(
    "kind", [kind if kind in ("mlp", "conv") else pytest.param(kind, marks=pytest.mark.slow) for kind in MODELS]
)
def test_no_count_depends_on_how_the_work_is_cut(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny_dataset(n_train=203, n_test=101, shape=(2, 4, 4))
    model, ends = made(kind, dataset)
    expected = path_curves(model, *ends, dataset, 21)
    eleven = path_curves(model, *ends, dataset, 11)
    assert all(expected[split].wrong[::2] == eleven[split].wrong for split in SPLITS)
    for name, value in (("SIDE_BY_SIDE", 4), ("SIDE_BY_SIDE_BYTES", 1), ("CACHED_BYTES", 0), ("CACHED_BYTES", 2**40)):
        with monkeypatch.context() as patch:
            patch.setattr(path, name, value)
            assert path_curves(model, *ends, dataset, 21) == expected
    for batch in (1, 50, 202):  # images at once: the order of a loss's sum
        monkeypatch.setattr("lmc_repro.training.evaluate.BATCH", batch)
        found = path_curves(model, *ends, dataset, 11)
        for split in SPLITS:
            assert found[split].wrong == eleven[split].wrong
            assert found[split].loss == pytest.approx(eleven[split].loss, rel=1e-6)


@pytest.mark.parametrize("fits, groups", [(0, [1] * 11), (3.5, [3, 3, 3, 2]), (100, [11])])
def test_as_many_points_as_stay_in_the_caches(fits: float, groups: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny_dataset(n_train=BATCH, n_test=BATCH)
    model, ends = made("mlp", dataset)
    expected, seen, rest = path_curves(model, *ends, dataset, 11), list[int](), type(model).rest

    def counted(self: Any, weights: Weights, first: Tensor) -> Tensor:
        seen.append(len(first))
        return rest(self, weights, first)

    monkeypatch.setattr(type(model), "rest", counted)
    monkeypatch.setattr(path, "CACHED_BYTES", int(fits * 4 * BATCH * 16))
    assert path_curves(model, *ends, dataset, 11) == expected
    assert seen == groups * 2  # a batch of each split


@pytest.mark.parametrize("kind", ["local", "conv", "attention"])
def test_points_of_large_networks_are_evaluated_a_few_at_a_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny_dataset(shape=(2, 4, 4))
    model, ends = made(kind, dataset)
    sizes: list[int] = []

    def counted(model: Any, weights: dict[str, Tensor], *rest: Any) -> list[Score]:
        sizes.append(len(next(iter(weights.values()))))
        return evaluate(model, weights, *rest)

    monkeypatch.setattr(path, "evaluate", counted)
    one = 4 * (count_parameters(model) + BATCH * model.activations())
    for limit, together in ((5 * one, 5), (1, 1)):
        monkeypatch.setattr(path, "SIDE_BY_SIDE_BYTES", limit)
        path_curves(model, *ends, dataset, 11)
        assert max(sizes) == together
        sizes.clear()


def test_a_metric_from_outside_is_a_column_of_the_curve() -> None:
    """The margin of a linear network with two classes is linear on the path, and computed by hand at its ends."""
    dataset = tiny_dataset(classes=2)
    model = build_model(run_config(model={"depth": 1}).model, dataset.info)
    first, second = (model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    margin = PathMetric("margin", lambda logits, y: ((logits[..., 0] - logits[..., 1]) * (1 - 2 * y)).sum(1))
    curves = path_curves(model, first, second, dataset, 5, methods=PathMethods(metrics=(margin,)))
    assert curves["test"].wrong == path_curves(model, first, second, dataset, 5)["test"].wrong
    x = normalise(dataset.test.images, dataset.info).flatten(1)
    for theta, found in ((first, curves["test"].columns["margin"][0]), (second, curves["test"].columns["margin"][-1])):
        scores = x @ theta["layers.0.weight"].T + theta["layers.0.bias"]
        sign = 1.0 - 2.0 * dataset.test.labels
        assert found == pytest.approx(float(((scores[:, 0] - scores[:, 1]) * sign).mean()), abs=1e-5)
    values = [value or 0.0 for value in curves["test"].columns["margin"]]
    assert values == pytest.approx([values[0] + i / 4 * (values[-1] - values[0]) for i in range(5)], abs=1e-5)
    broken = PathMetric("nan", lambda logits, labels: logits.sum((1, 2)) * float("nan"))
    assert path_curves(model, first, second, dataset, 3, methods=PathMethods(metrics=(broken,)))["train"].columns == {
        "nan": (None,) * 3
    }

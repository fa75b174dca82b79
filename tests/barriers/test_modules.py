"""The path between modules of one's own: known answers, normalisation, buffers, ties, and what is refused."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from helpers import final_weights, run_config, tiny_dataset, train
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader

from lmc_repro.barriers.barrier import barriers, curve_barriers
from lmc_repro.barriers.modules import path_between
from lmc_repro.barriers.path import path_curves
from lmc_repro.common.errors import LmcError
from lmc_repro.data.dataset import normalise
from lmc_repro.models.registry import build_model


class Slope(nn.Module):
    """Logits (w x, 0): class 0 where w x > 0."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.w * x, torch.zeros_like(x)], 1)


POSITIVE = [(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0, 0, 0, 1]))]


def test_one_parameter_by_hand() -> None:
    curve = path_between(Slope(1.0), Slope(-1.0), POSITIVE, points=5)  # w = 1, 0.5, 0, -0.5, -1
    assert curve.wrong == (1, 1, 1, 3, 3) and curve.n == 4  # at w = 0 both logits are 0: argmax is class 0
    assert curve.alphas == (0.0, 0.25, 0.5, 0.75, 1.0)
    by_hand = [sum(math.log1p(math.exp(-w * x)) for x in (1, 2, 3)) + math.log1p(math.exp(w * 4)) for w in (1, -1)]
    assert curve.loss[2] == pytest.approx(math.log(2)) and curve.loss[0] == pytest.approx(by_hand[0] / 4)
    assert curve.loss[4] == pytest.approx(by_hand[1] / 4)
    found = curve_barriers(curve)
    assert (found.barrier, found.floor, found.line, found.midpoint_excess) == (25.0, 25.0, 12.5, -25.0)
    assert found.argmax_alpha == 0.75 and found.normalised == 0.5 * 100 and found.normalised_chance is None
    assert curve_barriers(curve, classes=4).normalised_chance == pytest.approx(100.0)


def test_a_hill_between_two_equal_ends() -> None:
    class Two(nn.Module):
        """x (a^2 + b^2 - 0.8): two solutions with nothing between them."""

        def __init__(self, a: float, b: float) -> None:
            super().__init__()
            self.ab = nn.Parameter(torch.tensor([a, b]))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x * (self.ab.square().sum() - 0.8), torch.zeros_like(x)], 1)

    loader = [(torch.ones(3), torch.zeros(3, dtype=torch.int64)), (torch.ones(1), torch.zeros(1, dtype=torch.int64))]
    curve = path_between(Two(1.0, 0.0), Two(0.0, 1.0), loader, points=11)  # a^2 + b^2 = 1 - 2 alpha (1 - alpha)
    assert curve.wrong == (0, 0, 4, 4, 4, 4, 4, 4, 4, 0, 0)
    assert curve_barriers(curve).barrier == 100.0 and curve_barriers(curve).midpoint_excess == 100.0


def test_the_same_curve_as_that_of_our_own_networks(tmp_path: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(25, 9), nn.Linear(9, 4)])

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layers[1](self.layers[0](x.flatten(1)).relu())
            return out

    data, ends = tiny_dataset(), []
    folders = train([run_config(seeds={"trainer": t, "loader": t}) for t in (0, 1)], data, tmp_path)
    for folder in folders:
        ends.append(Net())
        ends[-1].load_state_dict(final_weights(folder))
    model = build_model(run_config().model, data.info)
    ours = path_curves(model, *(final_weights(folder) for folder in folders), data, 11)
    for split, part in (("train", data.train), ("test", data.test)):
        parts = zip(part.images.split(7), part.labels.split(7), strict=True)
        batches = [(normalise(images, data.info), labels) for images, labels in parts]
        curve = path_between(*ends, batches)
        assert curve.wrong == ours[split].wrong and curve.n == ours[split].n  # type: ignore[index]
        assert curve.loss == pytest.approx(ours[split].loss, rel=1e-5)  # type: ignore[index]
    assert len(set(ours["train"].wrong)) > 4  # no flat line
    assert barriers(ours, "test", 4).barrier == curve_barriers(curve, 4).barrier


def test_the_ends_are_the_models_own_bits() -> None:
    seen: list[float] = []

    class Spy(Slope):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(float(self.w))
            return super().forward(x)

    path_between(Spy(1e-8), Spy(0.1), POSITIVE, points=3)
    a, b = float(torch.tensor(1e-8)), float(torch.tensor(0.1))
    assert seen == [b, b, a, pytest.approx(0.05), b]  # first: do both compute one function?


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_wrong_and_has_no_loss(bad: float) -> None:
    loader = [(torch.tensor([1.0, 2.0]), torch.tensor([0, 0]))]
    curve = path_between(Slope(1.0), Slope(bad), loader, points=3)
    assert curve.wrong == (0, 2, 2) and curve.loss[1:] == (None, None)
    assert curve_barriers(curve).loss_barrier is None


class Normed(nn.Module):
    """Logits (norm(x), 0): class 0 where x is above the running mean."""

    def __init__(self, weight: float, mean: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, eps=1e-12)
        self.norm.weight.data.fill_(weight)
        self.norm.running_mean.fill_(mean)  # type: ignore[union-attr]
        self.norm.num_batches_tracked.fill_(int(abs(mean)))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x.unsqueeze(1))
        return torch.cat([y, torch.zeros_like(y)], 1)


LINE = [(torch.tensor([0.0, 2.0, 4.0, 10.0]), torch.tensor([1, 1, 0, 0]))]


def test_batch_norm_needs_a_choice() -> None:
    with pytest.raises(LmcError, match="norm has running statistics, which fit no network between the two; give recal"):
        path_between(Normed(1.0, 3.0), Normed(1.0, 5.0), LINE)


def test_statistics_are_estimated_anew_at_every_alpha() -> None:
    models = Normed(1.0, 100.0), Normed(3.0, -100.0)
    before = [copy.deepcopy(model.state_dict()) for model in models]
    batches = [(torch.tensor([1.0, 5.0]), torch.tensor([0, 0])), (torch.tensor([0.0, 6.0]), torch.tensor([0, 0]))]
    curve = path_between(*models, LINE, points=3, recalibrate=batches)
    assert curve.wrong == (0, 0, 0)  # mean 3 (their own statistics would be 2, 2)
    deviation = math.sqrt((4 + 4 + 9 + 9) / 3)  # of all samples together, however they are cut
    for weight, loss in zip((1.0, 2.0, 3.0), curve.loss, strict=True):
        z = [weight * (x - 3.0) / deviation for x in (0.0, 2.0, 4.0, 10.0)]
        expected = sum(math.log1p(math.exp(v if i < 2 else -v)) for i, v in enumerate(z)) / 4
        assert loss == pytest.approx(expected, rel=1e-5)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert model.norm.momentum == 0.1 and model.training and model.norm.training


def test_one_sample_has_no_statistics() -> None:
    with pytest.raises(LmcError, match="norm: one value per channel has no variance"):
        path_between(Normed(1.0, 0.0), Normed(2.0, 0.0), LINE, recalibrate=[(torch.ones(1), torch.ones(1))])


def test_modules_are_left_as_they_were() -> None:
    def net(seed: int) -> nn.Sequential:
        torch.random.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))

    state = torch.random.get_rng_state()
    first, second = net(0), net(1)
    torch.random.set_rng_state(state)
    first[2].eval()  # frozen, as some train it
    second.eval()
    first[0].weight.grad = torch.ones(4, 3)
    before = [copy.deepcopy(model.state_dict()) for model in (first, second)]
    modes = [[part.training for part in model.modules()] for model in (first, second)]
    ids = [[id(p) for p in model.parameters()] for model in (first, second)]
    loader = [(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1, 1]))]
    curves = {path_between(first, second, loader, recalibrate=loader) for _ in range(2)}
    assert len(curves) == 1  # no dropout
    for model, state, mode, own in zip((first, second), before, modes, ids, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert [part.training for part in model.modules()] == mode
        assert [id(p) for p in model.parameters()] == own
    assert all(p.requires_grad for p in first.parameters()) and first[0].weight.grad is not None
    with pytest.raises(LmcError):
        path_between(first, second, [(torch.ones(5, 3), torch.ones(4))], recalibrate=loader)
    assert [part.training for part in first.modules()] == modes[0]


class Tied(nn.Module):
    def __init__(self, w: float, other: float | None = None) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.one.weight.data.fill_(w)
        if other is None:
            self.two.weight = self.one.weight
        else:
            self.two.weight.data.fill_(other)

    def forward(self, x: Tensor) -> Tensor:
        y = self.two(self.one(x.unsqueeze(1)))
        return torch.cat([y - 1.0, torch.zeros_like(y)], 1)


def test_tied_weights_stay_tied() -> None:
    loader = [(torch.ones(2), torch.zeros(2, dtype=torch.int64))]
    curve = path_between(Tied(2.0), Tied(-2.0), loader, points=9)  # wrong where w^2 < 1
    assert curve.wrong == (0, 0, 0, 2, 2, 2, 0, 0, 0)
    with pytest.raises(LmcError, match=r"one\.weight: shared as \['one\.weight', 'two\.weight'\] in the first"):
        path_between(Tied(2.0), Tied(-2.0, -2.0), loader)
    assert path_between(Tied(2.0, 2.0), Tied(2.0, 3.0), loader, points=3).wrong == (0, 0, 0)


class Buffered(Slope):
    def __init__(self, w: float, **buffers: Tensor) -> None:
        super().__init__(w)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)


def test_buffers_are_not_interpolated() -> None:
    path_between(Buffered(1.0, step=torch.tensor(3)), Buffered(2.0, step=torch.tensor(3)), POSITIVE)
    for first, second in ((torch.tensor(3), torch.tensor(5)), (torch.tensor(0.1), torch.tensor(0.2))):
        with pytest.raises(LmcError, match=r"buffer step of the module \(Buffered\): differs, .*; give both models"):
            path_between(Buffered(1.0, step=first), Buffered(2.0, step=second), POSITIVE)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("inputs", [torch.float32, torch.float16])
def test_half_precision_is_measured_as_the_module_cast_by_hand(half: torch.dtype, inputs: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, labels = torch.randn(40, 3, generator=generator).to(inputs), torch.arange(40) % 4
    loader = [(x[:24], labels[:24]), (x[24:], labels[24:])]
    by_hand = [(batch.float(), label) for batch, label in loader]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ends = [nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)).to(half) for _ in "ab"]
    cast = [copy.deepcopy(end).float() for end in ends]
    expected = path_between(cast[0], cast[1], by_hand, points=5, recalibrate=by_hand)
    name = str(half).removeprefix("torch.")
    with pytest.warns(UserWarning) as said:
        assert path_between(ends[0], ends[1], loader, points=5, recalibrate=loader) == expected
    assert [str(each.message) for each in said] == [f"model_{end}: {name} cast to float32" for end in "ab"]
    assert all(tensor.dtype == half for end in ends for tensor in end.parameters())
    with pytest.warns(UserWarning, match=f"^model_b: {name} cast to float32$"):
        assert path_between(cast[0], ends[1], loader, points=5, recalibrate=loader) == expected


class Counter(Buffered):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


def test_a_buffer_that_moves_in_evaluation_is_left_alone() -> None:
    first, second = (Counter(w, calls=torch.tensor(0)) for w in (1.0, 2.0))
    path_between(first, second, POSITIVE)
    assert int(first.calls) == int(second.calls) == 0


def once() -> Iterator[Any]:
    yield from POSITIVE


class Growing:
    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(POSITIVE * self.passes)


def sharper(w: float, by: float) -> Slope:
    class Sharp(Slope):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.by

    if not hasattr(sharper, "kind"):
        sharper.kind = Sharp  # type: ignore[attr-defined]
    model: Slope = sharper.kind(w)  # type: ignore[attr-defined]
    model.by = by  # type: ignore[assignment]
    return model


class Dropping(nn.Module):
    """Dropout that evaluation mode does not end."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5)


class Failing(DataLoader[Any]):
    def __iter__(self) -> Any:
        raise OSError("no\nnetwork")


def normed(spectral_norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(spectral_norm(nn.Linear(3, 2)))


def watched(mean: float) -> nn.Module:
    norm = nn.InstanceNorm1d(3, track_running_stats=True)
    norm.running_mean.fill_(mean)  # type: ignore[union-attr]
    return nn.Sequential(norm, nn.Linear(3, 2))


def of_linear(a: nn.Module, b: nn.Module, *labels: Any) -> Callable[[], object]:
    return lambda: path_between(a, b, [(torch.ones(2, 3), torch.tensor(labels or (0, 1)))])


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 50), nn.Sequential(Dropping()), nn.Linear(50, 2))


TWO = nn.Linear(3, 2), nn.Linear(3, 2)
LINEAR = [(torch.ones(2, 3), torch.tensor([0, 1]))]
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "kinds": (lambda: path_between(Slope(1.0), Tied(1.0), POSITIVE), "of two kinds, Slope and Tied"),
    "keys": (
        lambda: path_between(nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Linear(3, 2, bias=False)), LINEAR),
        r"parameter 0\.bias: only the first model has it",
    ),
    "keys of the second": (
        lambda: path_between(nn.Sequential(), nn.Sequential(nn.Linear(3, 2)), LINEAR),
        r"parameter 0\.weight: only the second model has it",
    ),
    "shapes": (
        lambda: path_between(nn.Linear(3, 2), nn.Linear(3, 4), LINEAR),
        r"parameter weight: found torch\.float32 \[2, 3\] and torch\.float32 \[4, 3\]",
    ),
    "function": (lambda: path_between(sharper(1.0, 1.0), sharper(2.0, 3.0), POSITIVE), "differ in more than their w"),
    "no parameters": (lambda: path_between(nn.ReLU(), nn.ReLU(), POSITIVE), "no parameters"),
    "points": (lambda: path_between(Slope(1.0), Slope(2.0), POSITIVE, points=2), "points: found 2, allowed: 3"),
    "iterator": (lambda: path_between(Slope(1.0), Slope(2.0), once()), "loader: can be gone through"),
    "empty": (lambda: path_between(Slope(1.0), Slope(2.0), []), "loader: gave no samples"),
    "no pairs": (lambda: path_between(Slope(1.0), Slope(2.0), [torch.ones(3)]), "gave a Tensor, expected pairs"),
    "no tensors": (lambda: path_between(Slope(1.0), Slope(2.0), [("a", "b")]), "loader: gave pairs of str and str"),
    "unlike passes": (lambda: path_between(Slope(1.0), Slope(2.0), Growing()), "it must repeat itself"),
    "labels from 1": (of_linear(*TWO, 1, 2), "loader: found labels from 1 to 2, expected 0 to 1"),
    "ignored labels": (of_linear(*TWO, -100, 1), "loader: found labels from -100 to 1, expected 0 to 1"),
    "labels that are floats": (of_linear(*TWO, 0.0, 1.0), r"labels torch\.float32 \[2\], expected"),
    "inputs": (of_linear(nn.Linear(4, 2), nn.Linear(4, 2)), r"RuntimeError: mat1 and mat2 .*linear\.py, line"),
    "a loader that fails": (lambda: path_between(*TWO, Failing([])), "OSError: no network .*test_modules.py, line"),
    "no modules": (lambda: path_between(*TWO[0].state_dict(), LINEAR), "AttributeError"),  # type: ignore[arg-type]
    "lazy": (of_linear(nn.Sequential(nn.LazyLinear(2)), TWO[0]), r"the first model: 0 \(LazyLinear\) has no shape"),
    "dropout": (of_linear(dropping(), dropping()), r"1\.0 \(Dropping\) draws random numbers in evaluation mode"),
    "instance norm": (
        of_linear(watched(0.0), watched(1.0)),
        r"running_mean of 0 \(InstanceNorm1d\): differs.*track_running_stats=False",
    ),
    "spectral norm": (of_linear(*(normed(spectral_norm) for _ in TWO)), r"_u of .*\(_SpectralNorm\).*remove_param"),
    "its older form": (of_linear(*(normed(nn.utils.spectral_norm) for _ in TWO)), r"0\.weight_u of 0 .*_spectral_norm"),
    "logits": (lambda: path_between(nn.Identity(), nn.Identity(), POSITIVE), "no parameters"),
}


@pytest.mark.parametrize("call, told", REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line(call: Callable[[], object], told: str) -> None:
    with pytest.raises(LmcError, match=told) as caught:
        call()
    assert "\n" not in str(caught.value)

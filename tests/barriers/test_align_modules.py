"""Torch modules of one's own, aligned before the path between them: known permutations, and what is refused."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny_dataset
from torch import Tensor, nn

from lmc_repro.barriers.alignment import permuted
from lmc_repro.barriers.modules import align_modules, path_between
from lmc_repro.common.errors import LmcError
from lmc_repro.models.units import units_of

spec = importlib.util.spec_from_file_location("lab", Path(__file__).parents[2] / "examples" / "lab" / "networks.py")
assert spec is not None and spec.loader is not None
LAB = importlib.util.module_from_spec(spec)
spec.loader.exec_module(LAB)

INFO = tiny_dataset(shape=(3, 8, 8)).info
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-20, BatchNorm": lambda: LAB.resnet20(INFO, 4),
    "ResNet-20, LayerNorm": lambda: LAB.resnet20(INFO, 4, "layer"),
    "VGG-11": lambda: LAB.vgg11(INFO, 4),
    "ViT": lambda: LAB.vit(INFO, 4, 12, 2, 3),
}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if "BatchNorm" in name else []) for name in NETWORKS]
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(40, 3, 8, 8, generator=GENERATOR)
LOADER = [(part, torch.arange(len(part)) % 4) for part in IMAGES.split(16)]


def network(name: str, seed: int) -> nn.Module:
    """Return a network whose units, affine parameters and statistics all differ, in evaluation mode."""
    torch.manual_seed(seed)
    net = NETWORKS[name]()
    for key, tensor in net.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5 * (not key.endswith("bias")))
        elif tensor.ndim > 1:
            tensor.normal_(0.0, (2.0 / tensor[0].numel()) ** 0.5)
    return net.eval()


def shuffled(net: nn.Module) -> nn.Module:
    """Return the same function with all its units in another order, statistics too."""
    units, result = units_of(net, IMAGES[:2], "net"), copy.deepcopy(net)
    axes = {name: places + units.statistics.get(name, ()) for name, places in units.axes.items()}
    orders = {name: torch.randperm(places[0].units, generator=GENERATOR) for name, places in axes.items()}
    result.load_state_dict(permuted(net.state_dict(), axes, orders))
    return result


def distance(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return sum(float((x - y).detach().double().square().sum()) for x, y in pairs) ** 0.5


@pytest.mark.parametrize("by", ["weights", "activations"])
@pytest.mark.parametrize("name", NAMES)
def test_its_own_permutation_is_undone_to_the_bit_and_has_no_barrier(name: str, by: str) -> None:
    net = network(name, 0)
    moved = shuffled(net)
    before = copy.deepcopy(moved.state_dict())
    assert distance(net, moved) > 1.0
    found = align_modules(net, moved, LOADER, by)
    for key, tensor in net.state_dict().items():
        assert torch.equal(found.state_dict()[key], tensor), key
        assert torch.equal(moved.state_dict()[key], before[key])  # the given one stays
    curve = path_between(net, found, LOADER, 5, recalibrate=LOADER)
    assert len(set(curve.wrong)) == 1
    same = align_modules(net, net, LOADER, by)
    assert all(torch.equal(same.state_dict()[key], tensor) for key, tensor in net.state_dict().items())


@pytest.mark.parametrize("by", ["weights", "activations"])
@pytest.mark.parametrize("name", NAMES)
def test_two_networks_come_nearer_and_the_function_stays(name: str, by: str) -> None:
    a, b = network(name, 0), network(name, 1)
    found = align_modules(a, b, LOADER, by)
    with torch.no_grad():
        before, after = b(IMAGES), found(IMAGES)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    assert torch.equal(before.argmax(1), after.argmax(1)) and not torch.equal(
        next(b.parameters()), next(found.parameters())
    )
    if by == "weights":
        assert distance(a, found) < distance(a, b)
    again = align_modules(a, b, LOADER, by)
    assert all(torch.equal(x, y) for x, y in zip(again.parameters(), found.parameters(), strict=True))


def test_a_wrong_permutation_on_one_side_is_seen() -> None:
    """The outputs of a layer move, and the inputs of the next do not: another function."""
    net = network("VGG-11", 0)
    units = units_of(net, IMAGES[:2], "net")
    axes = {"0": units.axes["0"][:-1]}
    wrong = copy.deepcopy(net)
    wrong.load_state_dict(permuted(net.state_dict(), axes, {"0": torch.tensor([1, 0, 3, 2])}))
    with torch.no_grad():
        assert not torch.allclose(net(IMAGES), wrong(IMAGES), atol=1e-3)
    found = align_modules(net, wrong, LOADER)
    assert distance(net, found) > 1e-3  # nor does a permutation bring it back


class Written(nn.Module):
    """Units that are not followed: half of the channels, then the others, as complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(192, 6), nn.Linear(6, 4)
        self.axes = {"hidden": {"first.weight": 0, "first.bias": 0, "last.weight": 1}}

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.cummax(self.first(x.flatten(1)).unsqueeze(0), 0).values[0])
        return logits


class Scaled(nn.Module):
    """Each unit has a factor of its own, which is no weight: none may take another's place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factors", torch.arange(1.0, 7.0))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.factors
        return y


FIXED = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), Scaled(), nn.Linear(6, 4)).eval()


class Attended(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        nn.init.normal_(self.attention.in_proj_bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.attention(x, x, x)[0]
        return x + y


@pytest.mark.parametrize("by", ["weights", "activations"])
def test_units_that_a_module_names(by: str) -> None:
    torch.manual_seed(0)
    net = Written().eval()
    moved = copy.deepcopy(net)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    with torch.no_grad():
        moved.first.weight.copy_(net.first.weight[order])
        moved.first.bias.copy_(net.first.bias[order])
        moved.last.weight.copy_(net.last.weight[:, order])
    found = align_modules(net, moved, LOADER, by)
    assert all(torch.equal(x, y) for x, y in zip(net.parameters(), found.parameters(), strict=True))
    for each in (net, moved):
        del each.axes
    with pytest.raises(LmcError, match=r"^align: units cannot be followed through cummax in the module \(Written\)"):
        align_modules(net, moved, LOADER, by)


def test_attention_of_torchs_own_is_matched_by_its_weights() -> None:
    """Its projections are no layers with outputs of their own, so there are no activations of its heads."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(2), nn.Linear(64, 12), Attended(), nn.Flatten(), nn.Linear(36, 4)).eval()
    found = align_modules(net, shuffled(net), LOADER)
    assert all(torch.equal(x, y) for x, y in zip(net.parameters(), found.parameters(), strict=True))
    with pytest.raises(
        LmcError, match=r"^activations: no layer puts out the units of 2\.attention\[0\]; match by weights"
    ):
        align_modules(net, net, LOADER, "activations")


def test_wrong_axes_are_seen() -> None:
    torch.manual_seed(0)
    a, b = Written().eval(), Written().eval()
    for each in (a, b):
        each.axes = {"hidden": {"first.weight": 0, "first.bias": 0}}
    with pytest.raises(LmcError, match=r"^align: \d+ of 40 samples are predicted differently after it; correct `axes`"):
        align_modules(a, b, LOADER)


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda net: align_modules(net, net, LOADER, "mirrors"), "align: found 'mirrors', allowed: 'weights'"),
        (lambda net: align_modules(net, nn.Identity(), LOADER), "two kinds"),
        (lambda net: align_modules(net, net, []), "loader: gave no samples"),
        (lambda net: align_modules(FIXED, FIXED, LOADER), "align: no hidden units of this module may change places"),
    ],
)
def test_refused_in_one_line(call: Callable[[nn.Module], Any], told: str) -> None:
    with pytest.raises(LmcError, match=told) as caught:
        call(network("VGG-11", 0))
    assert "\n" not in str(caught.value)

"""Units of torch modules: which may change places, that the function stays, and what cannot be followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmc_repro.barriers.alignment import permuted
from lmc_repro.common.errors import LmcError
from lmc_repro.models.base import Place
from lmc_repro.models.units import collected, units_of

IMAGE = (3, 8, 8)


class Net(nn.Module):
    """Layers by name, and a function of them and the inputs."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **layers: Any) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def dense(*sizes: int) -> nn.Linear:
    return nn.Linear(*sizes)


def squeezed(n: Any, x: Tensor) -> Tensor:
    """Squeeze and excitation: a gate for each channel, of the means of all."""
    x = n.conv(x)
    gate = n.up(n.down(x.mean((2, 3))).relu()).sigmoid()
    return n.head((x * gate[:, :, None, None]).amax((2, 3)))  # type: ignore[no-any-return]


def attended(n: Any, x: Tensor) -> Tensor:
    x = torch.cat([n.token.expand(len(x), -1, -1), n.embed(x).flatten(2).mT], 1) + n.positions
    x = x + n.attention(x, x, x, need_weights=False)[0]
    return n.head(n.norm(x)[:, 0])  # type: ignore[no-any-return]


def gated(n: Any, x: Tensor) -> Tensor:
    a, b = n.first(x.flatten(1)).chunk(2, 1)
    return n.last(a * functional.silu(b))  # type: ignore[no-any-return]


def half_linear(n: Any, x: Tensor) -> Tensor:
    a, b = n.first(x.flatten(1)).chunk(2, 1)
    return n.last(torch.cat([a, b.relu()], 1))  # type: ignore[no-any-return]


def normed_by_hand(n: Any, x: Tensor) -> Tensor:
    x = n.first(x.flatten(1))
    return n.last(x * x.square().mean(-1, keepdim=True).add(1e-5).rsqrt() * n.scale)  # type: ignore[no-any-return]


def shortcut(n: Any, x: Tensor) -> Tensor:
    x = n.stem(x)
    x = n.norm(n.conv(x.relu())) + n.skip(x)
    return n.head(x.relu().mean((2, 3)))  # type: ignore[no-any-return]


def conv(*args: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(*args, **options)


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Flatten(), dense(192, 6), nn.ReLU(inplace=True), dense(6, 5), nn.Tanh(), dense(5, 4)),
        {"1": 6, "3": 5},
    ),
    "one layer": (lambda: nn.Sequential(nn.Flatten(), dense(192, 4)), {}),
    "flatten": (
        lambda: nn.Sequential(conv(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), dense(54, 4)),
        {"0": 6},
    ),
    "norm of no parameters": (
        lambda: nn.Sequential(conv(3, 6, 3), nn.BatchNorm2d(6, affine=False), nn.ReLU(), nn.Flatten(), dense(216, 4)),
        {"0": 6},
    ),
    "channels last": (
        lambda: Net(lambda n, x: n.b(n.a(x).movedim(1, -1).flatten(1)), a=conv(3, 5, 5), b=dense(80, 4)),
        {"a": 5},
    ),
    "depthwise": (
        lambda: nn.Sequential(
            conv(3, 6, 3), conv(6, 6, 3, groups=6), nn.ReLU6(), conv(6, 5, 1), nn.Flatten(), dense(80, 4)
        ),
        {"0": 6, "3": 5},
    ),
    "group norm": (
        lambda: nn.Sequential(conv(3, 6, 3), nn.GroupNorm(2, 6), nn.ReLU(), nn.Flatten(), dense(216, 4)),
        {"0.groups": 2, "0[0]": 3, "0[1]": 3},
    ),
    "layer norm": (
        lambda: nn.Sequential(nn.Flatten(), dense(192, 6), nn.LayerNorm(6), nn.GELU(), dense(6, 4)),
        {"1": 6},
    ),
    "norm by hand": (
        lambda: Net(normed_by_hand, first=dense(192, 6), scale=nn.Parameter(torch.ones(6)), last=dense(6, 4)),
        {"first": 6},
    ),
    "gated": (lambda: Net(gated, first=dense(192, 12), last=dense(6, 4)), {"first": 6}),
    "half linear": (lambda: Net(half_linear, first=dense(192, 12), last=dense(12, 4)), {"first[0]": 6, "first[1]": 6}),
    "squeezed": (
        lambda: Net(squeezed, conv=conv(3, 6, 3), down=dense(6, 3), up=dense(3, 6), head=dense(6, 4)),
        {"conv": 6, "down": 3},
    ),
    "attention": (
        lambda: Net(
            attended, embed=conv(3, 12, 4, stride=4), token=nn.Parameter(torch.randn(1, 1, 12)),
            positions=nn.Parameter(torch.randn(1, 5, 12)), attention=nn.MultiheadAttention(12, 3, batch_first=True),
            norm=nn.LayerNorm(12), head=dense(12, 4),
        ),
        {"embed": 12, "attention.groups": 3, **{f"attention[{i}]": 4 for i in range(6)}},
    ),
    "shortcut": (
        lambda: Net(
            shortcut, stem=conv(3, 6, 3), conv=conv(6, 8, 3, 2, 1), norm=nn.BatchNorm2d(8), skip=conv(6, 8, 1, 2),
            head=dense(8, 4),
        ),
        {"stem": 6, "conv": 8},
    ),
    "input added": (
        lambda: Net(lambda n, x: n.b((x.flatten(1) + n.a(x.flatten(1))).relu()), a=dense(192, 192), b=dense(192, 4)),
        {},
    ),
    "a constant of its own for each": (
        lambda: Net(lambda n, x: n.b(n.a(x.flatten(1)) * torch.arange(6.0)), a=dense(192, 6), b=dense(6, 4)),
        {},
    ),
    "one constant": (
        lambda: Net(lambda n, x: n.b(n.a(x.flatten(1)) * torch.full((6,), 2.0)), a=dense(192, 6), b=dense(6, 4)),
        {"a": 6},
    ),
    "one layer twice": (
        lambda: Net(lambda n, x: n.c(n.b(n.b(n.a(x.flatten(1))))), a=dense(192, 6), b=dense(6, 6), c=dense(6, 4)),
        {"a": 6},
    ),
}  # fmt: skip


def drawn(net: nn.Module) -> nn.Module:
    """Return a module in evaluation mode, with parameters and statistics that no two units share."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.data = 0.5 + noise.abs() if name.endswith("running_var") else 0.5 * noise
    return net.eval()


@pytest.mark.parametrize("build, expected", CASES.values(), ids=CASES)
def test_units_change_places_and_the_function_stays(build: Callable[[], nn.Module], expected: dict[str, int]) -> None:
    net, inputs = drawn(build()), torch.randn(5, *IMAGE, generator=torch.Generator().manual_seed(0))
    units = units_of(net, inputs[:2], "net")
    assert {name: places[0].units for name, places in units.axes.items()} == expected
    state = dict(net.state_dict())
    before = net(inputs)
    for name, size in expected.items():
        for axes in ({name: units.axes[name] + units.statistics.get(name, ())}, {name: units.axes[name][1:]}):
            moved = permuted(state, axes, {name: torch.arange(size).roll(1)})
            after = torch.func.functional_call(net, moved, (inputs,))
            whole = len(axes[name]) >= len(units.axes[name])
            assert torch.allclose(after, before, rtol=1e-4, atol=1e-5) is whole, name


NETWORKS: dict[str, Callable[[Any], nn.Module]] = {
    "ConvNeXt": lambda models: models.convnext.ConvNeXt(
        [models.convnext.CNBlockConfig(8, 16, 1), models.convnext.CNBlockConfig(16, None, 1)], num_classes=4
    ),
    "DenseNet": lambda models: models.DenseNet(4, (2, 2), 8, num_classes=4),
    "ViT": lambda models: models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4),
}


@pytest.mark.slow
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_all_units_of_torchvisions_networks_change_places(build: Callable[[Any], nn.Module]) -> None:
    from torchvision import models  # here: with it comes torch's compiler, which takes seconds

    torch.manual_seed(0)
    net, inputs = drawn(build(models)), torch.randn(3, 3, 32, 32)
    units = units_of(net, inputs[:2], "net")
    axes = {name: places + units.statistics[name] for name, places in units.axes.items()}
    moved = permuted(net.state_dict(), axes, {name: torch.randperm(p[0].units) for name, p in axes.items()})
    with torch.no_grad():
        before, after = net(inputs), torch.func.functional_call(net, moved, (inputs,))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    placed = {place.weight for places in units.axes.values() for place in places}
    assert [name for name, _ in net.named_parameters() if name not in placed] == [list(net.state_dict())[-1]]


def test_outputs_of_a_group_are_those_behind_its_norm_and_of_each_layer_that_adds_to_it() -> None:
    net, inputs = drawn(CASES["shortcut"][0]()), torch.randn(5, *IMAGE)
    units = units_of(net, inputs[:2], "net")
    assert [site.layer for site in units.sites] == ["stem", "norm", "skip"]
    with collected(net, units) as found:
        net(inputs)
    by_hand = [net.norm(net.conv(net.stem(inputs).relu())), net.skip(net.stem(inputs))]  # type: ignore[operator]
    assert torch.equal(found["conv"], torch.cat([x.movedim(1, -1).flatten(0, -2) for x in by_hand]))
    assert found["stem"].shape == (5 * 36, 6)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "grouped": (
        lambda: nn.Sequential(conv(3, 4, 3), nn.Sequential(conv(4, 6, 3, groups=2))),
        r"grouped weights of a convolution in 1\.0 \(Conv2d\)",
    ),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3)), r"transposed weights of .* in 0 \(Conv"),
    "unknown": (lambda: nn.Sequential(nn.Flatten(), Net(lambda n, x: x.cumsum(1))), r"cumsum in 1 \(Net\)"),
    "fixed matrix": (lambda: Net(lambda n, x: x.flatten(1) @ torch.ones(192, 4)), r"no parameter in the module \("),
    "computed weight": (
        lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(dense(192, 4))),
        r"in 1\.parametrizations\.weight\.0 \(_WeightNorm\)",
    ),
    "in place": (lambda: Net(lambda n, x: (y := n.a(x), y[:, :2].add_(y[:, 2:]))[0], a=conv(3, 4, 3)), r"add_ on a"),
}  # fmt: skip


@pytest.mark.parametrize("build, told", REFUSED.values(), ids=REFUSED)
def test_a_layer_that_cannot_be_followed_is_named(build: Callable[[], nn.Module], told: str) -> None:
    with pytest.raises(LmcError, match=told) as caught:
        units_of(build().eval(), torch.randn(2, *IMAGE), "net")
    assert "\n" not in str(caught.value)


def written(axes: Any) -> nn.Module:
    net = CASES["mlp"][0]()
    net.axes = axes
    return net


@pytest.mark.parametrize(
    "axes", [{"a": {"1.weight": 0, "1.bias": 0, "3.weight": 1}}, {"a": (Place("1.weight", (6, 192), 0),)}, lambda: {}]
)
def test_a_module_names_its_own_units(axes: Any) -> None:
    units = units_of(written(axes), torch.randn(2, *IMAGE), "net")
    given = axes() if callable(axes) else axes
    assert units.axes.keys() == given.keys() and [site.layer for site in units.sites] == ["1"] * len(given)
    for name, places in units.axes.items():
        assert {place.weight for place in places} == {getattr(place, "weight", place) for place in given[name]}


@pytest.mark.parametrize(
    "axes, told",
    [
        ({"a": {"2.weight": 0}}, r"a: found '2\.weight', allowed: 1\.weight, 1\.bias"),
        ({"a": {"1.weight": 2}}, r"a: 1\.weight is \[6, 192\]: found side 2"),
        ({"a": {"1.weight": 0, "3.weight": 0}}, r"a: found \{'1\.weight': 6, '3\.weight': 5\} units"),
        ({"a": [Place("1.weight", (6, 191), 0)]}, r"1\.weight is \[6, 192\]: found side 0 of \[6, 191\]"),
        ({"a": ["1.weight"]}, "a: found a str, allowed: a Place, or weight: side"),
        ([], "found a list"),
        (lambda: 1 / 0, "net: axes: ZeroDivisionError"),
    ],
)
def test_a_mistake_in_them_is_named(axes: Any, told: str) -> None:
    with pytest.raises(LmcError, match=told) as caught:
        units_of(written(axes), torch.randn(2, *IMAGE), "net")
    assert "\n" not in str(caught.value)

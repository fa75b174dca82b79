"""The line between two weight files: known answers for a network of the registry and for modules of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_made_ends import CODE, CURVE, LOSS, MODEL, Net, weights, write_ends, write_images
from helpers import run_config
from safetensors.torch import save_file
from torch import Tensor, nn

from lmc_repro import load_dataset, measure_pair
from lmc_repro import run_config as config_of
from lmc_repro import train as train_runs
from lmc_repro.common.errors import LmcError
from lmc_repro.data.custom_dataset import Samples, of_dataset, read_unlisted
from lmc_repro.notebook.barrier_from_files import OwnModule, measure_files, read_network


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Path, Path]:
    return write_ends(tmp_path)


@pytest.fixture
def images(tmp_path: Path) -> Samples:
    return read_unlisted(write_images(tmp_path / "images.npz"))


def own(module: Callable[[], nn.Module]) -> OwnModule:
    return OwnModule("mine.py:build", module)


@pytest.mark.parametrize("network", [read_network(MODEL), own(Net)], ids=["registry", "module"])
def test_everything_between_the_ends_is_wrong(ends: tuple[Path, Path], images: Samples, network: Any) -> None:
    epoch = measure_files(ends, network, images)
    assert epoch.status == ("trained", "trained") and epoch.barriers is not None
    for split, n in (("train", 30), ("test", 4)):
        curve = epoch.curves[split]  # type: ignore[index]
        assert curve.n == n and curve.wrong == tuple(n * wrong for wrong in CURVE)
        assert curve.loss == pytest.approx(LOSS, rel=1e-5)
        found = epoch.barriers[split]  # type: ignore[index]
        assert (found.barrier, found.floor, found.line, found.midpoint_excess, found.argmax_alpha) == (
            100,
            0,
            100,
            100,
            0.2,
        )
        assert found.normalised_chance == pytest.approx(200.0)  # two classes: half of all accuracy is chance
        assert found.loss_barrier == pytest.approx(math.log1p(math.e) - math.log1p(1 / math.e), rel=1e-5)


def test_an_end_that_is_all_wrong_has_no_barrier(tmp_path: Path, images: Samples) -> None:
    paths = tmp_path / "A.safetensors", tmp_path / "B.safetensors"
    save_file(weights(1.0), paths[0])
    save_file(weights(0.2), paths[1])  # s = 1 - 0.8 alpha: right where s^2 > 1/2, alpha 0 to 0.3, and B all wrong
    epoch = measure_files(paths, read_network(MODEL), images)
    assert epoch.curves["test"].wrong == (0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4)
    assert epoch.status == ("trained", "collapsed") and epoch.barriers is None  # no barrier, though Eq. 1 gives 50


@pytest.mark.parametrize("network", [read_network(MODEL), own(Net)], ids=["registry", "module"])
def test_logits_that_are_not_finite_are_a_diverged_end(ends: tuple[Path, Path], images: Samples, network: Any) -> None:
    save_file({name: 1e30 * tensor for name, tensor in weights(-1.0).items()}, ends[1])
    epoch = measure_files(ends, network, images)
    assert epoch.status == ("trained", "diverged") and epoch.barriers is None
    assert epoch.curves["test"].wrong[-1] == 4 and epoch.curves["test"].loss[-1] is None


def test_one_split_alone(ends: tuple[Path, Path], images: Samples) -> None:
    epoch = measure_files(ends, own(Net), images, points=5, split="test")
    assert epoch.curves["test"].wrong == (0, 4, 4, 4, 0)
    assert epoch.curves["train"].wrong == (0, 0) and epoch.status == ("trained", "trained")  # judged by its ends


def test_files_of_runs_have_the_path_of_the_runs(tmp_path: Path) -> None:
    digits = load_dataset()
    configs = [
        config_of(
            model={"kind": "mlp", "depth": 3, "width": 12}, optimizer={"kind": "adam", "lr": 0.01}, batch_size=64,
            epochs=2, loader_seed=seed,
        )
        for seed in (0, 1)
    ]  # fmt: skip
    a, b = train_runs(configs, digits, tmp_path)
    folders = [tmp_path / run.fingerprint for run in (a, b)]
    first, second = (next(iter((folder / "checkpoints").glob("*2*.safetensors"))) for folder in folders)
    epoch = measure_files((first, second), read_network(str(folders[0] / "config.json")), of_dataset(digits))
    final = measure_pair(a, b, digits).final
    assert (epoch.curves, epoch.status, epoch.barriers) == (final.curves, final.status, final.barriers)


class Normed(nn.Module):
    """Class 0 where the first pixel is above the running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x.flatten(1)[:, :1])
        return torch.cat([y, -y], 1)


def test_running_statistics_are_those_of_the_training_images(tmp_path: Path, images: Samples) -> None:
    paths = tmp_path / "A.safetensors", tmp_path / "B.safetensors"
    for path, mean in zip(paths, (50.0, -50.0), strict=True):  # with either, all images would be of one class
        net = Normed()
        net.norm.running_mean = torch.tensor([mean])
        save_file(net.state_dict(), path)
    evaluations = [
        measure_files(paths, own(Normed), images, batch_size=size) for size in (4, 29)
    ]  # 29: a last one of 1
    for epoch in evaluations:
        assert epoch.curves["test"].wrong == (0,) * 11 and epoch.barriers is not None
    assert evaluations[0].curves["test"].loss == pytest.approx(evaluations[1].curves["test"].loss, rel=1e-5)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2, bias=False)
        self.b = nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.a(x.flatten(1)))
        return out


def test_a_shared_tensor_may_stand_in_the_file_once(tmp_path: Path, images: Samples) -> None:
    paths = tmp_path / "A.safetensors", tmp_path / "B.safetensors"
    for path, sign in zip(paths, (1.0, -1.0), strict=True):
        save_file({"a.weight": sign * torch.eye(2)}, path)  # twice the same sign: both are right, their middle is 0
    assert measure_files(paths, own(Tied), images).curves["test"].wrong == (0,) * 5 + (2,) + (0,) * 5


def test_floats_are_seen_as_they_are(ends: tuple[Path, Path], tmp_path: Path) -> None:
    x, y = np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0, 1], np.uint8)
    np.savez(tmp_path / "floats.npz", x_train=x, y_train=y, x_test=x.astype(np.float32), y_test=y)
    samples = read_unlisted(tmp_path / "floats.npz")
    assert measure_files(ends, own(Net), samples).curves["test"].wrong == tuple(2 * wrong for wrong in CURVE)
    with pytest.raises(LmcError, match=r"floats.npz: holds floats, and a network of kind mlp sees images"):
        measure_files(ends, read_network(MODEL), samples)


def test_a_batch_of_its_own_is_for_modules(ends: tuple[Path, Path], images: Samples) -> None:
    with pytest.raises(LmcError, match="--batch-size: a network of kind mlp has a batch of its own"):
        measure_files(ends, read_network(MODEL), images, batch_size=2)
    curves = [measure_files(ends, own(Net), images, batch_size=size).curves["train"].wrong for size in (1, 4, 100)]
    assert curves[0] == curves[1] == curves[2]


def write(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


A, B = "A.safetensors", "B.safetensors"
MISTAKES = {
    "no file": (lambda b: b.unlink(), rf"{B}: no such file"),
    "pickled": (lambda b: torch.save({}, b), rf"{B}: pickled by torch.save"),
    "empty": (lambda b: write(b, {}), rf"{B}: holds no tensors"),
    "a key more": (lambda b: write(b, weights(1.0) | {"x": torch.ones(1)}), rf"x: in \S*{B}, not in \S*{A}; no line"),
    "a key less": (
        lambda b: write(b, {"layers.0.weight": torch.ones(2, 2)}), rf"layers.1.weight: in \S*{A}, not in \S*{B}"
    ),
    "a shape": (
        lambda b: write(b, weights(1.0) | {"layers.0.weight": torch.ones(3, 2)}),
        rf"layers.0.weight: float32 \[2, 2\] in \S*{A}, float32 \[3, 2\] in \S*{B}",
    ),
    "a type": (
        lambda b: write(b, {name: tensor.int() for name, tensor in weights(1.0).items()}),
        r"layers.0.weight: float32 \[2, 2\] in \S*, int32 \[2, 2\] in",
    ),
    "nan": (
        lambda b: write(b, weights(1.0) | {"layers.1.weight": torch.full((2, 2), math.nan)}),
        rf"{B}: layers.1.weight has numbers that are not finite: this network diverged",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "told"), MISTAKES.values(), ids=MISTAKES)
def test_files_that_do_not_fit(ends: tuple[Path, Path], images: Samples, spoil: Any, told: str) -> None:
    spoil(ends[1])
    with pytest.raises(LmcError, match=told) as caught:
        measure_files(ends, read_network(MODEL), images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("mlp:depth=2,width=3,bias=false", r"layers.0.weight is \[2, 2\], of 2-layer MLP, width 3, .* it is \[3, 2\]"),
        ("mlp:depth=2,width=2", "has no layers.0.bias, which 2-layer MLP, width 2, slope 1 on images.npz has"),
        ("mlp:depth=1,bias=false", "has layers.1.weight, which 1-layer MLP, no biases on images.npz has not"),
    ],
)
def test_files_of_another_network(ends: tuple[Path, Path], images: Samples, model: str, told: str) -> None:
    with pytest.raises(LmcError, match=told):
        measure_files(ends, read_network(model), images)


def test_a_module_of_other_keys_or_types(ends: tuple[Path, Path], images: Samples) -> None:
    with pytest.raises(LmcError, match=r"A.safetensors: has no norm.weight, which mine.py:build has; fix --model"):
        measure_files(ends, own(Normed), images)

    class Whole(Net):
        def __init__(self) -> None:
            super().__init__()
            self.layers[0].weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.int64), requires_grad=False)

    with pytest.raises(LmcError, match=r"0.weight is torch.float32, of mine.py:build torch.int64; make the model"):
        measure_files(ends, own(Whole), images)
    with pytest.raises(LmcError, match=r"mine.py:build: layers.0 \(LazyLinear\) has no shape before its first batch"):
        own(lambda: nn.ModuleDict({"layers": nn.ModuleList([nn.LazyLinear(2)])})).make()


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_a_module_of_half_precision_is_measured_in_float32(
    half: torch.dtype, ends: tuple[Path, Path], images: Samples
) -> None:
    said: list[str] = []
    found = measure_files(ends, own(lambda: Net().to(half)), images, note=said.append)
    assert found == measure_files(ends, own(Net), images)
    assert said == [f"--model mine.py:build: {str(half).removeprefix('torch.')} cast to float32"]


def test_what_a_module_raises_is_one_line_with_its_place(ends: tuple[Path, Path], images: Samples) -> None:
    class Broken(Net):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("two\nlines")

    line = r"mine.py:build on images.npz: ValueError: two lines \(.*test_barrier_from_files.py, line"
    with pytest.raises(LmcError, match=line):
        measure_files(ends, own(Broken), images)
    with pytest.raises(LmcError, match=r"math:inf: returned a float, expected an nn.Module"):
        measure_files(ends, OwnModule("math:inf", lambda: math.inf), images)


def test_a_function_in_a_file(tmp_path: Path, ends: tuple[Path, Path], images: Samples, monkeypatch: Any) -> None:
    (tmp_path / "mine_in_a_file.py").write_text(CODE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "nets_of_mine.py").write_text(CODE)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    monkeypatch.chdir(tmp_path)
    for text in ("mine_in_a_file.py:build", "mine_in_a_file:build", "folder.nets_of_mine:build"):
        epoch = measure_files(ends, read_network(text), images)
        assert epoch.curves["test"].wrong == tuple(4 * wrong for wrong in CURVE), text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nets", "--model: found 'nets', allowed: a kind .mlp, local, conv, attention, module. with its settings"),
        ("nets:build", "--model nets:build: no module nets in .*, nor is one installed"),
        ("nets.py:build", "--model nets.py:build: nets.py: no such file"),
        ("torch.nn:Nothing", "--model torch.nn:Nothing: torch.nn has no Nothing"),
        ("math:pi", "--model math:pi: is a float, expected a function"),
        ("mlp", "--model mlp: depth: missing"),
        ("mlp:depth", "--model mlp:depth: found 'depth', allowed: KEY=VALUE"),
        ("mlp:depht=1", "--model mlp:depht=1: depht: unknown key; did you mean depth"),
        ("{kind: mlq}", "--model: kind: found 'mlq', allowed: mlp"),
        ("config.json", "config.json: cannot be read"),
    ],
)
def test_a_model_that_is_none(text: str, told: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LmcError, match=told) as caught:
        read_network(text)
    assert "\n" not in str(caught.value)


def test_settings_as_a_mapping_and_as_pairs_are_the_same() -> None:
    text = "{kind: mlp, depth: 2, width: 9, slope: 0.0}"
    assert read_network(text) == read_network("mlp:depth=2,width=9,slope=0.0") == run_config().model

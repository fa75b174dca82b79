"""Weight files as people bring them: read with what was done to them told, or refused with the fix."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_made_ends import CURVE, MODEL, Net, weights, write_ends, write_images
from safetensors.torch import load_file, save_file
from torch import nn

from lmc_repro.common.errors import LmcError
from lmc_repro.data.custom_dataset import read_unlisted
from lmc_repro.notebook.barrier_from_files import OwnModule, measure_files, read_network
from lmc_repro.notebook.weight_files import INDEX, digest, read_weights

NETWORKS = [read_network(MODEL), OwnModule("mine.py:build", Net)]


def prefixed(prefix: str) -> Callable[[Path], Path]:
    def bring(path: Path) -> Path:
        save_file({prefix + name: tensor for name, tensor in load_file(path).items()}, path)
        return path

    return bring


def cast(dtype: torch.dtype) -> Callable[[Path], Path]:
    def bring(path: Path) -> Path:
        save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)
        return path

    return bring


def sharded(path: Path) -> Path:
    """Write a folder with an index and a shard per tensor; return the index."""
    folder = path.with_suffix("")
    folder.mkdir()
    places = {name: f"model-{i}.safetensors" for i, name in enumerate(load_file(path))}
    for name, file in places.items():
        save_file({name: load_file(path)[name]}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder / INDEX


READ: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "as it is": (lambda path: path, []),
    "DataParallel": (prefixed("module."), ["module."]),
    "torch.compile": (prefixed("_orig_mod."), ["_orig_mod."]),
    "Lightning": (prefixed("model."), ["model."]),
    "nested": (prefixed("_orig_mod.module.model."), ["_orig_mod.module.model."]),
    "float16": (cast(torch.float16), ["float16"]),
    "bfloat16": (cast(torch.bfloat16), ["bfloat16"]),
    "float64": (cast(torch.float64), ["float64"]),
    "both": (lambda path: prefixed("module.")(cast(torch.float16)(path)), ["float16", "module."]),
    "an index": (sharded, []),
    "its folder": (lambda path: sharded(path).parent, []),
}


@pytest.mark.parametrize("network", NETWORKS, ids=["registry", "module"])
@pytest.mark.parametrize(("bring", "words"), READ.values(), ids=READ)
def test_read_against_a_plain_file(tmp_path: Path, network: Any, bring: Any, words: list[str]) -> None:
    a, b = write_ends(tmp_path)
    notes: list[str] = []
    brought = bring(a)
    epoch = measure_files((brought, b), network, read_unlisted(write_images(tmp_path / "i.npz")), note=notes.append)
    assert epoch.curves["test"].wrong == tuple(4 * wrong for wrong in CURVE)  # these weights are exact in float16
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert note.startswith(f"{brought}: ") and word in note.split()


def test_a_name_of_the_network_is_no_prefix(tmp_path: Path) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Net()

        def forward(self, x: torch.Tensor) -> Any:
            return self.model(x)

    ends, notes = write_ends(tmp_path), list[str]()
    for path in ends:
        prefixed("model.")(path)
    images = read_unlisted(write_images(tmp_path / "images.npz"))
    measure_files(ends, OwnModule("mine.py:build", Wrapped), images, note=notes.append)
    assert notes == []


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    a, b = (sharded(path) for path in write_ends(tmp_path))
    shutil.copytree(a.parent, tmp_path / "copy")
    assert digest(a) == digest(a.parent) == digest(tmp_path / "copy") != digest(b)


def without(file: str, text: str | None = None) -> Callable[[Path], Path]:
    """Return what shards a file and then removes one file of it, or gives it another text."""

    def bring(path: Path) -> Path:
        index = sharded(path)
        (index.parent / file).unlink()
        if text is not None:
            (index.parent / file).write_text(text)
        return index if text is not None else index.parent

    return bring


def pickled(suffix: str, content: Any, **options: Any) -> Callable[[Path], Path]:
    def bring(path: Path) -> Path:
        torch.save(content, path := path.with_suffix(suffix), **options)
        return path

    return bring


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a folder": (lambda path: path.parent, f"a folder without {INDEX}"),
    "a folder that lacks its index": (without(INDEX), f"a folder without {INDEX}"),
    "a missing shard": (without("model-1.safetensors"), "lacks model-1.safetensors; put"),
    "a broken index": (without(INDEX, "{"), "no index of shards"),
    "another json": (without(INDEX, '{"weight_map": []}'), "no index of shards"),
    "a tensor in another shard": (
        without(INDEX, '{"weight_map": {"layers.0.weight": "model-1.safetensors"}}'),
        "layers.0.weight is not in model-1.safetensors",
    ),
    "text": (lambda path: Path(path.rename(path.with_suffix(".txt"))).write_text("no") and path.with_suffix(".txt"),
             "not a safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize(("bring", "told"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line(tmp_path: Path, bring: Any, told: str) -> None:
    with pytest.raises(LmcError) as caught:
        read_weights(bring(write_ends(tmp_path)[0]), lambda text: None)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def module() -> nn.Module:
    net = Net()
    net.load_state_dict(weights(1.0))
    return net


PICKLED: dict[str, Callable[[Path], Path]] = {
    "a state_dict": pickled(".pt", weights(1.0)),
    "as torch wrote it before 1.6": pickled(".pth", weights(1.0), _use_new_zipfile_serialization=False),
    "Lightning": pickled(".ckpt", {"state_dict": weights(1.0), "pytorch-lightning_version": "2"}),
    "a training loop's": pickled(".pt", {"model_state_dict": weights(1.0), "epoch": 3}),
    "under a wrong name": pickled(".safetensors", weights(1.0)),
    "a module": pickled(".pt", module()),
    "a module in a checkpoint": pickled(".pt", {"model": module(), "epoch": 3}),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the command leaves it to the end of its process
@pytest.mark.parametrize("bring", PICKLED.values(), ids=PICKLED)
def test_a_pickled_file_is_refused_with_the_command_that_converts_it(tmp_path: Path, bring: Any) -> None:
    path = bring(tmp_path / "a")
    before = path.read_bytes()
    with pytest.raises(LmcError, match="pickled") as caught:
        read_weights(path, lambda text: None)
    _, python, command = str(caught.value).partition("python ")
    assert python and "\n" not in command
    assert ("weights_only=True" in command) == ("if you trust the file" not in str(caught.value))
    option, code = shlex.split(command)
    assert option == "-c"
    exec(code, {})
    (target,) = {*tmp_path.glob("*.safetensors")} - {path}
    found = load_file(target)
    assert (
        path.read_bytes() == before
        and found.keys() == weights(1.0).keys()
        and all(found[n].equal(t) for n, t in weights(1.0).items())
    )

"""Weights in files as people bring them: safetensors, one file or shards, read without running code, made to fit."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes, sha256_file

Weights = dict[str, Tensor]
Ends = tuple[Path, Path]
Note = Callable[[str], None]

INDEX = "model.safetensors.index.json"
"""The index that Hugging Face's libraries write beside shards: the file of each tensor."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before the names of a network's tensors."""

_HOLDERS = ("state_dict", "model_state_dict", "model")  # keys of a pickled checkpoint that holds more than weights
_MODULE = ".state_dict()"


def read_weights(path: Path, note: Note) -> Weights:
    """Return the tensors of a safetensors file, of an index of shards or of the folder of one, by name.

    Floating-point numbers come as float32; `note` is told of every other type.

    Raises:
        LmcError: The file is of another kind, or a number in it is not finite.
    """
    path = _place(path)
    if path.suffix == ".json":
        shards = _shards(path)
        parts = {file: _of_file(path.parent / file) for file in sorted({*shards.values()})}
        for name, file in shards.items():
            if name not in parts[file]:
                raise LmcError(f"{path}: {name} is not in {file}; take index and shards of one model")
        weights = {name: parts[file][name] for name, file in shards.items()}
    else:
        weights = _of_file(path)
    if not weights:
        raise LmcError(f"{path}: holds no tensors; write the model's state_dict")
    cast = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} - {torch.float32}
    weights = {name: tensor.float() if tensor.dtype in cast else tensor for name, tensor in weights.items()}
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise LmcError(f"{path}: {name} has numbers that are not finite: this network diverged; take another one")
    if cast:
        note(f"{path}: {', '.join(sorted(map(_short, cast)))} cast to float32")
    return weights


def digest(path: Path) -> str:
    """Return the sha256 of a weight file; of shards, that of their sha256s in order of name."""
    path = _place(path)
    if path.suffix != ".json":
        return sha256_file(path)
    files = sorted({*_shards(path).values()})
    return sha256_bytes("".join(sha256_file(path.parent / file) for file in files).encode())


def fitting_ends(
    paths: Ends, ends: tuple[Weights, Weights], names: Iterable[str], note: Note
) -> tuple[Weights, Weights]:
    """Return the weights at both ends by the names of a network, without prefixes that all names of a file have.

    LmcError, naming the first key, unless the keys, shapes and types of both are one.
    """
    known = set(names)
    first, second = (_without_prefixes(path, end, known, note) for path, end in zip(paths, ends, strict=True))
    for name in [*first, *second]:
        if name not in first or name not in second:
            has, lacks = paths if name in first else paths[::-1]
            raise LmcError(f"{name}: in {has}, not in {lacks}; no line leads between two architectures")
        if (a := _told(first[name])) != (b := _told(second[name])):
            raise LmcError(f"{name}: {a} in {paths[0]}, {b} in {paths[1]}; no line leads between two architectures")
    return first, second


def check_shapes(weights: Weights, shapes: Mapping[str, tuple[int, ...]], path: Path, model: str) -> None:
    """LmcError, naming the first key, unless a file holds what a network has."""
    for name in [*shapes, *weights]:
        if name not in weights:
            raise LmcError(f"{path}: has no {name}, which {model} has; fix --model")
        if name not in shapes:
            raise LmcError(f"{path}: has {name}, which {model} has not; fix --model")
        if tuple(weights[name].shape) != tuple(shapes[name]):
            found, expected = list(weights[name].shape), list(shapes[name])
            raise LmcError(f"{path}: {name} is {found}, of {model} it is {expected}; fix --model")


def load_into(module: nn.Module, weights: Weights, path: Path, model: str) -> None:
    """Copy a file's tensors to a module's; of tensors that the module shares, the file may hold one alone.

    LmcError, naming the first key, for other keys or shapes, or numbers that the module's type cannot hold.
    """
    state = {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    shared = {tensor.data_ptr() for name, tensor in state.items() if name in weights and tensor.numel()}
    needed = {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if name in weights or not tensor.numel() or tensor.data_ptr() not in shared
    }
    check_shapes(weights, needed, path, model)
    for name, tensor in weights.items():
        if torch.promote_types(tensor.dtype, state[name].dtype) != state[name].dtype:
            found, expected = tensor.dtype, state[name].dtype
            raise LmcError(f"{path}: {name} is {found}, of {model} {expected}; make the model {found}")
    module.load_state_dict(weights, strict=False)


def _without_prefixes(path: Path, weights: Weights, known: set[str], note: Note) -> Weights:
    """Return weights without the leading prefixes without which most names are known."""
    best, stripped, removed = weights, weights, ""
    taken = removed
    while prefix := next((each for each in PREFIXES if all(name.startswith(each) for name in stripped)), ""):
        stripped = {name.removeprefix(prefix): tensor for name, tensor in stripped.items()}
        removed += prefix
        if len(stripped.keys() & known) > len(best.keys() & known):
            best, taken = stripped, removed
    if taken:
        note(f"{path}: read without the prefix {taken} of its keys")
    return best


def _place(path: Path) -> Path:
    """Return the file to begin with: of a folder, its index."""
    if not path.is_dir():
        return path
    if not (path / INDEX).is_file():
        raise LmcError(f"{path}: a folder without {INDEX}; name a safetensors file in it")
    return path / INDEX


def _shards(index: Path) -> dict[str, str]:
    """Return the shard that holds each tensor; LmcError unless all are there."""
    try:
        shards = {str(name): str(file) for name, file in json.loads(index.read_bytes())["weight_map"].items()}
    except OSError as error:
        raise LmcError(f"{index}: cannot be read ({error.strerror or error}); name {INDEX}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LmcError(f"{index}: no index of shards; name {INDEX} or a safetensors file") from None
    if missing := sorted(file for file in {*shards.values()} if not (index.parent / file).is_file()):
        raise LmcError(f"{index}: lacks {', '.join(missing)}; put the shards beside it")
    return shards


def _of_file(path: Path) -> Weights:
    if not path.is_file():
        raise LmcError(f"{path}: no such file; name two safetensors files")
    try:
        return load_file(path)
    except OSError as error:
        raise LmcError(f"{path}: cannot be read ({error.strerror or error}); fix its permissions") from None
    except SafetensorError as error:
        if (part := _pickled(path)) is not None:
            what = "pickled by torch.save, which may run code; convert it"
            if part.endswith(_MODULE):
                what = "a pickled module; if you trust the file, whose code this runs, convert it"
            raise LmcError(f"{path}: {what}: {_conversion(path, part)}") from None
        fix = "write it with safetensors.torch.save_file(model.state_dict(), ...)"
        raise LmcError(f"{path}: not a safetensors file ({' '.join(str(error).split())}); {fix}") from None


def _pickled(path: Path) -> str | None:
    """Return the part of a pickled file that seems to be the weights, as Python's code; None if it is not pickled."""
    with path.open("rb") as file:
        content = file.read(1 << 20)
    if content.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                content = archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))
        except (zipfile.BadZipFile, StopIteration, OSError):
            return None
    elif not content.startswith(b"\x80"):
        return None

    def holds(key: str) -> bool:
        return b"X" + len(key).to_bytes(4, "little") + key.encode() in content  # pickle's protocol 2

    module, holder = holds("_parameters"), next(filter(holds, _HOLDERS), None)
    if holder is None or (module and not content.startswith(b"\x80\x02}")):  # a module's layer may be named `model`
        return _MODULE if module else ""
    return f"[{json.dumps(holder)}]{_MODULE if module else ''}"


def _conversion(path: Path, part: str) -> str:
    """Return the command that converts a part of a pickled file, into a new file."""
    target = path.with_suffix(".safetensors")
    if target.exists():
        target = target.with_stem(f"{path.stem}-converted")
    quoted = [json.dumps(str(each)) for each in (path, target)]
    loaded = f'torch.load(open({quoted[0]}, "rb"), map_location="cpu", weights_only={not part.endswith(_MODULE)})'
    saved = f"save_file({{k: v.clone() for k, v in {loaded}{part}.items()}}, {quoted[1]})"
    return "python -c " + shlex.quote(f"import torch; from safetensors.torch import save_file; {saved}")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _told(tensor: Tensor) -> str:
    return f"{_short(tensor.dtype)} {list(tensor.shape)}"

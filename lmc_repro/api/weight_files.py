"""Weights of one's own, as two safetensors files: read without running code, and checked to lie on one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lmc_repro.errors import LmcError

Weights = dict[str, Tensor]
Ends = tuple[Path, Path]


def read_weights(path: Path) -> Weights:
    """Return the tensors of a safetensors file by name; LmcError if it is none, or a number in it is not finite."""
    if not path.is_file():
        raise LmcError(f"{path}: no such file; name two safetensors files")
    try:
        weights = load_file(path)
    except OSError as error:
        raise LmcError(f"{path}: cannot be read ({error.strerror or error}); mend its permissions") from None
    except SafetensorError as error:
        fix = "write it with safetensors.torch.save_file(model.state_dict(), ...); pickled weights are not read"
        raise LmcError(f"{path}: not a safetensors file ({' '.join(str(error).split())}); {fix}") from None
    if not weights:
        raise LmcError(f"{path}: holds no tensors; write the model's state_dict")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise LmcError(f"{path}: {name} has numbers that are not finite: this network diverged; take another one")
    return weights


def read_ends(paths: Ends) -> tuple[Weights, Weights]:
    """Return the weights at both ends; LmcError, naming the first key, unless their keys, shapes and types are one."""
    first, second = (read_weights(path) for path in paths)
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
            raise LmcError(f"{path}: has no {name}, which {model} has; mend --model")
        if name not in shapes:
            raise LmcError(f"{path}: has {name}, which {model} has not; mend --model")
        if tuple(weights[name].shape) != tuple(shapes[name]):
            found, expected = list(weights[name].shape), list(shapes[name])
            raise LmcError(f"{path}: {name} is {found}, of {model} it is {expected}; mend --model")


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


def _told(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"

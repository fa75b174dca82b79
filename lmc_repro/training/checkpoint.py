"""Weights as safetensors bytes: equal weights give equal files, so a file's sha256 is the weights' identity."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lmc_repro.errors import LmcError
from lmc_repro.files import sha256_bytes, write_atomic


def encode(tensors: dict[str, Tensor]) -> bytes:
    """Return the safetensors file of contiguous CPU tensors, without metadata (whose order would not be fixed)."""
    return save(tensors)


def write_checkpoint(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write the tensors to `path`, whole or not at all, and return the sha256 of the file."""
    content = encode(tensors)
    write_atomic(path, content)
    return sha256_bytes(content)


def read_checkpoint(path: Path, sha256: str, fix: str) -> dict[str, Tensor]:
    """Return the tensors of a file with this sha256; LmcError that names it and ends with `fix` otherwise."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LmcError(f"{path}: cannot be read ({error.strerror}); {fix}") from None
    if (found := sha256_bytes(content)) != sha256:
        raise LmcError(f"{path}: damaged: its sha256 is {found[:12]}, recorded {sha256[:12]}; {fix}")
    try:
        return load(content)
    except SafetensorError as error:
        raise LmcError(f"{path}: not a safetensors file ({error}); {fix}") from None

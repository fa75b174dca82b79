"""Weights as safetensors bytes: equal weights give equal files, so a file's sha256 is the weights' identity.

Functions of tensors import torch themselves: commands that read a store, such as `lmc list`, need none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes, write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights as read, with its recorded sha256; `fix` is the end of errors about it."""

    path: Path
    content: bytes
    fix: str

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weights by name, without torch; errors as those of `tensors`."""
        from safetensors.numpy import load

        return self._loaded(load)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by name; LmcError that names the file and ends with `fix` if it holds none."""
        from safetensors.torch import load

        return self._loaded(load)

    def _loaded(self, load: Callable[[bytes], T]) -> T:
        try:
            return load(self.content)
        except SafetensorError as error:
            raise LmcError(f"{self.path}: not a safetensors file ({error}); {self.fix}") from None


def encode(tensors: dict[str, Tensor]) -> bytes:
    """Return the safetensors file of contiguous CPU tensors, without metadata (whose order would not be fixed)."""
    from safetensors.torch import save

    return save(tensors)


def write_checkpoint(path: Path, tensors: dict[str, Tensor], wait: bool = True) -> str:
    """Write the tensors to `path`, whole or not at all, and return the sha256; `wait` as in `files.write_atomic`."""
    content = encode(tensors)
    write_atomic(path, content, wait)
    return sha256_bytes(content)


def verified(path: Path, sha256: str, fix: str) -> Checkpoint:
    """Return a file with this sha256; LmcError that names it and ends with `fix` otherwise."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LmcError(f"{path}: cannot be read ({error.strerror}); {fix}") from None
    if (found := sha256_bytes(content)) != sha256:
        raise LmcError(f"{path}: damaged: its sha256 is {found[:12]}, recorded {sha256[:12]}; {fix}")
    return Checkpoint(path, content, fix)


def read_checkpoint(path: Path, sha256: str, fix: str) -> dict[str, Tensor]:
    """Return the tensors of a file with this sha256; LmcError that names it and ends with `fix` otherwise."""
    return verified(path, sha256, fix).tensors()

"""Import ffcv without its side effect on torch, and without what it compiles for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lmc_repro.errors import LmcError


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Give torch back its number of threads when the block ends.

    ffcv sets it on import, in every Loader and in every epoch; the bits of training depend on it.
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        restore_torch_threads(before)


def restore_torch_threads(count: int) -> None:
    """Set torch's number of threads to `count` and make sure of it."""
    torch.set_num_threads(count)
    if torch.get_num_threads() != count:
        raise RuntimeError(f"torch has {torch.get_num_threads()} threads after set_num_threads({count})")


def import_ffcv() -> None:
    """Import ffcv, leaving torch's threads as they are; LmcError if it is missing or cannot be loaded."""
    with torch_threads_kept():
        try:
            with _plain_dict():
                import ffcv  # noqa: F401
        except ImportError as error:
            found = " ".join(str(error).split())
            raise LmcError(
                f"ffcv cannot be imported ({found}); install it with its system packages, or train with "
                "`loader: resident` from data prepared elsewhere"
            ) from None


@contextmanager
def _plain_dict() -> Iterator[None]:
    """Let numba's typed dictionary be a dict inside.

    ffcv makes one as it is imported, for the two codes of its image formats, which only Python reads; numba compiles
    three seconds for it.
    """
    from numba import typed

    before = typed.Dict
    typed.Dict = dict
    try:
        yield
    finally:
        typed.Dict = before

"""Reader of pickles that hold numbers, text, lists, dicts and arrays of bytes: nothing in them is executed."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmc_repro.errors import LmcError

BYTE_TYPES = (b"u1", "u1")


def load_pickle(path: Path) -> dict[Any, Any]:
    """Return the dict in a pickle of Python 2 or 3; text of Python 2 stays bytes, arrays are uint8.

    Arrays are known by the three names of numpy under which they are pickled. These names stand for functions of our
    own that keep shape and bytes; no other name is looked up, so no pickle can call anything. LmcError, naming the
    file, if it asks for another name, is corrupt, or holds something else than a dict.
    """
    fix = "delete it and get it again"
    try:
        with path.open("rb") as file:
            content = _Reader(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"holds {type(content).__name__}, not dict")
        return {key: value.array() if isinstance(value, _Array) else value for key, value in content.items()}
    except FileNotFoundError:
        raise LmcError(f"{path}: no such file; get it again") from None
    except Exception as error:  # a corrupt pickle can raise anything
        found = " ".join(str(error).split()) or type(error).__name__
        raise LmcError(f"{path}: not a pickle of plain values and uint8 arrays ({found}); {fix}") from None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _Name(lambda *_: _Array())
        if (module, name) == ("numpy", "ndarray"):
            return _Name(_refuse)  # an argument of _reconstruct, never called
        if (module, name) == ("numpy", "dtype"):
            return _Name(_Dtype)
        raise pickle.UnpicklingError(f"asks for {module}.{name}")


class _Name:
    """What a name in the pickle stands for; it can be called and nothing else."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        _refuse()


class _Dtype:
    """numpy.dtype of one unsigned byte; another one is refused."""

    def __init__(self, code: object = None, *_: object) -> None:
        if code not in BYTE_TYPES:
            raise pickle.UnpicklingError(f"an array of type {code!r}, not of unsigned bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment mean nothing for single bytes."""


class _Array:
    """numpy.ndarray as its pickle describes it: (version, shape, dtype, Fortran order, bytes)."""

    def __setstate__(self, state: object) -> None:
        _, shape, dtype, fortran, content = state  # type: ignore[misc]
        plain = isinstance(dtype, _Dtype) and isinstance(content, bytes) and not fortran  # type: ignore[has-type]
        if not plain or len(content) != math.prod(shape):  # type: ignore[has-type]
            raise pickle.UnpicklingError("an array that is no plain block of bytes")
        self.shape: tuple[int, ...] = tuple(shape)  # type: ignore[has-type]
        self.content: bytes = content  # type: ignore[has-type]

    def array(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.content, np.uint8).reshape(self.shape)


def _refuse(*_: object) -> None:
    raise pickle.UnpicklingError("calls or changes what is no part of a plain array")

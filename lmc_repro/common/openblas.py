"""The matrix product of portable numerics: an OpenBLAS of our own, with one kernel and one thread on every CPU.

MKL takes other branches on another vendor's CPU, whatever its settings. numpy's OpenBLAS has the kernels that it chose
when numpy was imported, and another version with another numpy. So portable products come from the package
scipy-openblas32, pinned and loaded separately: neither other libraries nor the caller's environment change it, and its
version is part of the numerics tag.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lmc_repro.common.errors import LmcError

PACKAGE = "scipy-openblas32"

# Only tests choose other kernels and cache sizes for this copy.
CORE_VARIABLE, L2_VARIABLE = "LMC_OPENBLAS_CORETYPE", "LMC_OPENBLAS_L2_SIZE"
_CORE = "Haswell"  # AVX2 and FMA; OpenBLAS has the same kernels for AMD's Zen

_MISSING = f"numerics: portable needs the package {PACKAGE}; pip install it, or choose native"

_ROW_MAJOR, _AS_IT_LIES, _TRANSPOSED = 101, 111, 112  # cblas.h

Operand = tuple[int, bool, int, int]
"""A stack of matrices in memory: address, whether rows and columns are swapped, leading side, elements to the next."""


def openblas_tag() -> str:
    """Return the parts of OpenBLAS that decide bits: version and kernels, e.g. openblas-0.3.34.481.3:Haswell."""
    try:
        return f"openblas-{version(PACKAGE)}:{os.environ.get(CORE_VARIABLE, _CORE)}"
    except PackageNotFoundError as error:
        raise LmcError(_MISSING) from error


def sgemm(m: int, n: int, k: int, a: Operand, b: Operand, beta: float, c: int, runs: int) -> None:
    """Compute C = A B + beta C in float32 for each network of a stack, one after another.

    Args:
        m, n, k: A is [m, k], B [k, n], C [m, n].
        a, b: where the factors lie.
        beta: 0 to write C, 1 to add to it.
        c: the address of the results, contiguous, [runs, m, n].
        runs: the number of products.
    """
    a_at, a_turned, a_side, a_next = a
    b_at, b_turned, b_side, b_next = b
    turn = (_AS_IT_LIES, _TRANSPOSED)
    _product()(
        _ROW_MAJOR, turn[a_turned], turn[b_turned], m, n, k,
        1.0, a_at, a_side, a_next, b_at, b_side, b_next, beta, c, n, m * n, runs,
    )  # fmt: skip


def loaded_core() -> str:
    """Return the kernels that OpenBLAS reports as chosen; load it if necessary."""
    core: bytes = _library().scipy_openblas_get_corename()
    return core.decode()


@cache
def _product() -> Callable[..., None]:
    """Return cblas_sgemm_batch_strided: a stack in one call, since a call from Python costs 3 us."""
    product: Callable[..., None] = _library().scipy_cblas_sgemm_batch_strided
    i, f, p = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
    product.argtypes = [i, i, i, i, i, i, f, p, i, i, p, i, i, f, p, i, i, i]  # type: ignore[attr-defined]
    product.restype = None  # type: ignore[attr-defined]
    return product


@cache
def _library() -> ctypes.CDLL:
    """Return our copy of OpenBLAS, loaded at the first product of a process."""
    asked = os.environ.get(CORE_VARIABLE, _CORE)
    chosen = {"OPENBLAS_CORETYPE": asked, "OPENBLAS_NUM_THREADS": "1", "OPENBLAS_L2_SIZE": os.environ.get(L2_VARIABLE)}
    with environment(chosen):
        library = ctypes.CDLL(str(_path()))
    library.scipy_openblas_get_corename.restype = ctypes.c_char_p
    core, threads = library.scipy_openblas_get_corename().decode(), library.scipy_openblas_get_num_threads()
    if asked == _CORE and (core, threads) != (_CORE, 1):
        raise LmcError(
            f"numerics: portable needs {PACKAGE} with {_CORE} kernels and one thread, found {core} and {threads}: "
            "something else in this process loaded it before; start anew without that, or choose native"
        )
    return library


def _path() -> Path:
    """Return the shared library, without importing its package: that would load it with other settings."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise LmcError(_MISSING)
    return Path(spec.submodule_search_locations[0]) / "lib" / "libscipy_openblas.so"


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables (None: unset them) while a library or process that reads them starts."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _set_environment(values)
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        os.environ.update({} if value is None else {name: value})

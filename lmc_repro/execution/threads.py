"""What every library of a worker process is told before it is loaded."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def one_thread_each() -> None:
    """Tell the libraries that compute to use one thread; to be called before any of them is loaded."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def deterministic_products() -> None:
    """Give cuBLAS workspaces of one size, without which equal products may differ; to be called before CUDA starts."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees, for the next one; nothing is done where it is not glibc.

    Handed back to the system, the results of every product come back as pages to be mapped and zeroed anew: a fifth of
    a step of 8 digits layers, a twelfth of one at MNIST size.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 2**25)  # the largest that every glibc takes
    mallopt(_M_TRIM_THRESHOLD, 2**30)

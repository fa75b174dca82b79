"""One thread for every library of a worker process."""

from __future__ import annotations

import os


def one_thread_each() -> None:
    """Tell the libraries that compute to use one thread; to be called before any of them is loaded."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

"""What every library of a worker process is told before it is loaded."""

from __future__ import annotations

import os


def one_thread_each() -> None:
    """Tell the libraries that compute to use one thread; to be called before any of them is loaded."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def deterministic_products() -> None:
    """Give cuBLAS workspaces of one size, without which equal products may differ; to be called before CUDA starts."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

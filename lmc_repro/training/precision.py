"""In which numbers the matrix products of training are computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from lmc_repro.errors import LmcError
from lmc_repro.schemas.run import Precision, RunConfig

if TYPE_CHECKING:  # a study is refused without torch
    import torch


def require_precision(configs: Iterable[RunConfig], device: str) -> None:
    """LmcError where a CPU is asked for a GPU's products: it has no tf32, and its bf16 would be slow and other bits."""
    found = sorted({config.precision for config in configs} - {"float32"})
    if found and not device.startswith("cuda"):
        raise LmcError(
            f"precision: found {', '.join(found)}, allowed on a CPU: float32; use --device cuda, or leave precision out"
        )


def products(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return what the forward and backward passes of a step run in.

    bf16 is torch's autocast, its cache off: a CUDA graph must round the weights anew in every step. Weights, gradients
    and the optimizer stay float32.
    """
    if precision == "bf16":
        import torch

        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    return _tf32() if precision == "tf32" else nullcontext()


@contextmanager
def _tf32() -> Iterator[None]:
    """Let products round their factors to tf32 inside; the switch is the process's, and put back for evaluations."""
    import torch

    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before

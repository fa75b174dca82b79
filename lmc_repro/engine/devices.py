"""The device that computes a study, and the precisions of its products."""

from __future__ import annotations

from collections.abc import Iterable

from lmc_repro.common.errors import LmcError, choices
from lmc_repro.config.run import RunConfig


def resolve_device(wanted: str) -> str:
    """Return cpu or cuda for auto, cpu or cuda; LmcError for another word, or if cuda is wanted and not there."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise LmcError(f"--device: {choices(wanted, ('auto', 'cpu', 'cuda'))}")
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise LmcError("--device cuda: torch sees no GPU here; use --device cpu")
    return "cpu"


def require_precision(configs: Iterable[RunConfig], device: str) -> None:
    """Raise LmcError for a GPU's precision on a CPU, which has no tf32 and whose bf16 is slow and differs."""
    found = sorted({config.precision for config in configs} - {"float32"})
    if found and not device.startswith("cuda"):
        raise LmcError(
            f"precision: found {', '.join(found)}, allowed on a CPU: float32; use --device cuda, or leave precision out"
        )

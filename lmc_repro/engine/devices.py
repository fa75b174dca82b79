"""The device that computes a study, and the precisions of its products."""

from __future__ import annotations

from collections.abc import Iterable

from lmc_repro.common.errors import LmcError, choices
from lmc_repro.common.numerics import bf16_unit, is_portable
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
    """Raise LmcError for a precision that a CPU does not have: tf32; bf16 without a unit for it, or portable."""
    found = {config.precision for config in configs} - {"float32"}
    if not found or device.startswith("cuda"):
        return
    if "tf32" in found:
        raise LmcError("precision: found tf32, allowed on a CPU: float32, bf16; use --device cuda, or leave it out")
    if bf16_unit() is None:
        raise LmcError(
            "precision: found bf16, this CPU has neither amx_bf16 nor avx512_bf16; use --device cuda, or leave it out"
        )
    if is_portable():
        raise LmcError("precision: bf16 has no portable bits; set numerics: native in the profile, or leave it out")

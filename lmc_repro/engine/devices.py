"""The device that computes a study, and the precisions of its products."""

from __future__ import annotations

from collections.abc import Iterable

from lmc_repro.common.errors import LmcError, choices
from lmc_repro.common.numerics import bf16_unit, is_portable
from lmc_repro.config.plan import StudyPlan
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
    if bf16_unit() is None:
        allowed = "float32 (bf16: with amx_bf16 or avx512_bf16)"
    elif is_portable():
        allowed = "float32 (bf16: with numerics: native)"
    elif "tf32" in found:
        allowed = "float32, bf16"
    else:
        return
    raise LmcError(f"precision: found {max(found)}, allowed on this CPU: {allowed}; change it, or the device to cuda")


def require_precisions(plan: StudyPlan, device: str) -> None:
    """Raise the same for a study, with the place of its first such cell."""
    for cell in plan.cells:
        try:
            require_precision(cell.runs, device)
        except LmcError as error:
            place = f"studies.{plan.study}, row {cell.row}, column {cell.column}, profile {plan.profile}"
            raise LmcError(f"params.yaml: {place}: {error}") from None

"""Where a study is computed."""

from __future__ import annotations

from lmc_repro.errors import LmcError


def resolve_device(wanted: str) -> str:
    """Return cpu or cuda for auto, cpu or cuda; LmcError for another word, or if cuda is wanted and not there."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise LmcError(f"--device: found {wanted!r}, allowed: auto, cpu, cuda")
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise LmcError("--device cuda: torch sees no GPU here; use --device cpu")
    return "cpu"

"""The identity of a cell run: two comparisons of one cell over equal data and numerics write to one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmc_repro.schemas.plan import Cell


def cell_identity(cell: Cell, data_digest: str, numerics: str, torch: str | None = None) -> str:
    """Return 16 hex digits over key, config, data, torch version, TRAINING_NUMERICS and the numerics tag.

    The number of pairs is not in it: more pairs of a cell are added to the same run.
    """
    from lmc_repro.files import sha256_bytes
    from lmc_repro.numerics import torch_version
    from lmc_repro.schemas.base import canonical_json
    from lmc_repro.training.fingerprint import TRAINING_NUMERICS

    identity = {
        "cell": cell.key,
        "config": cell.config,
        "data": data_digest,
        "numerics": numerics,
        "torch": torch or torch_version(),
        "training_numerics": TRAINING_NUMERICS,
    }
    return sha256_bytes(canonical_json(identity).encode())[:16]

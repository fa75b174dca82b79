"""What is likely behind a difference, from where it lies and from what else is not as it was."""

from __future__ import annotations

from lmc_repro.verification.certificate import Finding, Where
from lmc_repro.verification.identity import NAMES, Identity

# Which parts of the identity can move what: a CPU has no part in an order, a commit may have one in all.
_MOVED_BY: dict[Where, tuple[str, ...]] = {
    "data": ("data",),
    "init": ("torch", "training_numerics", "commit", "lmc_repro"),
    "order": ("data", "numpy", "training_numerics", "commit", "lmc_repro"),
    "augmentation": ("data", "training_numerics", "commit", "numpy", "lmc_repro"),
    "training": tuple(NAMES),
    "path": tuple(NAMES),
}

_WHERE_TO_LOOK: dict[Where, str] = {
    "stored": "a disk, a copy or a hand has changed MLflow's files after they were written; delete mlflow.db and "
    "mlartifacts and compare again: they are rebuilt from runs/",
    "data": "the data were prepared from other files; compare them with the publisher's",
    "init": "the initialisation in lmc_repro/models",
    "order": "the order in lmc_repro/data/order.py",
    "augmentation": "the draws in lmc_repro/data/augment.py",
    "training": "the same start and the same batches: the arithmetic of a step, of torch or of lmc_repro/training; in "
    "native mode another CPU with the same tag",
    "path": "the evaluation in lmc_repro/barriers or lmc_repro/training/evaluate.py (EVALUATION_NUMERICS)",
}


def likely_reasons(first: Finding, recorded: Identity, here: Identity) -> tuple[str, ...]:
    """Return what may be behind the first difference, the likeliest first; at least one line."""
    if first.where == "stored":
        return (_WHERE_TO_LOOK["stored"],)
    apart = recorded.differences(here)
    able = [name for name in _MOVED_BY[first.where] if name in apart]
    told = [f"{NAMES[name]}: recorded {apart[name][0]}, here {apart[name][1]}" for name in able]
    if not told:
        told = ["of all that was recorded nothing that could do this has changed; an uncommitted change, or a machine"]
    return (*told, _WHERE_TO_LOOK[first.where])

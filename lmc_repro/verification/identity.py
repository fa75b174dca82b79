"""Identity of a training besides its config: as recorded, as it is here, and the likely reasons of a difference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmc_repro.numerics import torch_version
from lmc_repro.tracking.content import git_commit, versions
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.verification.differences import Finding, Where, differences

Identity = Mapping[str, str | None]
"""Values by the keys of NAMES; None where one was not recorded."""

NAMES = {
    "torch": "torch",
    "numerics": "numerics (mode and kind of CPU)",
    "training_numerics": "TRAINING_NUMERICS",
    "data": "data digest",
    "commit": "commit",
    "numpy": "numpy",
    "lmc_repro": "lmc_repro",
}
"""Names of the parts for people, the likeliest cause of other bits first."""

# Which parts can change what: a CPU does not change an order, a commit can change everything.
_CHANGED_BY: dict[Where, tuple[str, ...]] = {
    "data": ("data",),
    "init": ("torch", "training_numerics", "commit", "lmc_repro"),
    "order": ("data", "numpy", "training_numerics", "commit", "lmc_repro"),
    "augmentation": ("data", "training_numerics", "commit", "numpy", "lmc_repro"),
    "training": tuple(NAMES),
    "path": tuple(NAMES),
}

_LOOK_AT: dict[Where, str] = {
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


def recorded_identity(status: Mapping[str, Any], tags: Mapping[str, str]) -> Identity:
    """Return what a training's status.json and the tags of its run say."""
    of_status = {"torch": "torch", "numerics": "numerics", "training_numerics": "training_numerics"}
    found = {name: status.get(key) for name, key in (of_status | {"data": "data_digest"}).items()}
    tagged = {"commit": "lmc.git_commit", "numpy": "lmc.version.numpy", "lmc_repro": "lmc.version.lmc_repro"}
    texts = {name: None if value is None else str(value) for name, value in found.items()}
    return texts | {name: tags.get(tag) for name, tag in tagged.items()}


def identity_here(numerics: str, digest: str, root: Path) -> Identity:
    """Return the identity of what this process trains on data of `digest`, by the clone of the code at `root`."""
    here = versions()
    return {
        "torch": torch_version(),
        "numerics": numerics,
        "training_numerics": str(TRAINING_NUMERICS),
        "data": digest,
        "commit": git_commit(root).get("lmc.git_commit"),
        "numpy": here["lmc.version.numpy"],
        "lmc_repro": here["lmc.version.lmc_repro"],
    }


def likely_reasons(first: Finding, recorded: Identity, here: Identity) -> tuple[str, ...]:
    """Return what may be behind the first difference, the likeliest first; at least one line."""
    if first.where == "stored":
        return (_LOOK_AT["stored"],)
    changed = {name: (there, now) for name, there, now in differences(recorded, here)}
    reasons = [
        f"{NAMES[name]}: recorded {changed[name][0]}, here {changed[name][1]}"
        for name in NAMES
        if name in changed and name in _CHANGED_BY[first.where]
    ]
    nothing = "of all that was recorded nothing that could do this has changed; an uncommitted change, or a machine"
    return (*(reasons or [nothing]), _LOOK_AT[first.where])

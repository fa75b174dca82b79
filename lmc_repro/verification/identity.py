"""Identity of a training besides its config, and the likely reasons why two trainings of one config differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmc_repro.verification.differences import Finding, Where, differences

Identity = Mapping[str, str | None]
"""The fingerprint, and values by the keys of NAMES; None where one was not recorded."""

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

_CODE = ("training_numerics", "commit", "lmc_repro")
# Per kind of difference the parts that can cause it (a CPU does not change an order), and the code to look at.
_CAUSES: dict[Where, tuple[tuple[str, ...], str]] = {
    "stored": (
        (),
        "a disk, a copy or a hand has changed MLflow's files after they were written; delete mlflow.db and "
        "mlartifacts and compare again: they are rebuilt from runs/",
    ),
    "data": (("data",), "the data were prepared from other files; compare them with the publisher's"),
    "init": (("torch", *_CODE), "the initialisation in lmc_repro/models"),
    "order": (("data", "numpy", *_CODE), "the order in lmc_repro/data/order.py"),
    "augmentation": (("data", "numpy", *_CODE), "the draws in lmc_repro/data/augment.py"),
    "training": (
        tuple(NAMES),
        "the same start and the same batches: the arithmetic of a step, of torch or of lmc_repro/training; in native "
        "mode another CPU with the same tag",
    ),
    "path": (
        tuple(NAMES),
        "the evaluation in lmc_repro/barriers or lmc_repro/training/evaluate.py (EVALUATION_NUMERICS)",
    ),
}


def training_identity(fingerprint: str, status: Mapping[str, Any], tags: Mapping[str, str]) -> Identity:
    """Return what a training's status.json and the tags of its run, or of this process, say."""
    keys = {"torch": "torch", "numerics": "numerics", "training_numerics": "training_numerics", "data": "data_digest"}
    tagged = {"commit": "lmc.git_commit", "numpy": "lmc.version.numpy", "lmc_repro": "lmc.version.lmc_repro"}
    recorded = {name: str(status[key]) if key in status else None for name, key in keys.items()}
    return {"fingerprint": fingerprint, **recorded, **{name: tags.get(tag) for name, tag in tagged.items()}}


def identity_line(identity: Identity) -> str:
    """Return an identity for people."""
    commit = identity["commit"] or "no commit"
    return (
        f"torch {identity['torch']}, {identity['numerics']}, TRAINING_NUMERICS {identity['training_numerics']}, data "
        f"{(identity['data'] or 'unknown')[:12]}, commit {commit[:12]}{'-dirty' if commit.endswith('-dirty') else ''}, "
        f"fingerprint {identity['fingerprint']}"
    )


def likely_reasons(first: Finding, recorded: Identity, here: Identity) -> tuple[str, ...]:
    """Return what may be behind the first difference, the likeliest first; at least one line."""
    causes, look_at = _CAUSES[first.where]
    if not causes:
        return (look_at,)
    changed = {name: f"recorded {there}, here {now}" for name, there, now in differences(recorded, here)}
    reasons = [f"{NAMES[name]}: {changed[name]}" for name in NAMES if name in changed and name in causes]
    nothing = "of all that was recorded nothing that could do this has changed; an uncommitted change, or a machine"
    return (*(reasons or [nothing]), look_at)

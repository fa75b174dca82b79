"""What decides the bits of a training besides its config: as it was recorded, and as it is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lmc_repro.numerics import torch_version
from lmc_repro.tracking.context import git_commit, versions
from lmc_repro.training.fingerprint import TRAINING_NUMERICS

NAMES = {
    "torch": "torch",
    "numerics": "numerics (mode and kind of CPU)",
    "training_numerics": "TRAINING_NUMERICS",
    "data": "data digest",
    "commit": "commit",
    "numpy": "numpy",
    "lmc_repro": "lmc_repro",
}
"""What people call each part, the likeliest cause of other bits first."""


@dataclass(frozen=True)
class Identity:
    """Where and with what a training was made; None where that was not recorded. All text."""

    torch: str | None
    numerics: str | None
    training_numerics: str | None
    data: str | None
    commit: str | None
    numpy: str | None
    lmc_repro: str | None

    def differences(self, other: Identity) -> dict[str, tuple[str | None, str | None]]:
        """Return the parts, by name, in which the two differ: (of this, of other)."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return {name: pair for name in NAMES if (pair := pairs[name])[0] != pair[1]}


def recorded_identity(status: Mapping[str, Any], tags: Mapping[str, str]) -> Identity:
    """Return what a training's status.json and the tags of its run say."""
    return Identity(
        torch=_text(status.get("torch")),
        numerics=_text(status.get("numerics")),
        training_numerics=_text(status.get("training_numerics")),
        data=_text(status.get("data_digest")),
        commit=tags.get("lmc.git_commit"),
        numpy=tags.get("lmc.version.numpy"),
        lmc_repro=tags.get("lmc.version.lmc_repro"),
    )


def identity_here(numerics: str, digest: str, root: Path) -> Identity:
    """Return the identity of what this process trains on data of `digest`, by the clone of the code at `root`."""
    here = versions()
    return Identity(
        torch=torch_version(),
        numerics=numerics,
        training_numerics=str(TRAINING_NUMERICS),
        data=digest,
        commit=git_commit(root).get("lmc.git_commit"),
        numpy=here["lmc.version.numpy"],
        lmc_repro=here["lmc.version.lmc_repro"],
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)

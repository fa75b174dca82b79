"""The identity of a run: runs with equal fingerprints have equal bits, so the second is not trained."""

from __future__ import annotations

import hashlib

from lmc_repro.common.numerics import torch_version
from lmc_repro.config.base import canonical_json
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.config.run import RunConfig

TRAINING_NUMERICS = 2
"""Raise it with any change to the code that moves a bit of training, as the golden test shows."""


def data_identity(info: DatasetInfo, digest: str) -> str:
    """Return the sha256 (hex) of a network's inputs: the arrays' digest and their normalisation."""
    seen = {"digest": digest, "scale_max": info.scale_max, "mean": info.mean, "std": info.std}
    return hashlib.sha256(canonical_json(seen).encode()).hexdigest()


def run_fingerprint(config: RunConfig, data: str, numerics: str, torch: str | None = None) -> str:
    """Return 16 hex digits over config, data (its `data_identity`), torch, TRAINING_NUMERICS and the numerics tag.

    `torch` is a version, the installed one by default. Loader kind, jobs, stack, log interval and report settings are
    not in it: they do not move a bit on a CPU. On a GPU the size of the stack may, and is recorded instead.
    """
    identity = {
        # Without defaults: a field that is added later, with the old behaviour as its default, moves no fingerprint.
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "data": data,
        "numerics": numerics,
        "torch": torch or torch_version(),
        "training_numerics": TRAINING_NUMERICS,
    }
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]

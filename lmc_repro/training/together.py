"""Which runs may share a stack; without torch, for whoever plans the stacks."""

from __future__ import annotations

from lmc_repro.schemas.base import canonical_json
from lmc_repro.schemas.run import RunConfig


def stack_key(config: RunConfig) -> str:
    """Return a text that is equal for runs that may share a stack: seeds, initialisation, rate and schedule aside."""
    shared = config.without_seeds()
    del shared["schedule"]
    own = {"optimizer": ("lr",), "model": ("init", "gain")}
    parts = {part: {k: v for k, v in shared[part].items() if k not in names} for part, names in own.items()}
    return canonical_json({**shared, **parts})

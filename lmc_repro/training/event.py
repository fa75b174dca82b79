"""What a stack tells while it trains; without torch, for whoever only listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Event:
    """What a stack tells while it trains: an epoch is over, it was saved, its runs are complete.

    Before that it may be `waiting` for the process that `note` names, which trains the run.
    """

    kind: Literal["epoch", "saved", "done", "waiting"]
    fingerprints: tuple[str, ...]
    epoch: int
    note: str = ""

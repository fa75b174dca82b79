"""The choice of an engine, by options or environment: DVC's files and results know none of it."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.common import bounds
from lmc_repro.common.errors import LmcError, choices

ENGINES = ("local", "ray")
WAIT_MINUTES = 30


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster that computes. `wait` are the minutes until a run without machines ends."""

    address: str
    insecure: bool = False
    wait: float = WAIT_MINUTES

    def require_token(self) -> None:
        """Raise LmcError unless this process has a token for a cluster that asks for one, or `insecure` is given."""
        if not self.insecure and not has_token():
            raise LmcError(
                f"{self.address}: no token is set, and anyone who reaches a cluster without one runs code on it; start "
                "it and this command with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or give --insecure"
            )


def has_token() -> bool:
    """Return whether Ray finds a token in the environment or in its file."""
    place = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    there = bool(os.environ.get("RAY_AUTH_TOKEN")) or Path(place).expanduser().is_file()
    return there and os.environ.get("RAY_AUTH_MODE", "token").lower() == "token"  # Ray's rule


def chosen_cluster(
    engine: str | None = None, address: str | None = None, insecure: bool = False, wait: int | None = None
) -> Cluster | None:
    """Return the cluster that options, else LMC_ENGINE and LMC_RAY_*, choose; None for this machine's processes.

    Raises:
        LmcError: The engine is none of ours, lacks its package or an address, or options are another engine's.
    """
    engine = engine or os.environ.get("LMC_ENGINE") or "local"
    if engine not in ENGINES:
        raise LmcError(f"--engine: {choices(engine, ENGINES)}")
    if engine == "local":
        if address or insecure or wait is not None:
            raise LmcError("--address, --insecure, --wait: these are of --engine ray; give it too")
        return None
    address = address or os.environ.get("LMC_RAY_ADDRESS") or ""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise LmcError(f"--address (LMC_RAY_ADDRESS): found {address!r}, allowed: HOST:PORT as `ray start --head` says")
    if importlib.util.find_spec("ray") is None:
        raise LmcError("--engine ray: Ray is not installed; pip install 'lmc_repro[ray]'")
    if wait is None:
        given = os.environ.get("LMC_RAY_WAIT") or str(WAIT_MINUTES)
        if not given.isdecimal() or int(given) > bounds.MINUTES:
            raise LmcError(f"LMC_RAY_WAIT: found {given!r}, allowed: whole minutes, 0 to {bounds.MINUTES}")
        wait = int(given)
    return Cluster(address, insecure or os.environ.get("LMC_RAY_INSECURE") == "1", wait)

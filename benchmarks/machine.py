"""On what was measured."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.options import cores


def machine() -> dict[str, Any]:
    """Return CPU, cores, memory and system in words, without names of hosts."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "instructions": "AVX-512" if " avx512f" in _text("/proc/cpuinfo") else "AVX2 or less",
        "cores": cores(),
        "memory_gib": round(int((_first("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def torch_version() -> str:
    """Return torch's version without importing it."""
    return version("torch").split("+")[0]


def _first(path: str, key: str) -> str | None:
    found = (line.partition(":")[2].strip() for line in _text(path).splitlines() if line.startswith(key))
    return next(found, None)


def _text(path: str) -> str:
    return Path(path).read_text(errors="replace") if Path(path).is_file() else ""

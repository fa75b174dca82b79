"""Training in bfloat16 against float32: one process, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.crew import Task, take_turns
from benchmarks.networks import NETWORKS
from benchmarks.options import Options
from lmc_repro.common.numerics import bf16_unit

MODELS: dict[str, dict[str, Any]] = {
    "minimal": NETWORKS["minimal"].model,
    "mlp8x1024": {**NETWORKS["mlp8"].model, "width": 1024},
    "cnn": NETWORKS["cnn"].model,
}


def measure(options: Options) -> dict[str, Any]:
    """Return `bf16`, for each network its CPU seconds in float32 over those in bf16, and the unit; None without one."""
    if (unit := bf16_unit()) is None:
        return {"bf16": None}
    found: dict[str, Any] = {"unit": unit}
    for name in MODELS:
        given = {"network": name, "quick": options.quick}
        ways = {
            precision: [Task("benchmarks.precision:epochs", {**given, "precision": precision})]
            for precision in ("float32", "bf16")
        }
        seconds = {way: taken["cpu_seconds"]["median"] for way, taken in take_turns(ways, options.repeats).items()}
        found[name] = seconds["float32"] / seconds["bf16"]
    return {"bf16": found}


def epochs(network: str, precision: str, quick: bool) -> Callable[[], None]:
    """Return an epoch of two steps of 1024 images of MNIST in this precision."""
    from pathlib import Path

    from benchmarks import ours
    from benchmarks.data import mnist

    config = ours.run_config("mnist", MODELS[network], 50 if quick else 1024)
    config = config.model_copy(update={"precision": precision})
    return ours.epochs([[config]], mnist(2048, quick=quick), Path("unused"))

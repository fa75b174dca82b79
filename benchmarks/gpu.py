"""Training on a GPU: 100 MNIST runs of the minimal model as one stack, against the same runs one by one.

Run it there: `python -m benchmarks.gpu`. It prints one JSON object; nothing else of `benchmarks` needs a GPU.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import ours
from benchmarks.data import mnist
from benchmarks.networks import NETWORKS
from lmc_repro.common.numerics import numerics_tag, torch_version

RUNS, EPOCHS, BATCH, ALONE_SECONDS = 100, 200, 1024, 10.0


def measure(device: torch.device, runs: int, epochs: int, alone_seconds: float, quick: bool = False) -> dict[str, Any]:
    """Return the seconds of all runs in one stack, and those that one by one would take.

    Args:
        device: Where to train.
        runs: Runs of the stack.
        epochs: Epochs of each run; each is timed, without evaluations and files.
        alone_seconds: How long one run trains by itself; its epochs extrapolate to all runs.
        quick: Whether to use a few random images, whose figures say nothing.
    """
    dataset = mnist(quick=quick).to(device)
    configs = [ours.run_config("mnist", NETWORKS["minimal"].model, BATCH, seed) for seed in range(runs)]

    def trained(stack: list[Any], most_epochs: int, most_seconds: float) -> tuple[int, float, float]:
        """Return the epochs that were trained after the first, their seconds, and the seconds of the first."""
        epoch = ours.epochs([stack], dataset, Path("unused"), device=device)
        begun = time.perf_counter()
        epoch()
        first, done, begun = time.perf_counter() - begun, 0, time.perf_counter()
        while done < most_epochs and time.perf_counter() - begun < most_seconds:
            epoch()  # ends by reading the losses, which waits for the device
            done += 1
        return done, time.perf_counter() - begun, first

    done, seconds, first = trained(configs, epochs - 1, float("inf"))
    alone_done, alone_seconds, alone_first = trained(configs[:1], epochs - 1, alone_seconds)
    one_by_one = runs * (alone_first + alone_seconds / alone_done * (epochs - 1))
    return {
        "device": numerics_tag(device.type),
        "torch": torch_version(),
        "runs": runs,
        "epochs": done + 1,
        "stack_seconds": first + seconds,
        "alone_epochs": alone_done + 1,
        "one_by_one_seconds": one_by_one,
        "ratio": one_by_one / (first + seconds),
        "memory_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--alone", type=float, default=ALONE_SECONDS, help="seconds that one run trains by itself")
    parser.add_argument("--quick", action="store_true", help="a few random images; the figures say nothing")
    given = parser.parse_args()
    found = measure(torch.device(given.device), given.runs, given.epochs, given.alone, given.quick)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

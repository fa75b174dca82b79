"""How training time grows with children, width and samples: python -m benchmarks.growth, into growth.json and a figure.

One process, one thread, native numerics. --draw only draws what growth.json holds, --sweep only simulates the sweep.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.crew import Task, take_turns
from benchmarks.machine import machine, torch_version
from lmc_repro.engine.protocol import Ended, Lost, run_stacks
from lmc_repro.engine.remote import LETTERS_PER_SECOND
from lmc_repro.engine.task import StackTask
from lmc_repro.training.trainer import Event

FILE = Path(__file__).parent / "growth.json"
FIGURE = Path(__file__).parent.parent / "docs" / "img" / "growth.png"

CHILDREN = (1, 2, 4, 8, 16, 32, 64)
WIDTHS = (32, 64, 128, 256, 512, 1024, 2048)
SAMPLES = (1024, 2048, 4096, 8192, 16_384, 32_768, 60_000)
FEW = 2048
"""Images where something else grows."""


def measure(repeats: int = 3, points: int | None = None) -> dict[str, Any]:
    """Return CPU seconds of an epoch by what grows; `points` leaves out all but the first of each."""
    minimal = {"dataset": "mnist", "width": 512, "children": 1, "samples": FEW}
    digits = {"dataset": "digits", "width": 128, "samples": None}
    series = {
        "children_minimal": {c: {**minimal, "children": c} for c in CHILDREN[:points]},
        "children_digits": {c: {**digits, "children": c} for c in CHILDREN[:points]},
        "width": {w: {**minimal, "width": w} for w in WIDTHS[:points]},
        "samples": {n: {**minimal, "samples": n} for n in SAMPLES[:points]},
    }
    found: dict[str, Any] = {"machine": machine(), "torch": torch_version(), "n": repeats}
    for name, line in series.items():
        crews = {str(x): [Task("benchmarks.growth:epoch", given)] for x, given in line.items()}
        found[name] = {x: lap["cpu_seconds"] for x, lap in take_turns(crews, repeats).items()}
    return found


def epoch(dataset: str, width: int, children: int, samples: int | None) -> Callable[[], None]:
    """Return an epoch of one stack of 2-layer networks: batch 1024, digits 64."""
    from benchmarks.data import mnist
    from benchmarks.ours import epochs, run_config
    from lmc_repro.config.catalog import dataset_info
    from lmc_repro.data.dataset import Dataset
    from lmc_repro.data.readers import read_arrays

    if dataset == "digits":
        info = dataset_info("digits")
        data = Dataset(info, *read_arrays(info, Path("unused")), "")
    else:
        data = mnist(samples, 1)
    model = {"kind": "mlp", "depth": 2, "width": width, "slope": 0.0}
    batch = 64 if dataset == "digits" else 1024
    return epochs([[run_config(dataset, model, batch, seed) for seed in range(children)]], data, Path("unused"))


NODES, RUNS, RUN_SECONDS, SAVE_SECONDS = 1000, 100_000, 210.0, 60.0
"""A sweep of the minimal network: nodes of a core, runs one by one, seconds of a run and between its saved states."""
NODE_HOURS = 1000.0
"""The mean time until a node is lost; another takes its place at once."""
SAVED_MB, LAST_MB = 23.0, 1.6
"""A run's checkpoints at 14 evaluations with its state, and the last alone."""


@dataclass
class Server:
    """One that serves in order, `seconds` for each piece of work; the work that waits, in pieces."""

    seconds: float
    free: float = 0.0
    busy: float = 0.0
    longest: float = 0.0

    def serve(self, now: float, pieces: float = 1.0) -> float:
        """Return when work that comes now is done."""
        begun = max(now, self.free)
        self.free = begun + pieces * self.seconds
        self.busy += pieces * self.seconds
        self.longest = max(self.longest, (self.free - now) / self.seconds)
        return self.free


class Sweep:
    """An engine of nodes that train nothing, in a time of its own, with what each letter and run costs the driver."""

    def __init__(self, letter: float, mb: float, publish: float, size: float, seed: int = 0) -> None:
        self.rng, self.now, self.size = random.Random(seed), 0.0, size
        self.queued, self.done = deque[StackTask](), list[tuple[float, int, StackTask, bool]]()
        self.free, self.lost, self.number = NODES, 0, itertools.count()
        self.driver, self.results, self.publisher = Server(letter), Server(mb), Server(publish)

    def submit(self, task: StackTask) -> None:
        """Begin at once where a node is free."""
        self.queued.append(task)

    def poll(self, timeout: float) -> Iterator[Event | Ended]:
        """Go on to the next end of a task, and the letters that came with it."""
        while self.queued and self.free:
            self.free -= 1
            task, seconds = self.queued.popleft(), RUN_SECONDS * self.rng.uniform(0.9, 1.1)
            life = self.rng.expovariate(1 / (3600 * NODE_HOURS))
            end = (self.now + min(life, seconds), next(self.number), task, life < seconds)
            heapq.heappush(self.done, end)
        if not self.done:
            return
        self.now, _, task, lost = heapq.heappop(self.done)
        self.free += 1
        pause = max(1.0, NODES / LETTERS_PER_SECOND)
        self.driver.serve(self.now, RUN_SECONDS / pause + RUN_SECONDS / SAVE_SECONDS)
        if lost:
            self.lost += 1
            yield Ended(task, Lost("the machine is gone", blame=False))
            return
        self.results.serve(self.now, self.size)
        self.publisher.serve(self.results.free)
        yield Event("done", task.fingerprints, 200)
        yield Ended(task)

    def stop(self) -> None:
        """Nothing runs."""

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        """Compute here."""
        return map(function, tasks)


def sweep(letter: float, mb: float, publish: float, last_alone: bool, runs: int = RUNS) -> dict[str, float]:
    """Simulate the sweep under the policy of `run_stacks`.

    Args:
        letter: Seconds that the driver takes per letter.
        mb: Seconds per MB of results on their way to the driver's disk.
        publish: Seconds per run that MLflow takes, in one publisher.
        last_alone: Whether the last checkpoint alone travels, not those of all 14 evaluations.
        runs: The number of runs.

    Returns:
        Hours until the last run is trained, is at the driver and in MLflow; each server's share of the training time
        and longest queue; nodes lost; this process's CPU seconds of policy per 1,000 runs.
    """
    from benchmarks.ours import run_config

    config = run_config("mnist", {"kind": "mlp", "depth": 2, "width": 512, "slope": 0.0}, 1024)
    how = (Path(), Path(), "resident", "", "cpu", RUN_SECONDS)
    tasks = [StackTask(((f"{i:016x}", config),), *how) for i in range(runs)]  # type: ignore[arg-type]
    engine = Sweep(letter, mb, publish, LAST_MB if last_alone else SAVED_MB)
    begun, done = time.process_time(), set[str]()
    run_stacks(engine, tasks, lambda event: done.update(event.fingerprints))
    assert len(done) == runs
    servers = {"letters": engine.driver, "results": engine.results, "publishing": engine.publisher}
    return {
        "trained_hours": engine.now / 3600,
        "home_hours": max(engine.now, engine.results.free) / 3600,
        "published_hours": max(engine.now, engine.publisher.free) / 3600,
        **{f"{name}_load": server.busy / engine.now for name, server in servers.items()},
        **{f"{name}_queue": server.longest for name, server in servers.items()},
        "nodes_lost": engine.lost,
        "policy_seconds_per_1000": 1000 * (time.process_time() - begun) / runs,
    }


def sweeps(letters: float, mb: float, publish: float) -> dict[str, Any]:
    """Return the sweep at the rates of `python -m benchmarks --only ray-rates`, and seconds per published run."""
    rates = (1 / letters, 1 / mb, publish)
    given = dict(zip(("letter", "mb", "publish"), rates, strict=True))
    return {"given": given, "all": sweep(*rates, last_alone=False), "last": sweep(*rates, last_alone=True)}


PANELS = (
    ("runs in one stack", {"children_minimal": "784-512-10, 2,048 images", "children_digits": "64-128-10, digits"}),
    ("width of the hidden layer", {"width": "784-width-10, 2,048 images"}),
    ("images", {"samples": "784-512-10"}),
)
STYLES = ({"color": "#12436d", "marker": "o"}, {"color": "#e08214", "marker": "s"})


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw a panel for each thing that grows; thin dashed lines are in proportion to it, through the last point."""
    from matplotlib.figure import Figure

    from lmc_repro.report.figures import drawing_style, render

    with drawing_style():
        figure = Figure(figsize=(9.0, 3.0), layout="constrained")
        row = figure.subplots(1, len(PANELS))
        for axes, (title, lines) in zip(row, PANELS, strict=True):
            for (key, label), style in zip(lines.items(), STYLES, strict=False):
                line = found[key]
                xs = [int(x) for x in line]
                medians, least, most = ([line[str(x)][end] for x in xs] for end in ("median", "min", "max"))
                axes.fill_between(xs, least, most, color=style["color"], alpha=0.15, linewidth=0)
                axes.plot(xs, medians, markersize=3.5, linewidth=1.2, label=label, **style)
                straight = [medians[-1] * x / xs[-1] for x in xs]
                axes.plot(xs, straight, color=style["color"], linestyle=(0, (4, 3)), linewidth=0.6)
            axes.set(xscale="log", yscale="log", xlabel=title)
            axes.minorticks_off()
            axes.set_xticks(xs[::2], [f"{x:,}" for x in xs[::2]])
            axes.yaxis.set_major_formatter("{x:g}")
            axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))  # above the lines
        row[0].set_ylabel("CPU seconds of an epoch, all runs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(figure, 150, ("png",))["png"])


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--draw", action="store_true", help="only draw")
    rates = ("LETTERS/S", "MB/S", "PUBLISH")
    parser.add_argument("--sweep", type=float, nargs=3, metavar=rates, help="only simulate; seconds to publish a run")
    given = parser.parse_args()
    found = json.loads(FILE.read_text())
    if given.sweep:
        found["sweep"] = sweeps(*given.sweep)
    elif not given.draw:
        found |= measure(given.repeats)
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    if not given.sweep:
        draw(found, FIGURE)


if __name__ == "__main__":
    main()

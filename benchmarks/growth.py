"""How training time grows with children, width and samples: python -m benchmarks.growth, into growth.json and a figure.

One process, one thread, native numerics. --draw only draws what growth.json holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.crew import Task, take_turns
from benchmarks.machine import machine, torch_version

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
    given = parser.parse_args()
    if not given.draw:
        FILE.write_text(json.dumps(measure(given.repeats), indent=1) + "\n")
    draw(json.loads(FILE.read_text()), FIGURE)


if __name__ == "__main__":
    main()

"""python -m benchmarks: measures everything, or the parts that --only names, and writes latest.json and latest.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import cluster, commands, curve, matching, precision, publish, stacks, store, tracking, training
from benchmarks.data_files import find_files
from benchmarks.machine import machine, torch_version
from benchmarks.networks import NETWORKS
from benchmarks.options import Options
from benchmarks.table import markdown

PARTS: dict[str, Callable[[Options], dict[str, Any]]] = {
    **{name: partial(lambda name, options: {name: training.measure(name, options)}, name) for name in NETWORKS},
    "curve": curve.measure,
    "stack": stacks.measure,
    "bf16": precision.measure,
    "matching": matching.measure,
    "tracking": tracking.measure,
    "commands": commands.measure,
    "store": store.measure,
    "publish": publish.measure,
    **{f"ray-{part}": partial(cluster.measure, part) for part in ("rates", "digits", "mnist")},
}


def main() -> None:
    """Measure part after part; after each the files are written, so that an interruption loses no other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"parts: {', '.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a smoke run on random data; its numbers mean nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of latest.json and latest.md")
    given = parser.parse_args()
    options = Options(1 if given.quick else given.repeats, given.quick)
    about = {
        "machine": machine(),
        "torch": torch_version(),
        "numerics": "native",
        "data": "mnist" if find_files() and not options.quick else "random",
        "n": options.repeats,
        "quick": options.quick,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "latest.json"
    found = {**before(file, about), **about}
    for name in given.only or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found |= PARTS[name](options)
        file.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
        file.with_suffix(".md").write_text(markdown(found))
    print(markdown(found), end="")


def before(file: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured on this machine with this torch already: other numbers do not stand beside these."""
    if not file.is_file():
        return {}
    old: dict[str, Any] = json.loads(file.read_text())
    same = all(old.get(key) == about[key] for key in ("machine", "torch", "data", "quick"))
    return old if same else {}


if __name__ == "__main__":
    main()

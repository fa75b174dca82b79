"""The cells and runs of a store as lines of text, with small curves: what `lmc list` and `lmc show` print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import CellSummary
from lmc_repro.config.own_code import short_name
from lmc_repro.report.grid import NO_VERDICT, ORDER, letter, points
from lmc_repro.report.path_text import number, path_plots, spark, split_table
from lmc_repro.results.read import find_study
from lmc_repro.results.schema import CellRecord, StudyResults
from lmc_repro.tracking.views import ListedCell, Stranger, mean_curve, values

T = TypeVar("T")

SHOWN = 3
"""Number of runs named per reason for not belonging."""

PAIR_ROWS = {
    "barrier (Eq. 1)": "", "floor": "_floor", "line": "_line", "middle": "_mid_signed", "at alpha": "_argmax_alpha",
    "error of theta_0": "_error_0", "error of theta_1": "_error_1", "normalised, %": "_norm_pct",
}  # fmt: skip
"""Words of a pair's table, and the ends of the metrics' names."""

CELL_ROWS = {
    "mean barrier": "", "mean line": "_line", "median": "_median", "lowest": "_min", "highest": "_max",
    "sd": "_sd", "n": "_n",
}  # fmt: skip


def cells_of_results(places: Sequence[Path], profile: str) -> tuple[str, list[ListedCell]]:
    """Return the first of the folders results/<study>/ that is of a profile, and its cells; nothing if none is."""
    if (found := find_study(places, profile)) is None:
        return "", []
    folder, results = found
    return str(folder), [_listed(results, cell) for cell in results.cells]


def _listed(results: StudyResults, cell: CellRecord) -> ListedCell:
    def of(read: Callable[[CellSummary], T]) -> dict[SplitName, T]:
        return {split: read(cell.summary[split]) for split in SPLITS}

    def curve(split: SplitName) -> list[float]:
        curves = (results.curves[cell.key, pair.pair, pair.epoch, split] for pair in cell.pairs)
        return mean_curve([[100.0 * error for error in curve.errors] for curve in curves])

    return ListedCell(
        cell=cell.key,
        run_id=None,
        status="FINISHED",
        n=len(cell.summary["test"].values),
        mean=of(lambda summary: summary.mean),
        line=of(lambda summary: summary.line_mean),
        verdict=of(lambda summary: summary.verdict),
        flags=of(lambda summary: list(summary.flags)),
        paper={split: (cell.paper or {}).get(split) for split in SPLITS},
        curve={split: curve(split) for split in SPLITS},
    )


def listing_lines(
    cells: Sequence[ListedCell], strangers: Sequence[Stranger], remarks: Mapping[str, str]
) -> Iterator[str]:
    """Yield a line per cell; all curves have one scale, so that a flat line is a connected cell.

    `remarks` by cell, `strangers` the cells of the store that do not belong to params.yaml and results.
    """
    width = max([len(cell.cell) for cell in cells] + [4])
    high = max((error for cell in cells for error in cell.curve["test"]), default=0.0)
    wide = max([len(cell.curve["test"]) for cell in cells] + [5])
    barriers = " ".join(f"{name:>6}" for name in ("test", "line", "train", "line"))
    head = f"{'cell':{width}}  {barriers}  n  {'verdict':12} {'flags':6} {'path':{wide}}"
    yield head + ("  run" if any(cell.run_id for cell in cells) else "")
    for cell in cells:
        means = " ".join(f"{points(found[split]):>6}" for split in ORDER for found in (cell.mean, cell.line))
        flags = " ".join(dict.fromkeys(letter(flag) for split in SPLITS for flag in cell.flags[split]))
        verdict = cell.verdict["test"] or (NO_VERDICT if cell.status == "FINISHED" else "not compared")
        drawn = spark(cell.curve["test"], 0.0, high)
        line = f"{cell.cell:{width}}  {means}  {cell.n}  {verdict:12} {flags:6} {drawn:{wide}}"
        yield line + (f"  {cell.run_id}" if cell.run_id else "")
    yield (
        "mean barrier (Eq. 1) and mean line barrier in points; verdict of test; "
        f"path: mean test error along it, 0 to {high:.2f} points"
    )
    yield from (f"{key}: {remark}" for key, remark in remarks.items())
    for why, group in groupby(sorted(strangers, key=lambda s: s.why), key=lambda s: s.why):
        some = [f"{stranger.cell} {stranger.run_id}" for stranger in group]
        more = f" and {len(some) - SHOWN} more (--json lists all)" if len(some) > SHOWN else ""
        yield f"not shown, {why}: {', '.join(some[:SHOWN])}{more}"


def run_lines(view: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a run's view; errors and barriers in points, losses in nats."""
    place = f", study {view['study']}, profile {view['profile']}, cell {view['cell']}" if view["study"] else ""
    kind = "" if view["kind"] == "pair" else f"{view['kind']} "  # a pair's name says it
    yield f"{kind}{view['name']}: {view['status']}{place}"
    yield f"run {view['run_id']} in {view['store']}" + (f", cell's run {view['parent']}" if view["parent"] else "")
    if view["stranger"]:
        yield f"does not belong to the present project: {view['stranger']}"
    known = ("study", "profile", "cell", "row", "column")
    settings = {k: v for k, v in view["config"].items() if k not in known and not k.startswith("paper.")}
    for title, seeds in (("seeds", True), ("config", False)):
        chosen = {k: v for k, v in settings.items() if k.startswith("seeds.") == seeds and v is not None}
        if chosen:
            yield f"{title}: " + ", ".join(short_name(f"{k.removeprefix('seeds.')} {v}") for k, v in chosen.items())
    if (epoch := view["tags"].get("lmc.diverged_epoch")) is not None:
        yield f"diverged by epoch {epoch}"
    if original := view["tags"].get("lmc.reused_from"):
        yield f"reused: trained by run {original}"
    lines = {"train": _training, "pair": _pair, "cell": _cell}.get(view["kind"], _numbers)
    yield from lines(view)


def _training(view: Mapping[str, Any]) -> Iterator[str]:
    curves = {name: dict(curve) for name, curve in view["curves"].items()}
    columns = [name for name in ("train/error", "train/loss", "test/error", "test/loss") if name in curves]
    epochs = sorted(curves.get("test/error", curves.get("train/error", {})))
    if not epochs:
        yield "no evaluations yet"
        return
    yield "epoch".rjust(6) + "".join(name.rjust(13) for name in columns)
    for epoch in epochs:
        yield f"{epoch:6d}" + "".join(number(curves[name].get(epoch)).rjust(13) for name in columns)
    for split in SPLITS:
        if errors := values(view["curves"].get(f"{split}/error", [])):
            yield f"{split:5} error at the evaluations, 0 to {max(errors):.2f}: {spark(errors, 0.0, max(errors))}"
    yield from map(_pair_line, view.get("pairs", []))


def _pair(view: Mapping[str, Any]) -> Iterator[str]:
    for i, end in enumerate(view["ends"]):
        yield f"theta_{i}: {end['name']}, {end['status']}, run {end['run_id']}"
    if "barrier/test" in view["numbers"]:
        yield from split_table(_rows(view, PAIR_ROWS))
    else:
        yield "no barrier: an end diverged or collapsed"
    curves = {name: values(curve) for name, curve in view["curves"].items()}
    yield from path_plots({split: curves.get(f"path/{split}_error", []) for split in SPLITS})
    for name, means in curves.items():
        if name.startswith("path/") and not name.endswith(("_error", "_loss")):
            spread = f"{number(min(means))} to {number(max(means))}: {spark(means, min(means), max(means))}"
            yield f"{name.removeprefix('path/')} on the path, {spread}"
    for split in SPLITS:
        if late := view["curves"].get(name := f"barrier_over_training/{split}"):
            highest = max(*curves[name], 0.0)
            drawn = spark(curves[name], 0.0, highest)
            yield f"{split:5} barrier at epochs {late[0][0]} to {late[-1][0]}, 0 to {highest:.2f}: {drawn}"


def _cell(view: Mapping[str, Any]) -> Iterator[str]:
    table = _rows(view, CELL_ROWS) | {"the paper's": {split: view["numbers"].get(f"paper/{split}") for split in SPLITS}}
    yield from split_table({title: row for title, row in table.items() if any(v is not None for v in row.values())})
    for split in SPLITS:
        verdict = view["tags"].get(f"lmc.verdict.{split}", "not compared yet")
        flags = view["tags"].get(f"lmc.flags.{split}", "none")
        yield f"{split}: {verdict}" + (f" ({flags})" if flags != "none" else "")
    yield from _plane(view["numbers"])
    high = max((error for pair in view["pairs"] for error in pair["test_error"]), default=0.0)
    for pair in view["pairs"]:
        yield f"{_pair_line(pair)}  {spark(pair['test_error'], 0.0, high)}"
    if view["pairs"]:
        yield f"curves: test error on the path, 0 to {high:.2f} points"
    for end in view["trainings"]:
        yield f"training {end['name']}: {end['status']}, test error {number(end['test_error'])}, run {end['run_id']}"


def _plane(numbers: Mapping[str, float]) -> Iterator[str]:
    """Yield a line on a cell's plane, if it has one."""
    if "plane/distance_1_2" in numbers:
        ends = (f"{s} {number(numbers[f'plane/{s}_lowest'])} to {number(numbers[f'plane/{s}_highest'])}" for s in ORDER)
        apart = ", ".join(f"{a} and {b} {numbers[f'plane/distance_{a}_{b}']:.3g}" for a, b in ("12", "13", "23"))
        yield f"plane through three runs: error on {', '.join(ends)} points; distances of runs {apart}; see plane.svg"


def _numbers(view: Mapping[str, Any]) -> Iterator[str]:
    for name, value in view["numbers"].items():
        yield f"{name}: {value:g}"


def _rows(view: Mapping[str, Any], ends: Mapping[str, str]) -> dict[str, dict[SplitName, float | None]]:
    return {title: {s: view["numbers"].get(f"barrier/{s}{end}") for s in SPLITS} for title, end in ends.items()}


def _pair_line(pair: Mapping[str, Any]) -> str:
    if pair["test_barrier"] is None:
        said = f"no barrier ({' and '.join(str(status) for status in pair['ends'])})"
    else:
        found = ((split, number(pair[f"{split}_barrier"]), number(pair[f"{split}_line"])) for split in ORDER)
        said = ", ".join(f"{split} barrier {barrier} (line {line})" for split, barrier, line in found)
    return f"{pair['name']}: {said}, run {pair['run_id']}"

"""The cells and runs of a store as lines of text, with small curves: what `lmc list` and `lmc show` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from lmc_repro.barriers.curve import SPLITS
from lmc_repro.config.own_code import short_name
from lmc_repro.report.unicode_curve import plot, spark
from lmc_repro.report.words import letter
from lmc_repro.results.read import has_results, read_study
from lmc_repro.results.schema import StudyResults
from lmc_repro.tracking.views import ListedCell, Stranger, mean_curve, values

SHOWN = 3
"""Runs that do not belong, and are named, per reason."""

ROWS = {
    "barrier (Eq. 1)": "",
    "floor": "_floor",
    "line": "_line",
    "middle": "_mid_signed",
    "at alpha": "_argmax_alpha",
    "error of theta_0": "_error_0",
    "error of theta_1": "_error_1",
    "normalised, %": "_norm_pct",
}
"""What a pair's table says, and the end of the metric's name."""

CELL_ROWS = {
    "mean barrier": "_mean", "mean line": "_line_mean", "median": "_median", "lowest": "_min", "highest": "_max",
    "sd": "_sd", "n": "_n",
}  # fmt: skip


def cells_of_results(places: Sequence[Path], profile: str) -> tuple[str, list[ListedCell]]:
    """Return the first of the folders results/<study>/ that is of a profile, and its cells; nothing if none is."""
    for folder in filter(has_results, places):
        results = read_study(folder)
        if results.profile == profile:
            return str(folder), _cells_of(results)
    return "", []


def _cells_of(results: StudyResults) -> list[ListedCell]:
    cells = []
    for cell in results.cells:
        curves = {
            split: [
                [100.0 * error for error in results.curves[cell.key, pair.pair, pair.epoch, split].errors]
                for pair in cell.pairs
            ]
            for split in SPLITS
        }
        listed = ListedCell(
            cell=cell.key,
            run_id=None,
            status="FINISHED",
            n=len(cell.summary["test"].values),
            mean={split: cell.summary[split].mean for split in SPLITS},
            line={split: cell.summary[split].line_mean for split in SPLITS},
            verdict={split: cell.summary[split].verdict for split in SPLITS},
            flags={split: list(cell.summary[split].flags) for split in SPLITS},
            paper={split: (cell.paper or {}).get(split) for split in SPLITS},
            curve={split: mean_curve(curves[split]) for split in SPLITS},
        )
        cells.append(listed)
    return cells


def listing_lines(cells: Sequence[ListedCell], strangers: Sequence[Stranger], told: Mapping[str, str]) -> Iterator[str]:
    """Yield a line per cell; all curves have one scale, so that a flat line is a connected cell.

    `told` gives remarks by cell, `strangers` the cells of the store that do not belong to params.yaml and results.
    """
    width = max([len(cell.cell) for cell in cells] + [4])
    high = max((error for cell in cells for error in cell.curve["test"]), default=0.0)
    points = max([len(cell.curve["test"]) for cell in cells] + [5])
    barriers = " ".join(f"{name:>6}" for name in ("test", "line", "train", "line"))
    head = f"{'cell':{width}}  {barriers}  n  {'verdict':12} {'flags':6} {'path':{points}}"
    yield head + ("  run" if any(cell.run_id for cell in cells) else "")
    for cell in cells:
        both = (values[split] for split in reversed(SPLITS) for values in (cell.mean, cell.line))
        means = " ".join(f"{'-' if value is None else f'{value:.2f}':>6}" for value in both)
        flags = " ".join(dict.fromkeys(letter(flag) for split in SPLITS for flag in cell.flags[split]))
        drawn = spark(cell.curve["test"], 0.0, high)
        line = f"{cell.cell:{width}}  {means}  {cell.n}  {_verdict(cell):12} {flags:6} {drawn:{points}}"
        yield line + (f"  {cell.run_id}" if cell.run_id else "")
    yield (
        "mean barrier (Eq. 1) and mean line barrier in points; verdict of test; "
        f"path: mean test error along it, 0 to {high:.2f} points"
    )
    yield from (f"{key}: {remark}" for key, remark in told.items())
    for why, group in groupby(sorted(strangers, key=lambda s: s.why), key=lambda s: s.why):
        some = [f"{stranger.cell} {stranger.run_id}" for stranger in group]
        more = f" and {len(some) - SHOWN} more (--json lists all)" if len(some) > SHOWN else ""
        yield f"not shown, {why}: {', '.join(some[:SHOWN])}{more}"


def _verdict(cell: ListedCell) -> str:
    return cell.verdict["test"] or ("no verdict" if cell.status == "FINISHED" else "not compared")


def run_lines(view: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a run's view; errors and barriers in points, losses in nats."""
    place = f", study {view['study']}, profile {view['profile']}, cell {view['cell']}" if view["study"] else ""
    yield f"{view['kind']} {view['name']}: {view['status']}{place}"
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


def _training(view: dict[str, Any]) -> Iterator[str]:
    curves = {name: dict(points) for name, points in view["curves"].items()}
    marks = sorted(curves.get("test/error", curves.get("train/error", {})))
    columns = [name for name in ("train/error", "train/loss", "test/error", "test/loss") if name in curves]
    if not marks:
        yield "no marks yet"
        return
    yield "epoch".rjust(6) + "".join(name.rjust(13) for name in columns)
    for mark in marks:
        yield f"{mark:6d}" + "".join(number(curves[name].get(mark)).rjust(13) for name in columns)
    for split in SPLITS:
        if errors := values(view["curves"].get(f"{split}/error", [])):
            yield f"{split:5} error at the marks, 0 to {max(errors):.2f}: {spark(errors, 0.0, max(errors))}"
    for pair in view.get("pairs", []):
        yield f"pair {pair['name']}: {_barriers(pair)}, run {pair['run_id']}"


def _pair(view: dict[str, Any]) -> Iterator[str]:
    for i, end in enumerate(view["ends"]):
        yield f"theta_{i}: {end['name']}, {end['status']}, run {end['run_id']}"
    numbers = view["numbers"]
    if "barrier/test" in numbers:
        table = {
            title: {split: numbers.get(f"barrier/{split}{end}") for split in SPLITS} for title, end in ROWS.items()
        }
        yield from split_table(table)
    else:
        yield "no barrier: an end diverged or collapsed"
    paths = {split: values(view["curves"].get(f"path/{split}_error", [])) for split in SPLITS}
    yield from path_plots(paths)
    for name, points in view["curves"].items():
        if name.startswith("path/") and not name.endswith(("_error", "_loss")):
            means = values(points)
            told = f"{number(min(means))} to {number(max(means))}: {spark(means, min(means), max(means))}"
            yield f"{name.removeprefix('path/')} on the path, {told}"
    for split in SPLITS:
        if late := view["curves"].get(f"barrier_over_training/{split}"):
            highest = max(max(values(late)), 0.0)
            drawn = spark(values(late), 0.0, highest)
            yield f"{split:5} barrier at epochs {late[0][0]} to {late[-1][0]}, 0 to {highest:.2f}: {drawn}"


def _cell(view: dict[str, Any]) -> Iterator[str]:
    numbers, tags = view["numbers"], view["tags"]
    table = {title: {s: numbers.get(f"barrier/{s}{end}") for s in SPLITS} for title, end in CELL_ROWS.items()}
    table["the paper's"] = {split: numbers.get(f"paper/{split}") for split in SPLITS}
    yield from split_table({title: row for title, row in table.items() if any(v is not None for v in row.values())})
    for split in SPLITS:
        verdict = tags.get(f"lmc.verdict.{split}", "not compared yet")
        flags = tags.get(f"lmc.flags.{split}", "none")
        yield f"{split}: {verdict}" + (f" ({flags})" if flags != "none" else "")
    high = max((error for pair in view["pairs"] for error in pair["test_error"]), default=0.0)
    for pair in view["pairs"]:
        drawn = spark(pair["test_error"], 0.0, high)
        yield f"pair {pair['name']}: {_barriers(pair)}, run {pair['run_id']}  {drawn}"
    if view["pairs"]:
        yield f"curves: test error on the path, 0 to {high:.2f} points"
    for end in view["trainings"]:
        yield f"training {end['name']}: {end['status']}, test error {number(end['test_error'])}, run {end['run_id']}"


def _numbers(view: dict[str, Any]) -> Iterator[str]:
    for name, value in view["numbers"].items():
        yield f"{name}: {value:g}"


def _barriers(pair: dict[str, Any]) -> str:
    if pair["test_barrier"] is None:
        return f"no barrier ({' and '.join(str(status) for status in pair['ends'])})"
    return ", ".join(
        f"{split} barrier {number(pair[f'{split}_barrier'])} (line {number(pair[f'{split}_line'])})"
        for split in reversed(SPLITS)
    )


def split_table(
    rows: dict[str, dict[Any, float | None]], splits: Sequence[str] = tuple(reversed(SPLITS))
) -> Iterator[str]:
    """Yield a table with a column for each split."""
    width = max(len(title) for title in rows)
    yield " " * width + "".join(split.rjust(9) for split in splits)
    for title, row in rows.items():
        yield title.ljust(width) + "".join(number(row.get(split)).rjust(9) for split in splits)


def path_plots(paths: dict[Any, list[float]]) -> Iterator[str]:
    """Yield a plot of each split's errors (points) along the path, on one scale from 0."""
    high = max((error for errors in paths.values() for error in errors), default=0.0)
    for split in reversed(SPLITS):
        if errors := paths.get(split):
            drawn = plot(errors, 0.0, high)
            for i, line in enumerate(drawn):
                label = f"{high:.2f}" if i == 0 else "0" if i == len(drawn) - 1 else ""
                yield f"{label:>6} |{line}|"
            yield f"{'':6}  {split} error in points, alpha 0 to 1, {len(errors)} points"


def number(value: float | None) -> str:
    """Return a number with two decimals, small losses with more digits."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.4f}"

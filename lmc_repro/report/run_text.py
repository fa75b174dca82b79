"""Paths, cells and runs as lines of text, with small curves: what `lmc list`, `show`, `compare` and `barrier` print."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from lmc_repro.barriers.barrier import coarse_barrier
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import CellSummary, EpochResult
from lmc_repro.barriers.verdict import judge_pair, pair_flags
from lmc_repro.config.own_code import short_name
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.study import Judgement
from lmc_repro.report.grid import FLAGS, NO_VERDICT, NONE, ORDER, letter, points
from lmc_repro.results.read import find_study
from lmc_repro.results.schema import CellRecord, StudyResults
from lmc_repro.tracking import names
from lmc_repro.tracking.views import ListedCell, Stranger, mean_curve, values

T = TypeVar("T")

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " .:-=+*%#@"
WIDTH = 51  # characters that a plot may take: 101 points in pairs

ROWS = {
    "barrier (Eq. 1)": "barrier", "  at 11 points": "barrier_at_11_points", "floor": "floor", "line": "line",
    "middle": "midpoint_excess", "at alpha": "argmax_alpha", "error of theta_0": "error_0",
    "error of theta_1": "error_1",
}  # fmt: skip

SHOWN = 3
"""Number of runs or cells named per remark."""

PAIR_ROWS = {
    "barrier (Eq. 1)": "", "floor": "_floor", "line": "_line", "middle": "_mid_signed", "at alpha": "_argmax_alpha",
    "error of theta_0": "_error_0", "error of theta_1": "_error_1", "normalised, %": "_norm_pct",
}  # fmt: skip
"""Words of a pair's table, and the ends of the metrics' names."""

CELL_ROWS = {
    "mean barrier": "", "mean line": "_line", "median": "_median", "lowest": "_min", "highest": "_max",
    "sd": "_sd", "n": "_n",
}  # fmt: skip


def ramp() -> str:
    """Return the characters from empty to full that standard output can show."""
    with suppress(UnicodeEncodeError, LookupError):
        BLOCKS.encode(sys.stdout.encoding or "ascii")
        return BLOCKS
    return PLAIN


def spark(values: Sequence[float | None], low: float, high: float) -> str:
    """Return one character per value: the lowest bar at `low` or below, a full block at `high`; `?` for no number."""
    marks, span = ramp()[1:], high - low if high > low else math.inf
    most, numbers = len(marks) - 1, (math.nan if value is None else value for value in values)
    return "".join(
        marks[max(0, min(most, round((value - low) / span * most)))] if math.isfinite(value) else "?"
        for value in numbers
    )


def plot(values: Sequence[float], high: float, height: int = 4) -> list[str]:
    """Return `height` lines, the first the highest, of columns that stand on 0 and would be full at `high`.

    Of more than WIDTH values each column is the largest of its neighbours, so that no peak is lost.
    """
    marks, count = ramp(), len(values)
    steps = len(marks) - 1
    if count > WIDTH:
        values = [max(values[i * count // WIDTH : (i + 1) * count // WIDTH]) for i in range(WIDTH)]
    wide = WIDTH // max(1, len(values))  # characters per value: 11 points alone would be a narrow picture
    shares = (value / high if high > 0.0 else 0.0 for value in values)
    levels = [max(1, min(height * steps, round(share * height * steps))) for share in shares]  # 1: along the bottom
    return [
        "".join(marks[max(0, min(steps, level - line * steps))] * wide for level in levels)
        for line in reversed(range(height))
    ]


def path_plots(paths: Mapping[Any, Sequence[float]]) -> Iterator[str]:
    """Yield a plot of each split's errors (points) along the path, on one scale from 0."""
    high = max((error for errors in paths.values() for error in errors), default=0.0)
    for split in ORDER:
        if errors := paths.get(split):
            first, *lines, last = plot(errors, high)
            yield f"{high:>6.2f} |{first}|"
            yield from (f"{'':6} |{line}|" for line in lines)
            yield f"{'0':>6} |{last}|"
            yield f"{'':6}  {split} error in points, alpha 0 to 1, {len(errors)} points"


def split_table(rows: Mapping[str, Mapping[Any, float | None]], splits: Sequence[str] = ORDER) -> Iterator[str]:
    """Yield a table with a column for each split."""
    width = max(len(title) for title in rows)
    yield " " * width + "".join(split.rjust(9) for split in splits)
    for title, row in rows.items():
        yield title.ljust(width) + "".join(_count_or_number(row.get(split)).rjust(9) for split in splits)


def _count_or_number(value: float | None) -> str:
    return str(value) if isinstance(value, int) else number(value)


def number(value: float | None) -> str:
    """Return a number with two decimals, small losses with more digits."""
    if value is None:
        return NONE
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.4f}"


def split_records(
    mark: EpochResult, judgement: Judgement, classes: int, splits: Iterable[SplitName] = SPLITS
) -> dict[str, Any]:
    """Return curve, barriers, verdict and flags of each split, for JSON.

    Errors are in points. Barriers and verdict are null where an end is no network, the verdict alone where there is
    nothing to lose.
    """
    records: dict[str, Any] = {}
    for split in splits:
        curve, found = mark.curves[split], mark.barriers[split] if mark.barriers else None
        records[split] = {
            **(dataclasses.asdict(found) if found else {"barrier": None}),
            "error_0": 100.0 * curve.errors[0],
            "error_1": 100.0 * curve.errors[-1],
            "barrier_at_11_points": coarse_barrier(curve) if found else None,
            "verdict": judge_pair(found, judgement.threshold, classes) if found else None,
            "flags": pair_flags(mark, split, judgement, classes),
            "curve": {"alpha": curve.alphas, "wrong": curve.wrong, "n": curve.n, "loss": curve.loss, **curve.columns},
        }
    return records


def path_lines(records: Mapping[str, Any], threshold: float) -> Iterator[str]:
    """Yield barriers, verdicts and plots of a result of `split_records`."""
    splits = [split for split in ORDER if split in records]
    table = {title: {split: records[split].get(key) for split in splits} for title, key in ROWS.items()}
    yield from split_table({t: row for t, row in table.items() if any(v is not None for v in row.values())}, splits)
    for split in splits:
        lost = ": an end diverged or collapsed" if records[split]["barrier"] is None else ""
        yield f"{split}: {records[split]['verdict'] or NO_VERDICT + lost} (threshold {threshold:g} points)"
    for flag in dict.fromkeys(flag for split in splits for flag in records[split]["flags"]):
        yield FLAGS[flag][1]
    yield from path_plots({split: _errors(records[split]) for split in splits})


def point_lines(records: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table of all points: alpha, errors in percent, losses in nats."""
    splits = [split for split in ORDER if split in records]
    yield "alpha" + "".join(f"{f'{split} error':>13}{f'{split} loss':>12}" for split in splits)
    for i, alpha in enumerate(records[splits[0]]["curve"]["alpha"]):
        cells = (f"{_errors(records[s])[i]:13.2f}{number(records[s]['curve']['loss'][i]):>12}" for s in splits)
        yield f"{alpha:5.3g}" + "".join(cells)


def _errors(record: Mapping[str, Any]) -> list[float]:
    return [100.0 * wrong / record["curve"]["n"] for wrong in record["curve"]["wrong"]]


def cells_of_results(places: Sequence[Path], plan: StudyPlan) -> tuple[str, list[ListedCell], list[str]]:
    """Return the first of the folders results/<study>/ that is of the plan's profile, and its cells of the plan.

    The last are the keys of those made with other settings than the plan's. All are empty if no folder is.
    """
    if (found := find_study(places, plan.profile)) is None:
        return "", [], []
    folder, results = found
    planned = {cell.key: cell for cell in plan.cells}  # of a renamed row, results are others' too
    listed = [_listed(results, cell) for cell in results.cells if cell.key in planned]
    other = [cell.cell for cell in listed if _identity(results, planned[cell.cell]) != cell.cell_id]
    return str(folder), listed, other


def _identity(results: StudyResults, cell: Cell | CellRecord) -> str:
    """Return the identity of a cell's run in the store, with the data, numerics and torch of the results."""
    digests = {data.name: data.digest for data in results.datasets}
    digest = digests.get(short_name(cell.config["data"]["dataset"]), "")
    return names.cell_identity(cell, digest, results.numerics, results.torch)


def _listed(results: StudyResults, cell: CellRecord) -> ListedCell:
    def of(read: Callable[[CellSummary], T]) -> dict[SplitName, T]:
        return {split: read(cell.summary[split]) for split in SPLITS}

    def curve(split: SplitName) -> list[float]:
        curves = (results.curves[cell.key, pair.pair, pair.epoch, split] for pair in cell.pairs)
        return mean_curve([[100.0 * error for error in curve.errors] for curve in curves])

    return ListedCell(
        cell=cell.key,
        cell_id=_identity(results, cell),
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
        f"path: mean test error along it, drawn from 0 to {high:.2f} points"
    )
    for remark, keys in groupby(sorted(remarks, key=remarks.__getitem__), key=remarks.__getitem__):
        yield f"{_some(keys)}: {remark}"
    for why, group in groupby(sorted(strangers, key=lambda s: s.why), key=lambda s: s.why):
        yield f"not shown, {why}: {_some(f'{stranger.cell} {stranger.run_id}' for stranger in group)}"


def _some(words: Iterable[str]) -> str:
    """Return the first words, and the number of the others."""
    first = list(words)
    return ", ".join(first[:SHOWN]) + (f" and {len(first) - SHOWN} more (--json lists all)" if first[SHOWN:] else "")


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
    table["n"] = {split: None if n is None else int(n) for split, n in table["n"].items()}
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
        yield f"curves: test error on the path, drawn from 0 to {high:.2f} points"
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

"""The cells of a study, read from MLflow or from the files of a comparison: what `lmc list` prints."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.report.unicode_curve import spark
from lmc_repro.report.words import letter
from lmc_repro.results.read import read_study
from lmc_repro.tracking import names
from lmc_repro.tracking.stored_cells import StoredCell


@dataclass(frozen=True)
class ListedCell:
    """A cell: mean barriers and the paper's in points, and the mean over its pairs of the error along the path.

    `mean` is that of Eq. 1, `line` that of the line barrier. `run_id` is None where the files were read; `status` is
    that of the cell's run.
    """

    cell: str
    run_id: str | None
    status: str
    n: int
    mean: dict[SplitName, float | None]
    line: dict[SplitName, float | None]
    verdict: dict[SplitName, str | None]
    flags: dict[SplitName, list[str]]
    paper: dict[SplitName, float | None]
    curve: dict[SplitName, list[float]]


def cells_of_store(cells: Sequence[StoredCell], order: Sequence[str]) -> list[ListedCell]:
    """Return the cells that a store holds, in `order`."""
    places = {key: place for place, key in enumerate(order)}
    return sorted(map(_stored, cells), key=lambda cell: places.get(cell.cell, len(places)))


def _stored(run: StoredCell) -> ListedCell:
    def number(name: str) -> float | None:
        value = run.metrics.get(name)
        return value if value is not None and value == value else None  # NaN: no longer judged

    verdicts = {split: run.tags.get(f"lmc.verdict.{split}") for split in SPLITS}
    flags = {split: run.tags.get(f"lmc.flags.{split}", "none") for split in SPLITS}
    return ListedCell(
        cell=run.tags[names.CELL],
        run_id=run.run_id,
        status=run.status,
        n=int(number("barrier/test_n") or 0),
        mean={split: number(f"barrier/{split}_mean") for split in SPLITS},
        line={split: number(f"barrier/{split}_line_mean") for split in SPLITS},
        verdict={split: None if verdicts[split] in (None, "none") else verdicts[split] for split in SPLITS},
        flags={split: flags[split].split() if flags[split] != "none" else [] for split in SPLITS},
        paper={split: number(f"paper/{split}") for split in SPLITS},
        curve={split: _mean_curve([path.get(f"path/{split}_error", []) for path in run.paths]) for split in SPLITS},
    )


def cells_of_files(folder: Path) -> tuple[str, list[ListedCell]]:
    """Return the profile and the cells of results/<study>/."""
    results = read_study(folder)
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
            curve={split: _mean_curve(curves[split]) for split in SPLITS},
        )
        cells.append(listed)
    return results.profile, cells


def listing_lines(cells: Sequence[ListedCell]) -> Iterator[str]:
    """Yield a line a cell; all curves have one scale, so that a flat line is a connected cell."""
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


def _verdict(cell: ListedCell) -> str:
    return cell.verdict["test"] or ("no verdict" if cell.status == "FINISHED" else "not compared")


def _mean_curve(curves: list[list[float]]) -> list[float]:
    """Return the mean at each point over curves of one length."""
    whole = [curve for curve in curves if curve and len(curve) == len(curves[0])]
    return [statistics.fmean(errors) for errors in zip(*whole, strict=True)]

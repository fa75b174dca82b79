"""Write the tables of results in README.md and docs/ from results, so that they cannot drift.

Fills every block between `<!-- results: NAME -->` and `<!-- end -->`; tests/test_readme.py holds them to the files.
`digits` and `definitions` come from results/table1 (`make repro`), `lab-...` from examples/lab/results (`make lab`),
`matching` from benchmarks/xeon, the others from the results kept below docs/.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean, median

from lmc_repro.barriers.barrier import excess, line_barrier, mean_barrier, middle
from lmc_repro.barriers.curve import SPLITS
from lmc_repro.barriers.pair import judge_epoch
from lmc_repro.cli.reports import kept_studies
from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.load import load_params
from lmc_repro.report.agreement import VERDICTS, compared
from lmc_repro.report.grid import points, study_table
from lmc_repro.report.reproduction import disagreement, number
from lmc_repro.report.text import markdown_table
from lmc_repro.results.read import read_study

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "docs/barriers.md",
    "docs/benchmarks.md",
    "docs/beyond.md",
    "docs/definitions.md",
    "docs/method.md",
)
LAB = ROOT / "examples/lab/results"
BOTH = (("error", "ends"), ("error", "middle"))
PLACES = {"first end": (0.0,), "middle": (0.5,), "second end": (1.0,), "ends": (0.0, 1.0)}
"""Alphas that a column of a table of metrics is the mean of."""
ONE_PAIR = ("4-layer-bs1024--adam-high", "1")
"""Cell and pair of Table 1 on digits whose ends differ and whose path has no hill."""

BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def grid(folder: Path) -> str:
    """Return a study's grid on test: rows by columns."""
    table = study_table(read_study(folder))
    lines = []
    for row in table.rows:
        cells = [entry.cell for entry in table.line(row)]
        if any(cells):
            lines.append([row.label, *(number(cell) if cell else "" for cell in cells)])
    return markdown_table(["test barrier, points", *(column.label for column in table.columns)], lines)


def reproduction() -> str:
    """Return, per study under profile paper, the cells run and their agreement on test; then each disagreement."""
    lines, apart = [], []
    for study in kept_studies(load_params(ROOT / "params.yaml"), ROOT / "docs/reproduction", "paper"):
        judged = [one for one in compared([part.table for part in study.parts], "test") if one.ours in VERDICTS]
        differ = [one for one in judged if one.disagrees]
        planned = len(study.planned)
        run = planned - len(study.left)
        title = f"[{study.title.partition(':')[0]}](docs/reproduction.md#{study.key})"
        numbers = [len(judged) - len(differ), len(differ)] if judged else ["-", "-"]
        lines.append([title, f"{run} of {planned}", *numbers])
        apart += [f"- {one.name}: {disagreement(one, 'test')}" for one in differ]
    table = markdown_table(["exhibit", "cells run", "agree", "disagree"], lines)
    return f"{table}\nThe disagreements, on test, in points:\n\n" + "\n".join(apart) + "\n"


def definitions() -> str:
    """Return one pair's test error at every alpha, and the four definitions of its barrier."""
    curves = read_study(ROOT / "results/table1").curves
    last = max(epoch for cell, pair, epoch, split in curves if cell == ONE_PAIR[0])
    values = [100 * error for error in curves[*ONE_PAIR, last, "test"].errors]
    worst = values.index(max(values))
    path = markdown_table(
        ["alpha", *(f"{i / (len(values) - 1):g}" for i in range(len(values)))], [["error", *map(points, values)]]
    )
    found = {
        "Eq. 1": mean_barrier(values),
        "line barrier": line_barrier(values),
        "rise at the worst point": excess(values)[worst],
        "midpoint": middle(values),
    }
    return f"{path}\n{markdown_table(found, [list(map(points, found.values()))])}"


def metrics(folder: Path, *columns: tuple[str, str]) -> str:
    """Return a study's errors and path metrics on test: mean and range over its pairs, per layer the means.

    Args:
        folder: Its results.
        columns: Columns of curves.csv and where each is read, a key of PLACES. Errors are in percent; the start of a
            name stands for a column per layer.
    """
    study, lines = read_study(folder), []
    for cell in study.cells:
        line = [f"{cell.row_label}; {cell.column_label}"]
        for name, where in columns:
            paths: dict[str, list[float]] = {}
            for pair in cell.pairs:
                curve = study.curves[cell.key, pair.pair, pair.epoch, "test"]
                percent = {"error": curve.errors, "ensemble_error": curve.columns.get("ensemble_error", ())}
                for key, path in (dict(curve.columns) | percent).items():
                    if key.startswith(name) and path:
                        at = fmean(path[round(alpha * (len(path) - 1))] for alpha in PLACES[where])
                        paths.setdefault(key, []).append(at * (100 if key in percent else 1))
            means = " ".join(f"{fmean(values):.2f}" for values in paths.values())
            spread = [f" ({min(values):.2f}-{max(values):.2f})" for values in paths.values()]
            line.append(means + spread[0] if len(paths) == 1 else means)
        lines.append(line)
    return markdown_table(["test", *(f"{name}, {where}" for name, where in columns)], lines)


def epochs(folder: Path, pair: str = "0") -> str:
    """Return the ends' test errors of one pair in percent and its barriers, test / train, at each evaluation epoch."""
    study, lines = read_study(folder), []
    info, largest = dataset_info(study.dataset), study.cells[0].pairs[0].largest_class
    for epoch in study.cells[0].config["evaluate_at"][1:]:
        found = []
        for cell in study.cells:
            curves = {split: study.curves[cell.key, pair, epoch, split] for split in SPLITS}
            judged = judge_epoch(epoch, curves, (None, None), info.classes, largest).barriers
            found.append(" / ".join(points(judged[s].barrier) for s in ("test", "train")) if judged else "-")
        ends = (points(100 * curves["test"].errors[i]) for i in (0, -1))
        lines.append([f"{epoch:g}", " ".join(ends), *found])
    return markdown_table(["epoch", "ends, test error", *(cell.column_label for cell in study.cells)], lines)


def planes(folder: Path) -> str:
    """Return the test errors in percent of three runs of each cell, and on the grid of the plane through them."""
    study, lines = read_study(folder), []
    for cell in study.cells:
        plane = study.planes[cell.key]
        grid_errors = sorted(100 * error for row in plane.rows["test"] for error in row.errors)
        runs = " ".join(f"{100 * error:.2f}" for error in plane.runs["test"].errors)
        lines.append([cell.column_label, runs, *(f"{f(grid_errors):.2f}" for f in (min, median, max))])
    return markdown_table(["test error", "runs", "grid, lowest", "median", "highest"], lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "digits": lambda: grid(ROOT / "results/table1"),
    "ten-seeds": lambda: grid(ROOT / "docs/ten-seeds"),
    "reproduction": reproduction,
    "permutation-mnist": lambda: grid(ROOT / "docs/beyond/permutation-mnist"),
    "resnet20-cifar10": lambda: grid(ROOT / "docs/beyond/resnet20-cifar10"),
    "deep-adam": lambda: epochs(ROOT / "docs/beyond/deep-adam"),
    "matching": lambda: (ROOT / "benchmarks/xeon/latest.md").read_text().partition("\n\n")[2],
    **{
        f"lab-{key}": partial(grid, LAB / key)
        for key in ("spawn", "noise", "permutation", "collapse", "optimizers", "architectures")
    },
    "lab-layers": lambda: metrics(LAB / "layers", ("error", "first end"), ("error", "middle"), ("error", "second end")),
    "lab-variances": lambda: metrics(LAB / "collapse", *BOTH, ("variance_ratio", "middle")),
    "lab-planes": lambda: planes(LAB / "planes"),
    "lab-features": lambda: metrics(LAB / "features", *BOTH, ("llfc", "middle")),
    "lab-ensemble": lambda: metrics(
        LAB / "ensemble",
        *BOTH,
        ("ensemble_error", "middle"),
        ("calibrated_loss", "ends"),
        ("calibrated_loss", "middle"),
    ),
    "definitions": definitions,
}


def filled(text: str, blocks: dict[str, Callable[[], str]] = BLOCKS) -> str:
    """Return a page with its blocks made anew; those that `blocks` does not name stay as they are."""

    def block(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        return f"{begin}\n{blocks[name]()}\n{end}" if name in blocks else found[0]

    return BLOCK.sub(block, text)


def main() -> None:
    """Fill the blocks of all pages; those of the lab where `make lab` has run."""
    blocks = {name: block for name, block in BLOCKS.items() if LAB.is_dir() or not name.startswith("lab-")}
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(page.read_text(), blocks))


if __name__ == "__main__":
    try:
        main()
    except LmcError as error:
        sys.exit(f"error: {error}")

"""Tables of everything behind a study's numbers: each cell and split, each pair with its ends, each configuration."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from lmc_repro.config.base import epoch_text
from lmc_repro.config.own_code import short_name
from lmc_repro.models.registry import network
from lmc_repro.report import grid
from lmc_repro.report.grid import NO_VERDICT, NONE, ORDER, StudyTable, points
from lmc_repro.report.model import PAGE, WRITTEN, Block, Cell, Items, Paragraph, Section, Table, Value
from lmc_repro.report.plane_figure import planes_of
from lmc_repro.results.schema import CellRecord
from lmc_repro.tracking.names import CELL, EXPERIMENT_PREFIX

MLFLOW = "http://127.0.0.1:5000"
"""The default address of `mlflow ui`."""

CONFIGURATIONS = (
    "The settings in which the cells differ, and the filter that finds a cell's runs in MLflow (the link works while "
    "`mlflow ui` runs on this machine). A fingerprint of the table of pairs finds a single run."
)

PLANES = (
    "Error in percent on the plane through the weights of a cell's first three runs, which are marked. Axes are "
    "distances between weights, true to scale; levels are closer together where the error is small."
)
NO_PLANE = "no plane; its first three runs lie on one line, or one diverged."

SUMMARY = (
    "cell", "split", "n", "values", "mean", "median", "range", "sd", "floor", "line", "normalised %",
    "error of the ends", "verdict", "strict", "flags", "last epochs",
)  # fmt: skip
PAIR = (
    "cell", "pair", "split", "barrier", "floor", "line", "middle", "α of the maximum", "normalised %",
    "errors of the ends", "loss barrier",
)  # fmt: skip


def details(table: StudyTable, key: str) -> list[Block]:
    """Return the folded tables of a study; a cell's summary has the key `key`-CELL."""
    study, cells = table.results.study, table.results.cells
    experiment = f"{EXPERIMENT_PREFIX}{study}/{table.results.profile}"
    link = f"{MLFLOW}/#/experiments?experimentSearchFilter={quote(experiment, safe='')}"
    places = (
        ("experiment", Cell((experiment,), link=link)),
        ("a single run", Cell(("tags.`lmc.fingerprint` = '...'",), code=True)),
    )
    pairs = Table("Pairs at the last epoch (points; loss in nats)", PAIR, tuple(_pairs(cells)), name=f"{study}-pairs")
    header = ("cell", "pair", "trainer seed", "status of θ₀", "of θ₁", "fingerprints of θ₀ and θ₁")
    ends = Table("Ends of the pairs", header, tuple(_ends(cells)), name=f"{study}-ends")
    planes: list[Block] = list(planes_of(table.results))
    planes += [Paragraph(f"{_label(c)}: {NO_PLANE}") for c in cells if c.plane and c.key not in table.results.planes]
    shown = (Paragraph(CONFIGURATIONS), Items(places), _configurations(table))
    return [
        Section("Cells and splits", (summary_table(table, table.with_paper, key),), folded=True, media=WRITTEN),
        Section("Pairs", (pairs, ends), folded=True, media=PAGE),
        *([Section("Planes", (Paragraph(PLANES), *planes), folded=True, media=PAGE)] if planes else []),
        Section("Configurations, runs in MLflow", shown, folded=True, media=PAGE),
    ]


def summary_table(table: StudyTable, compare: bool = False, key: str = "") -> Table:
    """Return a row per cell and split: all that one number says about it.

    `compare`: beside it the paper's number, its verdict and the network of each cell; `key`: what its rows' begin with.
    """
    rows = []
    for entry in table.entries:
        if (cell := entry.cell) is None:
            continue
        for split in ORDER:
            s = cell.summary[split]
            floors = [found.floor for pair in cell.pairs if (found := pair.barriers[split]) is not None]
            row = (
                Cell((entry.label,), key=f"{key}-{cell.key}" if key and split == ORDER[0] else ""),
                split, str(entry.n), ", ".join(map(points, s.values)) or NONE, points(s.mean),
                points(s.median), grid.spread(s), points(s.sd), points(statistics.fmean(floors) if floors else None),
                points(s.line_mean), points(s.normalised_mean),
                points(statistics.fmean(error for pair in cell.pairs for error in pair.errors[split])),
                s.verdict or NO_VERDICT, s.verdict_strict or NONE, " ".join(map(grid.letter, s.flags)) or NONE,
                grid.late_epochs(s) or NONE,
            )  # fmt: skip
            theirs = points(entry.paper[split] if entry.paper else None)
            judged = entry.paper_verdict(split, table.results.threshold) or NONE
            made = f"{network(cell.config['model'])}, {grid.init(cell)}"
            rows.append((*row, theirs, judged, made) if compare else row)
    header = (*SUMMARY, "paper", "paper's verdict", "network") if compare else SUMMARY
    caption = "Ours, and the paper's numbers in their own columns" if compare else "Barrier over trainer seeds"
    return Table(f"{caption} (points)", header, tuple(rows), name=f"{table.results.study}-cells")


def as_text(value: Any) -> str:
    """Return a setting's value as text."""
    return short_name(value if isinstance(value, str) else json.dumps(value))


def _label(cell: CellRecord) -> str:
    return f"{cell.row_label}, {cell.column_label}"


def _pairs(cells: tuple[CellRecord, ...]) -> Iterator[tuple[str, ...]]:
    for cell, pair in ((c, p) for c in cells for p in c.pairs):
        for split in ORDER:
            found, ends = pair.barriers[split], " / ".join(map(points, pair.errors[split]))
            place = _label(cell), pair.pair, split
            if found is None:
                yield (*place, *[NONE] * 6, ends, NONE)
                continue
            yield (
                *place, *map(points, (found.barrier, found.floor, found.line, found.midpoint_excess)),
                f"{found.argmax_alpha:g}", points(found.normalised), ends,
                NONE if found.loss_barrier is None else f"{found.loss_barrier:.4f}",
            )  # fmt: skip


def _ends(cells: tuple[CellRecord, ...]) -> Iterator[tuple[str | Cell, ...]]:
    for cell in cells:
        for pair in cell.pairs:
            ends = zip(pair.status, pair.epochs, strict=True)
            status = (said if own is None else f"{said}, epoch {epoch_text(own)}" for said, own in ends)
            yield (_label(cell), pair.pair, str(pair.trainer_seed), *status, Cell(pair.fingerprints, code=True))


def _configurations(table: StudyTable) -> Table:
    cells = {}
    for cell in table.results.cells:  # sizes and settings, by path in the configuration
        sizes = {"parameters": cell.parameters, "trainer seeds": cell.n_trainer_seeds, "runs": cell.n_runs}
        cells[cell.key] = {name: as_text(value) for name, value in {**sizes, **dict(_flat(cell.config))}.items()}
    names = dict.fromkeys(name for facts in cells.values() for name in facts)
    apart = [name for name in names if len({facts.get(name) for facts in cells.values()}) > 1 or len(cells) == 1]
    rows: list[tuple[Value, ...]] = []
    for cell in table.results.cells:
        found = Cell((f"tags.`{CELL}` = '{cell.key}'",), code=True)
        rows.append((_label(cell), found, *(cells[cell.key].get(name, NONE) for name in apart)))
    header, name = ("cell", "in MLflow", *apart), f"{table.results.study}-configurations"
    return Table("Settings that differ", header, tuple(rows), name=name)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

"""All that the results hold of cells, as tables: what a page opens on demand, and what is exported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmc_repro.barriers.curve import SplitName
from lmc_repro.config.base import mark_text
from lmc_repro.config.own_code import short_name
from lmc_repro.models.registry import network
from lmc_repro.report.agreement import cell_agrees
from lmc_repro.report.model import PAGE, Cell, Items, Paragraph, Section, Table
from lmc_repro.report.table import Entry, StudyTable, mean_error, mean_floor
from lmc_repro.report.words import (
    NO_VERDICT,
    NONE,
    ORDER,
    PAIRS,
    axis_label,
    entry_lines,
    init,
    late_marks,
    letter,
    means,
    outcome,
    paper_name,
    paper_numbers,
    points,
    spread,
)
from lmc_repro.results.schema import CellRecord, PairRecord, StudyResults
from lmc_repro.tracking.names import CELL

SUMMARY = (
    "cell", "split", "n", "values", "mean", "median", "range", "sd", "floor", "line", "normalised %",
    "error of the ends", "verdict", "strict", "flags", "last epochs",
)  # fmt: skip
PAIR = (
    "pair", "split", "barrier", "floor", "line", "middle", "alpha of the maximum", "normalised %", "errors of the ends",
    "loss barrier",
)  # fmt: skip
ENDS = ("pair", "trainer seed", "end", "status", "fingerprint")
LATE = ("epoch", "test mean", "test line", "test verdict", "train mean", "train line", "train verdict")


def grid_table(table: StudyTable, links: str = "") -> Table:
    """Return the grid: ours, and beside each column the paper's numbers under their own heading.

    `links`: the section whose cells a number leads to.
    """
    header = ["test / train"]
    for column in table.columns:
        header += [axis_label(column, table.columns), *([paper_name(table.results)] if table.with_paper else [])]
    rows = []
    for row in table.rows:
        line: list[str | Cell] = [axis_label(row, table.rows)]
        for entry in table.line(row):
            apart = any(entry.verdict(split) == "disconnected" for split in ORDER)
            link = f"#{links}-{entry.cell.key}" if entry.cell and links else ""
            line.append(Cell(entry_lines(entry), strong=apart, link=link))
            if table.with_paper:
                line.append(paper_numbers(entry.paper))
        rows.append(tuple(line))
    caption = "Mean barrier in points, test / train; below it line barrier, range over trainer seeds, verdict, n, flags"
    paper = frozenset(range(2, len(header), 2)) if table.with_paper else frozenset()
    return Table(caption, tuple(header), tuple(rows), paper, places=True)


def summary_table(table: StudyTable, entries: Iterable[Entry] | None = None) -> Table:
    """Return a row per cell and split: everything that is said of it in one number."""
    rows = [
        _summary(entry, entry.cell, split)
        for entry in (table.entries if entries is None else entries)
        if entry.cell is not None
        for split in ORDER
    ]
    return Table("Barrier over trainer seeds (points)", SUMMARY, tuple(rows))


def compared_table(table: StudyTable) -> Table:
    """Return the same with the paper's number, its verdict and the network of each cell."""
    rows = []
    for entry in table.entries:
        if entry.cell is not None:
            made = f"{network(entry.cell.config['model'])}, {init(entry.cell)}"
            for split in ORDER:
                theirs = points(entry.paper[split] if entry.paper else None)
                judged = entry.paper_verdict(split, table.results.threshold) or NONE
                rows.append((*_summary(entry, entry.cell, split), theirs, judged, made))
    header = (*SUMMARY, "paper", "paper's verdict", "network")
    return Table("Ours, and the paper's numbers in their own columns (points)", header, tuple(rows))


def _summary(entry: Entry, cell: CellRecord, split: SplitName) -> tuple[str, ...]:
    s = cell.summary[split]
    return (
        entry.label, split, str(entry.n), ", ".join(points(value) for value in s.values) or NONE, points(s.mean),
        points(s.median), spread(s), points(s.sd), points(mean_floor(cell, split)), points(s.line_mean),
        points(s.normalised_mean), points(mean_error(cell, split)), s.verdict or NO_VERDICT, s.verdict_strict or NONE,
        " ".join(letter(flag) for flag in s.flags) or NONE, late_marks(s) or NONE,
    )  # fmt: skip


def cell_section(entry: Entry, cell: CellRecord, table: StudyTable, key: str) -> Section:
    """Return a cell's details: barriers and errors in points, normalised barriers in percent, losses in nats."""
    results = table.results
    note = f"{means(cell)}, {outcome(entry)}" if entry.n else outcome(entry)
    rest = "".join(f"{line}; " for line in entry_lines(entry)[1:])
    paper = f" {paper_name(results)}: {paper_numbers(entry.paper)}." if entry.paper else ""
    config = (
        ("cell", cell.key),
        ("parameters", str(cell.parameters)),
        ("pairs", PAIRS.get(cell.pair_kind, cell.pair_kind)),
        ("trainer seeds", str(cell.n_trainer_seeds)),
        ("runs", str(cell.n_runs)),
        *_flat(cell.config),
    )
    return Section(
        f"{entry.label}: {note}",
        (
            Paragraph(f"{rest}{cell_agrees(entry, table)}{paper}"),
            Items((("in MLflow", Cell((f"tags.`{CELL}` = '{cell.key}'",), code=True)),)),
            summary_table(table, [entry]),
            Table("Pairs at the last epoch (points; loss in nats)", PAIR, tuple(_pairs(cell))),
            Table("Endpoints", ENDS, tuple(row for pair in cell.pairs for row in _ends(pair))),
            Table("The last evaluation epochs", LATE, tuple(_late(cell))),
            _path(cell, results),
            Section("Configuration", (Items(config),)),
        ),
        key=key,
        folded=True,
        media=PAGE,
    )


def as_text(value: Any) -> str:
    """Return a value of a config as text, without pins."""
    return short_name(value if isinstance(value, str) else json.dumps(value))


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", as_text(value)


def _pairs(cell: CellRecord) -> Iterator[tuple[str, ...]]:
    for pair in cell.pairs:
        for split in ORDER:
            found, ends = pair.barriers[split], " / ".join(points(error) for error in pair.errors[split])
            if found is None:
                yield (pair.pair, split, *[NONE] * 6, ends, NONE)
                continue
            loss = NONE if found.loss_barrier is None else f"{found.loss_barrier:.4f}"
            yield (
                pair.pair, split, points(found.barrier), points(found.floor), points(found.line),
                points(found.midpoint_excess), f"{found.argmax_alpha:g}", points(found.normalised), ends, loss,
            )  # fmt: skip


def _ends(pair: PairRecord) -> Iterator[tuple[str, ...]]:
    for end, status, fingerprint in zip(("alpha 0", "alpha 1"), pair.status, pair.fingerprints, strict=True):
        yield pair.pair, str(pair.trainer_seed), end, status, fingerprint


def _late(cell: CellRecord) -> Iterator[tuple[str, ...]]:
    for late in zip(*(cell.summary[split].late for split in ORDER), strict=True):
        said = ((points(one.mean), points(one.line_mean), one.verdict or NO_VERDICT) for one in late)
        yield mark_text(late[0].epoch), *(text for split in said for text in split)


def _path(cell: CellRecord, results: StudyResults) -> Table:
    """Return the errors in percent at every alpha: the drawing in numbers."""
    curves = [
        (f"pair {pair.pair}, {split}", results.curves[cell.key, pair.pair, pair.epoch, split])
        for pair in cell.pairs
        for split in ORDER
    ]
    alphas = curves[0][1].alphas if curves else ()
    rows = tuple((name, *(points(100 * error) for error in curve.errors)) for name, curve in curves)
    return Table("Error along the path (%)", ("alpha", *(f"{alpha:g}" for alpha in alphas)), rows)

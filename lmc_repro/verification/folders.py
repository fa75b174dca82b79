"""A study's files against themselves: run folders and their checksums, runs.json, barriers worked out from curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SPLITS
from lmc_repro.barriers.results import CellResult, CellSummary, MarkResult, PairResult
from lmc_repro.schemas.profile import Judgement
from lmc_repro.studies.workspace import Listener
from lmc_repro.verification.results import Results, cell_again
from lmc_repro.verification.tally import Tally

RECORDED = ("diverged_epoch", "init_sha256", "order_sha256", "augmentation_sha256", "final_sha256")
"""What runs.json repeats of a run's status.json."""


def check_folders(results: Results, tally: Tally, listener: Listener) -> set[str]:
    """Check every run folder that runs.json names; returns the fingerprints of those that are whole."""
    whole = set()
    entries = results.runs["runs"]
    listener.begin(f"checking {len(entries)} run folders", len(entries))
    try:
        for entry in entries:
            if tally.add("run folders", _folder_problem(results, entry)):
                whole.add(entry["fingerprint"])
            listener.advance(1, entry["fingerprint"])
    finally:
        listener.end()
    return whole


def _folder_problem(results: Results, entry: Mapping[str, Any]) -> str | None:
    folder = results.folder(entry["fingerprint"])
    if not folder.is_complete():
        return f"{folder.path}: no finished run, which {results.place.results / 'runs.json'} names; {folder.fix}"
    if damage := folder.damage():
        return damage
    status = folder.status()
    for key in RECORDED:
        if entry.get(key) != status.get(key):
            told = f"{key} {entry.get(key)}, {folder.status_file} has {status.get(key)}"
            return f"{results.place.results / 'runs.json'}: run {folder.fingerprint}: {told}; {results.place.fix}"
    last = {row.split: row.error for row in folder.metrics()}  # rows are in the order of epochs
    for split in SPLITS:
        if entry[f"{split}_error"] != last.get(split):
            told = f"{split}_error {entry[f'{split}_error']}, {folder.path / 'metrics.csv'} has {last.get(split)}"
            return f"{results.place.results / 'runs.json'}: run {folder.fingerprint}: {told}; {results.place.fix}"
    return None


def check_cells(results: Results, whole: set[str], judgement: Judgement, tally: Tally) -> dict[str, CellResult]:
    """Work out every cell from curves.csv and compare it with cells.json; returns the cells worked out, by key.

    A cell with a run whose folder is not whole cannot be judged (it may have diverged), and is left out.
    """
    again = {}
    for cell in results.cells:
        fingerprints = {fingerprint for pair in cell["pairs"] for fingerprint in pair["fingerprints"]}
        if not fingerprints <= whole:
            continue
        diverged = {f: results.folder(f).status()["diverged_epoch"] for f in fingerprints}
        result = cell_again(results, cell, diverged, judgement)
        for pair, made in zip(cell["pairs"], result.pairs, strict=True):
            problem = next(_pair_problems(pair, made.final), None)
            tally.add("barriers of pairs", problem and _told(results, cell, f"pair {pair['pair']}: {problem}"))
            tally.add("ends of paths", next(_end_problems(results, cell, pair, made), None))
        problem = next(_summary_problems(cell, result), None)
        tally.add("summaries of cells", problem and _told(results, cell, problem))
        again[cell["cell"]] = result
    return again


def _pair_problems(pair: Mapping[str, Any], final: MarkResult) -> Iterator[str]:
    for key, found in (("status", list(final.status)), ("epoch", final.epoch)):
        if pair[key] != found:
            yield f"{key} {pair[key]}, from curves.csv {found}"
    for split in SPLITS:
        errors = final.curves[split].errors
        made: dict[str, float | None] = {field.name: None for field in dataclasses.fields(Barriers)}
        made |= {"error_0": 100 * errors[0], "error_1": 100 * errors[-1]}
        made = dataclasses.asdict(final.barriers[split]) if final.barriers else made
        for name, value in made.items():
            if pair[split][name] != value:
                yield f"{split} {name} {pair[split][name]}, from curves.csv {value}"


def _end_problems(
    results: Results, cell: Mapping[str, Any], pair: Mapping[str, Any], made: PairResult
) -> Iterator[str]:
    """Yield where a path does not begin and end with the errors that its trainings had at that epoch."""
    for end, fingerprint in enumerate(pair["fingerprints"]):
        folder = results.folder(fingerprint)
        rows = {(row.epoch, row.split): row.wrong for row in folder.metrics()}
        for mark in made.marks:
            for split, curve in mark.curves.items():
                if rows.get((mark.epoch, split)) != (found := curve.wrong[-end]):
                    place = f"cell {cell['cell']}, pair {pair['pair']}, epoch {mark.epoch:g}, {split}, alpha {end}"
                    said = f"{folder.path / 'metrics.csv'} has {rows.get((mark.epoch, split))}"
                    yield f"{results.place.results / 'curves.csv'}: {place}: {found} wrong, {said}; {results.place.fix}"


def _summary_problems(cell: Mapping[str, Any], result: CellResult) -> Iterator[str]:
    for split in SPLITS:
        for field in dataclasses.fields(CellSummary):
            made = plain(getattr(result.summary[split], field.name))
            if cell[split][field.name] != made:
                yield f"{split} {field.name} {cell[split][field.name]}, from curves.csv {made}"


def plain(value: Any) -> Any:
    """Return what JSON makes of a value of a dataclass: lists for tuples, objects for dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [plain(entry) for entry in value] if isinstance(value, tuple | list) else value


def _told(results: Results, cell: Mapping[str, Any], problem: str) -> str:
    return f"{results.place.results / 'cells.json'}: cell {cell['cell']}, {problem}; {results.place.fix}"

"""Writer of results/<study>/: a tracking store can be rebuilt and checked from it. Equal bits give equal files."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.pair import EVALUATION_NUMERICS
from lmc_repro.barriers.results import CellResult, CellSummary, PairResult, Place, Plane
from lmc_repro.common.files import json_bytes, write_atomic
from lmc_repro.common.numerics import torch_version
from lmc_repro.config.base import epoch_text
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.path import plane_given
from lmc_repro.config.plan import COMMON, Cell, StudyPlan
from lmc_repro.config.run import RunConfig
from lmc_repro.config.study import AxisEntry, StudyConfig
from lmc_repro.models.base import count_parameters
from lmc_repro.models.registry import build_model
from lmc_repro.results.schema import (
    CURVE_COLUMNS,
    MEASURED,
    NOT_CONVERGED,
    PLANE_COLUMNS,
    PLANES,
    VERSION,
    Axis,
    CellRecord,
    CurveKey,
    DatasetRecord,
    LeftOut,
    PairRecord,
    RunRecord,
    StudyResults,
)
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.run_folder import RunFolder

_IF_GIVEN = ("augmentation_sha256", "stack")
_OF_THE_CELL = (
    "key", "row", "column", "row_label", "column_label", "config", "pair_kind", "paper", "path", "plane",
)  # fmt: skip


def run_record(folder: RunFolder, cell: str, config: RunConfig, status: Mapping[str, Any]) -> RunRecord:
    """Return the record of a finished run, with the scores of the last epoch from its metrics.csv."""
    last = {row.split: row.error for row in folder.metrics() if row.epoch == config.epochs}
    return RunRecord(
        fingerprint=folder.fingerprint,
        cell=cell,
        **config.seeds.model_dump(),
        **{key: status[key] for key in ("diverged_epoch", "init_sha256", "order_sha256", "final_sha256")},
        **{key: status[key] for key in _IF_GIVEN if key in status},
        train_error=last.get("train"),
        test_error=last.get("test"),
    )


def write_results(
    folder: Path,
    plan: StudyPlan,
    results: Mapping[str, CellResult],
    runs: Sequence[RunRecord],
    digests: Mapping[str, str],
    not_run: Mapping[str, str],
    numerics: str,
    device: str,
) -> None:
    """Write the files; `results` by cell key, `not_run` the reason of each cell without one."""
    study, profile = plan.study_config, plan.profile_config
    cells = [cell for cell in plan.cells if cell.key in results]
    settings = [
        *((entry["key"], entry["value"], entry["source"]) for entry in plan.provenance()),
        *(
            (f"studies.{plan.study}.{setting}", _values_of(study, setting), source)
            for setting, source in study.provenance.items()
        ),
    ]
    record = StudyResults(
        study=plan.study,
        title=study.title,
        question=study.question,
        profile=plan.profile,
        profile_title=profile.title,
        analogue=profile.analogue,
        datasets=tuple(_dataset(name, digest) for name, digest in sorted(digests.items())),
        threshold=profile.judgement.threshold,
        points=profile.points,
        device=device,
        numerics=numerics,
        torch=torch_version(),
        training_numerics=TRAINING_NUMERICS,
        evaluation_numerics=EVALUATION_NUMERICS,
        dataset=study.base.data.get("dataset"),
        rows=_axis(study.rows, {cell.row: cell.row_label for cell in plan.cells}),
        columns=_axis(study.columns, {cell.column: cell.column_label for cell in plan.cells}),
        show=study.show,
        left_out=_left_out(plan),
        provenance=tuple(settings),
        not_run=dict(not_run),
        runs=tuple(runs),
        cells=tuple(cell_record(cell, results[cell.key]) for cell in cells),
        curves=curves_of({cell.key: results[cell.key].pairs for cell in cells}),
        planes={cell.key: plane for cell in cells if (plane := results[cell.key].plane)},
    )
    files = results_files(record)
    for name, content in files.items():
        write_atomic(folder / name, content)
    if PLANES not in files:
        (folder / PLANES).unlink(missing_ok=True)


def results_files(study: StudyResults) -> dict[str, bytes]:
    """Return the contents of the files by name; results that were read give back the files that were read."""
    runs: dict[str, Any] = {**vars(study), "version": VERSION}
    del runs["cells"], runs["curves"], runs["planes"]
    for key in ("datasets", "rows", "columns", "left_out"):
        runs[key] = [dataclasses.asdict(entry) for entry in runs[key]]
    runs["show"] = study.show and study.show.model_dump()
    runs["provenance"] = [dict(zip(("key", "value", "source"), entry, strict=True)) for entry in study.provenance]
    for run in (records := [dataclasses.asdict(run) for run in study.runs]):
        for key in _IF_GIVEN:
            if run[key] is None:
                del run[key]
    runs["runs"] = records
    return {
        "runs.json": json_bytes(runs),
        "cells.json": json_bytes([_cell(cell) for cell in study.cells]),
        "curves.csv": _curves_csv(study.study, study.curves),
        **({PLANES: planes_csv(study.study, study.planes)} if any(cell.plane for cell in study.cells) else {}),
    }


def cell_files(study: str, cell: Cell, result: CellResult) -> dict[str, bytes]:
    """Return the contents of cells.json, curves.csv and planes.csv of one cell alone, by name."""
    curves = curves_of({cell.key: result.pairs})
    files = {"cells.json": json_bytes([_cell(cell_record(cell, result))]), "curves.csv": _curves_csv(study, curves)}
    return files | ({PLANES: planes_csv(study, {cell.key: result.plane})} if result.plane else {})


def curves_of(pairs: Mapping[str, Sequence[PairResult]]) -> dict[CurveKey, Curve]:
    """Return the curves of the pairs of each cell, by its key, in the order of curves.csv."""
    return {
        (cell, pair.pair, epoch.epoch, split): epoch.curves[split]
        for cell, measured in pairs.items()
        for pair in measured
        for epoch in pair.evaluations
        for split in SPLITS
    }


def cell_record(cell: Cell, result: CellResult) -> CellRecord:
    """Return a cell's record; barriers in points, normalised in percent, losses in nats."""
    config = RunConfig.model_validate({**cell.config, "seeds": cell.runs[0].seeds})
    return CellRecord(
        **{name: getattr(cell, name) for name in _OF_THE_CELL},
        n_trainer_seeds=len({pair.trainer_seed for pair in cell.pairs}),
        n_runs=len(cell.runs),
        parameters=count_parameters(build_model(config.model, dataset_info(config.data.dataset))),
        pairs=tuple(map(pair_record, result.pairs)),
        summary=result.summary,
    )


def pair_record(pair: PairResult) -> PairRecord:
    """Return a pair's record: all measurements but the curves, judged at the last epoch."""
    final = pair.final
    found: dict[SplitName, Barriers | None] = dict.fromkeys(SPLITS) | (final.barriers or {})
    shares = {split: final.curves[split].errors for split in SPLITS}
    return PairRecord(
        **{name: getattr(pair, name) for name in MEASURED},
        status=final.status,
        epoch=final.epoch,
        barriers=found,
        errors={
            split: (own.error_0, own.error_1) if own else (100 * shares[split][0], 100 * shares[split][-1])
            for split, own in found.items()
        },
    )


def _cell(cell: CellRecord) -> dict[str, Any]:
    """Return a cell as cells.json has it."""
    plain = {**vars(cell), "cell": cell.key, "pairs": [_pair(pair) for pair in cell.pairs]}
    del plain["key"], plain["summary"], plain["path"], plain["plane"]
    if given := cell.path.given():
        plain["path"] = given
    if grid := plane_given(cell.plane):
        plain["plane"] = grid
    return plain | {split: _summary(cell.summary[split]) for split in SPLITS}


def _pair(pair: PairRecord) -> dict[str, Any]:
    plain = dict(vars(pair))
    del plain["barriers"], plain["errors"]
    if pair.epochs == COMMON:
        del plain["epochs"]
    if pair.permutations is None:
        del plain["permutations"]
    nothing = dict.fromkeys(field.name for field in dataclasses.fields(Barriers))
    for split in SPLITS:
        found, (first, second) = pair.barriers[split], pair.errors[split]
        plain[split] = dataclasses.asdict(found) if found else {**nothing, "error_0": first, "error_1": second}
    return plain


def _summary(summary: CellSummary) -> dict[str, Any]:
    record = dataclasses.asdict(summary)
    return record | {"flags": [flag for flag in summary.flags if flag != NOT_CONVERGED]}


def _curves_csv(study: str, curves: Mapping[CurveKey, Curve]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    metrics = list(dict.fromkeys(name for curve in curves.values() for name in curve.columns))
    writer.writerow([*CURVE_COLUMNS, *metrics])
    for (cell, pair, epoch, split), curve in curves.items():
        for i, (alpha, wrong, loss) in enumerate(zip(curve.alphas, curve.wrong, curve.loss, strict=True)):
            last = "" if loss is None else repr(loss)
            found = ["" if name not in curve.columns else curve.columns[name][i] for name in metrics]
            more = ["nan" if value is None else value for value in found]
            writer.writerow([study, cell, pair, epoch_text(epoch), split, alpha, wrong, curve.n, last, *more])
    return text.getvalue().encode()


def planes_csv(study: str, planes: Mapping[str, Plane]) -> bytes:
    """Return planes.csv: of each cell and split the three runs, then the grid row by row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PLANE_COLUMNS)
    for cell, plane in planes.items():
        for split in SPLITS:
            parts: list[tuple[Sequence[str], Sequence[Place], Curve]]
            parts = [(plane.fingerprints, plane.corners, plane.runs[split])]
            for y, row in zip(plane.ys, plane.rows[split], strict=True):
                parts.append(([""] * len(plane.xs), [(x, y) for x in plane.xs], row))
            for runs, places, curve in parts:
                for run, place, wrong, loss in zip(runs, places, curve.wrong, curve.loss, strict=True):
                    last = "" if loss is None else repr(loss)
                    writer.writerow([study, cell, run, *map(repr, place), split, wrong, curve.n, last])
    return text.getvalue().encode()


def _dataset(name: str, digest: str) -> DatasetRecord:
    info = dataset_info(name)
    return DatasetRecord(info.name, info.title, info.n_train, info.n_test, info.classes, digest)


def _axis(entries: Mapping[str, AxisEntry], labels: Mapping[str, str]) -> tuple[Axis, ...]:
    """Return an axis: the profile's labels, and each entry's own data set and base."""
    return tuple(
        Axis(key, labels.get(key, entry.label), entry.data.get("dataset"), entry.varies)
        for key, entry in entries.items()
    )


def _left_out(plan: StudyPlan) -> tuple[LeftOut, ...]:
    """Return the cells that the profile leaves out, and why: rows, columns, some of both, or (null, null) all."""
    study = plan.study_config
    found = []
    for override in plan.profile_config.overrides:
        if plan.study in override.study and override.drop:
            axes = ((study.rows, override.row), (study.columns, override.column))
            labels = [" or ".join(axis[key].label for key in keys) for axis, keys in axes if keys]
            rows, columns = (tuple(keys) if keys else None for _, keys in axes)
            found.append(LeftOut(rows, columns, ", ".join(labels) or "every cell", str(override.why)))
    return tuple(found)


def _values_of(study: StudyConfig, setting: str) -> Any:
    """Return a study's values of a setting, in the order of the file: one value, or a list."""
    parts = (study.base, *study.rows.values(), *study.columns.values())
    given = [values[setting] for part in parts if setting in (values := part.given())]
    distinct = [value for i, value in enumerate(given) if value not in given[:i]]
    return distinct[0] if len(distinct) == 1 else distinct

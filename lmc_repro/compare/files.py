"""The files of a comparison: runs.json, curves.csv, cells.json; what a tracking store can be rebuilt and checked from.

They hold no run ids, dates or durations: equal bits give equal files.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.barriers.barrier import Barriers
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.barriers.results import CellResult, CellSummary, MarkResult, PairResult
from lmc_repro.compare.pair import EVALUATION_NUMERICS
from lmc_repro.data.catalog import dataset_info
from lmc_repro.files import write_atomic, write_json
from lmc_repro.models.base import count_parameters
from lmc_repro.models.registry import build_model
from lmc_repro.numerics import torch_version
from lmc_repro.schemas.base import mark_text
from lmc_repro.schemas.plan import Cell, StudyPlan
from lmc_repro.schemas.run import RunConfig
from lmc_repro.schemas.study import AxisEntry, StudyConfig
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.run_folder import RunFolder

CURVE_COLUMNS = ("study", "cell", "pair", "epoch", "split", "alpha", "wrong", "n", "loss")


@dataclass(frozen=True)
class RunRecord:
    """What runs.json says of a run: who it is, its status file, its last scores as shares."""

    fingerprint: str
    cell: str
    config: RunConfig
    status: dict[str, Any]
    train_error: float | None
    test_error: float | None

    @classmethod
    def of(cls, folder: RunFolder, cell: str, config: RunConfig, status: dict[str, Any]) -> RunRecord:
        """Return the record of a finished run, with the scores of the last epoch from its metrics.csv."""
        last = {row.split: row.error for row in folder.metrics() if row.epoch == config.epochs}
        return cls(folder.fingerprint, cell, config, status, last.get("train"), last.get("test"))

    def entry(self) -> dict[str, Any]:
        """Return the run's entry in runs.json."""
        return {
            "fingerprint": self.fingerprint,
            "cell": self.cell,
            **self.config.seeds.model_dump(),
            "diverged_epoch": self.status["diverged_epoch"],
            "init_sha256": self.status["init_sha256"],
            "order_sha256": self.status["order_sha256"],
            **{key: self.status[key] for key in ("augmentation_sha256", "stack") if key in self.status},
            "final_sha256": self.status["final_sha256"],
            "train_error": self.train_error,
            "test_error": self.test_error,
        }


def write_results(
    folder: Path,
    plan: StudyPlan,
    results: Mapping[str, CellResult],
    records: Sequence[RunRecord],
    digests: Mapping[str, str],
    not_run: Mapping[str, str],
    numerics: str,
    device: str,
    torch: str | None = None,
) -> None:
    """Write the three files; `results` by cell key, `not_run` the reason of each cell without one.

    `torch` is the version that the runs were trained with, the installed one by default.
    """
    cells = [cell for cell in plan.cells if cell.key in results]
    write_json(folder / "runs.json", _runs(plan, records, digests, not_run, numerics, device, torch or torch_version()))
    write_json(folder / "cells.json", [cell_record(cell, results[cell.key]) for cell in cells])
    write_atomic(folder / "curves.csv", curves_csv(plan.study, {cell.key: results[cell.key].pairs for cell in cells}))


def curves_csv(study: str, pairs: Mapping[str, Sequence[PairResult]]) -> bytes:
    """Return the content of curves.csv: the pairs of each cell, by its key, in the order given."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    for cell, measured in pairs.items():
        for pair in measured:
            for mark in pair.marks:
                writer.writerows(_curve_rows(study, cell, pair.pair, mark))
    return text.getvalue().encode()


def cell_record(cell: Cell, result: CellResult) -> dict[str, Any]:
    """Return a cell as cells.json holds it; barriers in points, normalised in percent, losses in nats."""
    config = RunConfig.model_validate({**cell.config, "seeds": cell.runs[0].seeds})
    model = build_model(config.model, dataset_info(config.data.dataset))
    return {
        "cell": cell.key,
        "row": cell.row,
        "column": cell.column,
        "row_label": cell.row_label,
        "column_label": cell.column_label,
        "config": cell.config,
        "pair_kind": cell.pair_kind,
        "n_trainer_seeds": len({pair.trainer_seed for pair in cell.pairs}),
        "n_runs": len(cell.runs),
        "parameters": count_parameters(model),
        "paper": cell.paper,
        **measured_record(result),
    }


def measured_record(result: CellResult) -> dict[str, Any]:
    """Return what cells.json holds of a cell that was measured or follows from it: its pairs and both summaries."""
    return {
        "pairs": [_pair_record(pair) for pair in result.pairs],
        **{split: _summary_record(result.summary[split]) for split in SPLITS},
    }


def _pair_record(pair: PairResult) -> dict[str, Any]:
    final = pair.final
    return {
        "pair": pair.pair,
        "trainer_seed": pair.trainer_seed,
        "fingerprints": list(pair.fingerprints),
        "largest_class": pair.largest_class,
        "status": list(final.status),
        "epoch": final.epoch,
        "distance": pair.distance,
        "cosine": pair.cosine,
        "disagreement": pair.disagreement,
        **{split: _barrier_record(final, split) for split in SPLITS},
    }


def _barrier_record(mark: MarkResult, split: SplitName) -> dict[str, float | None]:
    if mark.barriers is not None:
        return dataclasses.asdict(mark.barriers[split])
    errors = mark.curves[split].errors
    nothing: dict[str, float | None] = {field.name: None for field in dataclasses.fields(Barriers)}
    return {**nothing, "error_0": 100 * errors[0], "error_1": 100 * errors[-1]}


def _summary_record(summary: CellSummary) -> dict[str, Any]:
    record = dataclasses.asdict(summary)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in record.items()}


def _curve_rows(study: str, cell: str, pair: str, mark: MarkResult) -> list[list[Any]]:
    rows: list[list[Any]] = []
    epoch = mark_text(mark.epoch)
    for split in SPLITS:
        curve = mark.curves[split]
        for alpha, wrong, loss in zip(curve.alphas, curve.wrong, curve.loss, strict=True):
            rows.append([study, cell, pair, epoch, split, alpha, wrong, curve.n, "" if loss is None else repr(loss)])
    return rows


def _runs(
    plan: StudyPlan,
    records: Sequence[RunRecord],
    digests: Mapping[str, str],
    not_run: Mapping[str, str],
    numerics: str,
    device: str,
    torch: str,
) -> dict[str, Any]:
    study, profile = plan.study_config, plan.profile_config
    datasets = []
    for name, digest in sorted(digests.items()):
        info = dataset_info(name)
        datasets.append(
            {
                "name": name,
                "title": info.title,
                "n_train": info.n_train,
                "n_test": info.n_test,
                "classes": info.classes,
                "digest": digest,
            }
        )
    return {
        "study": plan.study,
        "title": study.title,
        "question": study.question,
        "profile": plan.profile,
        "profile_title": profile.title,
        "analogue": profile.analogue,
        "datasets": datasets,
        "threshold": profile.judgement.threshold,
        "points": profile.points,
        "device": device,
        "numerics": numerics,
        "torch": torch,
        "training_numerics": TRAINING_NUMERICS,
        "evaluation_numerics": EVALUATION_NUMERICS,
        "dataset": study.base.dataset,
        "rows": _axis(study.rows, {cell.row: cell.row_label for cell in plan.cells}),
        "columns": _axis(study.columns, {cell.column: cell.column_label for cell in plan.cells}),
        "show": study.show.model_dump() if study.show else None,
        "left_out": _left_out(plan),
        "provenance": plan.provenance()
        + [
            {"key": f"studies.{plan.study}.{setting}", "value": _values_of(study, setting), "source": source}
            for setting, source in study.provenance.items()
        ],
        "not_run": dict(not_run),
        "runs": [record.entry() for record in records],
    }


def _axis(entries: Mapping[str, AxisEntry], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return an axis: labels as the profile gives them, the data set that an entry itself names, what it varies."""
    return [
        {
            "key": key,
            "label": labels.get(key, entry.label),
            "dataset": entry.dataset,
            "varies": entry.varies,
        }
        for key, entry in entries.items()
    ]


def _left_out(plan: StudyPlan) -> list[dict[str, Any]]:
    """Return the cells that the profile leaves out, and why: rows, columns, some of both, or (null, null) all."""
    study = plan.study_config
    found = []
    for override in plan.profile_config.overrides:
        if plan.study in override.study and override.drop:
            axes = ((study.rows, override.row), (study.columns, override.column))
            labels = [" or ".join(axis[key].label for key in keys) for axis, keys in axes if keys]
            found.append(
                {
                    "rows": list(override.row) if override.row else None,
                    "columns": list(override.column) if override.column else None,
                    "label": ", ".join(labels) or "every cell",
                    "why": override.why,
                }
            )
    return found


def _values_of(study: StudyConfig, setting: str) -> Any:
    """Return what a study gives a setting, in the order of the file: one value, or a list of them."""
    parts = (study.base, *study.rows.values(), *study.columns.values())
    given = [part.model_dump(mode="json")[setting] for part in parts if setting in part.given()]
    distinct = [value for i, value in enumerate(given) if value not in given[:i]]
    return distinct[0] if len(distinct) == 1 else distinct

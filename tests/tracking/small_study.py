"""A small study with hand-made runs."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lmc_repro.common.files import sha256_file, write_json
from lmc_repro.common.project import Project
from lmc_repro.config.base import epoch_text
from lmc_repro.config.expand import plan_study
from lmc_repro.config.params import Params
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.run import RunConfig
from lmc_repro.tracking import Tracker
from lmc_repro.training.checkpoint import write_checkpoint
from lmc_repro.training.fingerprint import run_fingerprint
from lmc_repro.training.run_folder import MetricRow, RunFolder, content_names

DIGESTS = {"digits": "d" * 64}
NUMERICS = "portable"

OPTIMIZERS = {"fast": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}, "slow": {"kind": "sgd", "lr": 0.01, "momentum": 0.9}}
STUDY = {
    "title": "A small table",
    "question": "Does it connect?",
    "reported": "table1",
    "base": {"data": {"dataset": "digits"}, "model": {"slope": 1.0}, "batch": 64},
    "rows": {
        "shallow": {"label": "1-Layer", "model": {"depth": 1}, "reported": "1-Layer, BS=1024"},
        "deep": {"label": "2-Layer", "model": {"depth": 2}, "reported": "2-Layer, BS=1024"},
    },
    "columns": {
        "fast": {"label": "SGD fast", "optimizer": "fast", "reported": "sgd_0.1"},
        "slow": {"label": "SGD slow", "optimizer": "slow"},
    },
}
PARAMS: dict[str, Any] = {
    "profile": "tiny",
    "profiles": {
        "tiny": {
            "title": "tiny",
            "analogue": True,
            "numerics": "portable",
            "datasets": ["digits"],
            "pairs": 2,
            "points": 3,
            "judgement": {"threshold": 2.0},
            "settings": {"model": {"width": 3}, "epochs": 4, "evaluate_at": [0, 2, 4]},
            "optimizers": OPTIMIZERS,
            "batches": {"1K": 64},
            "provenance": {
                "settings": "ours: small",
                "optimizers": "inferred: a guess",
                "optimizers.fast.lr": "paper: Table 1",
                "batches": "ours: small",
                "judgement": "cited: somebody",
            },
        }
    },
    "studies": {"one": STUDY, "two": STUDY},
}


def make_plan(study: str = "one", evaluations: tuple[float, ...] = (0, 2, 4)) -> StudyPlan:
    params = copy.deepcopy(PARAMS)
    params["profiles"]["tiny"]["settings"]["evaluate_at"] = list(evaluations)
    return plan_study(Params.model_validate(params), study)


def fingerprint(config: RunConfig) -> str:
    return run_fingerprint(config, DIGESTS["digits"], NUMERICS)


def make_rows(config: RunConfig, last: int) -> list[MetricRow]:
    """Metrics up to epoch `last`, of numbers that tell runs, epochs and splits apart."""
    rows = []
    for epoch in sorted({*range(last + 1), *(at_epoch for at_epoch in config.evaluate_at if at_epoch <= last)}):
        if epoch and epoch == int(epoch):
            rows.append(MetricRow(epoch, "batch", None, 899, 2.0 / epoch + config.seeds.loader))
        if epoch in config.evaluate_at:
            rows.append(MetricRow(epoch, "train", round(800 - 100 * epoch), 899, 1.0 / (1 + epoch)))
            rows.append(MetricRow(epoch, "test", round(801 - 100 * epoch), 898, 1.5 / (1 + epoch)))
    return rows


def weights(config: RunConfig, epoch: float) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(100 * config.seeds.loader + round(10 * epoch))
    return {"weight": torch.randn(3, 5, generator=generator), "bias": torch.full((3,), float(epoch))}


def write_run(parent: Path, config: RunConfig, last: int | None = None) -> RunFolder:
    """Write a run folder as training does: up to epoch `last`, or whole."""
    folder = RunFolder(parent / fingerprint(config))
    folder.write_config(config)
    end = config.epochs if last is None else last
    evaluations = [epoch for epoch in config.evaluate_at if epoch <= end]
    shas = {epoch: write_checkpoint(folder.checkpoint(epoch), weights(config, epoch)) for epoch in evaluations}
    folder.write_metrics(make_rows(config, end))
    if last is None:
        status = {
            "fingerprint": folder.fingerprint,
            "diverged_epoch": None,
            "data_digest": DIGESTS["digits"],
            "numerics": NUMERICS,
            "torch": "2.14.1",
            "training_numerics": 1,
            "order_sha256": f"{config.seeds.loader:064x}",
            "init_sha256": shas[0],
            "final_sha256": shas[config.epochs],
            "checkpoints": {epoch_text(epoch): sha for epoch, sha in shas.items()},
            "files": {name: sha256_file(folder.path / name) for name in content_names(evaluations)},
        }
        write_json(folder.status_file, status)
    return folder


def open_tracker(project: Project, plan: StudyPlan) -> Tracker:
    return Tracker.open(project, plan, DIGESTS, NUMERICS)


def same_cell_elsewhere(cell: Cell, key: str) -> Cell:
    """Another cell of the study with the same runs."""
    row, _, column = key.partition("--")
    return replace(cell, key=key, row=row, column=column)

"""A project with a store of real networks on the real digits: only their last layer is fitted, to measure paths."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from safetensors.torch import save_file
from small_study import PARAMS, make_plan, open_tracker, write_run

from lmc_repro.common.project import Project
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.data.status import write_status
from lmc_repro.models.registry import build_model
from lmc_repro.tracking.store import tracking_uri


@dataclass(frozen=True)
class TrainedStore:
    """Run ids by (cell key, loader seed)."""

    project: Project
    runs: dict[tuple[str, int], str]
    uri: str


def write_params(project: Project, **judgement: float | None) -> None:
    """Write params.yaml (JSON is YAML) of the small study."""
    params = json.loads(json.dumps(PARAMS))
    params["profiles"]["tiny"]["judgement"] |= judgement
    params["profiles"]["tiny"]["numerics"] = "portable"
    project.params.write_text(json.dumps(params))


def write_prepared(project: Project, dataset: Dataset) -> None:
    """Write the digits as `prepare` does, without FFCV's files."""
    folder = project.prepared / "digits"
    folder.mkdir(parents=True)
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        save_file({"images": split.images, "labels": split.labels}, folder / f"{name}.safetensors")
    write_status(folder, {"state": "ready", "digest": dataset.digest})


def network(config: RunConfig, epoch: int, dataset: Dataset) -> dict[str, torch.Tensor]:
    """Return weights that differ with both seeds, but before training with the trainer seed only.

    The last layer is the least squares fit, so that no network is collapsed, though those of 3 units are undertrained.
    """
    model = build_model(config.model, dataset.info)
    start = model.init(torch.Generator().manual_seed(config.seeds.trainer))
    if epoch == 0:
        return start
    noise = torch.Generator().manual_seed(1000 + config.seeds.loader)
    weights = {name: tensor + 0.5 * torch.randn(tensor.shape, generator=noise) for name, tensor in start.items()}
    *hidden, last = sorted({name.rpartition(".")[0] for name in weights})
    out = normalise(dataset.train.images, dataset.info).flatten(1)
    for name in hidden:
        out = out @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]  # slope 1: no activation
    features = torch.cat([out, torch.ones(len(out), 1)], 1)
    wanted = torch.nn.functional.one_hot(dataset.train.labels, dataset.info.classes).float()
    fit = torch.linalg.lstsq(features, wanted).solution
    return weights | {f"{last}.weight": fit[:-1].T.contiguous(), f"{last}.bias": fit[-1].contiguous()}


def make_trained_store(project: Project, dataset: Dataset) -> TrainedStore:
    """Publish the first pair of the cells `deep--fast`, `deep--slow` and `shallow--fast`; others may be added."""
    write_params(project)
    write_prepared(project, dataset)
    plan = make_plan()
    tracker = open_tracker(project, plan)
    runs = {}
    for cell in plan.cells:
        if cell.key in ("deep--fast", "deep--slow", "shallow--fast"):
            for config in [*cell.pairs[0].runs, cell.pairs[1].runs[0]]:
                folder = write_run(project.runs / "one", config)
                runs[cell.key, config.seeds.loader] = tracker.sync_train(cell, config, folder)
    tracker.close()
    return TrainedStore(project, runs, tracking_uri(project.root))


def use_real_networks(dataset: Dataset) -> dict[str, object]:
    """Return what to put in place of small_study's made-up weights and digest."""
    return {
        "weights": lambda config, epoch: network(config, epoch, dataset),
        "DIGESTS": {"digits": dataset.digest},
    }

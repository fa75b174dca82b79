"""The first batches of loaders with equal and with other seeds (paper, Figure 4 and appendix A.1)."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmc_repro.data.augment import epoch_view
from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.data.dataset import Dataset, load_dataset
from lmc_repro.data.loader import open_loader
from lmc_repro.data.status import read_status
from lmc_repro.errors import LmcError
from lmc_repro.schemas.exhibit import BatchesExhibit, LoaderSeeds
from lmc_repro.schemas.seeds import Seeds

Images = npt.NDArray[np.uint8]


def first_batches(exhibit: BatchesExhibit, name: str, prepared: Path) -> tuple[dict[str, Any], dict[str, Images]]:
    """Return the hashes of every loader's first batches, and what to draw: uint8 [batches, b, channels, H, W] by key.

    A data set that is not ready is `not_run` with the recorded reason; LmcError if it was not prepared at all.
    """
    status = read_status(prepared, name)
    if status is None:
        raise LmcError(f"{prepared / name}: data set {name} is not prepared; run `lmc prepare {name}`")
    if status["state"] != "ready":
        return {"not_run": f"data set {name} is {status['state']}: {status.get('reason')}"}, {}
    return draw_batches(exhibit, load_dataset(prepared, name), prepared)


def draw_batches(exhibit: BatchesExhibit, dataset: Dataset, prepared: Path) -> tuple[dict[str, Any], dict[str, Images]]:
    """Return `first_batches` of an open data set; every loader is opened anew, those with equal seeds too."""
    loaders, images = [], {}
    for key, seeds in exhibit.loaders.items():
        batches = _batches(exhibit, seeds, dataset, prepared)
        images[key] = np.stack([to_bytes(inputs, dataset.info) for _, inputs in batches])
        loaders.append(
            {
                "key": key,
                "label": seeds.label,
                "loader": seeds.loader,
                "augmentation": seeds.augmentation,
                "order_sha256": [_sha256(indices.numpy().astype(np.dtype("<i8"))) for indices, _ in batches],
                "sha256": [_sha256(inputs.numpy().astype(np.dtype("<f4"))) for _, inputs in batches],
            }
        )
    info = dataset.info
    found = {
        "dataset": {"name": info.name, "title": info.title, "digest": dataset.digest},
        "augment": exhibit.augment[info.name].model_dump(),
        "batch_size": exhibit.batch_size,
        "loaders": loaders,
    }
    return found, images


def to_bytes(inputs: Tensor, info: DatasetInfo) -> Images:
    """Return normalised inputs float32 [b, channels, H, W] as uint8 from 0 (black) to 255 (the brightest there is)."""
    shape = (-1, 1, 1)
    raw = inputs * torch.tensor(info.std).view(shape) + torch.tensor(info.mean).view(shape)
    shown: Images = (raw.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).numpy()
    return shown


def _batches(
    exhibit: BatchesExhibit, chosen: LoaderSeeds, dataset: Dataset, prepared: Path
) -> list[tuple[Tensor, Tensor]]:
    """Return (sample indices [b], what a network sees float32 [b, channels, H, W]) of the first batches."""
    seeds = [Seeds(trainer=0, loader=chosen.loader, augmentation=chosen.augmentation)]
    # Both kinds of loader give the same bits; this one has nothing to compile.
    loader = open_loader("resident", dataset, prepared, seeds, exhibit.batch_size, drop_last=False, rule="philox")
    augment = exhibit.augment[dataset.info.name]
    view = epoch_view(augment, dataset.info, len(dataset.train), seeds, 0, torch.device("cpu"))
    found = []
    for batch in islice(loader.epoch(0), exhibit.batches):
        found.append((batch.indices[0].clone(), view(batch.images, batch.indices)[0].clone()))
    return found


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

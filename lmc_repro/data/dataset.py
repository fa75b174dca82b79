"""A prepared data set in memory: uint8 images, int64 labels, one digest, one normalisation; label noise."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo, dataset_info
from lmc_repro.config.own_code import short_name
from lmc_repro.data.status import folder_of, require_ready

DIGEST_VERSION = b"lmc-data-1"
LABEL_NOISE_SEED = 2312_09832
"""Fixed seed, of no run: label noise is part of the data, not of SGD's noise."""


@dataclass(frozen=True)
class Split:
    """One half of a data set: images uint8 [n, C, H, W] and labels int64 [n]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def largest_class(self) -> int:
        """The number of samples with the most common label: the best constant predictor's correct answers."""
        return int(self.labels.cpu().bincount().max())

    def to(self, device: torch.device) -> Split:
        """Return the split with its tensors on `device`."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """A data set whose arrays have the recorded digest."""

    info: DatasetInfo
    train: Split
    test: Split
    digest: str

    def to(self, device: torch.device) -> Dataset:
        """Return the data set with its tensors on `device`."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def data_digest(train: Split, test: Split) -> str:
    """Return the sha256 (hex) of the decoded arrays: values, shapes and dtypes of both splits, and no names."""
    digest = hashlib.sha256(DIGEST_VERSION)
    for tensor in (train.images, train.labels, test.images, test.labels):
        digest.update(f"|{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}|".encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).reshape(-1).data)
    return digest.hexdigest()


def load_dataset(prepared_dir: Path, name: str, info: DatasetInfo | None = None) -> Dataset:
    """Read both splits and check them against the digest in status.json.

    `info` defaults to the catalog's entry. LmcError if the data set is absent (with the recorded reason), is not of
    the catalog's shape, or differs from the values that were prepared.
    """
    info, status = info or dataset_info(name), require_ready(prepared_dir, name)
    folder, fix = folder_of(prepared_dir, name), f"run `lmc prepare {short_name(name)}`"
    splits = []
    for half, n in (("train", info.n_train), ("test", info.n_test)):
        path = folder / f"{half}.safetensors"
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise LmcError(f"{path}: cannot be read ({' '.join(str(error).split())}); {fix}") from None
        if set(tensors) != {"images", "labels"}:
            raise LmcError(f"{path}: holds {sorted(tensors)}, not images and labels; {fix}")
        splits.append(Split(tensors["images"], tensors["labels"]))
        check_split(splits[-1], n, info, str(path))
    digest, recorded = data_digest(*splits), str(status.get("digest"))
    if digest != recorded:
        raise LmcError(f"{folder}: the arrays have digest {digest[:12]}, status.json says {recorded[:12]}; {fix}")
    return Dataset(info, splits[0], splits[1], digest)


def check_split(split: Split, n: int, info: DatasetInfo, where: str, fix: str = "") -> None:
    """Raise LmcError, from `where` to `fix`, unless the split has `n` images of the data set's shape and classes."""
    fix = fix or f"delete it and run `lmc prepare {info.name}`"
    if split.images.dtype != torch.uint8 or tuple(split.images.shape) != (n, *info.shape):
        found = f"{split.images.dtype} {list(split.images.shape)}"
        raise LmcError(f"{where}: images are {found}, expected torch.uint8 {[n, *info.shape]}; {fix}")
    if split.labels.dtype != torch.int64 or tuple(split.labels.shape) != (n,):
        found = f"{split.labels.dtype} {list(split.labels.shape)}"
        raise LmcError(f"{where}: labels are {found}, expected torch.int64 {[n]}; {fix}")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= info.classes:
        raise LmcError(f"{where}: labels go from {low} to {high}, expected 0 to {info.classes - 1}; {fix}")
    brightest = int(split.images.max())
    if brightest > info.scale_max:
        raise LmcError(f"{where}: an image has the value {brightest}, expected at most {info.scale_max}; {fix}")


def normalise(images: Tensor, info: DatasetInfo, out: Tensor | None = None) -> Tensor:
    """Return (images / scale_max - mean) / std as float32, one affine map per channel.

    `images` is uint8 [..., C, H, W], `out` an optional float32 tensor of that shape. The map is x * scale + shift as
    two separately rounded float32 operations with scalar constants, so an image's bits depend on nothing but itself.
    """
    if out is None:
        out = torch.empty(images.shape, dtype=torch.float32, device=images.device)
    out.copy_(images)
    channels = [out] if images.shape[-3] == 1 else list(out.unbind(-3))  # one channel: no strided view
    for channel, mean, std in zip(channels, info.mean, info.std, strict=True):
        channel.mul_(float(np.float32(1.0 / (info.scale_max * std)))).add_(float(np.float32(-mean / std)))
    return out


def noisy_labels(labels: npt.NDArray[np.int64], classes: int, share: float) -> npt.NDArray[np.int64]:
    """Return the labels [n] with exactly round(share * n) of them replaced, uniformly among the other classes.

    Raw words of Philox keyed by (LABEL_NOISE_SEED, n, classes) draw the samples and the number of classes by which each
    moves, so no run matters. Shares are nested: a larger one makes all changes of a smaller one, to the same classes.
    """
    n = len(labels)
    words = np.random.Philox(np.random.SeedSequence(LABEL_NOISE_SEED, spawn_key=(n, classes))).random_raw(2 * n)
    chosen = np.argsort(words[:n], kind="stable")[: round(share * n)]
    moves = 1 + ((words[n:] >> np.uint64(32)) * np.uint64(classes - 1) >> np.uint64(32)).astype(np.int64)
    noisy = labels.copy()
    noisy[chosen] = (labels[chosen] + moves[chosen]) % classes
    return noisy


def with_label_noise(dataset: Dataset, share: float) -> Dataset:
    """Return the data set for training: noisy training labels, test split and digest unchanged.

    The digest stays that of the clean arrays, since the share is in the run's config. Do not apply it twice.
    """
    if share == 0.0:
        return dataset
    labels = torch.from_numpy(noisy_labels(dataset.train.labels.cpu().numpy(), dataset.info.classes, share))
    train = Split(dataset.train.images, labels.to(dataset.train.labels.device))
    return replace(dataset, train=train)

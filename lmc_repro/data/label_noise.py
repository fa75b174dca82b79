"""Training labels that are wrong on purpose: the same ones for every run, more of them for a larger share."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from lmc_repro.data.dataset import Dataset, Split

SEED = 2312_09832
"""Of no run: label noise is part of the data, not of SGD's noise."""


def noisy_labels(labels: npt.NDArray[np.int64], classes: int, share: float) -> npt.NDArray[np.int64]:
    """Return the labels [n] with exactly round(share * n) of them replaced, uniformly among the other classes.

    Which ones, and by how many classes each moves, are drawn by raw words of Philox keyed by (SEED, n, classes) and
    so by neither name nor order of a run. Nested: what a share changes, a larger one changes too, to the same class.
    """
    n = len(labels)
    words = np.random.Philox(np.random.SeedSequence(SEED, spawn_key=(n, classes))).random_raw(2 * n)
    chosen = np.argsort(words[:n], kind="stable")[: round(share * n)]
    moves = 1 + ((words[n:] >> np.uint64(32)) * np.uint64(classes - 1) >> np.uint64(32)).astype(np.int64)
    noisy = labels.copy()
    noisy[chosen] = (labels[chosen] + moves[chosen]) % classes
    return noisy


def with_label_noise(dataset: Dataset, share: float) -> Dataset:
    """Return the data set as training sees it: noisy training labels, the test split and the digest as they were.

    The digest stays that of the clean arrays, since the share is in the run's config. Not to be applied twice.
    """
    if share == 0.0:
        return dataset
    labels = torch.from_numpy(noisy_labels(dataset.train.labels.cpu().numpy(), dataset.info.classes, share))
    train = Split(dataset.train.images, labels.to(dataset.train.labels.device))
    return dataclasses.replace(dataset, train=train)

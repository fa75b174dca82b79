"""Label noise: training labels that are wrong on purpose, the same ones for every run."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from lmc_repro.data.dataset import Dataset, Split

SEED = 2312_09832
"""Fixed seed, of no run: label noise is part of the data, not of SGD's noise."""


def noisy_labels(labels: npt.NDArray[np.int64], classes: int, share: float) -> npt.NDArray[np.int64]:
    """Return the labels [n] with exactly round(share * n) of them replaced, uniformly among the other classes.

    Raw words of Philox keyed by (SEED, n, classes) draw the samples and the number of classes by which each moves, so
    no run matters. Shares are nested: a larger one makes all changes of a smaller one, to the same classes.
    """
    n = len(labels)
    words = np.random.Philox(np.random.SeedSequence(SEED, spawn_key=(n, classes))).random_raw(2 * n)
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
    return dataclasses.replace(dataset, train=train)

"""Exactly so many labels are wrong, the same ones for every run, and a larger share keeps the smaller one's."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import tiny_dataset

from lmc_repro.data.label_noise import noisy_labels, with_label_noise

GOLDEN = "ac166d099da043ab69e0ee053ba77d556ad30546761fa617c6e626785c4cc189"


def labels_of(n: int, classes: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) % classes


def test_golden() -> None:
    # If this fails, runs on noisy labels made before saw other labels: raise TRAINING_NUMERICS or mend the change.
    noisy = noisy_labels(labels_of(899, 10), 10, 0.2)
    assert hashlib.sha256(noisy.astype("<i8").tobytes()).hexdigest() == GOLDEN


@pytest.mark.parametrize(("n", "classes", "share", "count"), [(899, 10, 0.1, 90), (53, 4, 0.5, 26), (53, 4, 0.99, 52)])
def test_exactly_so_many_are_replaced_by_another_class(n: int, classes: int, share: float, count: int) -> None:
    clean = labels_of(n, classes)
    noisy = noisy_labels(clean, classes, share)
    assert (noisy != clean).sum() == count and noisy.dtype == np.int64
    assert noisy.min() >= 0 and noisy.max() < classes
    assert np.array_equal(clean, labels_of(n, classes))


def test_every_other_class_is_as_likely() -> None:
    for of in range(4):  # whatever the true class is
        noisy = noisy_labels(np.full(20_000, of), 4, 0.6)
        counts = np.bincount(noisy, minlength=4)
        assert counts[of] == 8000
        assert np.all(np.abs(np.delete(counts, of) / 4000 - 1) < 0.06)


def test_which_ones_does_not_depend_on_the_labels_or_go_by_place() -> None:
    changed = noisy_labels(labels_of(20_000, 10), 10, 0.3) != labels_of(20_000, 10)
    constant = np.full(20_000, 3)
    assert np.array_equal(noisy_labels(constant, 10, 0.3) != constant, changed)
    assert np.all(np.abs(changed.reshape(10, 2000).mean(1) - 0.3) < 0.05)
    other = noisy_labels(labels_of(20_000, 4), 4, 0.3) != labels_of(20_000, 4)
    assert 0.2 < (changed & other).sum() / 6000 < 0.4  # other classes, other draws


def test_nested() -> None:
    clean = labels_of(899, 10)
    noisy = [noisy_labels(clean, 10, share) for share in (0.0, 0.1, 0.2, 0.4)]
    assert np.array_equal(noisy[0], clean)
    for few, more in pairwise(noisy):
        changed = few != clean
        assert np.array_equal(more[changed], few[changed])


def test_training_labels_only_and_the_digest_of_the_clean_data() -> None:
    clean = tiny_dataset()
    noisy = with_label_noise(clean, 0.25)
    assert (noisy.train.labels != clean.train.labels).sum() == 13
    assert noisy.train.images is clean.train.images and noisy.test is clean.test
    assert noisy.digest == clean.digest and torch.equal(clean.train.labels, tiny_dataset().train.labels)
    assert with_label_noise(clean, 0.0) is clean

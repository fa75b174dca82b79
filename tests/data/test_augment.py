"""Draws belong to (seed, epoch, sample); crop, flip and cutout do what a few lines of loops do."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_dataset
from torch import Tensor

from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.config.run import AugmentConfig, EarlyNoise, Seeds
from lmc_repro.data import augment as columns
from lmc_repro.data.augment import FLIP, augment, augmentation_sha256, epoch_draws, epoch_view
from lmc_repro.data.dataset import normalise
from lmc_repro.data.loaders import open_loader

ALL = AugmentConfig(flip=True, crop=4, cutout=16)
CPU = torch.device("cpu")
PLACES = [columns.TOP, columns.LEFT, columns.ROW, columns.COLUMN]

GOLDEN_START = [[0, 5, 8, 18, 25], [0, 6, 2, 25, 6], [1, 3, 0, 12, 0]]
GOLDEN = "25153e279dd240ab1e10888e5460696830307d71145617441a6b9bdd815abd91"


def info(shape: tuple[int, int, int]) -> DatasetInfo:
    """Normalisation by which nothing but the mean becomes 0, another one for each channel."""
    means, stds = (0.301, 0.45, 0.6)[: shape[0]], (0.25, 0.3, 0.2)[: shape[0]]
    return replace(tiny_dataset().info, shape=shape, mean=means, std=stds)


def by_hand(image: np.ndarray, draw: list[int], config: AugmentConfig, of: DatasetInfo) -> Tensor:
    """One image, pixel by pixel: where does the pixel at (y, x) of the result come from?"""
    flip, top, left, row, column = draw
    _, height, width = image.shape
    moved, cut = np.zeros_like(image), np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            seen = width - 1 - x if flip else x  # the flip comes after the crop
            from_y, from_x = y + top - config.crop, seen + left - config.crop
            if 0 <= from_y < height and 0 <= from_x < width:
                moved[:, y, x] = image[:, from_y, from_x]
            above, before = y - (row - config.cutout // 2), x - (column - config.cutout // 2)
            cut[y, x] = 0 <= above < config.cutout and 0 <= before < config.cutout
    inputs = normalise(torch.from_numpy(moved), of)
    inputs[:, torch.from_numpy(cut)] = 0.0  # the cutout after both, and after normalisation
    return inputs


def test_golden() -> None:
    # If this fails, augmented runs made before saw other images: raise TRAINING_NUMERICS or mend the change.
    draws = epoch_draws(ALL, 7, 3, 1000, 32, 28).astype("<i2")
    assert draws[:3].tolist() == GOLDEN_START
    assert hashlib.sha256(draws.tobytes()).hexdigest() == GOLDEN


def test_a_samples_draws_are_its_block_of_the_counter() -> None:
    draws = epoch_draws(ALL, 7, 3, 500, 32, 28)
    for sample in (0, 1, 123, 499):
        stream = np.random.Philox(np.random.SeedSequence(7, spawn_key=(3, 1))).advance(sample)
        flip, crop, cutout, _ = (int(word) for word in stream.random_raw(4))
        expected = [flip >> 63]
        for word, sides in ((crop, (9, 9)), (cutout, (32, 28))):
            expected += [(word >> 32) * sides[0] >> 32, (word % 2**32) * sides[1] >> 32]
        assert draws[sample].tolist() == expected
    assert np.array_equal(epoch_draws(ALL, 7, 3, 200, 32, 28), draws[:200])  # whatever the number of samples


def test_about_half_is_flipped_and_another_half_in_every_epoch() -> None:
    # A seeded flip with one draw an epoch, or a batch, flips all images or none: counts alone would not tell epochs.
    flips = np.stack([epoch_draws(AugmentConfig(flip=True), 0, e, 10_000, 8, 8)[:, FLIP] for e in range(20)])
    assert set(np.unique(flips)) == {0, 1}
    assert np.all(np.abs(flips.mean(1) - 0.5) < 0.025)  # five standard deviations
    assert abs(flips.mean(0).std() - 0.5 / 20**0.5) < 0.005  # a sample's epochs are independent coins
    together = [(flips[a] == flips[b]).mean() for a in range(20) for b in range(a)]
    assert max(np.abs(np.array(together) - 0.5)) < 0.025


def test_places_are_uniform() -> None:
    draws = epoch_draws(ALL, 3, 0, 40_000, 32, 28)
    for column, below in zip(PLACES, (9, 9, 32, 28), strict=True):
        counts = np.bincount(draws[:, column], minlength=below)
        assert len(counts) == below and np.all(np.abs(counts * below / 40_000 - 1) < 0.15)
    for a in range(5):
        for b in range(a):
            assert abs(np.corrcoef(draws[:, a], draws[:, b])[0, 1]) < 0.03


def test_one_operation_moves_no_draw_of_another() -> None:
    whole = epoch_draws(ALL, 1, 2, 100, 32, 28)
    for change, own in (({"flip": True}, [FLIP]), ({"crop": 4}, PLACES[:2]), ({"cutout": 3}, PLACES[2:])):
        part = epoch_draws(AugmentConfig(**change), 1, 2, 100, 32, 28)
        assert np.array_equal(part[:, own], whole[:, own])
        assert not np.delete(part, own, axis=1).any()


def test_seeds_epochs_and_the_loader_seed_of_the_same_number_are_independent() -> None:
    flip = AugmentConfig(flip=True)
    streams = [epoch_draws(flip, seed, epoch, 4000, 8, 8)[:, FLIP] for seed in range(3) for epoch in range(3)]
    for seed in range(3):
        words = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(0,))).random_raw(16_000)  # of epoch_order
        streams += [words[:4000] >> np.uint64(63), words[::4] >> np.uint64(63)]
    for a, one in enumerate(streams):
        for other in streams[:a]:
            assert 0.45 < (one == other).mean() < 0.55


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 8, 6), (2, 4, 9)])
@pytest.mark.parametrize("flip, crop, cutout", [(1, 0, 0), (0, 2, 0), (0, 0, 3), (1, 1, 2), (1, 6, 30)])
def test_images_are_those_of_a_loop_over_pixels(
    flip: bool, crop: int, cutout: int, shape: tuple[int, int, int]
) -> None:
    """The last may push an image out, or blot it out, altogether."""
    config = AugmentConfig(flip=bool(flip), crop=crop, cutout=cutout)
    words = np.random.Philox(5).random_raw(60 * int(np.prod(shape)))
    images = (words >> np.uint64(56)).astype(np.uint8).reshape(60, *shape)
    draws = epoch_draws(config, 0, 0, 60, *shape[1:])
    found = augment(torch.from_numpy(images), torch.from_numpy(draws), config, info(shape))
    pairs = zip(images, draws, strict=True)
    expected = torch.stack([by_hand(image, draw.tolist(), config, info(shape)) for image, draw in pairs])
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    assert len({draw.tobytes() for draw in draws}) > 1


def seen(seeds: list[Seeds], batch: int, epoch: int) -> tuple[Tensor, Tensor]:
    """Return what each child sees of each sample, [C, n, ch, H, W] by index, and the order [C, n] it sees them in."""
    dataset = tiny_dataset()
    config = AugmentConfig(flip=True, crop=2, cutout=2)
    loader = open_loader("resident", dataset, Path("unused"), seeds, batch, False, "philox")
    view = epoch_view(config, dataset.info, 53, seeds, epoch, CPU)
    result = torch.full((len(seeds), 53, *dataset.info.shape), torch.nan)
    orders = []
    for images, _, indices in loader.epoch(epoch):
        inputs = view(images, indices)
        for child, row in enumerate(indices):
            result[child, row] = inputs[child]
        orders.append(indices.clone())
    return result, torch.cat(orders, 1)


def test_a_sample_looks_the_same_in_any_batch_stack_and_order() -> None:
    one = Seeds(trainer=0, loader=4, augmentation=9)
    whole, order = seen([one], 53, 1)
    assert not whole.isnan().any() and len(whole[0].unique(dim=0)) == 53
    other_order = Seeds(trainer=0, loader=5, augmentation=9)
    others = [Seeds(trainer=1, loader=7, augmentation=2), other_order, one]
    for seeds, batch in (([one], 10), (others, 7), ([one, *others], 1)):
        found, orders = seen(seeds, batch, 1)
        for child, given in enumerate(seeds):
            if given.augmentation == 9:  # another loader seed leaves every sample's augmentation as it was
                assert torch.equal(found[child], whole[0])
                assert torch.equal(orders[child], order[0]) == (given.loader == 4)
            else:
                assert not torch.equal(found[child], whole[0])


def test_seeds_draw_for_their_epochs_and_leave_the_order_as_it_was() -> None:
    plain = [Seeds(trainer=0, loader=4, augmentation=s) for s in (0, 1)]
    (a, order), (b, other) = (seen([seeds], 10, 1) for seeds in plain)
    assert torch.equal(order, other) and (a != b).flatten(2).any(2).float().mean() > 0.9
    early = EarlyNoise(until=2, loader=4, augmentation=0)
    shared = Seeds(trainer=0, loader=4, augmentation=1, early=early)
    for epoch, like in enumerate((0, 0, 1, 1)):
        assert torch.equal(seen([shared], 10, epoch)[0], seen([plain[like]], 10, epoch)[0])


def test_recorded_digest_is_that_of_the_draws() -> None:
    of = info((1, 5, 4))
    seeds = Seeds(trainer=0, loader=0, augmentation=3, early=EarlyNoise(until=1, loader=0, augmentation=8))
    draws = [epoch_draws(ALL, seed, epoch, 11, 5, 4).astype("<i2") for epoch, seed in enumerate((8, 3, 3))]
    assert augmentation_sha256(ALL, of, 11, seeds, 3) == hashlib.sha256(np.concatenate(draws).tobytes()).hexdigest()


def test_without_augmentation_images_are_only_normalised() -> None:
    dataset = tiny_dataset()
    view = epoch_view(None, dataset.info, 53, [Seeds(trainer=0, loader=0)], 0, CPU)
    images = dataset.train.images.unsqueeze(0)
    assert torch.equal(view(images, torch.arange(53).unsqueeze(0)), normalise(images, dataset.info))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_gpu_gives_the_same_bits() -> None:
    dataset = tiny_dataset(shape=(3, 5, 5))
    config = AugmentConfig(flip=True, crop=2, cutout=2)
    seeds = [Seeds(trainer=0, loader=0, augmentation=s) for s in (0, 1)]
    indices = torch.arange(53).expand(2, 53)
    images = dataset.train.images[indices]
    on_cpu, on_gpu = (
        epoch_view(config, dataset.info, 53, seeds, 0, device)(images.to(device), indices).cpu()
        for device in (CPU, torch.device("cuda"))
    )
    assert torch.equal(on_cpu, on_gpu)

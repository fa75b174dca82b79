"""Augmentation: a function of the augmentation seed, sample and epoch alone."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.config.own_code import short_name
from lmc_repro.config.registry import AUGMENTATIONS, build
from lmc_repro.config.run import AugmentConfig, Seeds, StepSettings
from lmc_repro.data.dataset import normalise

Words = npt.NDArray[np.uint64]
View = Callable[[Tensor, Tensor], Tensor]
"""From a batch's images uint8 [C, b, ch, H, W] and sample indices int64 [C, b] to inputs float32, of images' shape."""

FLIP, TOP, LEFT, ROW, COLUMN = range(5)
"""Draws per sample: flip, top left corner of the crop, centre of the cutout."""

_STREAM = 1  # an augmentation seed shares no words with the loader seed of the same number, whose key is (epoch,)
_STEPS = 2  # a step of the registry shares none with these either


def epoch_draws(config: AugmentConfig, seed: int, epoch: int, n: int, height: int, width: int) -> npt.NDArray[np.int16]:
    """Return the draws [n, 5] of samples 0..n-1 in `epoch`: columns FLIP, TOP, LEFT, ROW, COLUMN.

    Sample i has block i, four raw words, of Philox (Salmon et al. 2011) keyed by (seed, epoch), so its draws do not
    depend on batch, order, workers, the stack or the point of resumption. Word 0 decides the flip, 1 the crop, 2
    the cutout: switching one off moves none of the others. Raw words are what numpy promises to keep.
    """
    stream = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch, _STREAM)))
    words = stream.random_raw(4 * n).reshape(n, 4)
    draws = np.zeros((n, 5), dtype=np.int16)
    if config.flip:
        draws[:, FLIP] = words[:, 0] >> np.uint64(63)
    if config.crop:
        draws[:, TOP], draws[:, LEFT] = _two_below(words[:, 1], 2 * config.crop + 1, 2 * config.crop + 1)
    if config.cutout:
        draws[:, ROW], draws[:, COLUMN] = _two_below(words[:, 2], height, width)
    return draws


def step_draws(kind: str, seed: int, epoch: int, n: int) -> npt.NDArray[np.float32]:
    """Return four uniform numbers in [0, 1) for each of samples 0..n-1 in `epoch`, [n, 4], for a step of this kind.

    Each kind has words of its own, by its name without the pin, so that one more step moves the draws of no other.
    """
    own = zlib.crc32(short_name(kind).encode())
    stream = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch, _STEPS, own)))
    words = stream.random_raw(4 * n).reshape(n, 4)
    return (words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def augment(images: Tensor, draws: Tensor, config: AugmentConfig, info: DatasetInfo) -> Tensor:
    """Return normalised inputs float32 of images uint8 [N, ch, H, W] after crop, flip and cutout by draws [N, 5].

    Crop and flip move bytes; the crop's padding is 0 in the raw image, before normalisation. The cutout comes after
    it, where the data set's mean is exactly 0: no byte could hold it. Its square is cut off at the image's border.
    """
    draws, (height, width) = draws.long(), images.shape[-2:]
    if config.crop:
        images = _crop(images, draws, config.crop)
    if config.flip:
        images = torch.where(draws[:, FLIP].bool().view(-1, 1, 1, 1), images.flip(-1), images)
    inputs = normalise(images, info)
    if config.cutout:
        inputs.masked_fill_(_square(draws, config.cutout, height, width), 0.0)
    return inputs


def epoch_view(
    config: AugmentConfig | None, info: DatasetInfo, n: int, seeds: Sequence[Seeds], epoch: int, device: torch.device
) -> View:
    """Return the augmentation of n training images in `epoch` for C runs; moves draws to `device` once."""
    if config is None:
        return lambda images, indices: normalise(images, info)
    draws = [drawn.to(device) for drawn in stack_draws(config, info, n, seeds, epoch)]
    return lambda images, indices: augmented(images, indices.to(device), draws, config, info)


def stack_draws(config: AugmentConfig, info: DatasetInfo, n: int, seeds: Sequence[Seeds], epoch: int) -> list[Tensor]:
    """Return the draws of C runs in `epoch`: int16 [C, n, 5], and float32 [C, n, 4] for each of config.steps."""
    _, height, width = info.shape
    drawn = np.stack([epoch_draws(config, _seed(run, epoch), epoch, n, height, width) for run in seeds])
    numbers = [np.stack([step_draws(step.kind, _seed(run, epoch), epoch, n) for run in seeds]) for step in config.steps]
    return [torch.from_numpy(drawn), *map(torch.from_numpy, numbers)]


def augmented(
    images: Tensor, indices: Tensor, draws: Sequence[Tensor], config: AugmentConfig, info: DatasetInfo
) -> Tensor:
    """Return the inputs of a batch: images uint8 [C, b, ch, H, W] of samples [C, b] after their runs' draws."""
    chosen = [drawn.gather(1, indices.unsqueeze(2).expand(-1, -1, drawn.shape[2])).flatten(0, 1) for drawn in draws]
    inputs = augment(images.flatten(0, 1), chosen[0], config, info)
    for step, numbers in zip(config.steps, chosen[1:], strict=True):
        inputs = _step(step)(inputs, numbers)
    return inputs.view(images.shape)


def augmentation_sha256(config: AugmentConfig, info: DatasetInfo, n: int, seeds: Seeds, epochs: int) -> str:
    """Return the sha256 (hex) of the draws of all epochs, as little-endian int16: a run's augmentation noise."""
    _, height, width = info.shape
    digest = hashlib.sha256()
    for epoch in range(epochs):
        draws = epoch_draws(config, _seed(seeds, epoch), epoch, n, height, width)
        digest.update(draws.astype(np.dtype("<i2")).tobytes())
        for step in config.steps:
            numbers = step_draws(step.kind, _seed(seeds, epoch), epoch, n)
            digest.update(numbers.astype(np.dtype("<f4")).tobytes())
    return digest.hexdigest()


@cache
def _step(settings: StepSettings) -> Callable[[Tensor, Tensor], Tensor]:
    step: Callable[[Tensor, Tensor], Tensor] = build(AUGMENTATIONS, settings)
    return step


def _seed(seeds: Seeds, epoch: int) -> int:
    seed = seeds.augmentation_at(epoch)
    if seed is None:
        raise ValueError("seeds.augmentation: null, but something is augmented")
    return seed


def _two_below(words: Words, high: int, low: int) -> tuple[Words, Words]:
    """Return uniform numbers below `high` and below `low` from the two halves of each word (uneven by 2^-32)."""
    half = np.uint64(32)
    upper, lower = words >> half, words & np.uint64(2**32 - 1)
    return (upper * np.uint64(high)) >> half, (lower * np.uint64(low)) >> half


def _crop(images: Tensor, draws: Tensor, margin: int) -> Tensor:
    """Return the windows of `images` [N, ch, H, W], padded by `margin` zeros on every side, from (TOP, LEFT) on."""
    n, channels, height, width = images.shape
    padded = functional.pad(images, (margin,) * 4)
    tall, wide = padded.shape[-2:]
    planes = torch.arange(n * channels, device=images.device).view(n, channels, 1) * tall
    rows = torch.arange(height, device=images.device) + draws[:, TOP].view(n, 1, 1)
    starts = (planes + rows) * wide + draws[:, LEFT].view(n, 1, 1)
    # Row by row: a window's row is `width` bytes in a line, which is faster than pixel by pixel.
    return padded.flatten().unfold(0, width, 1).index_select(0, starts.flatten()).view(images.shape)


def _square(draws: Tensor, side: int, height: int, width: int) -> Tensor:
    """Return the mask [N, 1, H, W] of squares of `side` pixels around (ROW, COLUMN), above left of it if even."""
    rows = torch.arange(height, device=draws.device) - draws[:, ROW, None] + side // 2
    columns = torch.arange(width, device=draws.device) - draws[:, COLUMN, None] + side // 2
    rows, columns = (rows >= 0) & (rows < side), (columns >= 0) & (columns < side)
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)

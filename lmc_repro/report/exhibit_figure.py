"""Batches as grids of images: a line a loader, its batches side by side, pixels as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lmc_repro.drawing import QUIET, drawing_style, render

# In points. Every pixel of an image is a whole number of points, and of dots, in both files: none is blurred.
_SIDE, _GAP, _BETWEEN, _NAME, _EDGE = 32, 2, 14, 16, 8
_DPI = 144


def batches_figure(found: Mapping[str, Any], images: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, bytes]:
    """Return {"png": bytes, "svg": bytes} of uint8 images [batches, b, channels, H, W] by the keys of the loaders.

    Above each batch stands the beginning of its sha256. KeyError where a loader has no images.
    """
    from matplotlib.figure import Figure

    loaders = found["loaders"]
    batches, size, _, height, wide = images[loaders[0]["key"]].shape
    scale = max(1, _SIDE // wide)
    across, down = size * (scale * wide + _GAP) - _GAP, scale * height
    width = 2 * _EDGE + batches * (across + _BETWEEN) - _BETWEEN
    total = 2 * _EDGE + len(loaders) * (_NAME + down + _GAP)
    with drawing_style():
        figure = Figure(figsize=(width / 72, total / 72))
        for i, loader in enumerate(loaders):
            top = total - _EDGE - i * (_NAME + down + _GAP)
            for j in range(batches):
                left = _EDGE + j * (across + _BETWEEN)
                place = (left / width, (top - _NAME - down) / total, across / width, down / total)
                axes = figure.add_axes(place)
                axes.imshow(_strip(images[loader["key"]][j], scale), interpolation="nearest", aspect="auto")
                axes.set_axis_off()
                height_of_text = (top - _NAME + 3) / total
                sha = loader["sha256"][j][:12]
                end = ((left + across) / width, height_of_text)
                figure.text(*end, sha, ha="right", va="bottom", fontsize=6.0, color=QUIET)
                if j == 0:
                    figure.text(left / width, height_of_text, loader["label"], va="bottom")
        return render(figure, _DPI)


def _strip(batch: npt.NDArray[np.uint8], scale: int) -> npt.NDArray[np.uint8]:
    """Return a batch [b, channels, H, W] side by side as [H, across, 3], `scale` dots a pixel, white between images."""
    pixels = batch.repeat(scale, axis=2).repeat(scale, axis=3).transpose(0, 2, 3, 1)
    if pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, axis=-1)
    size, height, wide, _ = pixels.shape
    strip = np.full((height, size * (wide + _GAP) - _GAP, 3), 255, dtype=np.uint8)
    for i, image in enumerate(pixels):
        strip[:, i * (wide + _GAP) : i * (wide + _GAP) + wide] = image
    return strip

"""Figure 4 and appendix A.1: the first batches of loaders with equal and with other seeds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes
from lmc_repro.config.exhibit import BatchesExhibit
from lmc_repro.config.own_code import short_name
from lmc_repro.config.params import Params
from lmc_repro.config.run import Seeds
from lmc_repro.data.status import read_status, require_ready
from lmc_repro.report.agreement import NOT_COUNTED
from lmc_repro.report.contents import Shown
from lmc_repro.report.figures import QUIET, drawing_style, render
from lmc_repro.report.grid import NONE
from lmc_repro.report.model import Figure, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lmc_repro.data.dataset import Dataset

    Images = npt.NDArray[np.uint8]

# In points. Every pixel of an image is a whole number of points, and of dots, in both files: none is blurred.
_SIDE, _GAP, _BETWEEN, _NAME, _EDGE = 32, 2, 14, 16, 8
_DPI = 144


def shown_dataset(exhibit: BatchesExhibit, params: Params) -> str:
    """Return the data set whose batches are drawn under the active profile."""
    return params.profiles[params.profile].replace_dataset or exhibit.dataset


def check(exhibit: BatchesExhibit, params: Params, where: str) -> None:
    """Raise LmcError, which begins with `where`, if the active profile cannot draw batches."""
    dataset, profile = shown_dataset(exhibit, params), params.profile
    if dataset not in params.profiles[profile].datasets:
        raise LmcError(f"{where}: data set {dataset!r} is not in profiles.{profile}.datasets; add it")
    if dataset not in exhibit.augment:
        found = ", ".join(exhibit.augment)
        raise LmcError(f"{where}.augment: found {found}, but profile {profile} draws {dataset}; add it")


def make(exhibit: BatchesExhibit, name: str, prepared: Path) -> tuple[dict[str, Any], dict[str, Images]]:
    """Return the content of exhibit.json, hashes of every loader's first batches, and the images to draw.

    Args:
        exhibit: Loaders, batch size and augmentation.
        name: The data set; one that is not ready is `not_run` with the recorded reason.
        prepared: The folder of the prepared data sets.

    Returns:
        Images are uint8 [batches, b, channels, H, W] by the loaders' keys.

    Raises:
        LmcError: The data set was not prepared at all.
    """
    status = read_status(prepared, name) or require_ready(prepared, name)
    if status["state"] != "ready":
        return {"not_run": f"data set {name} is {status['state']}: {status.get('reason')}"}, {}
    from lmc_repro.data.dataset import load_dataset

    return draw_batches(exhibit, load_dataset(prepared, name), prepared)


def draw_batches(exhibit: BatchesExhibit, dataset: Dataset, prepared: Path) -> tuple[dict[str, Any], dict[str, Images]]:
    """Return the same of an open data set; every loader is opened anew, those with equal seeds too."""
    import torch

    from lmc_repro.data.augment import epoch_view
    from lmc_repro.data.loaders import open_loader

    info, augment = dataset.info, exhibit.augment[dataset.info.name]
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (info.mean, info.std))
    loaders, images = [], {}
    for key, chosen in exhibit.loaders.items():
        seeds = [Seeds(trainer=0, loader=chosen.loader, augmentation=chosen.augmentation)]
        # Both kinds of loader give the same bits; this one has nothing to compile.
        loader = open_loader("resident", dataset, prepared, seeds, exhibit.batch_size, drop_last=False, rule="philox")
        view = epoch_view(augment, info, len(dataset.train), seeds, 0, torch.device("cpu"))
        orders, hashes, drawn = [], [], []
        for batch in islice(loader.epoch(0), exhibit.batches):
            inputs = view(batch.images, batch.indices)[0]  # a network's inputs: float32 [b, channels, H, W]
            orders.append(sha256_bytes(batch.indices[0].numpy().astype("<i8").tobytes()))
            hashes.append(sha256_bytes(inputs.numpy().astype("<f4").tobytes()))
            drawn.append(((inputs * std + mean).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8))
        images[key] = torch.stack(drawn).numpy()
        loaders.append({"key": key, **chosen.model_dump(), "order_sha256": orders, "sha256": hashes})
    data = {"name": info.name, "title": info.title, "digest": dataset.digest}
    sizes = {"augment": augment.model_dump(), "batch_size": exhibit.batch_size}
    return {"dataset": data, **sizes, "loaders": loaders}, images


def show(found: dict[str, Any]) -> Shown:
    """Return the hashes of every loader's batches, and whether they are as the seeds say."""
    first, rows, wrong = found["loaders"][0], [], []
    for loader in found["loaders"]:
        order = loader["loader"] == first["loader"]
        expected = (order, order and loader["augmentation"] == first["augmentation"])
        same = tuple(loader[name] == first[name] for name in ("order_sha256", "sha256"))
        if same != expected:
            wrong.append(loader["label"])
        verdict = NONE if loader is first else "yes" if same == expected else "no"
        hashes = " ".join(sha[:12] for sha in loader["sha256"])
        rows.append((loader["label"], *("same" if equal else "other" for equal in same), verdict, hashes))
    steps = (name if value is True else f"{name} {value}" for name, value in found["augment"].items() if value)
    kinds = short_name(", ".join(steps))
    shows = (
        f"The first {len(first['sha256'])} batches of {found['batch_size']} images of {found['dataset']['title']} "
        f"({kinds}), a loader a line. Equal seeds are to give equal batches; another augmentation seed the same "
        "images in the same order, changed otherwise; another loader seed another order."
    )
    others, but = len(rows) - 1, f"; not {', '.join(wrong)}" if wrong else ""
    outcome = f"Held to the first loader, {others - len(wrong)} of {others} others are as their seeds say{but}"
    agrees = NOT_COUNTED if found["analogue"] else f"This {'disagrees' if wrong else 'agrees'} with the paper."
    header = ("loader", "order", "images as seen", "as its seeds say", "sha256 of each batch as seen")
    return f"{outcome}. {agrees}", shows, (Table("Held to the first loader", header, tuple(rows)),)


def draw(found: Mapping[str, Any], images: Mapping[str, Images], alt: str) -> Figure:
    """Return the figure of the images of `make`: a line per loader, its batches side by side, pixels unscaled.

    Above each batch stands the beginning of its sha256. KeyError: a loader has no images.
    """
    import numpy as np
    from matplotlib.figure import Figure as Drawing

    loaders = found["loaders"]
    batches, size, _, height, wide = images[loaders[0]["key"]].shape
    scale = max(1, _SIDE // wide)
    across, down = size * (scale * wide + _GAP) - _GAP, scale * height
    width = 2 * _EDGE + batches * (across + _BETWEEN) - _BETWEEN
    total = 2 * _EDGE + len(loaders) * (_NAME + down + _GAP)
    with drawing_style():
        figure = Drawing(figsize=(width / 72, total / 72))
        for i, loader in enumerate(loaders):
            top = total - _EDGE - i * (_NAME + down + _GAP)
            above = (top - _NAME + 3) / total
            for j, batch in enumerate(images[loader["key"]]):
                left = _EDGE + j * (across + _BETWEEN)
                axes = figure.add_axes((left / width, (top - _NAME - down) / total, across / width, down / total))
                pixels = batch.repeat(scale, axis=2).repeat(scale, axis=3).transpose(0, 2, 3, 1)
                strip = np.full((down, size, scale * wide + _GAP, 3), 255, dtype=np.uint8)  # white in between
                strip[:, :, : scale * wide] = pixels.transpose(1, 0, 2, 3)  # one channel is grey: it fills all three
                axes.imshow(strip.reshape(down, -1, 3)[:, :-_GAP], interpolation="nearest", aspect="auto")
                axes.set_axis_off()
                end, sha = (left + across) / width, loader["sha256"][j][:12]
                figure.text(end, above, sha, ha="right", va="bottom", fontsize=6.0, color=QUIET)
                if j == 0:
                    figure.text(left / width, above, loader["label"], va="bottom")
        return Figure(found["key"], alt, render(figure, _DPI), shown="png")

"""Scores of a stack over a whole split: wrong predictions, mean loss, and metrics of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.data.dataset import Split, normalise
from lmc_repro.models.base import Forward, Weights

# Small enough that activations of eleven points stay in the caches: with 1,000 images a CNN takes twice as long. No
# bit differed between the two, but a matrix library may choose other kernels for another batch.
BATCH = 250
GPU_BATCH = 2000  # a GPU would wait for the launches of smaller ones


@dataclass(frozen=True)
class PathMetric:
    """A number per network: the mean over a split's samples, or what `finish` makes of sums over them.

    Attributes:
        name: A column of curves.csv.
        sums: From logits float32 [P, b, classes] of P networks and labels int64 [b] to the sums over the batch: [P],
            or with `finish` [P, k].
        finish: From the sums float64 [P, k] over a split, and its number of samples, to the values [P].
        ensemble: The logits are (1 - alpha) z_0 + alpha z_1 of the ends' logits, not those of the path's networks.
    """

    name: str
    sums: Callable[[Tensor, Tensor], Tensor]
    finish: Callable[[Tensor, int], Tensor] | None = None
    ensemble: bool = False


@dataclass(frozen=True)
class Score:
    """Wrong predictions out of n, the mean cross-entropy in nats, and means of metrics by name; None if not finite."""

    wrong: int
    n: int
    loss: float | None
    columns: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """Share of wrong predictions."""
        return self.wrong / self.n


def predicted(logits: Tensor) -> Tensor:
    """Return the class [...] of the largest of logits [..., classes]; -1, always wrong, where one is not finite."""
    chosen = logits.argmax(-1)
    chosen[~torch.isfinite(logits).all(-1)] = -1
    return chosen


def images_at_once(device: torch.device) -> int:
    """Return how many images an evaluation on this device takes at once."""
    return GPU_BATCH if device.type == "cuda" else BATCH


@torch.no_grad()
def outputs(model: Forward, weights: Weights, split: Split, info: DatasetInfo) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits [C, b, classes] of stacked weights and labels int64 [b], for a few images of a split at a time.

    All networks see the same images; there is no augmentation.
    """
    networks = next(iter(weights.values())).shape[0]
    device = next(iter(weights.values())).device
    size = images_at_once(device)
    for start in range(0, len(split), size):
        images = normalise(split.images[start : start + size].to(device), info)
        labels = split.labels[start : start + size].to(device)
        yield model.forward(weights, images.expand(networks, *images.shape)), labels


def predict(model: Forward, weights: Weights, split: Split, info: DatasetInfo) -> Tensor:
    """Return predictions int64 [C, n] of stacked weights, see `predicted`."""
    return torch.cat([predicted(logits) for logits, _ in outputs(model, weights, split, info)], 1)


@torch.no_grad()
def evaluate(
    model: Forward, weights: Weights, split: Split, info: DatasetInfo, metrics: Sequence[PathMetric] = ()
) -> list[Score]:
    """Return the score of each network of stacked weights on a whole split."""
    wrong, losses = [], []
    sums: dict[str, list[Tensor]] = {metric.name: [] for metric in metrics}
    for logits, labels in outputs(model, weights, split, info):
        wrong.append((predicted(logits) != labels).sum(1))
        flat = functional.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none")
        losses.append(flat.view(len(logits), -1).double())
        for metric in metrics:
            sums[metric.name].append(_sums(metric, logits, labels))
    counts = torch.stack(wrong).sum(0).tolist()
    means = torch.cat(losses, 1).mean(1).tolist()
    columns = {}
    for metric in metrics:
        total = torch.stack(sums[metric.name]).sum(0)
        columns[metric.name] = (metric.finish(total, len(split)) if metric.finish else total / len(split)).tolist()
    return [
        Score(count, len(split), finite(mean), {name: finite(column[i]) for name, column in columns.items()})
        for i, (count, mean) in enumerate(zip(counts, means, strict=True))
    ]


def _sums(metric: PathMetric, logits: Tensor, labels: Tensor) -> Tensor:
    """Return a metric's sums float64 over a batch; LmcError that names it if it fails, or returns another shape."""
    found = own_code(f"metric {metric.name}", lambda: metric.sums(logits.clone(), labels))
    wanted = f"[{len(logits)}, k]" if metric.finish else f"[{len(logits)}]"
    if not isinstance(found, Tensor) or found.ndim != (2 if metric.finish else 1) or len(found) != len(logits):
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise LmcError(f"metric {metric.name}: returned {shape}, expected sums {wanted}")
    return found.double()


def finite(value: float) -> float | None:
    """Return a number, None for one that is not finite."""
    return value if math.isfinite(value) else None

"""Objects of docs/extending.md for a path, and a callback: a study of params.yaml names each by `lab.py:NAME`."""

import torch

from lmc_repro.barriers.alignment import permuted, units
from lmc_repro.training.evaluate import PathMetric


def lead(logits, labels):
    """By how much the true class leads the best other one: logits [P, b, classes], labels [b] -> sums [P]."""
    place = labels.expand(len(logits), -1).unsqueeze(2)
    others = logits.scatter(2, place, -torch.inf).amax(2)
    return (logits.gather(2, place).squeeze(2) - others).sum(1)


margin = PathMetric("margin", lead)


def mirrored(model, theta_0, theta_1, dataset, seed):
    """The units of every group in reverse: the same function, elsewhere."""
    axes = model.axes()
    return permuted(theta_1, axes, {name: torch.arange(units(axes, name)).flip(0) for name in axes})


def nearest_end(model, ends, dataset):
    """Every inner point becomes the end that is nearer: no path at all."""

    def repaired(theta_alpha):
        away = [sum((theta_alpha[name] - end[name]).square().sum() for name in end) for end in ends]
        return ends[0] if away[0] <= away[1] else ends[1]

    return repaired


def note_norm(evaluation):
    """Append epoch and length of the weights to a file in each run's folder."""
    squares = sum(weights.square().flatten(1).sum(1) for weights in evaluation.weights.values())
    for folder, square in zip(evaluation.folders, squares.tolist(), strict=True):
        with open(folder.path.with_suffix(".norms"), "a") as file:
            file.write(f"{evaluation.epoch:g} {square**0.5:.3f}\n")

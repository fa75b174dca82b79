"""A grouped convolution, whose two paths are kept apart, and so the units of each: written down, not derived."""

from torch import nn

from lmc_repro.models.base import Place


class TwoPaths(nn.Sequential):
    def axes(self):
        (width, colours, *window), (outputs, inputs, *_) = self[0].weight.shape, self[2].weight.shape
        axes = {"hidden": {"6.weight": 0, "6.bias": 0, "8.weight": 1}}  # group: each weight, and the side of its units
        for path in (0, 1):  # the same, where units are a part of a side: the weight as seen here, their side, the rest
            of_path = ((0, path),)
            axes[f"first.{path}"] = [
                Place("0.weight", (2, width // 2, colours, *window), 1, of_path),
                Place("0.bias", (2, width // 2), 1, of_path),
                Place("2.weight", (2, outputs // 2, inputs, *window), 2, of_path),
            ]
        return axes


def build(info, width=8):
    layers = [
        nn.Conv2d(info.shape[0], width, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, 1, 1, groups=2),
        nn.ReLU(),
    ]
    head = [
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, width),
        nn.ReLU(),
        nn.Linear(width, info.classes),
    ]
    return TwoPaths(*layers, *head)

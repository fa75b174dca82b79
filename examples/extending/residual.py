"""A network with skips: a linear map, `blocks` of x + W relu(x), and a linear map to the classes."""

from torch import Tensor

from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.config.run import ModelSettings
from lmc_repro.models.base import FromShapes, Weights
from lmc_repro.models.products import affine


class Residual(FromShapes):
    class Config(ModelSettings):
        width: int
        blocks: int

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        self.config = config
        sides = [info.features, *[config.width] * (config.blocks + 1), info.classes]
        self.shapes = {f"maps.{i}.weight": (sides[i + 1], sides[i]) for i in range(len(sides) - 1)}

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        first, *blocks, last = (weights[name] for name in self.shapes)
        x = affine(inputs.flatten(2), first)
        for matrix in blocks:
            x = x + affine(x.relu(), matrix)
        return affine(x, last)

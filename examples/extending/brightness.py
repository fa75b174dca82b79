"""Every image becomes brighter or darker by up to `by` standard deviations."""

from torch import Tensor

from lmc_repro.config.run import StepSettings


class Brightness:
    class Config(StepSettings):
        by: float

    def __init__(self, config: Config) -> None:
        self.by = config.by

    def __call__(self, inputs: Tensor, draws: Tensor) -> Tensor:
        shift = self.by * (2.0 * draws[:, 0] - 1.0)
        return inputs + shift.view(-1, 1, 1, 1)

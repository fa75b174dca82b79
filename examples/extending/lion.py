"""Lion: the sign of a mean of gradients (Chen et al. 2023, arXiv 2302.06675)."""

from torch import Tensor

from lmc_repro.config.run import OptimizerSettings


class Lion:
    class Config(OptimizerSettings):
        beta1: float
        beta2: float

    def __init__(self, config: Config, like: Tensor) -> None:
        self.config, self.state = config, {"mean": like.new_zeros(like.shape)}

    def numbers(self, rates: Tensor, step: int) -> tuple[Tensor]:
        return (rates,)

    def update(self, weights: Tensor, gradient: Tensor, rates: Tensor) -> None:
        c, mean = self.config, self.state["mean"]
        direction = (mean * c.beta1).add_(gradient * (1.0 - c.beta1)).sign_()
        weights.sub_(direction.mul_(rates))
        mean.mul_(c.beta2).add_(gradient.mul_(1.0 - c.beta2))

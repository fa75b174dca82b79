"""SGD with momentum, SAM, ADAM, AdamW and Muon on the whole stack at once, with a learning rate per run.

Every operation rounds once (no fused multiply-add), so that vector and scalar code give the same bits wherever a
run's row lies in the buffer. Definitions as in torch.optim.
"""

from __future__ import annotations

import math
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from lmc_repro.common.errors import LmcError
from lmc_repro.config.registry import OPTIMIZERS, build
from lmc_repro.config.run import AdamConfig, AdamWConfig, ClipConfig, MuonConfig, OptimizerConfig, SamConfig, SgdConfig
from lmc_repro.models.products import matmul
from lmc_repro.training.stack import Layout

Number = Tensor | float


class StackOptimizer(Protocol):
    """Updates weights [C, size] in place; `state` are its buffers by name, [C, size] each, for checkpoints."""

    state: dict[str, Tensor]

    def numbers(self, rates: Tensor, step: int) -> tuple[Number, ...]:
        """Return the factors and divisors of step `step` (from 0) with `rates` [C, 1]: all that differs by step."""
        ...

    def update(self, weights: Tensor, gradient: Tensor, *numbers: Number) -> None:
        """Take a step with its `numbers`, or with tensors that hold them; `gradient` may be overwritten."""
        ...


@runtime_checkable
class Ascending(Protocol):
    """Optional interface of an optimizer whose gradient is that of other weights than those that it updates."""

    def ascend(self, weights: Tensor, gradient: Tensor) -> None:
        """Move weights [C, size] in place, by their gradient, to where the update's gradient is computed."""
        ...

    def descend(self, weights: Tensor) -> None:
        """Move the weights back, to the bit."""
        ...


@runtime_checkable
class LaidOut(Protocol):
    """Optional interface of an optimizer that treats some weights unlike others."""

    def lay_out(self, layout: Layout) -> None:
        """Note where each weight lies in a row; called once, before the first step.

        Raises:
            LmcError: The network has no weight of the kind that the optimizer is for.
        """
        ...


def square_root(x: Tensor, out: Tensor) -> None:
    """Write the square roots of `x` [...] into `out` (it may be `x`), correctly rounded on every CPU.

    torch's own are MKL's on a CPU: one in 170 lies off by a bit, and which ones depends on the vendor.
    """
    if x.is_cuda:
        torch.sqrt(x, out=out)
    else:
        np.sqrt(x.numpy(), out=out.numpy())


def row_norms(gradient: Tensor) -> Tensor:
    """Return the Euclidean norm of each row, float64 [C]."""
    # In float64, since the square of 1e20 is not finite in float32. Rows are summed one by one, whatever C is.
    norms = gradient.double().square_().sum(1)
    square_root(norms, out=norms)
    return norms


def clip(gradient: Tensor, config: ClipConfig) -> None:
    """Clip a stack's gradient [C, size] in place: every entry to [-value, value], or each row to a Euclidean norm.

    The norm is that of all of a run's tensors together; its gradient is multiplied by min(1, limit / norm), as
    torch.nn.utils.clip_grad_norm_ does but for the 1e-6 that it adds to the norm. A row with an entry that is not
    finite keeps one under `norm`; the other rows are unaffected.
    """
    if config.value is not None:
        gradient.clamp_(-config.value, config.value)
    if config.norm is not None:
        norms = row_norms(gradient)
        gradient.mul_((config.norm / norms).clamp_(max=1.0).to(gradient.dtype).unsqueeze(1))


def decay(weights: Tensor, gradient: Tensor, weight_decay: float, scratch: Tensor) -> None:
    """Add weight_decay * weights to the gradient, as torch.optim.SGD and Adam do; nothing is done for 0."""
    if weight_decay:
        gradient.add_(torch.mul(weights, weight_decay, out=scratch))


class Sgd:
    """buf = momentum * buf + gradient; weights -= rate * buf."""

    def __init__(self, config: SgdConfig | SamConfig, like: Tensor) -> None:
        self.config = config
        self.state = {"momentum": torch.zeros_like(like)}
        self._scratch = torch.empty_like(like)

    def numbers(self, rates: Tensor, step: int) -> tuple[Number, ...]:
        """Return the rates."""
        return (rates,)

    def update(self, weights: Tensor, gradient: Tensor, *numbers: Number) -> None:
        """Take one step in place."""
        (rates,) = numbers
        decay(weights, gradient, self.config.weight_decay, self._scratch)
        buffer = self.state["momentum"]
        buffer.mul_(self.config.momentum).add_(gradient)
        weights.sub_(torch.mul(buffer, rates, out=self._scratch))


class Sam(Sgd):
    """SGD with the gradient at w + rho g / (|g| + 1e-12), g the gradient at w (Foret et al. 2021, arXiv 2010.01412).

    The norm is that of all of a run's tensors together. Clipping and weight decay concern the second gradient alone.
    """

    def __init__(self, config: SamConfig, like: Tensor) -> None:
        super().__init__(config, like)
        self._rho = config.rho
        self._start = torch.empty_like(like)

    def ascend(self, weights: Tensor, gradient: Tensor) -> None:
        """See `Ascending`."""
        self._start.copy_(weights)
        factors = (self._rho / (row_norms(gradient) + 1e-12)).to(gradient.dtype).unsqueeze(1)
        weights.add_(torch.mul(gradient, factors, out=self._scratch))

    def descend(self, weights: Tensor) -> None:
        """See `Ascending`."""
        weights.copy_(self._start)


class Adam:
    """Bias-corrected ADAM (Kingma and Ba 2015, arXiv 1412.6980)."""

    def __init__(self, config: AdamConfig | AdamWConfig | MuonConfig, like: Tensor) -> None:
        self.config = config
        self.state = {"mean": torch.zeros_like(like), "square": torch.zeros_like(like)}
        self._scratch = torch.empty_like(like)

    def numbers(self, rates: Tensor, step: int) -> tuple[Number, ...]:
        """Return the rates over the correction of the mean, and the root of the correction of the square."""
        correction1 = 1.0 - self.config.beta1 ** (step + 1)
        correction2 = math.sqrt(1.0 - self.config.beta2 ** (step + 1))
        return rates / correction1, correction2

    def update(self, weights: Tensor, gradient: Tensor, *numbers: Number) -> None:
        """Take one step in place."""
        decay(weights, gradient, self.config.weight_decay, self._scratch)
        self._descend(weights, gradient, *numbers)

    def _descend(self, weights: Tensor, gradient: Tensor, rates: Number, correction2: Number) -> None:
        c, scratch = self.config, self._scratch
        mean, square = self.state["mean"], self.state["square"]
        torch.mul(gradient, 1.0 - c.beta1, out=scratch)
        mean.mul_(c.beta1).add_(scratch)
        gradient.mul_(gradient).mul_(1.0 - c.beta2)
        square.mul_(c.beta2).add_(gradient)
        square_root(square, out=scratch)
        scratch.div_(correction2).add_(c.eps)
        torch.div(mean, scratch, out=scratch)
        weights.sub_(scratch.mul_(rates))


class AdamW(Adam):
    """ADAM whose weight decay is no part of the gradient (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    def numbers(self, rates: Tensor, step: int) -> tuple[Number, ...]:
        """Return ADAM's, and the factors 1 - rate x weight_decay of the weights."""
        return *super().numbers(rates, step), (1.0 - rates.double() * self.config.weight_decay).to(rates.dtype)

    def update(self, weights: Tensor, gradient: Tensor, *numbers: Number) -> None:
        """Take one step in place."""
        rates, correction2, shrink = numbers
        weights.mul_(shrink)
        self._descend(weights, gradient, rates, correction2)


class Muon(AdamW):
    """Momentum, orthogonalised, for the weight matrices of hidden layers; AdamW for all other weights.

    Keller Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon), on matrices as torch.optim.Muon in float32,
    which itself orthogonalises in bfloat16. Matrices are the weights of linear maps and, flattened to [out, in x height
    x width], of convolutions, but for the network's first and last: those, embeddings, biases and norms are AdamW's.
    """

    def __init__(self, config: MuonConfig, like: Tensor) -> None:
        super().__init__(config, like)
        self._momentum, self._share = config.momentum, config.adam_share
        self.state["momentum"] = torch.zeros_like(like)
        self._hidden = torch.zeros(like.shape[1], dtype=torch.bool, device=like.device)

    def lay_out(self, layout: Layout) -> None:
        """See `LaidOut`."""
        maps = [name for name, shape in layout.shapes.items() if name.endswith("weight") and len(shape) in (2, 4)]
        if not (hidden := maps[1:-1]):
            raise LmcError(
                "optimizer.kind: found 'muon', which needs a weight matrix between a network's first and last layer, "
                f"allowed: a deeper model, 'adamw'; its matrices: {', '.join(maps) or 'none'}"
            )
        self._layout = layout
        self._groups: dict[tuple[int, ...], list[str]] = {}  # matrices of one shape share their products
        for name in hidden:
            self._groups.setdefault(layout.shapes[name], []).append(name)
            layout.views(self._hidden.unsqueeze(0))[name].fill_(True)

    def numbers(self, rates: Tensor, step: int) -> tuple[Number, ...]:
        """Return AdamW's at its share of the rates; the rates, and the factors of the matrices."""
        *adamw, shrink = super().numbers(rates * self._share, step)
        return *adamw, shrink, rates, super().numbers(rates, step)[2]

    def update(self, weights: Tensor, gradient: Tensor, *numbers: Number) -> None:
        """Take one step in place."""
        adam_rates, correction2, shrink, rates, shrink_hidden = numbers
        weights.mul_(torch.where(self._hidden, shrink_hidden, shrink))
        momentum, scratch = self.state["momentum"], self._scratch
        momentum.mul_(self._momentum).add_(torch.mul(gradient, 1.0 - self._momentum, out=scratch))
        ahead = torch.mul(momentum, self._momentum).add_(scratch)  # Nesterov's
        gradient.masked_fill_(self._hidden, 0.0)  # AdamW moves no matrix
        matrices, here = self._layout.views(ahead), self._layout.views(weights)
        for (rows, *sides), names in self._groups.items():
            steps = orthogonal(torch.cat([matrices[name].flatten(2) for name in names]))
            steps.mul_(math.sqrt(max(1.0, rows / math.prod(sides))))
            for name, step in zip(names, steps.reshape(len(names), len(weights), -1) * rates, strict=True):
                here[name].sub_(step.view_as(here[name]))
        self._descend(weights, gradient, adam_rates, correction2)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return about U V' of each matrix U S V' of [N, m, n], by five Newton-Schulz steps; 0 of a zero matrix.

    Singular values come to lie between 0.7 and 1.2: Keller Jordan's quintic polynomial is steep at 0, not exact at 1.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / row_norms(matrices.flatten(1)).clamp_(min=1e-7).to(x.dtype).view(-1, 1, 1)
    for _ in range(5):
        gram = matmul(x, x.mT)
        polynomial = matmul(gram, gram).mul_(c).add_(gram.mul_(b))
        x = matmul(polynomial, x).add_(x.mul_(a))
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


def build_optimizer(config: OptimizerConfig, like: Tensor) -> StackOptimizer:
    """Return the optimizer of a stack whose weights are like `like` [C, size]; the rate comes with each step."""
    return cast(StackOptimizer, build(OPTIMIZERS, config, like))

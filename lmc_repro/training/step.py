"""The hot loop's body: forward, backward and update of all runs of a stack at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional

from lmc_repro.config.run import ClipConfig, Precision
from lmc_repro.models.base import Model
from lmc_repro.training.optimizer import Ascending, LaidOut, Number, StackOptimizer, clip
from lmc_repro.training.stack import Layout


class TrainStep:
    """Owns a stack's weights [C, size], their gradient, and which runs are still finite."""

    def __init__(
        self,
        model: Model,
        layout: Layout,
        weights: Tensor,
        optimizer: StackOptimizer,
        clip_config: ClipConfig | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.model, self.layout, self.weights, self.optimizer = model, layout, weights, optimizer
        if isinstance(optimizer, LaidOut):
            optimizer.lay_out(layout)
        self.clip, self.precision = clip_config, precision
        self._gradient = torch.zeros_like(weights)
        self._views = layout.views(weights)
        self._gradients = tuple(layout.views(self._gradient).values())
        for view in self._views.values():
            view.requires_grad_()
        self.finite = torch.ones(weights.shape[0], dtype=torch.bool, device=weights.device)

    def __call__(self, inputs: Tensor, labels: Tensor, rates: Tensor, step: int) -> Tensor:
        """Take step `step` with `rates` float32 [C, 1]; see `take`."""
        return self.take(inputs, labels, self.optimizer.numbers(rates, step))

    def take(self, inputs: Tensor, labels: Tensor, numbers: Sequence[Number]) -> Tensor:
        """Take the step that has these `numbers` of the optimizer; return each run's mean loss [C], detached.

        inputs float32 [C, b, channels, height, width], labels int64 [C, b]. A run whose loss or logits are not finite
        is marked in `finite` and goes on; the other runs are unaffected. Nothing here waits for a GPU or reads a number
        that Python changes, so that a CUDA graph may hold it.
        """
        logits, losses = self._differentiate(inputs, labels)
        runs, batch, _ = logits.shape
        if isinstance(self.optimizer, Ascending):
            with torch.no_grad():
                self.optimizer.ascend(self.weights, self._gradient)
            self._differentiate(inputs, labels)
            with torch.no_grad():
                self.optimizer.descend(self.weights)
        with torch.no_grad():
            if self.clip is not None:  # before the optimizer: weight decay is not clipped
                clip(self._gradient, self.clip)
            self.optimizer.update(self.weights, self._gradient, *numbers)
            loss = losses.view(runs, batch).mean(1)
            self.finite &= torch.isfinite(loss) & torch.isfinite(logits.sum((1, 2)))
        return loss

    def _differentiate(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Write the gradient at the present weights; return logits [C, b, classes] and losses [C * b], detached."""
        with products(self.precision, self.weights.device):
            logits = self.model.forward(self._views, inputs).float()
            _, batch, classes = logits.shape
            losses = functional.cross_entropy(logits.reshape(-1, classes), labels.reshape(-1), reduction="none")
            # Runs share no weight: the gradient of the sum is each run's own.
            gradients = torch.autograd.grad(losses.sum().div(batch), tuple(self._views.values()))
        with torch.no_grad():
            for target, gradient in zip(self._gradients, gradients, strict=True):
                target.copy_(gradient)  # one buffer: the optimizer takes a few operations in all, not per layer
        return logits.detach(), losses.detach()


def products(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of a step's forward and backward passes.

    bf16 is torch's autocast, its cache off: a CUDA graph must round the weights anew in every step. Weights, gradients
    and the optimizer stay float32.
    """
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    return _tf32() if precision == "tf32" else nullcontext()


@contextmanager
def _tf32() -> Iterator[None]:
    """Let products round their factors to tf32 within the block; the global switch is restored for evaluations."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before

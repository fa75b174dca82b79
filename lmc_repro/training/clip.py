"""Clips the gradient of each child by itself."""

from __future__ import annotations

from torch import Tensor

from lmc_repro.schemas.run import ClipConfig
from lmc_repro.training.optimizer import square_root


def clip(gradient: Tensor, config: ClipConfig) -> None:
    """Clip a stack's gradient [C, size] in place: every entry to [-value, value], or each row to a Euclidean norm.

    The norm is that of all of a child's tensors together; its gradient is multiplied by min(1, limit / norm), as
    torch.nn.utils.clip_grad_norm_ does but for the 1e-6 that it adds to the norm. A row with an entry that is not
    finite keeps one under `norm`; the other rows do not notice.
    """
    if config.value is not None:
        gradient.clamp_(-config.value, config.value)
    if config.norm is not None:
        # In float64, since the square of 1e20 is not finite in float32. Rows are summed one by one, whatever C is.
        norms = gradient.double().square_().sum(1)
        square_root(norms, out=norms)
        gradient.mul_((config.norm / norms).clamp_(max=1.0).to(gradient.dtype).unsqueeze(1))

"""Status of endpoints, trained or not: a collapsed network has barrier 0, and argmax of NaN is class 0."""

from __future__ import annotations

from typing import Literal

EndpointStatus = Literal["trained", "collapsed", "diverged"]

SDS = 5
"""Binomial standard deviations by which a trained network beats the best constant predictor on its training images."""


def endpoint_status(
    epoch: float, diverged_epoch: float | None, wrong: int, n: int, largest_class: int
) -> EndpointStatus:
    """Return the status of a network at `epoch`.

    Args:
        epoch: The evaluation epoch.
        diverged_epoch: When the network diverged, None if it never did.
        wrong: Its wrong predictions at `epoch` on the `n` training images, with the labels that it was trained on.
        n: The number of training images.
        largest_class: How many of them the best constant predictor has right.

    Returns:
        `diverged` from the epoch of divergence on; `collapsed` where the training accuracy is not above the share p of
        the largest class by 5 sqrt(p (1 - p) / n); else `trained`.
    """
    if diverged_epoch is not None and diverged_epoch <= epoch:
        return "diverged"
    gain = n - wrong - largest_class
    # In whole numbers, so that a network at exactly 5 standard deviations counts as trained on every machine.
    if gain <= 0 or gain**2 * n < SDS**2 * largest_class * (n - largest_class):
        return "collapsed"
    return "trained"


def minimum_accuracy(classes: int, configured: float | None) -> float:
    """Return the train accuracy below which a network is undertrained: as configured, or halfway from chance to 1."""
    return configured if configured is not None else (1.0 + 1.0 / classes) / 2

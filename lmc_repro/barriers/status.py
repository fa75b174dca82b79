"""Whether an endpoint is a trained network at all: a collapsed net has barrier 0 and argmax of NaN is class 0."""

from __future__ import annotations

from typing import Literal

EndpointStatus = Literal["trained", "undertrained", "diverged"]


def minimum_accuracy(classes: int, configured: float | None) -> float:
    """Return the train accuracy that a trained endpoint has: as configured, or halfway from chance to 1."""
    return configured if configured is not None else (1.0 + 1.0 / classes) / 2


def endpoint_status(
    epoch: float, diverged_epoch: float | None, train_error: float, classes: int, min_train_accuracy: float | None
) -> EndpointStatus:
    """Return the status of a network at `epoch`, from its train error there (a share) and when it diverged, if ever."""
    if diverged_epoch is not None and diverged_epoch <= epoch:
        return "diverged"
    if 1.0 - train_error < minimum_accuracy(classes, min_train_accuracy):
        return "undertrained"
    return "trained"

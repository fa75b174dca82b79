"""Whether networks have learnt their training images, as those of the paper did."""

from __future__ import annotations

from lmc_repro.report.records import CellRecord

NOT_CONVERGED = "not_converged"
"""The flag of such a cell, beside those of a comparison."""

PERCENT = 0.1
"""The train error up to which a network counts as converged: the paper speaks of about zero training loss."""


def not_converged(cell: CellRecord) -> bool:
    """Return whether a ReLU network under SGD on MNIST ends with a train error above 0.1 %: the paper's do not.

    Ends that did not train at all are no part of it: their pairs have no verdict anyhow.
    """
    config = cell.config
    relu = config["model"].get("slope") == 0.0  # logistic regression and attention have no slope
    if not (relu and config["optimizer"]["kind"] == "sgd" and config["data"]["dataset"] == "mnist"):
        return False
    ends = [
        error
        for pair in cell.pairs
        for status, error in zip(pair.status, pair.errors["train"], strict=True)
        if status == "trained"
    ]
    return any(error > PERCENT for error in ends)

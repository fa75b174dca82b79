"""Callbacks from a file of one's own: they save after every epoch, slow an evaluation down, or end the worker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from lmc_repro.training import trainer
from lmc_repro.training.trainer import Evaluation

trainer.SAVE_EVERY_SECONDS, trainer.SAVING_SHARE = 0.0, 1e9


def quick(evaluation: Evaluation) -> None:
    """Only the import counts."""


def slow(evaluation: Evaluation) -> None:
    """Give a test the time to kill something."""
    time.sleep(0.4)


def deadly(evaluation: Evaluation) -> None:
    """End a worker that trains a run named `dead...`, as the system does for want of memory."""
    if any(folder.fingerprint.startswith("dead") for folder in evaluation.folders):
        os.kill(os.getpid(), signal.SIGKILL)


def deadly_once(evaluation: Evaluation) -> None:
    """End the worker in epoch 2, the first time."""
    mark = Path(os.environ["TMPDIR"]) / "died once"
    if evaluation.epoch == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)

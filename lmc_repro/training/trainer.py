"""Trains a stack of runs from their last saved states to the end, leaving a complete run folder for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from lmc_repro.common.files import sha256_file, wait_for_disk, write_json
from lmc_repro.common.numerics import torch_version
from lmc_repro.config.base import SplitName, epoch_text, epochs_within
from lmc_repro.config.run import LoaderKind, RunConfig
from lmc_repro.data.augment import augmentation_sha256
from lmc_repro.data.dataset import Dataset, Split, with_label_noise
from lmc_repro.data.order import orders_sha256
from lmc_repro.models.base import Model, Weights, evaluated
from lmc_repro.models.registry import build_model
from lmc_repro.training.checkpoint import write_checkpoint
from lmc_repro.training.evaluate import Score, evaluate, finite
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.optimizer import build_optimizer
from lmc_repro.training.run_folder import (
    MetricRow,
    Progress,
    RunFolder,
    clear_progress,
    content_names,
    load_progress,
    save_progress,
)
from lmc_repro.training.stack import Layout, stack_key
from lmc_repro.training.step import TrainStep
from lmc_repro.training.steps import open_steps

# How often the resume state is saved, in seconds; and the largest share of the time that saving may take.
SAVE_EVERY_SECONDS = 5.0
SAVING_SHARE = 0.05


@dataclass(frozen=True)
class Event:
    """A report of a stack in training: an epoch is over, it was saved, its runs are complete.

    Before that it may be `waiting` for the process that `note` names, which trains the run. At last an engine may have
    `given up` a run for the reason in `note`.
    """

    kind: Literal["epoch", "saved", "done", "waiting", "given up"]
    fingerprints: tuple[str, ...]
    epoch: int
    note: str = ""


@dataclass(frozen=True)
class Evaluation:
    """The runs of a stack at one evaluation epoch.

    Attributes:
        epoch: Epochs trained, which may be a fraction.
        folders: The run folders, in the order of the stack.
        model: The network of all runs.
        weights: Tensors [C, *shape] by name, on the device of the training: to be read, and copied to be kept.
        scores: One score per run, of each whole un-augmented split.
    """

    epoch: float
    folders: tuple[RunFolder, ...]
    model: Model
    weights: Weights
    scores: Mapping[SplitName, Sequence[Score]]


Callback = Callable[[Evaluation], None]
"""Called at every evaluation epoch; once more for those after the last save, when a killed run is resumed."""


@dataclass(frozen=True)
class StackedRun:
    """One run of a stack: its config and the working folder that it trains in."""

    config: RunConfig
    folder: RunFolder


def train_stack(
    runs: Sequence[StackedRun],
    dataset: Dataset,
    prepared_dir: Path,
    loader: LoaderKind,
    numerics: str,
    device: torch.device,
    on_event: Callable[[Event], None] = lambda event: None,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Train runs that differ in seeds, initialisation, rate and schedule only, to the end of their last epoch.

    Runs at different epochs train in separate stacks, one after another. A run whose loss or logits stop being finite
    goes on and is recorded as diverged at the end of the epoch of the first such step, or at an evaluation epoch
    between the two.
    """
    stacks: dict[int, list[tuple[StackedRun, Progress]]] = {}
    for run in runs:
        progress = load_progress(run.folder) or Progress()
        stacks.setdefault(progress.epoch, []).append((run, progress))
    for stack in stacks.values():
        _Training(stack, dataset, prepared_dir, loader, numerics, device, on_event, callbacks).run()


class _Training:
    """The state of one stack between two epochs."""

    def __init__(
        self,
        stack: list[tuple[StackedRun, Progress]],
        dataset: Dataset,
        prepared_dir: Path,
        loader: LoaderKind,
        numerics: str,
        device: torch.device,
        on_event: Callable[[Event], None],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.runs = [run for run, _ in stack]
        self.progress = [progress for _, progress in stack]
        self.configs = [run.config for run in self.runs]
        self.numerics, self.on_event, self.callbacks = numerics, on_event, (self._record, *callbacks)
        config = self.configs[0]
        if any(stack_key(other) != stack_key(config) for other in self.configs):
            raise ValueError("runs of a stack may differ in seeds, initialisation, rate and schedule only")
        self.config = config
        self.dataset = dataset = with_label_noise(dataset.to(device), config.data.label_noise)
        self.fingerprints = tuple(run.folder.fingerprint for run in self.runs)
        self.model = build_model(config.model, dataset.info)
        self.layout = Layout(self.model)
        self.epoch = self.progress[0].epoch
        models = [build_model(c.model, dataset.info) for c in self.configs]  # initialisations may differ
        generators = [torch.Generator().manual_seed(c.seeds.trainer) for c in self.configs]
        weights = self.layout.stack([m.init(g) for m, g in zip(models, generators, strict=True)]).to(device)
        optimizer = build_optimizer(config.optimizer, weights)
        if self.progress[0].tensors:
            for i, progress in enumerate(self.progress):
                weights[i].copy_(progress.tensors["weights"])
                for name, buffer in optimizer.state.items():
                    buffer[i].copy_(progress.tensors[name])
        self.weights, self.optimizer = weights, optimizer
        self.step = TrainStep(self.model, self.layout, weights, optimizer, config.clip, config.precision)
        self.steps = open_steps(self.step, self.configs, dataset, prepared_dir, loader)
        self.within = epochs_within(config.evaluate_at, self.steps.steps_per_epoch)
        for progress in self.progress:  # on a GPU a run's bits may depend on how many train together
            if numerics.startswith("cuda") and progress.stack[-1:] != [len(self.runs)]:
                progress.stack.append(len(self.runs))
        self.on_their_way: list[Path] = []  # written, and perhaps not on the disk
        self.save_at = time.monotonic() + SAVE_EVERY_SECONDS
        self.saved_epoch = self.epoch

    def run(self) -> None:
        for run in self.runs:
            run.folder.write_config(run.config)
        if 0 in self.config.evaluate_at and self.epoch == 0:
            self._evaluate(0)
        worth_saving = self.save_at
        while self.epoch < self.config.epochs:
            self._train_epoch()
            if self.epoch in self.config.evaluate_at:
                self._evaluate(self.epoch)
            if self.epoch < self.config.epochs and time.monotonic() > self.save_at:
                self._save()
            self._tell_epoch()
        wait = time.monotonic() > worth_saving  # retraining a shorter run takes less time than waiting for its files
        if wait:
            self._wait_for_disk()
        for run, progress in zip(self.runs, self.progress, strict=True):
            self._finish(run, progress, wait)
        self.on_event(Event("done", self.fingerprints, self.epoch))

    def _tell_epoch(self) -> None:
        """Report that an epoch is over; a listener may end the training here, since everything is saved."""
        try:
            self.on_event(Event("epoch", self.fingerprints, self.epoch))
        except Exception:
            if self.saved_epoch < self.epoch:
                self._save()
            raise

    def _train_epoch(self) -> None:
        within = self.within.get(self.epoch, {})
        for done in self.steps.epoch(self.epoch):
            if done in within:
                self._evaluate(within[done])
        self.epoch += 1
        self._note_diverged(self.epoch)
        losses, seen = self.steps.batch_losses()
        for progress, loss in zip(self.progress, losses, strict=True):
            progress.rows.append(MetricRow(self.epoch, "batch", None, seen, finite(loss)))
            progress.epoch = self.epoch

    def _note_diverged(self, epoch: float) -> None:
        for progress, trained in zip(self.progress, self.step.finite.tolist(), strict=True):
            if progress.diverged_epoch is None and not trained:
                progress.diverged_epoch = epoch

    def _evaluate(self, epoch: float) -> None:
        """Score the weights of every run, and call those that record them."""
        self._note_diverged(epoch)
        views = self.layout.views(self.weights.detach())
        parts: tuple[tuple[SplitName, Split], ...] = (("train", self.dataset.train), ("test", self.dataset.test))
        network = evaluated(self.model, views, self.dataset.train)
        scores = {split: evaluate(network, views, part, self.dataset.info) for split, part in parts}
        folders = tuple(run.folder for run in self.runs)
        for callback in self.callbacks:
            callback(Evaluation(epoch, folders, self.model, views, scores))

    def _record(self, evaluation: Evaluation) -> None:
        """Keep scores and checkpoints; a resumed run makes those after its last save again."""
        epoch = evaluation.epoch
        for split, scores in evaluation.scores.items():
            for progress, score in zip(self.progress, scores, strict=True):
                progress.rows.append(MetricRow(epoch, split, score.wrong, score.n, score.loss))
        weights = self.weights.to("cpu")  # for all runs at once: one transfer from a GPU
        for i, (run, progress) in enumerate(zip(self.runs, self.progress, strict=True)):
            path = run.folder.checkpoint(epoch)
            progress.checkpoints[epoch] = write_checkpoint(path, self.layout.run(weights, i), wait=False)
            self.on_their_way.append(path)

    def _wait_for_disk(self) -> None:
        for path in self.on_their_way:
            wait_for_disk(path)
        self.on_their_way.clear()

    def _save(self) -> None:
        """Save the resume state after this epoch, and publish the metrics so far."""
        began = time.monotonic()
        self._wait_for_disk()
        buffers = {"weights": self.weights.detach(), **self.optimizer.state}
        here = {name: buffer.to("cpu") for name, buffer in buffers.items()}
        for i, (run, progress) in enumerate(zip(self.runs, self.progress, strict=True)):
            progress.tensors = {name: buffer[i].clone() for name, buffer in here.items()}
            save_progress(run.folder, progress)
            run.folder.write_metrics(progress.rows)
        self.saved_epoch = self.epoch
        now = time.monotonic()
        self.save_at = now + max(SAVE_EVERY_SECONDS, (now - began) / SAVING_SHARE)
        self.on_event(Event("saved", self.fingerprints, self.epoch))

    def _finish(self, run: StackedRun, progress: Progress, wait: bool) -> None:
        """Write status.json, which makes the folder complete, after metrics.csv is on the disk if `wait`."""
        folder, config, checkpoints = run.folder, run.config, progress.checkpoints
        folder.write_metrics(progress.rows, wait)
        n, info, augment = len(self.dataset.train), self.dataset.info, config.data.augment
        noise = {}
        if augment is not None:
            noise["augmentation_sha256"] = augmentation_sha256(augment, info, n, config.seeds, config.epochs)
        status = {
            "fingerprint": folder.fingerprint,
            "diverged_epoch": progress.diverged_epoch,
            "data_digest": self.dataset.digest,
            "numerics": self.numerics,
            **({"stack": progress.stack} if progress.stack else {}),
            "torch": torch_version(),
            "training_numerics": TRAINING_NUMERICS,
            "order_sha256": order_sha256(n, config, self.weights.device),
            **noise,
            "init_sha256": checkpoints.get(0),
            "final_sha256": checkpoints[config.epochs],
            "checkpoints": {epoch_text(epoch): sha for epoch, sha in checkpoints.items()},
            "files": {name: sha256_file(folder.path / name) for name in content_names(list(checkpoints))},
        }
        write_json(folder.status_file, status)
        clear_progress(folder)


def order_sha256(n: int, config: RunConfig, device: torch.device | None = None) -> str:
    """Return the sha256 (hex) of the orders of all epochs of a run."""
    seeds = tuple(config.seeds.loader_at(epoch) for epoch in range(config.epochs))
    return orders_sha256(n, seeds, config.data.order, device)

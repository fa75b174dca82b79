"""Trains a stack of children from wherever they stand to the end, leaving a complete run folder for each."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from lmc_repro.data.augment import augmentation_sha256, epoch_view
from lmc_repro.data.dataset import Dataset
from lmc_repro.data.label_noise import with_label_noise
from lmc_repro.data.loader import open_loader
from lmc_repro.data.order import epoch_order
from lmc_repro.files import sha256_file, write_json
from lmc_repro.models.registry import build_model
from lmc_repro.numerics import torch_version
from lmc_repro.schemas.base import canonical_json, mark_text
from lmc_repro.schemas.data import LoaderKind
from lmc_repro.schemas.run import RunConfig
from lmc_repro.training.checkpoint import write_checkpoint
from lmc_repro.training.evaluate import evaluate
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.marks import marks_within
from lmc_repro.training.optimizer import build_optimizer
from lmc_repro.training.progress import Progress, clear_progress, load_progress, save_progress
from lmc_repro.training.run_folder import MetricRow, RunFolder
from lmc_repro.training.schedule import learning_rates
from lmc_repro.training.stack import Layout
from lmc_repro.training.step import TrainStep

SAVE_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class Event:
    """What a stack tells while it trains: an epoch is over, its mark was written, a run is complete."""

    kind: Literal["epoch", "mark", "done"]
    fingerprints: tuple[str, ...]
    epoch: int


@dataclass(frozen=True)
class Child:
    """One run of a stack: its config and the working folder that it trains in."""

    config: RunConfig
    folder: RunFolder


def train_stack(
    children: Sequence[Child],
    dataset: Dataset,
    prepared_dir: Path,
    loader: LoaderKind,
    numerics: str,
    device: torch.device,
    on_event: Callable[[Event], None] = lambda event: None,
) -> None:
    """Train children that differ in seeds, initialisation, rate and schedule only, to the end of their last epoch.

    Children that stand at different epochs train in stacks of their own, one after another. A child whose loss or
    logits stop being finite goes on and is recorded as diverged with the end of the epoch of the first such step, or
    with a mark between the two.
    """
    stacks: dict[tuple[int, bool], list[tuple[Child, Progress]]] = {}
    for child in children:
        progress = load_progress(child.folder) or Progress()
        # At epoch 0 some may have their first mark already, and some not.
        stacks.setdefault((progress.epoch, bool(progress.tensors)), []).append((child, progress))
    for stack in stacks.values():
        _Training(stack, dataset, prepared_dir, loader, numerics, device, on_event).run()


class _Training:
    """The state of one stack between two epochs."""

    def __init__(
        self,
        stack: list[tuple[Child, Progress]],
        dataset: Dataset,
        prepared_dir: Path,
        loader: LoaderKind,
        numerics: str,
        device: torch.device,
        on_event: Callable[[Event], None],
    ) -> None:
        self.children = [child for child, _ in stack]
        self.progress = [progress for _, progress in stack]
        self.configs = [child.config for child in self.children]
        self.numerics, self.on_event = numerics, on_event
        config = self.configs[0]
        if any(_shared(other) != _shared(config) for other in self.configs):
            raise ValueError("children of a stack may differ in seeds, initialisation, rate and schedule only")
        self.config = config
        self.dataset = dataset = with_label_noise(dataset, config.data.label_noise)
        self.fingerprints = tuple(child.folder.fingerprint for child in self.children)
        self.model = build_model(config.model, dataset.info)
        self.layout = Layout(self.model)
        self.epoch = self.progress[0].epoch
        self.seeds = [c.seeds for c in self.configs]
        self.loader = open_loader(
            loader, dataset, prepared_dir, self.seeds, config.batch_size, config.data.drop_last, config.data.order
        )
        self.within = marks_within(config.evaluate_at, self.loader.steps_per_epoch)
        weights = self.layout.stack(
            [
                build_model(c.model, dataset.info).init(torch.Generator().manual_seed(c.seeds.trainer))
                for c in self.configs
            ]
        ).to(device)
        optimizer = build_optimizer(config.optimizer, weights)
        if self.progress[0].tensors:
            for i, progress in enumerate(self.progress):
                weights[i].copy_(progress.tensors["weights"])
                for name, buffer in optimizer.state.items():
                    buffer[i].copy_(progress.tensors[name])
        self.weights, self.optimizer = weights, optimizer
        self.step = TrainStep(self.model, self.layout, weights, optimizer, config.clip)
        self.saved_at = time.monotonic()

    def run(self) -> None:
        for child in self.children:
            child.folder.write_config(child.config)
        if 0 in self.config.evaluate_at and self.epoch == 0 and not self.progress[0].checkpoints:
            self._mark(0)
        while self.epoch < self.config.epochs:
            self._train_epoch()
            if self.epoch in self.config.evaluate_at:
                self._mark(self.epoch)
            elif time.monotonic() - self.saved_at > SAVE_EVERY_SECONDS:
                self._save()
            self.on_event(Event("epoch", self.fingerprints, self.epoch))
        for child, progress in zip(self.children, self.progress, strict=True):
            self._finish(child, progress)
        self.on_event(Event("done", self.fingerprints, self.epoch))

    def _train_epoch(self) -> None:
        steps, within = self.loader.steps_per_epoch, self.within.get(self.epoch, {})
        sums = torch.zeros(len(self.children), dtype=torch.float64, device=self.weights.device)
        seen = 0
        augment, info, n = self.config.data.augment, self.dataset.info, len(self.dataset.train)
        view = epoch_view(augment, info, n, self.seeds, self.epoch, self.weights.device)
        for k, (images, labels, indices) in enumerate(self.loader.epoch(self.epoch)):
            number = self.epoch * steps + k
            rates = torch.from_numpy(learning_rates(self.configs, number, steps)).to(self.weights).unsqueeze(1)
            inputs = view(images.to(self.weights.device), indices)
            loss = self.step(inputs, labels.to(self.weights.device), rates, number)
            sums += loss.double() * labels.shape[1]
            seen += labels.shape[1]
            if k + 1 in within:
                self._mark(within[k + 1])
        self.epoch += 1
        self._note_diverged(self.epoch)
        for i, progress in enumerate(self.progress):
            progress.rows.append(MetricRow(self.epoch, "batch", None, seen, _finite(sums[i].item() / seen)))
            progress.epoch = self.epoch

    def _note_diverged(self, mark: float) -> None:
        for i, progress in enumerate(self.progress):
            if progress.diverged_epoch is None and not bool(self.step.finite[i]):
                progress.diverged_epoch = mark

    def _mark(self, mark: float) -> None:
        """Evaluate and store the weights of every child.

        Runs go on from ends of epochs only: a mark within an epoch leaves no state to go on from, and is made again.
        """
        self._note_diverged(mark)
        views = self.layout.views(self.weights)
        for split, part in (("train", self.dataset.train), ("test", self.dataset.test)):
            scores = evaluate(self.model, views, part, self.dataset.info)
            for progress, score in zip(self.progress, scores, strict=True):
                progress.rows.append(MetricRow(mark, split, score.wrong, score.n, score.loss))  # type: ignore[arg-type]
        for i, (child, progress) in enumerate(zip(self.children, self.progress, strict=True)):
            path = child.folder.checkpoint(mark)
            progress.checkpoints[mark] = write_checkpoint(path, self.layout.child(self.weights, i))
            child.folder.write_metrics(progress.rows)
        if mark == self.epoch:
            self._save()
            self.on_event(Event("mark", self.fingerprints, self.epoch))

    def _save(self) -> None:
        for i, (child, progress) in enumerate(zip(self.children, self.progress, strict=True)):
            rows = {"weights": self.weights[i], **{name: buffer[i] for name, buffer in self.optimizer.state.items()}}
            progress.tensors = {name: row.detach().to("cpu", copy=True) for name, row in rows.items()}
            save_progress(child.folder, progress)
        self.saved_at = time.monotonic()

    def _finish(self, child: Child, progress: Progress) -> None:
        """Write status.json, which makes the folder complete."""
        folder, config = child.folder, child.config
        checkpoints = progress.checkpoints
        status = {
            "fingerprint": folder.fingerprint,
            "diverged_epoch": progress.diverged_epoch,
            "data_digest": self.dataset.digest,
            "numerics": self.numerics,
            "torch": torch_version(),
            "training_numerics": TRAINING_NUMERICS,
            "order_sha256": order_sha256(len(self.dataset.train), config),
            **self._augmentation(config),
            "init_sha256": checkpoints.get(0),
            "final_sha256": checkpoints[config.epochs],
            "checkpoints": {mark_text(mark): sha for mark, sha in checkpoints.items()},
            "files": {name: sha256_file(folder.path / name) for name in folder.content_names()},
        }
        write_json(folder.status_file, status)
        clear_progress(folder)

    def _augmentation(self, config: RunConfig) -> dict[str, str]:
        """Return what status.json says of the augmentation: nothing where nothing is augmented."""
        if (augment := config.data.augment) is None:
            return {}
        n, info = len(self.dataset.train), self.dataset.info
        return {"augmentation_sha256": augmentation_sha256(augment, info, n, config.seeds, config.epochs)}


def order_sha256(n: int, config: RunConfig) -> str:
    """Return the sha256 (hex) of the orders of all epochs, as little-endian uint32: what loader seeds decide."""
    digest = hashlib.sha256()
    for epoch in range(config.epochs):
        order = epoch_order(n, config.seeds.loader_at(epoch), epoch, config.data.order)
        digest.update(order.astype(np.dtype("<u4")).tobytes())
    return digest.hexdigest()


def _shared(config: RunConfig) -> dict[str, object]:
    shared = config.without_seeds()
    del shared["schedule"]
    own = {"optimizer": ("lr",), "model": ("init", "gain")}
    return {
        **shared,
        **{part: {k: v for k, v in shared[part].items() if k not in names} for part, names in own.items()},
    }


def stack_key(config: RunConfig) -> str:
    """Return a text that is equal for runs that may share a stack."""
    return canonical_json(_shared(config))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""Trains the runs that a study lacks, and leaves all of its runs in the study's runs folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lmc_repro.barriers.methods import require_units
from lmc_repro.common.errors import LmcError
from lmc_repro.common.words import counted
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.plan import Cell
from lmc_repro.config.run import RunConfig
from lmc_repro.engine.costs import checkpoint_bytes
from lmc_repro.engine.local import LocalEngine
from lmc_repro.engine.protocol import run_stacks
from lmc_repro.engine.stacks import QueuedRun, plan_stacks
from lmc_repro.models.registry import build_model
from lmc_repro.pipeline.workspace import PlannedRun, Workspace, planned_runs
from lmc_repro.tracking import Tracker
from lmc_repro.training.run_folder import RunFolder, clear_progress, peek_epoch
from lmc_repro.training.trainer import Event


@dataclass(frozen=True)
class Counts:
    """Counts of a study's runs by origin."""

    trained: int = 0
    reused: int = 0
    resumed: int = 0

    def __str__(self) -> str:
        return f"trained {self.trained}, reused {self.reused}, resumed {self.resumed}"


def train_study(workspace: Workspace) -> Counts:
    """Train the runs that are neither finished here nor elsewhere in the project; return counts by origin.

    Every finished run is in the working store, and linked from the study's runs folder, which then holds these runs
    and no others.
    """
    w, say = workspace, workspace.listener.line
    cells, digests, not_run = w.available()
    for reason in sorted(set(not_run.values())):
        say(f"not run: {reason}")
    runs = planned_runs(cells, digests, w.tag)
    missing = [run for run in runs if not _find_finished(w, run.fingerprint)]
    todo = [
        QueuedRun(run.fingerprint, run.config, run.cell.loader, peek_epoch(RunFolder(w.store / run.fingerprint)))
        for run in missing
    ]
    tasks = plan_stacks(todo, w.jobs, w.store, w.prepared, w.tag, w.device, w.plan.callbacks)
    publisher = _Publisher(w, digests, {run.fingerprint: run for run in runs})
    say(_plan_line(len(runs), [work.epoch for work in todo]))
    if todo:
        for cell in cells:
            config = cell.runs[0]
            require_units(cell.path, build_model(config.model, dataset_info(config.data.dataset)))
        if short := _short_of_disk(w, [work.config for work in todo]):
            say(short)
        publisher.open(cells)
        remaining = sum(work.config.epochs - work.epoch for work in todo)
        w.listener.begin(f"training {counted(len(todo), 'run')} in {counted(len(tasks), 'stack')}", remaining)
    try:
        run_stacks(w.engine or LocalEngine(w.jobs), tasks, publisher.on_event)
    finally:
        if todo:
            w.listener.end()
        publisher.close()
    _export(w, runs)
    here = publisher.done
    resumed = len({work.fingerprint for work in todo if work.epoch > 0} & here)
    return Counts(len(here) - resumed, len(runs) - len(here), resumed)  # runs finished by another process are reused


def _plan_line(runs: int, epochs: list[int]) -> str:
    """Return one line on what becomes of the runs; `epochs` are those done of each unfinished run."""
    resumed = [epoch for epoch in epochs if epoch > 0]
    words = [f"{runs - len(epochs)} reused"]
    if resumed:
        least, most = min(resumed), max(resumed)
        words.append(f"{len(resumed)} resumed at epoch {least}" + (f" to {most}" if most > least else ""))
    return f"{counted(runs, 'run')}: {', '.join(words)}, {len(epochs) - len(resumed)} to train"


BEHIND = 100
"""Runs that wait for MLflow before a line says so; training goes on, and the end waits for them."""


class _Publisher:
    """Keeps MLflow up to date in a thread while stacks train; the comparison publishes later what fails now."""

    def __init__(self, workspace: Workspace, digests: dict[str, str], runs: dict[str, PlannedRun]) -> None:
        self.workspace, self.digests, self.runs, self.say = workspace, digests, runs, workspace.listener.line
        self.tracker: Tracker | None = None  # None before it is opened, and after it failed
        self.thread = ThreadPoolExecutor(1, "publisher")
        self.queued: set[tuple[str, bool]] = set()  # run and whether it is done: at most two entries per run
        self.error: Exception | None = None
        self.behind = False
        self.done: set[str] = set()
        self.waited_for: set[str] = set()

    def on_event(self, event: Event) -> None:
        if event.kind == "epoch":
            self.workspace.listener.advance(len(event.fingerprints))
        elif event.kind == "waiting":
            if event.note not in self.waited_for:
                self.waited_for.add(event.note)
                self.say(f"waiting for {event.note}, which trains a run of this study; it is used, too")
        elif event.kind == "given up":
            for fingerprint in event.fingerprints:
                cell = self.runs[fingerprint].cell.key
                self.say(f"given up: run {fingerprint} of cell {cell}: {event.note}")
        else:
            done = event.kind == "done"
            self.done.update(event.fingerprints if done else ())
            for fingerprint in event.fingerprints:
                self._publish(fingerprint, done)

    def open(self, cells: Iterable[Cell]) -> None:
        """Open the store before workers start; LmcError where it cannot be used, so that nothing is trained first."""
        w = self.workspace
        if w.tracked:
            self.tracker = Tracker.open(w.project, w.plan, self.digests, w.tag)
            self.tracker.begin(cells, self.runs)

    def close(self) -> None:
        """Wait for the runs that are still to be published, and leave none marked as still training."""
        try:
            self.thread.shutdown()
        except BaseException:  # interrupted: the next command publishes those that wait
            self.thread.shutdown(wait=False, cancel_futures=True)
            raise
        self._say_error()
        if self.tracker is not None:
            self.tracker.close()

    def _publish(self, fingerprint: str, done: bool) -> None:
        self._say_error()
        if self.tracker is None or (fingerprint, done) in self.queued:
            return
        self.queued.add((fingerprint, done))
        self.thread.submit(self._sync, self.tracker, fingerprint, done)
        if len(self.queued) > BEHIND and not self.behind:
            self.behind = True
            waiting = len(self.queued)
            self.say(f"tracking: MLflow is slower than the training: {waiting} runs wait for it; training goes on")

    def _sync(self, tracker: Tracker, fingerprint: str, done: bool) -> None:
        """Publish a run, in the thread; nothing more after an error."""
        self.queued.discard((fingerprint, done))
        if self.error is not None:
            return
        run, folder = self.runs[fingerprint], RunFolder(self.workspace.store / fingerprint)
        try:
            if done:
                if self.workspace.keep != "all":
                    folder = folder.export(self.workspace.runs, self.workspace.keep)
                tracker.sync_train(run.cell, run.config, folder)
            else:
                tracker.sync_live(run.cell, run.config, folder)
        except Exception as error:
            self.error = error

    def _say_error(self) -> None:
        """Report once that MLflow cannot be written, and stop writing it."""
        if self.tracker is not None and self.error is not None:
            self.tracker = None
            line = " ".join(str(self.error).split())[:200]
            self.say(f"tracking: MLflow could not be written ({line}); training goes on, `lmc compare` publishes it")


def _short_of_disk(workspace: Workspace, configs: list[RunConfig]) -> str | None:
    """Return one line if these runs' checkpoints and MLflow's copies will not fit, before hours of training."""
    needed = (1 + workspace.tracked) * sum(map(checkpoint_bytes, configs))
    free = shutil.disk_usage(workspace.project.root).free
    if needed < free:
        return None
    half = ", half of them MLflow's" if workspace.tracked else ""
    return (
        f"disk: {free / 1e6:.0f} MB free below {workspace.project.root}, and {needed / 1e6:.0f} MB of checkpoints "
        f"will be written{half}; free some space, or keep fewer evaluations (evaluate_at)"
    )


def _find_finished(workspace: Workspace, fingerprint: str) -> bool:
    """Whether the run is whole in the working store, after fetching it from a runs folder that has it."""
    stored = RunFolder(workspace.store / fingerprint)
    if stored.is_complete():
        if not (damage := stored.damage()):
            clear_progress(stored)  # left there if it was killed just as it ended
            return True
        workspace.listener.line(f"{damage}: it is trained again")
        shutil.rmtree(stored.path)
    folders = [*workspace.project.runs.glob(f"*/{fingerprint}"), *workspace.project.out.glob(f"*/*/runs/{fingerprint}")]
    for folder in map(RunFolder, sorted(folders)):
        if folder.is_complete() and folder.holds_all() and not folder.damage():
            folder.export(workspace.store)
            return True
    return False


def _export(workspace: Workspace, runs: list[PlannedRun]) -> None:
    """Put the study's runs into its runs folder, and remove all others from it."""
    workspace.runs.mkdir(parents=True, exist_ok=True)
    wanted = {run.fingerprint for run in runs}
    for old in workspace.runs.iterdir():
        if old.is_dir() and old.name not in wanted:
            shutil.rmtree(old)
    for run in runs:
        stored = RunFolder(workspace.store / run.fingerprint)
        if not stored.is_complete():
            raise LmcError(f"{stored.path}: not complete after training; run again to go on")
        stored.export(workspace.runs, workspace.keep)

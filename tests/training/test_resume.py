"""Train-through equals kill-and-resume: every file of a run folder, byte for byte, wherever the kill came."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import ADAM, contents, folder_for, run_config, tiny_dataset, train

from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine.local import Stopped
from lmc_repro.training import trainer
from lmc_repro.training.run_folder import Progress, RunFolder, checkpoint_name, peek_epoch
from lmc_repro.training.trainer import Event

DATA = {"augment": {"flip": True, "crop": 2, "cutout": 2}, "label_noise": 0.2}
EARLY = {"until": 3, "loader": 90, "augmentation": 91}
SEEDS = [{"trainer": i // 2, "loader": i, "augmentation": i, "early": (None, EARLY, None)[i]} for i in range(3)]
CONFIGS = [
    run_config(epochs=5, evaluate_at=[0, 0.5, 2, 2.5, 5], optimizer=ADAM, data=DATA, seeds=seeds) for seeds in SEEDS
]


class Killed(BaseException):
    """The process ends here, as far as the trainer can tell."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return tiny_dataset()


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    return [contents(folder) for folder in train(CONFIGS, dataset, tmp_path_factory.mktemp("undisturbed"))]


def killed_run(configs: list[RunConfig], dataset: Dataset, root: Path, events: int) -> list[RunFolder]:
    """Train until the `events`-th event, which kills."""
    left = iter(range(events - 1))

    def listen(event: Event) -> None:
        if next(left, None) is None:
            raise Killed

    with pytest.raises(Killed):
        train(configs, dataset, root, listen)
    return [folder_for(config, dataset, root) for config in configs]


def finish(dataset: Dataset, root: Path, configs: Sequence[RunConfig] = CONFIGS) -> list[RunFolder]:
    """Go on as the next process would: with the runs that are not complete."""
    left = [config for config in configs if not folder_for(config, dataset, root).is_complete()]
    if left:
        train(left, dataset, root)
    return [folder_for(config, dataset, root) for config in configs]


@pytest.fixture(autouse=True)
def save_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", -1.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", math.inf)


slow = pytest.mark.slow


# Epochs 1 to 4, each saved and then told; epoch 5 is told.
@pytest.mark.parametrize("events", [1, 4, 9, *(pytest.param(events, marks=slow) for events in (2, 3, 5, 6, 7, 8))])
def test_killed_at_any_event(
    events: int, dataset: Dataset, undisturbed: list[dict[str, bytes]], tmp_path: Path
) -> None:
    folders = killed_run(CONFIGS, dataset, tmp_path, events)
    assert not any(folder.is_complete() for folder in folders)
    saved = [1, 1, 2, 2, 3, 3, 4, 4, 4][events - 1]
    assert [peek_epoch(folder) for folder in folders] == [saved] * 3  # it does go on, not start again
    assert {row.epoch for row in folders[0].metrics()} == {
        epoch for epoch in [0, 0.5, 1, 2, 2.5, 3, 4] if epoch <= saved
    }
    assert [contents(folder) for folder in finish(dataset, tmp_path)] == undisturbed


def test_killed_before_anything_is_saved(
    dataset: Dataset, undisturbed: list[dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", 60.0)
    folders = killed_run(CONFIGS, dataset, tmp_path, 3)
    assert [peek_epoch(folder) for folder in folders] == [0] * 3
    assert [contents(folder) for folder in finish(dataset, tmp_path)] == undisturbed


@pytest.mark.parametrize("epoch", [pytest.param(1, marks=slow), 3, 5])
def test_stopped_in_good_order_nothing_is_lost(
    epoch: int, dataset: Dataset, undisturbed: list[dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", 60.0)

    def stop(event: Event) -> None:
        if event.epoch == epoch:
            raise Stopped

    with pytest.raises(Stopped):
        train(CONFIGS, dataset, tmp_path, stop)
    assert [peek_epoch(folder_for(config, dataset, tmp_path)) for config in CONFIGS] == [epoch] * 3
    events: list[Event] = []
    train(CONFIGS, dataset, tmp_path, events.append)
    assert [event.epoch for event in events if event.kind == "epoch"] == list(range(epoch + 1, 6))
    assert [contents(folder) for folder in finish(dataset, tmp_path)] == undisturbed


def test_saving_takes_at_most_its_share_of_the_time(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock by which an epoch takes 3 s, and a save 1 s."""
    now = 0.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    save = trainer.save_progress
    saved = []

    def slow(folder: RunFolder, progress: Progress) -> None:
        nonlocal now
        now += 1.0
        saved.append(progress.epoch)
        save(folder, progress)

    def listen(event: Event) -> None:
        nonlocal now
        if event.kind == "epoch":
            now += 3.0

    monkeypatch.setattr(trainer, "time", Clock)
    monkeypatch.setattr(trainer, "save_progress", slow)
    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", 5.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", 0.05)
    train([run_config(epochs=30, evaluate_at=[30])], dataset, tmp_path, listen)
    assert saved == [3, 10, 17, 24]  # more than 5 s after the start; then more than 20 times its second after each


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="the system does not name open files")
@pytest.mark.parametrize("seconds, waited", [(60.0, {"status.json"}), (-1.0, None)])
def test_what_took_long_is_on_the_disk_before_it_counts_as_complete(
    seconds: float, waited: set[str] | None, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", seconds)
    told: list[str] = []
    fsync = os.fsync

    def seen(number: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{number}"))
        told.append(name.removeprefix(".").removesuffix(f".{os.getpid()}.tmp"))
        fsync(number)

    monkeypatch.setattr(os, "fsync", seen)
    train(CONFIGS[:1], dataset, tmp_path)
    if waited is not None:
        assert set(told) == waited
    else:
        kept = [checkpoint_name(epoch) for epoch in CONFIGS[0].evaluate_at]
        assert {*kept, "metrics.csv"} <= set(told) and told[-1] == "status.json" and told[-2] == "metrics.csv"


@slow
def test_killed_at_any_write(
    dataset: Dataset, undisturbed: list[dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace
    count = 0
    limit: int | None = None

    def counted(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count == limit:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", counted)
    train(CONFIGS[:2], dataset, tmp_path / "count")
    writes = count
    assert writes > 25
    for limit in range(1, writes + 1):
        count, root = 0, tmp_path / str(limit)
        with pytest.raises(Killed):
            train(CONFIGS[:2], dataset, root)
        count = -(10**9)
        for folder, expected in zip(finish(dataset, root, CONFIGS[:2]), undisturbed[:2], strict=True):
            assert contents(folder) == expected, f"killed at write {limit} of {writes}"


def test_killed_between_a_mark_within_an_epoch_and_its_end(
    dataset: Dataset, undisturbed: list[dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    call = trainer.TrainStep.__call__

    def counted(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 17:  # of 6 an epoch: epoch 2.5 was made after 15
            raise Killed
        return call(*arguments)

    monkeypatch.setattr(trainer.TrainStep, "__call__", counted)
    with pytest.raises(Killed):
        train(CONFIGS, dataset, tmp_path)
    folder = folder_for(CONFIGS[1], dataset, tmp_path)
    assert folder.checkpoint(2.5).is_file() and peek_epoch(folder) == 2
    assert [row.epoch for row in folder.metrics()][-3:] == [2, 2, 2]
    found = finish(dataset, tmp_path)
    assert steps == 17 + 3 * 6  # it went on from epoch 2
    assert [contents(folder) for folder in found] == undisturbed
    rows = [(row.epoch, row.split) for row in found[1].metrics()]
    assert len(rows) == len(set(rows)) == 2 * 5 + 5  # nothing twice: five evaluations, five epochs of batches


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(name, marks=slow) for name in ("progress.json", "missing state")),
        *("state", "checkpoints/epoch-0002.safetensors"),
    ],
)
def test_a_damaged_resume_file_starts_the_run_again(
    damage: str, dataset: Dataset, undisturbed: list[dict[str, bytes]], tmp_path: Path
) -> None:
    folder = killed_run(CONFIGS, dataset, tmp_path, 4)[1]
    if damage == "missing state":
        next(folder.path.glob("state-*")).unlink()
    else:
        path = next(folder.path.glob("state-*")) if damage == "state" else folder.path / damage
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content[: len(content) - 3] if damage == "progress.json" else content)
    events: list[Event] = []
    train(CONFIGS, dataset, tmp_path, events.append)
    assert (folder.fingerprint,) in {event.fingerprints for event in events if event.epoch == 1}  # anew, alone
    assert [contents(folder) for folder in finish(dataset, tmp_path)] == undisturbed


def test_progress_of_another_run_is_not_taken(
    dataset: Dataset, undisturbed: list[dict[str, bytes]], tmp_path: Path
) -> None:
    first, second, _ = killed_run(CONFIGS, dataset, tmp_path, 4)
    shutil.rmtree(second.path)
    shutil.copytree(first.path, second.path)  # whole in itself, but of other seeds
    assert [contents(folder) for folder in finish(dataset, tmp_path)] == undisturbed


def test_children_at_different_epochs(dataset: Dataset, undisturbed: list[dict[str, bytes]], tmp_path: Path) -> None:
    killed_run(CONFIGS[:1], dataset, tmp_path, 1)
    killed_run(CONFIGS[1:2], dataset, tmp_path, 4)
    assert [peek_epoch(folder_for(config, dataset, tmp_path)) for config in CONFIGS] == [1, 2, 0]
    train(CONFIGS, dataset, tmp_path)
    assert [contents(folder) for folder in finish(dataset, tmp_path)] == undisturbed


def test_a_diverged_run_stays_diverged(dataset: Dataset, tmp_path: Path) -> None:
    config = run_config(optimizer={"kind": "sgd", "lr": 1e6, "momentum": 0.9}, epochs=5, evaluate_at=[0, 2, 5])
    (through,) = train([config], dataset, tmp_path / "through")
    killed_run([config], dataset, tmp_path / "killed", 4)
    (resumed,) = train([config], dataset, tmp_path / "killed")
    assert contents(resumed) == contents(through)
    assert resumed.status()["diverged_epoch"] == 1

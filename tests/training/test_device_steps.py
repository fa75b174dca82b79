"""Steps that a CUDA graph can hold: run eagerly on the CPU they leave the bits of the loader's steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ADAM, SGD, contents, run_config, tiny_dataset, train

from lmc_repro.common.numerics import numerics_tag
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.data.order import epoch_order, epoch_orders
from lmc_repro.engine.local import Stopped
from lmc_repro.training import steps, trainer
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.step import TrainStep
from lmc_repro.training.steps import DeviceSteps
from lmc_repro.training.trainer import Child, Event, train_stack


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trainer go through epochs as it does on a GPU, without the graph."""

    def open_steps(
        step: TrainStep, configs: Sequence[RunConfig], dataset: Dataset, prepared: Path, loader: str
    ) -> DeviceSteps:
        return DeviceSteps(step, configs, dataset)

    monkeypatch.setattr(trainer, "open_steps", open_steps)


AUGMENT: dict[str, Any] = {"data": {"augment": {"flip": True, "crop": 1, "cutout": 2}}}
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "augmented": AUGMENT,
    "label noise": {"data": {"label_noise": 0.2}},
    "clip norm": {"clip": {"norm": 0.4}},
    "clip value": {"clip": {"value": 0.03}},
    "ffcv order": {"data": {"order": "ffcv"}},
    "drop last": {"data": {"drop_last": True}},
    "one batch": {"batch_size": 60, "evaluate_at": [0, 2, 3]},
    "attention": {"model": {"kind": "attention", "patch": 5, "heads": 2, "head_dim": 3}},
    "local": {"model": {"kind": "local", "filters": 2, "kernel": 5}},
}


def stack(optimizer: dict[str, Any], **changes: Any) -> list[RunConfig]:
    """Three children of other seeds, rates, warm-ups and schedules; marks within epochs; a last batch of three."""
    return [
        run_config(
            **{
                "optimizer": {**optimizer, "lr": optimizer["lr"] / (1 + i)},
                "schedule": {"kind": ("constant", "cosine", "cosine")[i], "warmup_epochs": i},
                "seeds": {"trainer": i, "loader": 7 * i, "augmentation": i if changes == AUGMENT else None},
                "evaluate_at": [0, 0.5, 1, 2.6, 3],
                **changes,
            }
        )
        for i in range(3)
    ]


@pytest.mark.parametrize("optimizer", [SGD, {**ADAM, "weight_decay": 0.01}], ids=["sgd", "adam"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whole_run_folders_are_those_of_the_loaders_steps(
    change: dict[str, Any], optimizer: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    configs, dataset = stack(optimizer, **change), tiny_dataset()
    expected = [contents(folder) for folder in train(configs, dataset, tmp_path / "loader")]
    request.getfixturevalue("static")
    found = [contents(folder) for folder in train(configs, dataset, tmp_path / "device")]
    assert found == expected


def test_an_interrupted_run_goes_on_with_the_same_bits(static: None, tmp_path: Path) -> None:
    """The counter and the tables begin anew with every epoch, ADAM's corrections where they were."""
    configs, dataset = stack(ADAM), tiny_dataset()
    expected = [contents(folder) for folder in train(configs, dataset, tmp_path / "through")]

    def stop(event: Event) -> None:
        if event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(configs, dataset, tmp_path / "cut", stop)
    assert [contents(folder) for folder in train(configs, dataset, tmp_path / "cut")] == expected


def test_a_step_reads_nothing_that_python_changes(
    static: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a graph would hold: after the first call for a size, only tensors differ, and none is replaced."""
    taken: dict[int, set[tuple[int, ...]]] = {}
    take = DeviceSteps._take

    def watched(self: DeviceSteps, size: int) -> None:
        step = self._step
        tensors = [self._order, *self._draws, *self._tables, self._done, self._sums, step.weights, step.finite]
        tensors += step.optimizer.state.values()
        taken.setdefault(size, set()).add(tuple(tensor.data_ptr() for tensor in tensors))
        take(self, size)

    monkeypatch.setattr(DeviceSteps, "_take", watched)
    train(stack(ADAM, **AUGMENT), tiny_dataset(), tmp_path)
    assert {size: len(seen) for size, seen in taken.items()} == {10: 1, 3: 1}


@pytest.mark.parametrize("rule", ["philox", "ffcv"])
def test_orders_sorted_by_torch_are_those_of_numpy(rule: Any) -> None:
    seeds = [0, 3, 2**40]
    found = epoch_orders(1000, seeds, 5, rule)
    assert found.dtype == torch.int64
    for row, seed in zip(found, seeds, strict=True):
        assert row.tolist() == epoch_order(1000, seed, 5, rule).tolist()


def test_eager_first_then_one_capture_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: a fake of torch.cuda that records which calls were eager, captured and replayed."""
    said: list[str] = []
    inside = {"capture": False}

    class Graph:
        def replay(self) -> None:
            said.append("replay")

    class Stream:
        def __init__(self, device: object = None) -> None: ...

        def wait_stream(self, other: object) -> None: ...

    @contextmanager
    def on_stream(stream: object) -> Iterator[None]:
        yield

    @contextmanager
    def graph(captured: Graph, pool: object, stream: object) -> Iterator[None]:
        inside["capture"] = True
        yield
        inside["capture"] = False

    for name, fake in {
        "Stream": Stream, "CUDAGraph": Graph, "stream": on_stream, "graph": graph,
        "current_stream": Stream, "graph_pool_handle": object,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, fake)
    run = steps.Graphs(torch.device("cpu"))
    for size in [8, 8, 3, 8, 8, 8, 3]:
        run.run(size, lambda size: said.append(f"{'capture' if inside['capture'] else 'eager'} {size}"))
    assert said == ["eager 8", "eager 8", "eager 3", "eager 8", "capture 8", "replay", "replay", "eager 3"]
    assert steps.WARM_UP == 3


def test_the_sizes_of_a_gpu_runs_stacks_are_recorded(static: None, tmp_path: Path) -> None:
    """Three train together until a kill, then one of them alone; on a CPU nothing is recorded."""
    tag, dataset = "cuda:A Fake GPU", tiny_dataset()
    configs = [run_config(seeds={"loader": loader}) for loader in range(3)]
    children = [Child(config, RunFolder(tmp_path / f"run{i}")) for i, config in enumerate(configs)]

    def together(some: Sequence[Child], on_event: Any = lambda event: None) -> None:
        train_stack(some, dataset, tmp_path, "resident", tag, torch.device("cpu"), on_event)

    def stop(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 1:
            raise Stopped

    with pytest.raises(Stopped):
        together(children, stop)
    together(children[:1])
    together(children[1:])
    assert [child.folder.status()["stack"] for child in children] == [[3, 1], [3, 2], [3, 2]]
    assert children[0].folder.status()["numerics"] == tag
    (on_a_cpu,) = train([configs[0]], dataset, tmp_path)
    assert "stack" not in on_a_cpu.status()


def test_the_tag_of_a_gpu_is_its_name_whatever_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A Fake GPU")
    assert numerics_tag("cuda") == "cuda:A Fake GPU"

"""Steps that a CUDA graph can hold leave the bits of the loader's steps; tf32 and bf16 round products and nothing else.

There is no GPU here: the steps run eagerly on the CPU, and a fake of torch.cuda records what would be captured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ADAM, ADAMW, MUON, SAM, SGD, contents, run_config, tiny_dataset, train

from lmc_repro.common import numerics
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.config.run import Precision, RunConfig
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.engine import devices
from lmc_repro.engine.local import Stopped
from lmc_repro.models.mlp import Mlp
from lmc_repro.models.products import affine
from lmc_repro.models.registry import build_model
from lmc_repro.training import steps, trainer
from lmc_repro.training.optimizer import build_optimizer
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.stack import Layout
from lmc_repro.training.step import TrainStep, products
from lmc_repro.training.steps import DeviceSteps
from lmc_repro.training.trainer import Event, StackedRun, train_stack


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
    """Three runs of other seeds, rates, warm-ups and schedules; evaluations within epochs; a last batch of three."""
    configs = []
    for i, kind in enumerate(("constant", "cosine", "cosine")):
        values = {
            "optimizer": {**optimizer, "lr": optimizer["lr"] / (1 + i)},
            "schedule": {"kind": kind, "warmup_epochs": i},
            "model": {"depth": 3, "width": 9, "slope": 0.0},
            "seeds": {"trainer": i, "loader": 7 * i, "augmentation": i if changes == AUGMENT else None},
            "evaluate_at": [0, 0.5, 1, 2.6, 3],
        }
        configs.append(run_config(**{**values, **changes}))
    return configs


OPTIMIZERS = {"sgd": SGD, "adam": {**ADAM, "weight_decay": 0.01}, "adamw": ADAMW, "muon": MUON, "sam": SAM}


COMBINED = [(c, o) for c in CHANGES for o in OPTIMIZERS if (c, o) != ("local", "muon")]  # it has no hidden matrix
FAST = {("plain", optimizer) for optimizer in OPTIMIZERS} | {(change, "adam") for change in CHANGES}


@pytest.mark.parametrize(
    ("change", "optimizer"), [pytest.param(*both, marks=[] if both in FAST else pytest.mark.slow) for both in COMBINED]
)
def test_whole_run_folders_are_those_of_the_loaders_steps(
    change: str, optimizer: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    configs, dataset = stack(OPTIMIZERS[optimizer], **CHANGES[change]), tiny_dataset()
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
    children = [StackedRun(config, RunFolder(tmp_path / f"run{i}")) for i, config in enumerate(configs)]

    def together(some: Sequence[StackedRun], on_event: Any = lambda event: None) -> None:
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


CPU = torch.device("cpu")


MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 3, "width": 9, "slope": 0.3},
    "local": {"kind": "local", "filters": 2, "kernel": 5},
    "conv": {"kind": "conv", "filters": 2, "kernel": 5},
    "attention": {"kind": "attention", "patch": 5, "heads": 2, "head_dim": 3},
}


def five_steps(precision: Precision, model: dict[str, Any], dataset: Dataset) -> TrainStep:
    """Two children after five five_steps on the whole training split."""
    config = run_config(model=model)
    network = build_model(config.model, dataset.info)
    layout = Layout(network)
    weights = layout.stack([network.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)])
    step = TrainStep(network, layout, weights, build_optimizer(config.optimizer, weights), None, precision)
    images, labels = normalise(dataset.train.images, dataset.info), dataset.train.labels
    for k in range(5):
        step(images.expand(2, *images.shape), labels.expand(2, -1), torch.full((2, 1), SGD["lr"]), k)
    return step


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_bf16_is_near_float32_and_not_it_and_all_that_is_kept_is_float32(model: dict[str, Any]) -> None:
    dataset = tiny_dataset()
    exact, rounded = five_steps("float32", model, dataset), five_steps("bf16", model, dataset)
    assert rounded.weights.dtype == torch.float32 and rounded.finite.all()
    assert {buffer.dtype for buffer in rounded.optimizer.state.values()} == {torch.float32}
    apart = (exact.weights - rounded.weights).abs().max().item()
    assert 0.0 < apart < 0.02
    assert not torch.equal(rounded.weights, rounded.weights.bfloat16().float())  # the master weights are not rounded


def test_bf16_rounds_both_factors_and_the_product() -> None:
    x, weight = torch.randn(2, 7, 5), torch.randn(2, 3, 5)
    with products("bf16", CPU):
        found = affine(x, weight)
    assert found.dtype == torch.bfloat16
    expected = torch.bmm(x.bfloat16().double(), weight.bfloat16().double().mT)
    assert torch.allclose(found.double(), expected, rtol=2**-7, atol=0.02)
    assert affine(x, weight).dtype == torch.float32  # and no longer, outside


def test_tf32_is_switched_on_inside_a_step_and_off_for_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = torch.backends.cuda.matmul
    before, seen = matmul.fp32_precision, []
    forward = Mlp.forward

    def watched(self: Mlp, *arguments: Any) -> Any:
        seen.append(matmul.fp32_precision)
        return forward(self, *arguments)

    monkeypatch.setattr(Mlp, "forward", watched)
    five_steps("tf32", MODELS["mlp"], tiny_dataset())
    assert set(seen) == {"tf32"} and matmul.fp32_precision == before != "tf32"


@pytest.mark.parametrize(
    ("precision", "unit", "portable", "key"),
    [
        ("float32", None, True, None),
        ("bf16", "avx512_bf16", False, None),
        ("bf16", None, False, "found bf16, .*: float32 .*avx512_bf16"),
        ("bf16", "amx_bf16", True, "found bf16, .*: float32 .*numerics: native"),
        ("tf32", "amx_bf16", False, "found tf32, .*: float32, bf16;"),
        ("tf32", "amx_bf16", True, r"found tf32, .*: float32 \("),
        ("tf32", None, False, r"found tf32, .*: float32 \("),
    ],
)
def test_a_cpu_refuses_a_precision_that_it_does_not_have(
    precision: Precision, unit: str | None, portable: bool, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "bf16_unit", lambda: unit)
    monkeypatch.setattr(devices, "is_portable", lambda: portable)
    configs = [run_config(), run_config(precision=precision)]
    devices.require_precision(configs, "cuda")
    with pytest.raises(LmcError, match=key) if key else nullcontext():
        devices.require_precision(configs, "cpu")


def test_the_unit_of_bf16_is_in_the_tag_of_its_trainings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "is_portable", lambda: False)
    units = {"fpu avx512_bf16 amx_bf16": "amx_bf16", "avx512f avx512_bf16": "avx512_bf16", "avx2": "None"}
    for flags, unit in units.items():
        monkeypatch.setattr(numerics, "_cpu_says", {"flags": flags, "vendor_id": "Some"}.__getitem__)
        plain = numerics_tag("cpu", {"float32", "tf32"})
        assert plain == numerics_tag() and plain.startswith("native:Some:") and "bf16" not in plain
        assert numerics_tag("cpu", {"float32", "bf16"}) == f"{plain}:{unit}"


def test_float32_is_not_written_so_that_its_files_are_as_they_were() -> None:
    plain, rounded = run_config(), run_config(precision="bf16")
    assert "precision" not in plain.model_dump(mode="json") and "precision" not in plain.without_seeds()
    assert rounded.without_seeds()["precision"] == "bf16"
    assert plain.flat()["precision"] == "float32"  # but a tracker shows it
    for config in (plain, rounded):
        assert RunConfig.model_validate(config.model_dump(mode="json")) == config

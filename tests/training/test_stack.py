"""A child has the bits of any stack: its whole run folder is the same, in portable numerics and in native ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from helpers import ADAM, ADAMW, MUON, SAM, SGD, contents, run_config, tiny_dataset, train

from lmc_repro.common.numerics import PORTABLE, bf16_unit
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset, Split, data_digest

MODELS: dict[str, dict[str, Any]] = {"depth1": {"depth": 1}}
MODELS |= {f"depth{d}-slope{s}": {"depth": d, "width": 13, "slope": s} for d in (2, 8) for s in (1.0, 0.3, 0.0)}
MODELS |= {"no-bias-kaiming": {"depth": 2, "width": 16, "bias": False, "init": "kaiming-normal", "gain": "sqrt2"}}

# On images of 2 x 6 x 4, in patches of 2 x 2: 6 positions, 8 values each.
LOCAL: dict[str, Any] = {"kind": "local", "filters": 5, "kernel": 2}
PATCH_MODELS: dict[str, dict[str, Any]] = {
    "local": LOCAL,
    "local-filter-kaiming": {**LOCAL, "bias": "filter", "slope": 0.3, "init": "kaiming-normal", "gain": "slope"},
    "local-from-conv": {**LOCAL, "start_from_conv": True},
    "mlp-from-local": {"depth": 2, "width": 30, "slope": 0.0, "start_from_local": {"filters": 5, "kernel": 2}},
    "conv": {"kind": "conv", "filters": 5, "kernel": 2},
    "conv-linear": {"kind": "conv", "filters": 16, "kernel": 1, "slope": 1.0},
    "attention": {"kind": "attention", "patch": 2, "heads": 3, "head_dim": 5},
    "attention-one-head": {"kind": "attention", "patch": 1, "heads": 1, "head_dim": 7},
}


STACKS = [[3], [3, 5], [0, 3], [5, 3, 1], [3, 2, 4], [0, 1, 2, 3, 4, 5, 6, 7], [10, 12, 11, 9, 3, 14, 8, 13]]
OPTIMIZERS = pytest.mark.parametrize("optimizer", [SGD, ADAM, ADAMW, SAM], ids=["sgd", "adam", "adamw", "sam"])
slow = pytest.mark.slow  # in the fast set: every kind of network at the size of digits


def child(number: int, model: dict[str, Any], optimizer: dict[str, Any], **more: Any) -> RunConfig:
    """Return run `number`: its own seeds, initialisation, rate and schedule (warm-up of 0 to 2 epochs)."""
    other = {"init": "kaiming-normal", "gain": "sqrt2"} if number % 5 == 4 else {}
    seeds = {"trainer": number, "loader": 50 + number}
    return run_config(
        model={**other, **model},
        optimizer={**optimizer, "lr": optimizer["lr"] / (1 + number % 4)},
        schedule={
            "warmup_epochs": number % 3,
            "warmup_rule": ("from-zero", "from-first-step")[number // 2 % 2],
            "kind": ("cosine", "constant")[number % 2],
        },
        **{"batch_size": 9, "seeds": seeds, "epochs": 2, "evaluate_at": [0, 2], **more},  # batches: five of 9, one of 8
    )


def assert_same_in_every_stack(
    run: Callable[[int], RunConfig], dataset: Dataset, root: Path, stacks: list[list[int]] = STACKS
) -> None:
    seen: dict[int, dict[str, bytes]] = {}
    for k, numbers in enumerate(stacks):
        for number, folder in zip(numbers, train([run(n) for n in numbers], dataset, root / str(k)), strict=True):
            files = contents(folder)
            assert seen.setdefault(number, files) == files, f"run {number} has other bits in the stack {numbers}"
    assert len({files["checkpoints/epoch-0002.safetensors"] for files in seen.values()}) == len(seen)


@slow
@pytest.mark.parametrize("name, optimizer", list(zip([*MODELS, *PATCH_MODELS], cycle([SGD, ADAM, ADAMW, SAM]))))
def test_every_model(name: str, optimizer: dict[str, Any], tmp_path: Path) -> None:
    """The optimizers in turn: each meets each kind of network at the size of digits, below."""
    model, dataset = (MODELS | PATCH_MODELS)[name], tiny_dataset(shape=(2, 6, 4) if name in PATCH_MODELS else (1, 5, 5))
    assert_same_in_every_stack(lambda n: child(n, model, optimizer), dataset, tmp_path)


@slow
@pytest.mark.parametrize(
    "model", [MODELS["depth8-slope0.3"], PATCH_MODELS["attention"], {"depth": 3, "width": 1, "slope": 0.0}], ids=str
)
def test_muon(model: dict[str, Any], tmp_path: Path) -> None:
    # Of other sides: [15, 15], [45, 15], [13, 13] and [1, 1].
    assert_same_in_every_stack(lambda n: child(n, model, MUON), tiny_dataset(shape=(2, 6, 4)), tmp_path)


@slow
@OPTIMIZERS
@pytest.mark.parametrize("clip, decay", [({"norm": 0.4}, 0.0), ({"value": 0.03}, 0.0), (None, 0.02)], ids=str)
def test_clipping_and_weight_decay(clip: Any, decay: float, optimizer: dict[str, Any], tmp_path: Path) -> None:
    model, settings = {"depth": 3, "width": 13, "slope": 0.3}, {**optimizer, "weight_decay": decay}
    assert_same_in_every_stack(lambda n: child(n, model, settings, clip=clip), tiny_dataset(), tmp_path)


def test_augmentation_label_noise_and_early_noise(tmp_path: Path) -> None:
    def run(n: int) -> RunConfig:
        early = {"until": 1 + n % 3, "loader": 90, "augmentation": 91} if n % 2 else None
        seeds = {"trainer": n, "loader": 50 + n, "augmentation": 70 + n, "early": early}
        data = {"augment": {"flip": True, "crop": 2, "cutout": 2}, "label_noise": 0.2}
        return child(
            n, {"depth": 2, "width": 9, "slope": 0.0}, ADAM, seeds=seeds, data=data, epochs=4, evaluate_at=[0, 2, 4]
        )

    assert_same_in_every_stack(run, tiny_dataset(shape=(3, 5, 4)), tmp_path)


@pytest.mark.parametrize("limit", [{"norm": 0.4}, {"value": 0.03}, None], ids=str)
def test_a_mate_that_diverges(limit: dict[str, float] | None, tmp_path: Path) -> None:
    dataset, model = tiny_dataset(), {"depth": 2, "width": 13, "slope": 0.0}
    calm = [child(n, model, {**SGD, "weight_decay": 0.02}, clip=limit) for n in (0, 1, 2)]
    wild = child(3, model, {**SGD, "weight_decay": 0.02, "lr": 1e6}, clip=limit)
    alone = train(calm, dataset, tmp_path / "alone")
    *together, lost = train([*calm, wild], dataset, tmp_path / "together")
    assert lost.status()["diverged_epoch"] is not None
    assert [contents(folder) for folder in together] == [contents(folder) for folder in alone]


@pytest.mark.parametrize("batch_size", [*(pytest.param(size, marks=slow) for size in (1, 26, 52)), 7])
def test_odd_and_partial_batches(batch_size: int, tmp_path: Path) -> None:
    model, stacks = {"depth": 4, "width": 11, "slope": 0.0}, [[3], [5, 3], [3, 2, 4], [0, 1, 2, 3, 4, 5, 6, 7]]
    dataset = tiny_dataset(shape=(3, 5, 3))
    assert_same_in_every_stack(lambda n: child(n, model, ADAM, batch_size=batch_size), dataset, tmp_path, stacks)


AT_DIGITS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 4, "width": 128, "slope": 0.0},
    "local": {"kind": "local", "filters": 8, "kernel": 2},
    "conv": {"kind": "conv", "filters": 8, "kernel": 2},
    "attention": {"kind": "attention", "patch": 2, "heads": 4, "head_dim": 8},
}


def some(digits: Dataset) -> Dataset:
    """Three batches of 64, one of 3."""
    part = Split(digits.train.images[:195], digits.train.labels[:195])
    return Dataset(digits.info, part, part, data_digest(part, part))


COMBINED = [(model, optimizer) for model in AT_DIGITS for optimizer in (SGD, ADAM, ADAMW, SAM)]
COMBINED += [(model, MUON) for model in ("mlp", "attention")]
FAST = [*zip(AT_DIGITS, (SGD, ADAM, SAM, MUON), strict=True)]


@pytest.mark.parametrize(
    "model, optimizer",
    [pytest.param(*both, marks=[] if both in FAST else slow) for both in COMBINED],
    ids=lambda value: value if isinstance(value, str) else value["kind"],
)
def test_at_the_size_of_the_digits_profile(
    model: str, optimizer: dict[str, Any], digits: Dataset, tmp_path: Path
) -> None:
    # Matrix libraries choose their kernels by size: tiny matrices alone would prove little.
    network, stacks = AT_DIGITS[model], [[3], [3, 5], [3, 2, 4], [*range(8)]]
    assert_same_in_every_stack(lambda n: child(n, network, optimizer, batch_size=64), some(digits), tmp_path, stacks)


@slow
@pytest.mark.skipif(bf16_unit() is None, reason="this CPU does not multiply bfloat16")
@pytest.mark.parametrize("model", AT_DIGITS)
def test_bf16(model: str, digits: Dataset, tmp_path: Path) -> None:
    network, stacks = AT_DIGITS[model], [[3], [3, 5], [*range(8)]]
    assert_same_in_every_stack(
        lambda n: child(n, network, SGD, batch_size=64, precision="bf16"), some(digits), tmp_path, stacks
    )


def test_children_may_differ_in_seeds_rate_and_schedule_only(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"batch_size": 11}, {"model": {"depth": 1}}, {"optimizer": ADAM}, {"evaluate_at": [3]},
        {"clip": {"norm": 1.0}}, {"optimizer": {**SGD, "weight_decay": 0.1}},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(ValueError):
            train([run_config(), run_config(**change)], tiny_dataset(), tmp_path)


TESTS = Path(__file__).parent.parent


ALONE = {name: value for name, value in os.environ.items() if name not in (*PORTABLE, "LMC_NUMERICS")}


def native(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env={**ALONE, **environment})


@slow
@pytest.mark.parametrize("file", ["models/test_stacks.py", "training/test_stack.py"])
def test_native_stacks(file: str) -> None:
    options = ["-q", "-k", "not native", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command = ["-m", "pytest", *options, str(TESTS / file)]
    done = native(command, LMC_TEST_NUMERICS="native")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@slow
@pytest.mark.parametrize("chosen", ["from lmc_repro.common.numerics import choose_mode; choose_mode('native')", ""])
def test_a_process_is_native_where_nobody_has_chosen(chosen: str) -> None:
    lines = [
        "import os, torch",
        chosen,
        "from lmc_repro.common.numerics import numerics_tag, use_one_thread",
        "use_one_thread()",
        "print(numerics_tag().split(':')[0], os.environ['LMC_NUMERICS'], os.environ['MKL_CBWR'])",
    ]
    done = native(["-c", "\n".join(lines)])
    assert done.stdout.split() == ["native", "native", "AUTO"], done.stderr
    assert native(["-c", "\n".join(lines)], MKL_CBWR="AVX2").stdout.split()[2] == "AVX2"  # its owner's choice

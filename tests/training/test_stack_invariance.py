"""A child's bits belong to the child: whoever shares its stack, its whole run folder is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import ADAM, SGD, contents, run_config, tiny_dataset, train

from lmc_repro.data.dataset import Dataset, data_digest
from lmc_repro.schemas.run import RunConfig

MODELS: dict[str, dict[str, Any]] = {"depth1": {"depth": 1}}
MODELS |= {f"depth{d}-slope{s}": {"depth": d, "width": 13, "slope": s} for d in (2, 8) for s in (1.0, 0.3, 0.0)}
MODELS |= {"no-bias-kaiming": {"depth": 2, "width": 16, "bias": False, "init": "kaiming-normal", "gain": "sqrt2"}}


def child(number: int, model: dict[str, Any], optimizer: dict[str, Any], **more: Any) -> RunConfig:
    """Return run `number`: its own seeds, rate and warm-up (0 to 2 epochs)."""
    return run_config(
        model=model,
        optimizer={**optimizer, "lr": optimizer["lr"] / (1 + number % 4)},
        schedule={"warmup_epochs": number % 3},
        seeds={"trainer": number, "loader": 50 + number},
        **{"epochs": 2, "evaluate_at": [0, 2], "batch_size": 9, **more},  # 53 images: five batches of 9, one of 8
    )


def assert_same_in_every_stack(
    stacks: list[list[int]], dataset: Dataset, root: Path, model: dict[str, Any], optimizer: dict[str, Any], **more: Any
) -> None:
    seen: dict[int, dict[str, bytes]] = {}
    for k, numbers in enumerate(stacks):
        folders = train([child(n, model, optimizer, **more) for n in numbers], dataset, root / str(k))
        for number, folder in zip(numbers, folders, strict=True):
            files = contents(folder)
            assert seen.setdefault(number, files) == files, f"run {number} has other bits in the stack {numbers}"
    assert len({files["checkpoints/epoch-0002.safetensors"] for files in seen.values()}) == len(seen)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_every_model_and_optimizer(model: dict[str, Any], optimizer: dict[str, Any], tmp_path: Path) -> None:
    stacks = [[3], [3, 5], [0, 3], [5, 3, 1], [3, 2, 4], [0, 1, 2, 3, 4, 5, 6, 7], [10, 12, 11, 9, 3, 14, 8, 13]]
    assert_same_in_every_stack(stacks, tiny_dataset(), tmp_path, model, optimizer)


@pytest.mark.parametrize("batch_size", [1, 7, 26, 52])
def test_odd_and_partial_batches(batch_size: int, tmp_path: Path) -> None:
    stacks = [[3], [5, 3], [3, 2, 4], [0, 1, 2, 3, 4, 5, 6, 7]]
    model = {"depth": 4, "width": 11, "slope": 0.0}
    assert_same_in_every_stack(stacks, tiny_dataset(shape=(3, 5, 3)), tmp_path, model, ADAM, batch_size=batch_size)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_at_the_size_of_the_digits_profile(optimizer: dict[str, Any], digits: Dataset, tmp_path: Path) -> None:
    # Matrix libraries choose their kernels by size: tiny matrices alone would prove little.
    part = type(digits.train)(digits.train.images[:195], digits.train.labels[:195])  # three batches of 64, one of 3
    dataset = Dataset(digits.info, part, part, data_digest(part, part))
    model = {"depth": 4, "width": 128, "slope": 0.0}
    assert_same_in_every_stack(
        [[3], [3, 5], [3, 2, 4], [0, 1, 2, 3, 4, 5, 6, 7]], dataset, tmp_path, model, optimizer, batch_size=64
    )


def test_children_may_differ_in_seeds_rate_and_warm_up_only(tmp_path: Path) -> None:
    for change in ({"batch_size": 11}, {"model": {"depth": 1}}, {"optimizer": ADAM}, {"evaluate_at": [3]}):
        with pytest.raises(ValueError, match="may differ in seeds, learning rate and warm-up only"):
            train([run_config(), run_config(**change)], tiny_dataset(), tmp_path)

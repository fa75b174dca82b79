"""Partial paths: which layers move, and their limits that are the whole path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import run_config, tiny_dataset
from pydantic import ValidationError
from torch import Tensor

from lmc_repro.barriers.layers import layers_of, partial_end
from lmc_repro.barriers.pair import pair_key
from lmc_repro.barriers.path import path_curves
from lmc_repro.common.errors import LmcError
from lmc_repro.config.path import LayersConfig, PathConfig
from lmc_repro.config.study import Settings
from lmc_repro.models.base import Model
from lmc_repro.models.registry import build_model

LAB = Path(__file__).parents[2] / "examples" / "lab" / "networks.py"
RESNET = {"kind": "module", "module": f"{LAB}:resnet20", "options": {"width": 4}}
DEEP = {"depth": 3, "width": 5, "slope": 0.0}
MOVED = {
    ("only", 1): {1}, ("only", 3): {3}, ("up_to", 1): {1}, ("up_to", 2): {1, 2}, ("up_to", 3): {1, 2, 3},
    ("all_but", 1): {2, 3}, ("all_but", 2): {1, 3},
}  # fmt: skip


def made(config: Mapping[str, Any]) -> tuple[Model, dict[str, Tensor], dict[str, Tensor]]:
    model = build_model(run_config(model=dict(config)).model, tiny_dataset(shape=(1, 4, 4)).info)
    first, second = (model.init(torch.Generator().manual_seed(seed)) for seed in range(2))
    return model, first, second


@pytest.mark.parametrize("rule, number", MOVED)
def test_the_named_layers_move_and_the_others_stay(rule: str, number: int) -> None:
    model, first, second = made(DEEP)
    end = partial_end(model, first, second, LayersConfig.model_validate({rule: number}))
    for i in range(3):
        for part in ("weight", "bias"):
            name = f"layers.{i}.{part}"
            assert torch.equal(end[name], (second if i + 1 in MOVED[rule, number] else first)[name])


@pytest.mark.parametrize(
    "config, layers",
    [
        ({"depth": 1}, {"only": 1}),
        ({"depth": 1}, {"up_to": 1}),
        (DEEP, {"up_to": 3}),
        ({"kind": "conv", "filters": 3, "kernel": 2}, {"up_to": 2}),
        ({"kind": "local", "filters": 3, "kernel": 2}, {"up_to": 2}),
        ({"kind": "attention", "patch": 2, "heads": 2, "head_dim": 3}, {"up_to": "last"}),
        pytest.param(RESNET, {"up_to": "last"}, marks=pytest.mark.slow),
    ],
)
def test_one_layer_and_all_layers_are_the_whole_path(config: dict[str, Any], layers: dict[str, Any]) -> None:
    dataset = tiny_dataset(shape=(1, 4, 4))
    model, first, second = made(config)
    ((rule, number),) = layers.items()
    end = partial_end(
        model, first, second, LayersConfig(**{rule: len(layers_of(model)) if number == "last" else number})
    )
    whole = path_curves(model, first, second, dataset, 5)
    assert path_curves(model, first, end, dataset, 5) == whole and len(set(whole["train"].loss)) == 5


def test_layers_of_other_networks_and_a_number_too_high() -> None:
    assert layers_of(made({"kind": "conv", "filters": 3, "kernel": 2})[0]) == ["hidden", "output"]
    model, first, second = made({"kind": "attention", "patch": 2, "heads": 2, "head_dim": 3})
    names = layers_of(model)
    assert names[:2] == ["patch_norm", "embed"] and {"class_token", "qkv", "head"} <= set(names)
    with pytest.raises(LmcError, match=r"^layers\.only: "):
        partial_end(model, first, second, LayersConfig(only=len(names) + 1))


@pytest.mark.parametrize("given", [{}, {"only": 1, "up_to": 2}, {"only": 0}])
def test_one_rule_is_given(given: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        LayersConfig.model_validate(given)


def test_a_partial_path_is_another_pair_and_a_plain_one_keeps_its_key() -> None:
    runs = ("a", "a")
    plain = pair_key(runs, 11, "portable")
    assert pair_key(runs, 11, "portable", PathConfig(layers=None)) == plain == "4d9235601588a2c7"
    given = [{"only": 1}, {"only": 2}, {"up_to": 2}, {"all_but": 2}]
    paths = [PathConfig(layers=LayersConfig.model_validate(each)) for each in given]
    assert len({plain, *(pair_key(runs, 11, "portable", path) for path in paths)}) == 5
    assert [path.given() for path in paths] == [{"layers": each} for each in given]


def test_a_row_replaces_the_layers_of_the_base() -> None:
    row, base = (Settings.model_validate({"layers": each}) for each in ({"only": 2}, {"up_to": 1}))
    assert row.over(base).layers == LayersConfig(only=2) and Settings().over(base).layers == LayersConfig(up_to=1)

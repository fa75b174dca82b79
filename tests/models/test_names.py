"""The one-line names of networks."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from lmc_repro.config.run import ModelConfig
from lmc_repro.models.registry import begins_as, network

PATCHES = {"filters": 8, "kernel": 2}


@pytest.mark.parametrize(
    "values, name",
    [
        ({"kind": "mlp", "depth": 1}, "1-layer MLP"),
        ({"kind": "mlp", "depth": 4, "width": 9, "slope": 0.3}, "4-layer MLP, width 9, slope 0.3"),
        ({"kind": "mlp", "depth": 2, "width": 9, "bias": False}, "2-layer MLP, width 9, slope 1, no biases"),
        ({"kind": "local", **PATCHES}, "LC-CNN, 8 filters of 2x2, slope 0, a bias a unit"),
        ({"kind": "local", **PATCHES, "bias": "filter"}, "LC-CNN, 8 filters of 2x2, slope 0, a bias a filter"),
        ({"kind": "conv", **PATCHES}, "CNN, 8 filters of 2x2, slope 0"),
        ({"kind": "attention", "patch": 4, "heads": 8, "head_dim": 48}, "attention, patches of 4x4, 8 heads of 48"),
    ],
)
def test_a_network_in_words(values: dict[str, Any], name: str) -> None:
    config: ModelConfig = TypeAdapter(ModelConfig).validate_python(values)
    assert network(config.model_dump(mode="json")) == name
    assert begins_as(config.model_dump(mode="json")) is None


def test_what_another_network_gives_the_beginning_of() -> None:
    assert begins_as({"kind": "local", **PATCHES, "start_from_conv": True}) == "the CNN"
    assert begins_as({"kind": "mlp", "depth": 2, "width": 128, "start_from_local": PATCHES}) == "the LC-CNN"

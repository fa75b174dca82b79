"""The effects that the method must show on the embedded digits, with the settings of params.yaml."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from helpers import PARAMS, final_weights, read_digits, train

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.path import path_curves
from lmc_repro.models.registry import build_model
from lmc_repro.schemas.load import load_params
from lmc_repro.schemas.run import RunConfig
from lmc_repro.studies.expand import Choice, plan_study

pytestmark = pytest.mark.slow


def eight_layers(tmp_path: Path, column: str, slope: float = 1.0) -> list[float]:
    """Return Eq. 1 on test (points) for three trainer seeds of the 8-layer network, its six runs as one stack."""
    choice = Choice(profile="digits", rows=("8-layer-bs1024",), columns=(column,), pairs=3)
    (cell,) = plan_study(load_params(PARAMS), "table1", choice).cells
    configs = [with_slope(config, slope) for config in cell.runs]
    assert [(c.seeds.trainer, c.seeds.loader) for c in configs] == [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4), (2, 5)]
    digits = read_digits()
    model = build_model(configs[0].model, digits.info)
    weights = [final_weights(folder) for folder in train(configs, digits, tmp_path)]
    paths = [path_curves(model, weights[2 * j], weights[2 * j + 1], digits, 11) for j in range(3)]
    return [barriers(curves, "test", digits.info.classes).barrier for curves in paths]


def with_slope(config: RunConfig, slope: float) -> RunConfig:
    values = config.model_dump()
    return RunConfig.model_validate({**values, "model": {**values["model"], "slope": slope}})


def test_deep_linear_networks_connect_under_sgd(tmp_path: Path) -> None:
    assert all(barrier < 2.0 for barrier in eight_layers(tmp_path, "sgd-medium"))


def test_deep_linear_networks_do_not_connect_under_adam(tmp_path: Path) -> None:
    assert all(barrier >= 20.0 for barrier in eight_layers(tmp_path, "adam-high"))


def test_relu_raises_the_barrier_of_the_same_depth(tmp_path: Path) -> None:
    linear = eight_layers(tmp_path, "sgd-high")
    relu = eight_layers(tmp_path, "sgd-high", slope=0.0)
    assert statistics.median(relu) > statistics.median(linear)

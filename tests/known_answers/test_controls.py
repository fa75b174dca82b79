"""The effects that the method must show on the embedded digits, with the settings of params.yaml.

Each threshold is cleared by a factor of two in each of ten trainer seeds (docs/method.md has them), so that no other
bits, of another torch or another CPU, turn an answer.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import PARAMS, final_weights, read_digits, train

from lmc_repro.barriers.barrier import Barriers, barriers
from lmc_repro.barriers.path import path_curves
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params
from lmc_repro.models.registry import build_model

pytestmark = pytest.mark.slow


def eight_layers(tmp_path: Path, column: str) -> list[Barriers]:
    """Return what is measured on test for two trainer seeds of the 8-layer linear network, four runs as one stack."""
    choice = Choice(profile="digits", rows=("8-layer-bs1024",), columns=(column,), pairs=2)
    (cell,) = plan_study(load_params(PARAMS), "table1", choice).cells
    configs = cell.runs
    assert [(c.seeds.trainer, c.seeds.loader) for c in configs] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert {config.data.drop_last for config in configs} == {True}
    digits = read_digits()
    model = build_model(configs[0].model, digits.info)
    weights = [final_weights(folder) for folder in train(configs, digits, tmp_path)]
    paths = [path_curves(model, weights[2 * j], weights[2 * j + 1], digits, 11) for j in range(2)]
    return [barriers(curves, "test", digits.info.classes) for curves in paths]


def test_deep_linear_networks_connect_under_sgd(tmp_path: Path) -> None:
    for pair in eight_layers(tmp_path, "sgd-medium"):
        assert pair.barrier < 1.0  # 0.50 at most in ten seeds
        assert max(pair.error_0, pair.error_1) < 30  # 14.6 at most: they have learnt


@pytest.mark.parametrize("column", ["adam-high", "adam-medium"])
def test_deep_linear_networks_do_not_connect_under_adam(tmp_path: Path, column: str) -> None:
    for pair in eight_layers(tmp_path, column):
        assert min(pair.barrier, pair.line) > 13.0  # 27 at least in ten seeds: a hill, and not an end that is worse
        assert max(pair.error_0, pair.error_1) < 48  # 24 at most

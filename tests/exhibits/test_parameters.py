"""Parameter counts, worked out by hand: a filter of 4 x 4 x 3 has 48 weights, a 32 x 32 image 64 positions."""

from __future__ import annotations

import pytest
from helpers import PARAMS

from lmc_repro.config.exhibit import ParametersExhibit
from lmc_repro.config.load import load_params
from lmc_repro.config.params import Params
from lmc_repro.exhibits.parameters import make, show

OUTPUT = 64 * 128 * 10 + 10
BY_HAND = {
    "cnn": 48 * 128 + 128 + OUTPUT,
    "lc-cnn": 64 * 128 * 48 + 64 * 128 + OUTPUT,
    "lc-cnn-filter": 64 * 128 * 48 + 128 + OUTPUT,
    "mlp": 3072 * 8192 + 8192 + OUTPUT,
}


@pytest.fixture
def params() -> Params:
    return load_params(PARAMS)


def table3(params: Params) -> ParametersExhibit:
    exhibit = params.exhibits["table3"]
    assert isinstance(exhibit, ParametersExhibit)
    return exhibit


@pytest.mark.parametrize("profile", ["digits", "paper"])
def test_table_3_under_every_profile(params: Params, profile: str) -> None:
    found = make(table3(params), params.model_copy(update={"profile": profile}), "params.yaml")
    counts = {network["key"]: network["parameters"] for network in found["networks"]}
    assert counts == BY_HAND
    assert counts == {"cnn": 88_202, "lc-cnn": 483_338, "lc-cnn-filter": 475_274, "mlp": 25_255_946}
    outcome, _, grids = show({**found, "profile": profile})
    assert "4 of 4" in outcome
    assert grids[0].rows[0] == ("CNN", "88,202", "0.09", "0.09")
    assert grids[0].rows[-1][1:] == ("25,255,946", "25.26", "25.26")


def test_the_profiles_own_networks_on_digits(params: Params) -> None:
    # 8 x 8 images: 16 positions of 2 x 2 pixels, 8 filters, so 128 hidden units and 1,290 parameters behind them.
    found = make(table3(params), params, "params.yaml")
    counts = {network["label"]: network["parameters"] for network in found["study"]["networks"]}
    assert list(counts) == ["MLP", "LC-CNN", "CNN", "attention"]  # the controls are none of Figure 2's networks
    assert counts["MLP"] == 64 * 128 + 128 + 1290
    assert counts["LC-CNN"] == 128 * 4 + 128 + 1290
    assert counts["CNN"] == 8 * 4 + 8 + 1290
    assert {network["dataset"]["name"] for network in found["study"]["networks"]} == {"digits"}


def test_a_count_that_rounds_to_another_number_is_named(params: Params) -> None:
    values = table3(params).model_dump()
    values["networks"]["cnn"]["model"]["filters"] = 150  # 7,200 + 150 + 96,010
    found = make(ParametersExhibit.model_validate(values), params, "params.yaml")
    outcome, _, _ = show({**found, "profile": "digits"})
    assert "3 of 4" in outcome and "not CNN (0.10, paper 0.09)" in outcome

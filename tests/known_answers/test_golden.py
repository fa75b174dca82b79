"""The bits that earlier versions of this program made, on the torch that made them."""

from __future__ import annotations

import json

import pytest
from known_answers.golden import FILE, conditions, measure


def test_bits_are_those_of_golden_json() -> None:
    golden, here = json.loads(FILE.read_text()), conditions()
    for key in ("torch", "numerics"):
        if golden["made_with"][key] != here[key]:
            pytest.skip(f"golden.json was made with {key} {golden['made_with'][key]}, this is {here[key]}")
    assert golden["made_with"] == here, "a numerics number was raised: run python tests/known_answers/golden.py"
    found, advice = measure(), "raise {} or mend the change; then run python tests/known_answers/golden.py"
    assert found.keys() == golden["sha256"].keys(), "run python tests/known_answers/golden.py"
    for name, expected in golden["sha256"].items():
        assert found[name]["weights"] == expected["weights"], f"{name}: other weights: {advice.format('TRAINING_NUMERICS')}"
        assert found[name]["curve"] == expected["curve"], f"{name}: other curve: {advice.format('EVALUATION_NUMERICS')}"

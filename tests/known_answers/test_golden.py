"""The bits that earlier versions of this program made, on the torch that made them."""

from __future__ import annotations

import json
import os

import pytest
from known_answers import golden

REWRITE = "then LMC_WRITE_GOLDEN=1 make test ARGS=tests/known_answers/test_golden.py"


def test_bits_are_those_of_golden_json() -> None:
    if os.environ.get("LMC_WRITE_GOLDEN"):
        golden.write()
    kept, here = json.loads(golden.FILE.read_text()), golden.conditions()
    for key in ("torch", "numerics"):
        if kept["made_with"][key] != here[key]:
            pytest.skip(f"golden.json was made with {key} {kept['made_with'][key]}, this is {here[key]}")
    assert kept["made_with"] == here, f"a numerics number was changed: see that it had to be, {REWRITE}"
    found = golden.measure()
    assert found.keys() == kept["sha256"].keys(), f"another set of models: see that it had to be, {REWRITE}"
    for name, expected in kept["sha256"].items():
        for part, number in (("weights", "TRAINING_NUMERICS"), ("curve", "EVALUATION_NUMERICS")):
            assert found[name][part] == expected[part], (
                f"{name}: other {part}: raise {number} or mend the change, {REWRITE}"
            )

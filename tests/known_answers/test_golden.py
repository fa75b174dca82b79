"""The bits that earlier versions of this program made, on the torch and the kinds of CPU that made them."""

from __future__ import annotations

import os

import pytest
from known_answers import golden

REWRITE = "then LMC_WRITE_GOLDEN=1 make test ARGS=tests/known_answers/test_golden.py"


def test_bits_are_those_of_golden_json() -> None:
    if os.environ.get("LMC_WRITE_GOLDEN"):
        golden.write()
    here = golden.conditions()
    kept = next((kept for kept in golden.read() if kept["made_with"]["numerics"] == here["numerics"]), None)
    if kept is None:
        pytest.skip(f"golden.json holds no bits of {here['numerics']}: not tried on such a CPU yet")
    if kept["made_with"]["torch"] != here["torch"]:
        pytest.skip(f"golden.json was made with torch {kept['made_with']['torch']}, this is {here['torch']}")
    assert kept["made_with"] == here, f"a numerics number was changed: see that it had to be, {REWRITE}"
    found = golden.measure()
    # A kind of CPU that was not at hand when a model was added lacks it.
    assert set(kept["sha256"]) <= set(found), f"a model is gone: see that it had to, {REWRITE}"
    for name, expected in kept["sha256"].items():
        for part, number in (("weights", "TRAINING_NUMERICS"), ("curve", "EVALUATION_NUMERICS")):
            # A kind of CPU that was not at hand when a number was raised lacks what it covers.
            assert found[name][part] == expected.get(part, found[name][part]), (
                f"{name}: other {part}: raise {number} or mend the change, {REWRITE}"
            )


def test_every_model_and_optimizer_is_kept_for_the_newest_cpu() -> None:
    newest = golden.read()[0]["sha256"]
    assert set(newest) == set(golden.cases()), REWRITE
    assert all(bits.keys() == {"weights", "curve"} for bits in newest.values())
    assert len({bits["weights"] for bits in newest.values()}) == len(newest)  # each setting does something

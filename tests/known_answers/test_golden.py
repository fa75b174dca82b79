"""The bits that this program makes on every CPU with AVX2, on the torch that made them."""

from __future__ import annotations

import os

import pytest
from known_answers import golden

REWRITE = "then LMC_WRITE_GOLDEN=1 make test ARGS=tests/known_answers/test_golden.py"


@pytest.mark.parametrize("schedules", ["one", pytest.param("others", marks=pytest.mark.slow)])
def test_bits_are_those_of_golden_json(schedules: str) -> None:
    if os.environ.get("LMC_WRITE_GOLDEN"):
        golden.write()
    here, kept = golden.conditions(), golden.read()
    if here["numerics"].startswith("native:"):
        pytest.skip(f"golden.json holds portable bits, this process has {here['numerics']}")
    if kept["made_with"]["torch"] != here["torch"]:
        pytest.skip(f"golden.json was made with torch {kept['made_with']['torch']}, this is {here['torch']}")
    assert kept["made_with"] == here, f"a numerics number was changed: see that it had to be, {REWRITE}"
    cases = golden.cases()
    assert set(kept["sha256"]) == set(cases), f"a case is new or gone: see that it had to be, {REWRITE}"
    other = tuple(name for name in golden.SCHEDULES if name)
    found = golden.measure({name: cases[name] for name in cases if name.endswith(other) == (schedules == "others")})
    for name in found:
        expected = kept["sha256"][name]
        for part, number in (("weights", "TRAINING_NUMERICS"), ("curve", "EVALUATION_NUMERICS")):
            assert found[name][part] == expected[part], (
                f"{name}: other {part}: raise {number} or fix the change, {REWRITE}"
            )


def test_every_case_has_bits_of_its_own() -> None:
    kept = golden.read()["sha256"]
    assert len({bits["weights"] for bits in kept.values()}) == len(kept) == len(golden.cases())

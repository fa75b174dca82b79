"""What a params.yaml may leave out: titles, questions and sources, unless a study is held against the paper."""

from __future__ import annotations

from typing import Any

import pytest

from lmc_repro.common.errors import LmcError
from lmc_repro.config.load import validate
from lmc_repro.config.params import Params

SGD = {"kind": "sgd", "lr": 0.1, "momentum": 0.9}


def smallest() -> dict[str, Any]:
    """Return the plain values of a params.yaml with nothing that can be left out."""
    settings = {"batch": 64, "epochs": 1, "evaluate_at": [1], "model": {"depth": 1}, "data": {"dataset": "digits"}}
    study = {"base": settings, "rows": {"r": {"label": "R"}}, "columns": {"c": {"label": "C", "optimizer": SGD}}}
    profile = {"numerics": "portable", "datasets": ["digits"]}
    return {"profile": "p", "profiles": {"p": profile}, "studies": {"s": study}}


def test_keys_are_titles_and_the_rest_is_empty() -> None:
    params = validate(Params, smallest(), "params.yaml")
    study, profile = params.studies["s"], params.profiles["p"]
    assert (study.title, study.question, study.provenance) == ("s", "", {})
    assert (profile.title, profile.analogue, profile.provenance, profile.judgement.threshold) == ("p", False, {}, 2.0)
    named = smallest()
    named["studies"]["s"]["title"] = "Mine"
    assert validate(Params, named, "params.yaml").studies["s"].title == "Mine"


def test_a_study_held_against_the_paper_needs_them() -> None:
    values = smallest()
    values["studies"]["s"] |= {"reported": "table1", "title": "T"}
    with pytest.raises(LmcError, match=r"^params.yaml: studies.s: question: missing"):
        validate(Params, values, "params.yaml")
    values["studies"]["s"]["question"] = "Q?"
    profile = values["profiles"]["p"]
    with pytest.raises(
        LmcError, match=r"profiles.p.provenance: no entry for judgement.min_train_accuracy, judgement.t"
    ):
        validate(Params, values, "params.yaml")
    profile["provenance"] = {"judgement": "cited: Frankle et al."}
    assert validate(Params, values, "params.yaml").profiles["p"].without_source() == []
    profile["provenance"]["optimizers"] = "ours: none"
    with pytest.raises(LmcError, match="provenance: optimizers names no hyper-parameter"):
        validate(Params, values, "params.yaml")

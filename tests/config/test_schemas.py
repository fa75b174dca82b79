"""The schemas: values that they accept, refuse and keep as written; keys that a params.yaml may leave out."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import ADAM, EXAMPLE, SGD, run_config
from pydantic import ValidationError

from lmc_repro.common.errors import LmcError
from lmc_repro.config.base import canonical_json
from lmc_repro.config.load import load_params, validate
from lmc_repro.config.params import Params
from lmc_repro.config.run import MlpConfig, RunConfig
from lmc_repro.config.study import Settings


@pytest.mark.parametrize(
    "values, why",
    [
        ({"depth": 2}, "give their width"),
        ({"depth": 1, "width": 5}, "leave out width and slope"),
        ({"depth": 1, "slope": 0.0}, "leave out width and slope"),
        ({"depth": 0}, "greater than or equal to 1"),
        ({"depth": 2, "width": 5, "init": "kaiming-normal"}, "gain"),
        ({"depth": 2, "width": 5, "gain": "sqrt2"}, "gain"),
        ({"depth": 2, "width": 5, "slope": -0.1}, "greater than or equal to 0"),
        ({"depth": 2.0, "width": 5}, "valid integer"),
    ],
)
def test_models_that_cannot_be(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        MlpConfig.model_validate({"kind": "mlp", **values})


@pytest.mark.parametrize("evaluations", [[], [0, 3, 1], [1, 1, 3], [-1, 3], [0, 2], [0, 3, 4]])
def test_marks_that_cannot_be(evaluations: list[int]) -> None:
    with pytest.raises(ValidationError):
        run_config(evaluate_at=evaluations)


def test_seeds_are_three_and_augmentation_is_null_by_default() -> None:
    config = run_config(seeds={"trainer": 4, "loader": 5})
    assert config.seeds.model_dump() == {"trainer": 4, "loader": 5, "augmentation": None, "early": None}
    for bad in ({"trainer": -1}, {"loader": 1.5}, {"order": 3}):
        with pytest.raises(ValidationError):
            run_config(seeds=bad)


def test_a_config_survives_json_and_is_hashable() -> None:
    config = run_config(optimizer=ADAM)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert len({config, RunConfig.model_validate(config.model_dump(mode="json"))}) == 1


def test_flat_names_every_field() -> None:
    flat = run_config().flat()
    assert flat["optimizer.lr"] == 0.05 and flat["seeds.augmentation"] is None and flat["evaluate_at"] == [0, 1, 3]
    assert flat["schedule.warmup_epochs"] == 0 and flat["data.dataset"] == "tiny"
    assert "seeds" not in run_config().without_seeds()


def test_canonical_json() -> None:
    assert canonical_json({"b": 1, "a": [1.0, None]}) == '{"a":[1.0,null],"b":1}'
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_later_settings_win() -> None:
    lower = Settings(model={"depth": 2, "width": 3}, pairs=2, data={"augment": {"flip": True, "crop": 2}})
    upper = Settings(model={"width": 5, "bias": False}, trainer_seeds=(7, 0), data={"augment": {"crop": 4}})
    both = {"model.depth": 2, "model.width": 5, "model.bias": False, "data.augment": {"crop": 4}}
    assert upper.over(lower).given() == both | {"trainer_seeds": [7, 0]}
    assert Settings(pairs=3).over(upper.over(lower)).given() == both | {"pairs": 3}
    assert Settings.model_validate({"optimizer": "fast"}).over(Settings(optimizer={"lr": 0.5})).given() == {
        "optimizer.lr": 0.5, "optimizer.use": "fast",
    }  # fmt: skip


def test_provenance_the_longest_entry_counts() -> None:
    profile = load_params(EXAMPLE).profiles["digits"]
    assert profile.source("optimizers.adam-high.lr").startswith("paper:")
    assert profile.source("optimizers.adam-high.eps").startswith("ours:")
    assert profile.source("settings.model.init").startswith("inferred:")
    assert profile.source("nothing.known") is None


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

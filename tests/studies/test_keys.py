"""Which setting is in which key: the fingerprint of a training, the key of a pair, or neither.

Every field of params.yaml is listed here; a new one fails the test until somebody has decided where it belongs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import ADAM as ADAM_CONFIG
from helpers import MUON, SGD
from small_study import PARAMS

from lmc_repro.barriers.pair import pair_key
from lmc_repro.config.expand import plan_study
from lmc_repro.config.load import group_classes
from lmc_repro.config.params import Params
from lmc_repro.config.study import (
    GROUPS,
    AxisEntry,
    Judgement,
    Override,
    ProfileConfig,
    Settings,
    StudyConfig,
    nested,
)
from lmc_repro.training.fingerprint import run_fingerprint

MODULES = Path(__file__).parents[1] / "models" / "own_modules.py"
LAB = Path(__file__).parents[2] / "examples" / "paths" / "lab.py"
Keys = tuple[frozenset[str], frozenset[str]]


def keys(params: dict[str, Any]) -> Keys:
    """Return the fingerprints of all trainings of study `one`, and the keys of its pairs."""
    plan = plan_study(Params.model_validate(params), "one")
    points = plan.profile_config.points
    runs = {config: run_fingerprint(config, "d", "portable") for config in plan.runs}
    pairs = [(cell, pair) for cell in plan.cells for pair in cell.pairs]
    return frozenset(runs.values()), frozenset(
        pair_key((runs[pair.runs[0]], runs[pair.runs[1]]), points, "portable", cell.path, pair.epochs)
        for cell, pair in pairs
    )


PATCHES = {"model.kind": "local", "model.filters": 2, "model.kernel": 2}
TOKENS = {"model.kind": "attention", "model.patch": 2, "model.heads": 2, "model.head_dim": 2}
KAIMING = {"model.init": "kaiming-normal", "model.gain": "slope"}
MODULE = {"model.kind": "module", "model.module": f"{MODULES}:mlp", "model.options": {"width": 4}}
ADAM = {"optimizer.use": "adam"}

IN_TRAINING: dict[str, tuple[Any, dict[str, Any]]] = {
    "data.dataset": ("mnist", {}),
    "data.label_noise": (0.1, {}),
    "data.augment": ({"flip": True}, {}),
    "data.order": ("ffcv", {}),
    "data.drop_last": (True, {}),
    "model.kind": ("conv", PATCHES),
    "model.depth": (3, {}),  # over the rows'
    "model.width": (4, {}),
    "model.slope": (0.5, {}),
    "model.bias": (False, {}),
    "model.filters": (3, PATCHES),
    "model.kernel": (4, PATCHES),
    "model.start_from_conv": (True, PATCHES),
    "model.start_from_local": ({"filters": 1, "kernel": 2}, {"model.depth": 2, "model.width": 16}),
    "model.patch": (4, TOKENS),
    "model.heads": (3, TOKENS),
    "model.head_dim": (3, TOKENS),
    "model.start": ("conv", PATCHES),
    "model.module": (f"{MODULES}:normed", MODULE),
    "model.options": ({"width": 5}, MODULE),
    "model.init": ("kaiming-normal", {}),
    "model.gain": ("sqrt2", KAIMING),
    "optimizer.use": ("fast", {}),
    "optimizer.lr": (0.3, {}),
    "optimizer.momentum": (0.5, {}),
    "optimizer.beta1": (0.5, ADAM),
    "optimizer.beta2": (0.5, ADAM),
    "optimizer.eps": (0.5, ADAM),
    "optimizer.rho": (0.5, {"optimizer.use": "sam"}),
    "optimizer.adam_share": (0.5, {"optimizer.use": "muon"}),
    "optimizer.weight_decay": (0.1, {}),
    "optimizer.lr_divisor": (2.0, {}),
    "clip": ({"norm": 1.0}, {}),
    "batch": (65, {}),
    "schedule.kind": ("cosine", {}),
    "schedule.warmup_epochs": (1, {}),
    "schedule.warmup_rule": ("from-first-step", {"schedule.warmup_epochs": 1}),
    "epochs": (5, {}),
    "evaluate_at": ([0, 4], {}),
    "share_noise_until": (2, {}),
    "spawn_at": (2, {"pair": "spawn", "spawn_at": 1}),
    "pair": ("init", {}),
    "precision": ("tf32", {}),
}
"""Settings of a study: another value (and what has to stand beside it), in the fingerprint of its trainings."""

MORE_RUNS: dict[str, tuple[Any, dict[str, Any]]] = {"pairs": (3, {}), "trainer_seeds": ([0, 1, 7], {})}
"""Settings that add trainings and pairs, and leave those that were there as they were."""

IN_PAIR: dict[str, tuple[Any, dict[str, Any]]] = {"align": (f"{LAB}:mirrored", {})} | {
    "repair": (f"{LAB}:nearest_end", {}),
    "metrics": ([f"{LAB}:margin"], {}),
    "layers": ({"only": 1}, {}),
    "snapshot_epochs": ([0, 4], {"pair": "snapshots", "snapshot_epochs": [2, 4]}),
}
"""Settings of paths and their ends: another value is another pair of the same trainings."""

IN_NEITHER: dict[str, tuple[Any, dict[str, Any]]] = {"loader": ("ffcv", {}), "plane": ({"points": 5}, {})}
"""Settings that move no bit of a training or a pair; planes have a key of their own, see barriers/test_plane.py."""

PROFILE: dict[str, tuple[str, Any]] = {
    "title": ("neither", "another"),
    "analogue": ("neither", False),
    "numerics": ("the tag of both", None),
    "datasets": ("neither", ["digits", "mnist"]),
    "replace_dataset": ("training", "mnist"),
    "device": ("the tag of both", None),
    "loader": ("neither", "ffcv"),
    "pairs": ("more", 3),
    "trainer_seeds": ("more", [0, 1, 7]),
    "replicas": ("runs", 4),
    "points": ("pair", 5),
    "judgement": ("neither", {"threshold": 1.0, "min_train_accuracy": 0.5}),
    "settings": ("training", {"model": {"width": 3}, "epochs": 5, "evaluate_at": [0, 5]}),
    "optimizers": ("training", {**PARAMS["profiles"]["tiny"]["optimizers"], "fast": {**SGD, "lr": 0.2}}),
    "batches": ("training", {"1K": 32}),
    "overrides": ("training", [{"study": "one", "set": {"model": {"width": 5}}}]),
    "callbacks": ("neither", [f"{LAB}:note_norm"]),
    "provenance": ("neither", {**PARAMS["profiles"]["tiny"]["provenance"], "settings": "ours: other"}),
}
"""Every field of a profile: in which key it is, and another value."""

STUDY: dict[str, tuple[str, Any]] = {
    "title": ("neither", "another"),
    "question": ("neither", "another?"),
    "provenance": ("neither", {"model.slope": "ours: other"}),
    "callbacks": ("neither", [f"{LAB}:note_norm"]),
    "pair": ("training", "init"),
    "reported": ("neither", None),
    "show": ("neither", {"x": "rows", "x_label": "depth"}),
    "base": ("training", {"data": {"dataset": "digits"}, "model": {"slope": 0.5}, "batch": 64}),
    "rows": ("training", {"deep": {"label": "3-Layer", "model": {"depth": 3}, "reported": "2-Layer, BS=1024"}}),
    "columns": ("training", {"fast": {"label": "SGD fast", "optimizer": {"use": "fast", "momentum": 0.5}}}),
}
LABELS = {"label": "another", "reported": "1-Layer, BS=30K", "varies": "shallow"}


def check(kind: str, before: Keys, after: Keys) -> None:
    trainings, pairs = before[0] == after[0], before[1] == after[1]
    if kind == "neither":
        assert trainings and pairs
    elif kind == "pair":
        assert trainings and not before[1] & after[1]
    elif kind == "more":
        assert before[0] < after[0] and before[1] < after[1]
    elif kind == "runs":  # other seeds go together
        assert not trainings and before[0] & after[0]
    else:
        assert kind == "training" and not trainings and not pairs


def test_every_setting_profile_and_study_field_is_listed() -> None:
    single = set(Settings.model_fields) - set(GROUPS)
    keys = {f"{group}.{key}" for group, kinds in group_classes().items() for _, keys in kinds for key in keys}
    keys.remove("optimizer.kind")  # in place of optimizer.use: tests/training/test_fields.py
    assert single | keys == set(IN_TRAINING) | set(MORE_RUNS) | set(IN_PAIR) | set(IN_NEITHER)
    assert set(ProfileConfig.model_fields) == set(PROFILE)
    assert set(StudyConfig.model_fields) == set(STUDY)
    assert set(AxisEntry.model_fields) == set(Settings.model_fields) | set(LABELS)
    assert set(Judgement.model_fields) == {"threshold", "min_train_accuracy"} == set(PROFILE["judgement"][1])
    assert set(Override.model_fields) == {"study", "row", "column", "set", "label", "drop", "why"}
    assert set(Params.model_fields) == {"profile", "data", "profiles", "studies", "exhibits"}


@pytest.mark.parametrize("name", [*IN_TRAINING, *MORE_RUNS, *IN_PAIR, *IN_NEITHER])
def test_settings(name: str) -> None:
    value, base = (IN_TRAINING | MORE_RUNS | IN_PAIR | IN_NEITHER)[name]
    kinds = {"training": IN_TRAINING, "more": MORE_RUNS, "pair": IN_PAIR, "neither": IN_NEITHER}
    kind = next(kind for kind, names in kinds.items() if name in names)
    params = json.loads(json.dumps(PARAMS))
    profile = params["profiles"]["tiny"]
    profile["datasets"] = ["digits", "mnist"]
    profile["optimizers"] |= {"adam": ADAM_CONFIG, "sam": {**SGD, "kind": "sam", "rho": 0.1}, "muon": MUON}
    # An override wins over rows and columns, whatever sets the field.
    profile["overrides"] = [{"study": "one", "set": nested(base)}]
    before = keys(params)
    given = {**base, name: value}
    if name == "model.init":
        given["model.gain"] = "slope"
    if name == "epochs":
        given["evaluate_at"] = [0, value]
    profile["overrides"] = [{"study": "one", "set": nested(given)}]
    check(kind, before, keys(params))


@pytest.mark.parametrize("name", [name for name, (kind, _) in PROFILE.items() if kind != "the tag of both"])
def test_profiles(name: str) -> None:
    kind, value = PROFILE[name]
    params = json.loads(json.dumps(PARAMS))
    params["profiles"]["tiny"]["datasets"] = ["digits", "mnist"]
    params["studies"]["one"]["base"]["batch"] = "1K"
    before = keys(params)
    params["profiles"]["tiny"][name] = value
    if name == "trainer_seeds":
        del params["profiles"]["tiny"]["pairs"]
    check(kind, before, keys(params))


@pytest.mark.parametrize("name", STUDY)
def test_studies(name: str) -> None:
    kind, value = STUDY[name]
    params = json.loads(json.dumps(PARAMS))
    before = keys(params)
    params["studies"]["one"][name] = value
    check(kind, before, keys(params))


@pytest.mark.parametrize("name", LABELS)
def test_labels(name: str) -> None:
    params = json.loads(json.dumps(PARAMS))
    before = keys(params)
    params["studies"]["one"]["rows"]["deep"][name] = LABELS[name]
    check("neither", before, keys(params))

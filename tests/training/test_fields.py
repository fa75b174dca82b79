"""Every field of a run's config is in the fingerprint of its training, and so in the key of its pairs.

Every field of the schemas is listed here; a new one fails the test until somebody has tried it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from helpers import ADAM, ADAMW, MUON, SAM, SGD, run_config
from pydantic import BaseModel

from lmc_repro.barriers.pair import pair_key
from lmc_repro.config.base import canonical_json
from lmc_repro.config.registry import AUGMENTATIONS, MODELS, OPTIMIZERS, settings_class
from lmc_repro.config.run import ModelSettings, OptimizerSettings, RunConfig, StepSettings
from lmc_repro.training import fingerprint
from lmc_repro.training.fingerprint import run_fingerprint

LOCAL = {"kind": "local", "filters": 9, "kernel": 5}
CONV = {"kind": "conv", "filters": 9, "kernel": 5}
ATTENTION = {"kind": "attention", "patch": 5, "heads": 2, "head_dim": 3}
OWN = f"{Path(__file__).parents[1] / 'models' / 'own_modules.py'}:"
MODULE = {"kind": "module", "module": f"{OWN}mlp", "options": {"width": 9}}
KAIMING = {"init": "kaiming-normal", "gain": "slope"}
MLP = {"depth": 2, "width": 9, "slope": 0.0}
FLIP: dict[str, Any] = {"data": {"augment": {"flip": True}}, "seeds": {"augmentation": 0}}
EARLY: dict[str, Any] = {"until": 1, "loader": 5}
NOISY = {**FLIP, "seeds": {"augmentation": 0, "early": {**EARLY, "augmentation": 5}}}


def model(kind: dict[str, Any], **change: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"model": kind}, {"model": {**kind, **change}}


def optimizer(kind: dict[str, Any], **change: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"optimizer": kind}, {"optimizer": {**kind, **change}}


RUN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "data.dataset": ({}, {"data": {"dataset": "other"}}),
    "data.order": ({}, {"data": {"order": "ffcv"}}),
    "data.drop_last": ({}, {"data": {"drop_last": True}}),
    "data.label_noise": ({}, {"data": {"label_noise": 0.1}}),
    "data.augment.flip": (
        {"data": {"augment": {"crop": 1}}, "seeds": {"augmentation": 0}},
        {"data": {"augment": {"crop": 1, "flip": True}}, "seeds": {"augmentation": 0}},
    ),
    "data.augment.crop": (FLIP, {**FLIP, "data": {"augment": {"flip": True, "crop": 1}}}),
    "data.augment.cutout": (FLIP, {**FLIP, "data": {"augment": {"flip": True, "cutout": 1}}}),
    "model[mlp].depth": model(MLP, depth=3),
    "model[mlp].width": model(MLP, width=8),
    "model[mlp].slope": model(MLP, slope=0.5),
    "model[mlp].bias": model(MLP, bias=False),
    "model[mlp].init": model(MLP, **KAIMING),
    "model[mlp].gain": model({**MLP, **KAIMING}, gain="sqrt2"),
    "model[mlp].start_from_local.filters": (
        {"model": {**MLP, "start_from_local": {"filters": 9, "kernel": 5}}},
        {"model": {**MLP, "start_from_local": {"filters": 8, "kernel": 5}}},
    ),
    "model[mlp].start_from_local.kernel": (
        {"model": {**MLP, "start_from_local": {"filters": 9, "kernel": 5}}},
        {"model": {**MLP, "start_from_local": {"filters": 9, "kernel": 1}}},
    ),
    "model[local].filters": model(LOCAL, filters=8),
    "model[local].kernel": model(LOCAL, kernel=1),
    "model[local].slope": model(LOCAL, slope=0.5),
    "model[local].bias": model(LOCAL, bias="filter"),
    "model[local].start_from_conv": model(LOCAL, start_from_conv=True),
    "model[local].init": model(LOCAL, **KAIMING),
    "model[local].gain": model({**LOCAL, **KAIMING}, gain="sqrt2"),
    "model[conv].filters": model(CONV, filters=8),
    "model[conv].kernel": model(CONV, kernel=1),
    "model[conv].slope": model(CONV, slope=0.5),
    "model[conv].init": model(CONV, **KAIMING),
    "model[conv].gain": model({**CONV, **KAIMING}, gain="sqrt2"),
    "model[attention].patch": model(ATTENTION, patch=1),
    "model[attention].heads": model(ATTENTION, heads=3),
    "model[attention].head_dim": model(ATTENTION, head_dim=4),
    "model[attention].init": model(ATTENTION, **KAIMING),
    "model[attention].gain": model({**ATTENTION, **KAIMING}, gain="sqrt2"),
    "model[module].module": model({**MODULE, "module": f"{OWN}normed", "options": {}}, module=f"{OWN}forked"),
    "model[module].options": model(MODULE, options={"width": 8}),
    "model[module].kind": ({"model": MODULE}, {"model": CONV}),
    "model[mlp].kind": ({"model": MLP}, {"model": CONV}),
    "model[local].kind": ({"model": LOCAL}, {"model": CONV}),
    "model[conv].kind": ({"model": CONV}, {"model": LOCAL}),
    "model[attention].kind": ({"model": ATTENTION}, {"model": CONV}),
    "optimizer[sgd].kind": ({"optimizer": SGD}, {"optimizer": ADAM}),
    "optimizer[sgd].lr": optimizer(SGD, lr=0.06),
    "optimizer[sgd].momentum": optimizer(SGD, momentum=0.8),
    "optimizer[sgd].weight_decay": optimizer(SGD, weight_decay=0.1),
    "optimizer[adam].kind": ({"optimizer": ADAM}, {"optimizer": SGD}),
    **{
        f"optimizer[{adam['kind']}].{key}": optimizer(adam, **{key: value})
        for adam in (ADAM, ADAMW, MUON)
        for key, value in {"lr": 0.006, "beta1": 0.8, "beta2": 0.99, "eps": 1e-7, "weight_decay": 0.1}.items()
    },
    "optimizer[adamw].kind": ({"optimizer": ADAMW}, {"optimizer": ADAM}),
    "optimizer[muon].kind": ({"optimizer": MUON}, {"optimizer": ADAMW}),
    "optimizer[muon].momentum": optimizer(MUON, momentum=0.8),
    "optimizer[muon].adam_share": optimizer(MUON, adam_share=0.3),
    "optimizer[sam].kind": ({"optimizer": SAM}, {"optimizer": SGD}),
    "optimizer[sam].lr": optimizer(SAM, lr=0.06),
    "optimizer[sam].momentum": optimizer(SAM, momentum=0.8),
    "optimizer[sam].weight_decay": optimizer(SAM, weight_decay=0.1),
    "optimizer[sam].rho": optimizer(SAM, rho=0.2),
    "clip.norm": ({"clip": {"norm": 1.0}}, {"clip": {"norm": 2.0}}),
    "clip.value": ({"clip": {"value": 1.0}}, {"clip": {"value": 2.0}}),
    "schedule.kind": ({}, {"schedule": {"kind": "cosine"}}),
    "schedule.warmup_epochs": ({}, {"schedule": {"warmup_epochs": 1}}),
    "schedule.warmup_rule": ({}, {"schedule": {"warmup_rule": "from-first-step"}}),
    "batch_size": ({}, {"batch_size": 9}),
    "precision": ({}, {"precision": "tf32"}),
    "epochs": ({}, {"epochs": 4, "evaluate_at": [0, 1, 4]}),
    "evaluate_at": ({}, {"evaluate_at": [0, 3]}),
    "seeds.trainer": ({}, {"seeds": {"trainer": 1}}),
    "seeds.loader": ({}, {"seeds": {"loader": 1}}),
    "seeds.augmentation": (FLIP, {**FLIP, "seeds": {"augmentation": 1}}),
    "seeds.early.until": ({"seeds": {"early": EARLY}}, {"seeds": {"early": {**EARLY, "until": 2}}}),
    "seeds.early.loader": ({"seeds": {"early": EARLY}}, {"seeds": {"early": {**EARLY, "loader": 6}}}),
    "seeds.early.augmentation": (NOISY, {**NOISY, "seeds": {"augmentation": 0, "early": {**EARLY, "augmentation": 6}}}),
}
"""Every field of a run's config: two configs that differ in it. All of them are in the training's fingerprint."""

OPEN: dict[type, Any] = {ModelSettings: MODELS, OptimizerSettings: OPTIMIZERS, StepSettings: AUGMENTATIONS}
"""The annotations that stand for any kind of a table."""

ALONG = {"epochs": {"evaluate_at"}, "init": {"gain"}, "start_from_conv": set[str]()}
"""What cannot but change with a field."""


def fields(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every field, those of nested models and of the branches of unions too."""
    for name, field in kind.model_fields.items():
        models = [option for kind in options(field.annotation) for option in kinds(kind)]
        for option in models:
            branch = f"[{get_args(option.model_fields['kind'].annotation)[0]}]" if len(models) > 1 else ""
            yield from fields(option, f"{prefix}{name}{branch}.")
        if not models:
            yield prefix + name


def kinds(option: type) -> list[type[BaseModel]]:
    """Return the classes of settings that may stand where `option` is annotated."""
    if option in OPEN:
        return [settings_class(OPEN[option], kind) for kind in OPEN[option]]
    return [option] if issubclass(option, BaseModel) else []


def options(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation]
    arguments = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return [option for argument in arguments for option in options(argument)]


def both(changes: tuple[dict[str, Any], dict[str, Any]]) -> tuple[RunConfig, RunConfig]:
    return run_config(**changes[0]), run_config(**changes[1])


def test_every_field_of_a_run_is_listed() -> None:
    # The registry has no step of its own yet: tests/extending adds one and holds its run against a plain one.
    # A module initialises itself: its `init` has one value and no gain.
    untried = {"data.augment.steps", "model[module].init", "model[module].gain"}
    assert set(fields(RunConfig)) == set(RUN) | untried


@pytest.mark.parametrize("name", RUN)
def test_it_moves_the_fingerprint_and_the_pairs_key(name: str) -> None:
    before, after = both(RUN[name])
    if not name.endswith(".kind") or name == "schedule.kind":
        path = name.replace("]", "[").split("[")
        plain = path[0] + path[2] if len(path) > 1 else name
        a, b = before.flat(), after.flat()
        moved = {key.replace(".options.width", ".options") for key in a.keys() | b.keys() if a.get(key) != b.get(key)}
        last = plain.rpartition(".")[2]
        along = {plain.rpartition(".")[0] + "." + other if "." in plain else other for other in ALONG.get(last, ())}
        assert moved == {plain} | along
    first, second = (run_fingerprint(config, "d", "portable") for config in (before, after))
    assert first != second
    assert pair_key((first, "b"), 11, "portable") != pair_key((second, "b"), 11, "portable")


def test_every_change_of_the_config_gives_another_fingerprint() -> None:
    tried = [config for change in RUN.values() for config in both(change)]
    configs = {canonical_json(config.model_dump(mode="json")): config for config in tried}
    assert len(configs) > len(RUN)
    assert len({run_fingerprint(config, "d", "portable") for config in configs.values()}) == len(configs)


def test_equal_configs_have_equal_fingerprints() -> None:
    config, found = run_config(), run_fingerprint(run_config(), "d", "portable")
    written_out = config.model_dump(mode="json")
    shuffled = {key: written_out[key] for key in sorted(written_out, reverse=True)}
    assert run_fingerprint(RunConfig.model_validate(shuffled), "d", "portable") == found
    assert len(found) == 16 and int(found, 16) >= 0


def test_data_torch_and_training_numerics_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {run_fingerprint(run_config(), data, "portable") for data in "de"}
    monkeypatch.setattr(fingerprint, "TRAINING_NUMERICS", fingerprint.TRAINING_NUMERICS + 1)
    found.add(run_fingerprint(run_config(), "d", "portable"))
    monkeypatch.setattr(fingerprint, "torch_version", lambda: "0.0.0")
    assert len({*found, run_fingerprint(run_config(), "d", "portable")}) == 4


def test_the_numerics_tag_is_in_both_keys() -> None:
    config = run_config()
    tags = ("portable:A", "portable:B", "native:A:AVX2", "cuda:X:stack=2", "cuda:X:stack=3")
    assert len({run_fingerprint(config, "d", tag) for tag in tags}) == len(tags)
    assert len({pair_key(("a", "b"), 11, tag) for tag in tags}) == len(tags)

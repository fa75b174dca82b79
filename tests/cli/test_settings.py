from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import lmc, refused
from helpers import EXAMPLE
from trained_store import write_params

from lmc_repro.cli.session import parse_settings
from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params
from lmc_repro.config.study import Settings


def test_values_are_read_as_in_params_yaml() -> None:
    texts = ("model.filters=16", "optimizer.beta2=5e-4", "data.augment={flip: true, crop: 4}", "precision=bf16")
    assert parse_settings(texts, "0,1,7") == Settings.model_validate(
        {
            "model": {"filters": 16},
            "optimizer": {"beta2": 5e-4},
            "data": {"augment": {"flip": True, "crop": 4}},
            "precision": "bf16",
            "trainer_seeds": [0, 1, 7],
        }
    )
    assert parse_settings(("optimizer=fast", "optimizer.lr=1")).given() == {"optimizer.use": "fast", "optimizer.lr": 1}
    assert parse_settings(()) == Settings()


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (("model.filters",), "--set: found 'model.filters', allowed: KEY=VALUE, e.g. model.filters=16"),
        (("model.filter=16",), "--set: model.filter: unknown key; did you mean filters? allowed: "),
        (("model.width.x=16",), "--set: model.width.x: unknown key; "),
        (("model.kind=dense",), "--set: model.kind: found 'dense', allowed: 'mlp', 'local', 'conv'"),
        (("optimizer.rate=1",), "--set: optimizer.rate: unknown key; "),
        (("schedule.kind=cosin",), "--set: schedule.kind: found 'cosin', allowed: 'constant'"),
        (("model.filters=many",), "--set: model.filters: found 'many', allowed: a valid integer"),
        (("model.width=many",), "--set: model.width: found 'many', allowed: 'positions', or a valid integer"),
        (("model.filters=1", "model.filters=2"), "--set model.filters: given twice; give it once"),
        (("optimizer=fast", "optimizer.use=slow"), "--set optimizer.use: given twice; give it once"),
        (("data.augment={flip: true",), "--set data.augment, line 1, column "),
        (("data.augment={flop: true}",), "--set: data.augment.flop: unknown key; did you mean flip? allowed: "),
        (("width=16",), "--set: width: unknown key; did you mean model.width?"),
        (("lr=0.1",), "--set: lr: unknown key; did you mean optimizer.lr?"),
        (("schedule=cosine",), "--set: schedule: found 'cosine', allowed: keys and values, e.g. {kind: cosine}"),
        (("prcision=bf16",), "--set: prcision: unknown key; did you mean precision? allowed: model, optimizer"),
        (("epochs=3",), "--set epochs: use --epochs"),
        (("data={dataset: mnist}",), "--set data.dataset: use --dataset"),
        (("optimizer.beta2=0.9",), "params.yaml: studies.table1, row 1-layer-bs30k, column sgd-high, profile digits: "),
    ],
)
def test_a_mistake_is_one_line(texts: tuple[str, ...], line: str) -> None:
    with pytest.raises(LmcError) as caught:
        plan_study(load_params(EXAMPLE), "table1", Choice(settings=parse_settings(texts)))
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ("0,x", "--trainer-seeds: trainer_seeds.1: found 'x', allowed: a valid integer"),
        ("0,-1", "--trainer-seeds: trainer_seeds.1: found -1, allowed: greater than or equal to 0"),
        ("3,3", "--trainer-seeds: trainer_seeds: found [3, 3]: name each seed once"),
        ("", "--trainer-seeds: trainer_seeds: found "),
        ("0]", "--trainer-seeds, line 1"),
    ],
)
def test_trainer_seeds_that_cannot_be(seeds: str, line: str) -> None:
    with pytest.raises(LmcError) as caught:
        parse_settings((), seeds)
    assert str(caught.value).startswith(line) and len(caught.value.lines) == 1


def test_pairs_are_counted_or_named() -> None:
    with pytest.raises(LmcError, match="--pairs and --trainer-seeds: give only one of them"):
        plan_study(load_params(EXAMPLE), "table1", Choice(pairs=3, settings=parse_settings((), "7")))


def test_a_precision_that_this_cpu_does_not_have_shows_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(project := Project(tmp_path))
    place = "params.yaml: studies.one, row shallow, column fast, profile tiny: precision: found bf16, "
    assert refused("run", "one", "--dry-run", "--set", "precision=bf16").startswith(place)  # numerics: portable
    params = json.loads(project.params.read_text())
    params["studies"]["one"]["base"]["precision"] = "bf16"
    for device, code in (("cpu", 2), ("auto", 0), ("cuda", 0)):
        params["profiles"]["tiny"]["device"] = device
        project.params.write_text(json.dumps(params))
        said = lmc("check")
        assert said.code == code and (said.err == "" if code == 0 else said.err.startswith(f"error: {place}"))

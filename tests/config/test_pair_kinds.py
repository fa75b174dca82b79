"""Which seeds and epochs the ends of each kind of pair have, and what a kind refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import EXAMPLE

from lmc_repro.common.errors import LmcError
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import read_yaml, validate
from lmc_repro.config.params import Params
from lmc_repro.config.plan import COMMON, Cell, Pair
from lmc_repro.config.run import Seeds

FLIP = {"data": {"dataset": "mnist", "augment": {"flip": True}}}
Both = tuple[tuple[int, int, int | None], tuple[int, int, int | None]]


def cell(settings: dict[str, Any], **choice: Any) -> Cell:
    """Return the example's first cell with these settings, two trainer seeds and 60 epochs."""
    values = read_yaml(EXAMPLE)
    model = {"depth": 2, "slope": 0.0}
    data = {"dataset": "mnist"}
    base = {"data": data, "model": model, "batch": "1K", "optimizer": "sgd-high", "pairs": 2}
    study = {"title": "One", "question": "?", "base": base | settings}
    values["studies"] = {"one": {**study, "rows": {"r": {"label": "R"}}, "columns": {"c": {"label": "C"}}}}
    for profile in values["profiles"].values():
        profile["overrides"] = []
    return plan_study(validate(Params, values, "params.yaml"), "one", Choice(**choice)).cells[0]


def refused(settings: dict[str, Any], **choice: Any) -> str:
    with pytest.raises(LmcError) as caught:
        cell(settings, **choice)
    assert "\n" not in str(caught.value) and "row r, column c, profile digits: " in str(caught.value)
    return str(caught.value).partition("profile digits: ")[2]


def seeds(pair: Pair) -> Both:
    first, second = (run.seeds for run in pair.runs)
    assert first.early is None and second.early is None
    return tuple((s.trainer, s.loader, s.augmentation) for s in (first, second))  # type: ignore[return-value]


def test_every_kind_shares_the_seeds_that_it_says() -> None:
    expected: dict[str, list[Both]] = {
        "noise": [((0, 0, 0), (0, 1, 1)), ((1, 2, 2), (1, 3, 3))],
        "init": [((0, 0, 0), (1, 1, 1)), ((2, 2, 2), (3, 3, 3))],
        "order": [((0, 0, 0), (0, 1, 0)), ((1, 2, 2), (1, 3, 2))],
        "augmentation": [((0, 0, 0), (0, 0, 1)), ((1, 2, 2), (1, 2, 3))],
    }
    for kind, wanted in expected.items():
        found = cell({**FLIP, "pair": kind})
        assert found.pair_kind == kind and [seeds(pair) for pair in found.pairs] == wanted
        assert all(pair.epochs == COMMON and pair.evaluations == pair.runs[0].evaluate_at for pair in found.pairs)
        assert [pair.trainer_seed for pair in found.pairs] == [pair[0][0] for pair in wanted]


def test_replicas_of_order_and_augmentation_pairs_share_what_the_kind_shares() -> None:
    orders = [run.seeds for run in cell({**FLIP, "pair": "order"}, replicas=3, pairs=1).runs]
    draws = [run.seeds for run in cell({**FLIP, "pair": "augmentation"}, replicas=3, pairs=1).runs]
    assert orders == [Seeds(trainer=0, loader=i, augmentation=0) for i in range(3)]
    assert draws == [Seeds(trainer=0, loader=0, augmentation=i) for i in range(3)]


def test_spawn_is_a_noise_pair_at_0_and_one_trajectory_at_the_last_epoch() -> None:
    noise, spawned = cell(FLIP), [cell({**FLIP, "pair": "spawn", "spawn_at": k}) for k in (0, 7, 60)]
    assert spawned[0].pairs == noise.pairs
    for before, after, k in ((pair, other, k) for c, k in zip(spawned[1:], (7, 60), strict=True)
                             for pair, other in zip(noise.pairs, c.pairs, strict=True)):  # fmt: skip
        first, second = (run.seeds for run in after.runs)
        assert after.runs[0] == before.runs[0]
        assert [second.loader_at(e) == first.loader for e in range(60)] == [e < k for e in range(60)]
        assert [second.augmentation_at(e) == first.augmentation for e in range(60)] == [e < k for e in range(60)]
    assert cell({**FLIP, "pair": "spawn", "share_noise_until": 7}).pairs == spawned[1].pairs
    assert cell({**FLIP, "share_noise_until": 7}).pairs == spawned[1].pairs  # its first name, a noise pair


def test_a_snapshots_pair_is_one_run_at_two_epochs() -> None:
    evaluations = {"evaluate_at": [0, 0.5, 20, 60]}
    found = cell({**evaluations, "pair": "snapshots", "snapshot_epochs": [0.5, 60]})
    assert [(pair.runs[0] is pair.runs[1], pair.epochs, pair.evaluations) for pair in found.pairs] == [
        (True, (0.5, 60), (60,))
    ] * 2
    assert list(found.runs) == [pair.runs[0] for pair in cell(evaluations).pairs]  # theta_0 of the noise pairs
    assert cell({**evaluations, "pair": "snapshots", "snapshot_epochs": [20, 0]}).pairs[0].evaluations == (20,)


def test_what_a_kind_refuses() -> None:
    assert refused({"pair": "order"}) == "pair: found order where nothing is augmented, allowed: noise; or set augment"
    assert refused({"pair": "augmentation"}).startswith("pair: found augmentation where nothing is augmented")
    whole = {**FLIP, "batch": 899}
    assert "no SGD noise: same batches" in refused({**whole, "pair": "order"})  # equal draws, equal batches
    assert len(cell({**whole, "pair": "augmentation"}).pairs) == 2
    assert refused({"pair": "spawn", "spawn_at": 61}) == "spawn_at: found [61], allowed: one of 0 to 60"
    assert refused({"pair": "spawn"}) == "spawn_at: found nothing, allowed: one of 0 to 60"
    assert refused({"pair": "spawn", "spawn_at": 1, "share_noise_until": 2}).startswith("spawn_at: found [1, 2]")
    assert refused({"spawn_at": 7}) == "spawn_at: found with pair: noise, allowed: spawn"
    assert refused({"pair": "snapshots"}) == "snapshot_epochs: missing; give two epochs of evaluate_at"
    assert refused({"pair": "snapshots", "snapshot_epochs": [0, 3]}).startswith(
        "pair: snapshots: epoch: found 3, allowed: 0, 1, 2, 5, "
    )
    for kind in ({"pair": "init"}, {"pair": "snapshots", "snapshot_epochs": [0, 60]}):
        assert refused(kind, replicas=3).startswith("replicas: found 3, allowed: 2 (")
    for key in ("spawn_at", "share_noise_until"):
        with pytest.raises(LmcError, match=rf"base\.{key}: found 0\.5, allowed: a whole number of epochs \("):
            cell({"pair": "spawn", key: 0.5})
    with pytest.raises(LmcError, match=r"base\.pair: found 'chain', allowed: 'noise', .*'snapshots', FILE\.py:NAME"):
        cell({"pair": "chain"})


KINDS = """
from dataclasses import replace
from lmc_repro.config.plan import Pair

def one(cell):
    return [Pair("all", (cell.run(5, 6), cell.run(7, 8)), (0, None))]

def twice(cell):
    return one(cell) * 2

def named(cell):
    return [replace(one(cell)[0], name="a@b")]

def empty(cell):
    return []

def broken(cell):
    return cell.seeds

def other(cell):
    return [replace(one(cell)[0], runs=(cell.run(0, 0), cell.run(0, 1).model_copy(update={"batch_size": 3})))]
"""


def test_a_kind_from_outside_is_pinned_checked_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("{profile: tiny, profiles: {}, studies: {}}")
    (tmp_path / "kinds.py").write_text(KINDS)
    found = cell({"pair": "kinds.py:one"})
    assert found.pair_kind.partition("#")[0] == "kinds.py:one" and len(found.pair_kind) == len("kinds.py:one#") + 16
    (pair,) = found.pairs
    assert seeds(pair) == ((5, 6, None), (7, 8, None)) and pair.evaluations == pair.runs[0].evaluate_at
    for name, told in {
        "twice": "names: found all, all, allowed: distinct",
        "named": "names: found a@b, allowed: distinct",
        "empty": "found (), expected one Pair or more",
        "broken": "AttributeError: 'PairSource' object has no attribute 'seeds'",
        "other": "pair all: a run of another config than its cell's",
    }.items():
        assert refused({"pair": f"kinds.py:{name}"}).startswith(f"pair: kinds.py:{name}: {told}")
    assert "found no missing, allowed: " in refused({"pair": "kinds.py:missing"})

"""params.yaml to cells to runs: which configs, which seeds, which pairs."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import EXAMPLE, PARAMS

from lmc_repro.common.errors import LmcError
from lmc_repro.config.expand import Choice, plan_study, validate_all
from lmc_repro.config.load import load_params, read_yaml, validate
from lmc_repro.config.params import Params
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.study import Settings


def plan(**choice: Any) -> StudyPlan:
    return plan_study(load_params(EXAMPLE), "table1", Choice(**choice))


def changed(**study: Any) -> Params:
    """Return params.yaml with fields of study table1 replaced."""
    values = read_yaml(EXAMPLE)
    values["profiles"]["digits"]["overrides"] = []
    values["studies"]["table1"] |= study
    return validate(Params, values, "params.yaml")


def seeds(cell: Cell) -> list[tuple[int, int]]:
    return [(run.seeds.trainer, run.seeds.loader) for run in cell.runs]


def test_table_1_is_24_cells_of_6_runs() -> None:
    for profile in ("digits", "paper"):
        whole = plan(profile=profile)
        assert whole.profile == profile and len(whole.cells) == 24
        assert len({cell.key for cell in whole.cells}) == 24
        assert all(len(cell.runs) == 6 and len(cell.pairs) == 3 for cell in whole.cells)
        assert len(whole.runs) == 144  # no two cells share a run
        assert all(run.seeds.augmentation is None for run in whole.runs)


def test_pair_j_has_trainer_seed_j_and_loader_seeds_2j_and_2j_plus_1() -> None:
    for cell in plan(pairs=4).cells:
        assert seeds(cell) == [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6), (3, 7)]
        for j, pair in enumerate(cell.pairs):
            assert (pair.name, pair.trainer_seed) == (str(j), j)
            assert [run.seeds.loader for run in pair.runs] == [2 * j, 2 * j + 1]  # theta_0 is the lower one
            first, second = (run.without_seeds() for run in pair.runs)
            assert first == second == cell.config


def test_replicas_give_every_pair_of_a_seed() -> None:
    cell = plan(pairs=2, replicas=3).cells[0]
    assert seeds(cell) == [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)]
    loaders = [(pair.trainer_seed, tuple(run.seeds.loader for run in pair.runs)) for pair in cell.pairs]
    assert loaders == [(0, (0, 1)), (0, (0, 2)), (0, (1, 2)), (1, (3, 4)), (1, (3, 5)), (1, (4, 5))]
    assert len({pair.name for pair in cell.pairs}) == 6


@pytest.mark.parametrize("pair", ["noise", "init"])
def test_a_named_trainer_seed_is_the_pair_of_that_number(pair: str) -> None:
    counted = plan_study(changed(pair=pair), "table1", Choice(pairs=8)).cells
    whole = {"trainer_seeds": [0, 1, 2, 3, 4, 5, 6, 7]}
    for given, wanted in ((whole, range(8)), ({"trainer_seeds": [7]}, (7,)), ({"trainer_seeds": [5, 0]}, (5, 0))):
        named = plan_study(changed(pair=pair), "table1", Choice(settings=Settings.model_validate(given))).cells
        assert [cell.pairs for cell in named] == [tuple(cell.pairs[j] for j in wanted) for cell in counted]
    cell = plan_study(changed(pair=pair), "table1", Choice(settings=Settings(trainer_seeds=(7,)))).cells[0]
    assert seeds(cell) == ([(7, 14), (7, 15)] if pair == "noise" else [(14, 14), (15, 15)])
    assert [each.name for each in cell.pairs] == ["7"]


def test_named_trainer_seeds_with_replicas() -> None:
    cell = plan(replicas=3, settings=Settings(trainer_seeds=(4,))).cells[0]
    assert seeds(cell) == [(4, 12), (4, 13), (4, 14)]
    assert [pair.name for pair in cell.pairs] == ["4-0-1", "4-0-2", "4-1-2"]


def test_the_last_layer_says_which_trainer_seeds() -> None:
    def found(params: Params, **choice: Any) -> list[list[int]]:
        cells = plan_study(params, "table1", Choice(columns=("sgd-high",), **choice)).cells
        return [[pair.trainer_seed for pair in cell.pairs] for cell in cells]

    values = read_yaml(EXAMPLE)
    del values["profiles"]["digits"]["pairs"]
    values["profiles"]["digits"] |= {"trainer_seeds": [9, 3], "overrides": []}
    table1 = values["studies"]["table1"]
    table1["rows"] = {"a": {"label": "A", "batch": 64, "model": {"depth": 1}}}
    assert found(validate(Params, values, "params.yaml")) == [[9, 3]]
    table1["base"]["pairs"] = 1
    assert found(validate(Params, values, "params.yaml")) == [[0]]
    table1["rows"]["a"]["trainer_seeds"] = [5]
    params = validate(Params, values, "params.yaml")
    assert found(params) == [[5]]
    assert found(params, pairs=2) == [[0, 1]]
    assert found(params, settings=Settings(trainer_seeds=(6, 1))) == [[6, 1]]


def test_init_pairs_differ_in_both_seeds() -> None:
    cell = plan_study(changed(pair="init"), "table1").cells[0]
    assert cell.pair_kind == "init"
    assert seeds(cell) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    assert [pair.trainer_seed for pair in cell.pairs] == [0, 2, 4]
    with pytest.raises(LmcError, match="replicas: found 3, allowed: 2"):
        plan_study(changed(pair="init"), "table1", Choice(replicas=3))


def test_narrowing() -> None:
    row = plan(rows=("2-layer-bs1024",))
    assert [cell.column for cell in row.cells] == ["sgd-high", "sgd-medium", "adam-high", "adam-medium"]
    assert {cell.row for cell in row.cells} == {"2-layer-bs1024"}
    two = plan(rows=("8-layer-bs1024", "1-layer-bs30k"), columns=("adam-high",))
    assert [cell.key for cell in two.cells] == ["1-layer-bs30k--adam-high", "8-layer-bs1024--adam-high"]  # file's order
    assert set(row.runs) <= set(plan().runs)  # a part of the study trains the study's own runs
    assert len(plan(pairs=1).runs) == 48 and set(plan(pairs=1).runs) < set(plan().runs)


@pytest.mark.parametrize(
    "choice, told",
    [
        ({"rows": ("3-layer",)}, "--row: found '3-layer', allowed: 1-layer-bs30k"),
        ({"columns": ("lion",)}, "--column: found 'lion', allowed: sgd-high"),
        ({"profile": "big"}, "--profile: found 'big', allowed: digits, paper"),
    ],
)
def test_a_name_that_is_not_there(choice: dict[str, Any], told: str) -> None:
    with pytest.raises(LmcError) as caught:
        plan(**choice)
    assert told in str(caught.value) and "params.yaml" in str(caught.value)
    with pytest.raises(LmcError, match="STUDY: found 'table9', allowed: table1"):
        plan_study(load_params(EXAMPLE), "table9")


def test_fewer_epochs_keep_the_marks_before_and_end_with_a_mark() -> None:
    (config,) = {(run.epochs, run.evaluate_at) for run in plan(epochs=7).runs}
    assert config == (7, (0, 1, 2, 5, 7))
    (config,) = {(run.epochs, run.evaluate_at) for run in plan(epochs=5).runs}
    assert config == (5, (0, 1, 2, 5))
    (config,) = {(run.epochs, run.evaluate_at) for run in plan(epochs=100, profile="digits").runs}
    assert config[1][-2:] == (60, 100)


def test_the_profile_gives_names_their_meaning() -> None:
    found = {}
    for profile in ("digits", "paper"):
        (cell,) = plan(profile=profile, rows=("8-layer-bs1024",), columns=("sgd-high",)).cells
        c = cell.config
        found[profile] = (c["data"]["dataset"], c["model"]["width"], c["optimizer"]["lr"], c["batch_size"], c["epochs"])
        assert c["model"]["depth"] == 8 and c["model"]["slope"] == 1.0 and c["optimizer"]["momentum"] == 0.9
    assert found == {"digits": ("digits", 128, 0.01, 64, 60), "paper": ("mnist", 512, 0.1, 1024, 200)}


def test_logistic_regression_has_no_width() -> None:
    (cell,) = plan(rows=("1-layer-bs1024",), columns=("sgd-high",)).cells
    assert cell.config["model"]["width"] is None and cell.config["model"]["depth"] == 1


def test_loader_of_one_row_is_overridden() -> None:
    loaders = {cell.row: cell.loader for cell in plan(profile="digits").cells}
    assert loaders.pop("1-layer-bs1024") == "ffcv" and set(loaders.values()) == {"resident"}
    assert {cell.loader for cell in plan(profile="paper").cells} == {"ffcv"}


def test_cells_carry_the_papers_numbers() -> None:
    paper = {cell.key: cell.paper for cell in plan().cells}
    assert paper.pop("8-layer-bs1024--sgd-high") is None  # the paper prints nothing there
    assert all(set(printed) == {"test", "train"} for printed in paper.values())
    assert paper["4-layer-bs1024--adam-high"] == {"test": 47.74, "train": 48.91}
    disconnected = {key for key, printed in paper.items() if printed["test"] >= 2.0}
    assert disconnected == {"4-layer-bs1024--adam-high", "8-layer-bs1024--adam-high", "8-layer-bs1024--adam-medium"}


def test_init_pairs_may_share_batches_and_noise_pairs_may_not() -> None:
    rows = {"all": {"label": "all", "model": {"depth": 1}, "batch": 899}}
    with pytest.raises(LmcError, match="no SGD noise: same batches"):
        plan_study(changed(rows=rows), "table1")
    assert plan_study(changed(rows=rows, pair="init"), "table1").cells[0].config["batch_size"] == 899


def test_marks_within_an_epoch_need_steps_of_their_own() -> None:
    rows = {"whole": {"label": "W", "model": {"depth": 1}, "batch": 899, "evaluate_at": [0, 0.5, 60]}}
    with pytest.raises(
        LmcError, match=r"row whole, column sgd-high.*: evaluate_at and batch: found 0\.5, but an epoch is one step"
    ):
        plan_study(changed(rows=rows, pair="init"), "table1")
    rows["whole"] |= {"batch": 600}  # two steps, and one where the rest is dropped
    config = plan_study(changed(rows=rows), "table1").cells[0].config
    assert config["evaluate_at"] == [0, 0.5, 60]
    rows["whole"] |= {"data": {"drop_last": True}}
    with pytest.raises(LmcError, match=r"evaluate_at and batch: found 0\.5, but an epoch is one step"):
        plan_study(changed(rows=rows), "table1")


def test_the_projects_own_params_yaml() -> None:
    params = load_params(PARAMS)
    validate_all(params)
    for profile in params.profiles:
        whole = plan_study(params, "table1", Choice(profile=profile, pairs=3, replicas=2))
        assert len(whole.cells) == 24 and len(whole.runs) == 144
        assert sum(cell.paper is None for cell in whole.cells) == 1


def test_every_setting_of_the_projects_own_studies_has_a_source() -> None:
    for key, study in load_params(PARAMS).studies.items():
        parts = (study.base, *study.rows.values(), *study.columns.values())
        assert {name for part in parts for name in part.given()} == set(study.provenance), key

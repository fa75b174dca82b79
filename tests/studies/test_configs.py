"""What the settings of rows, columns and overrides come to: names into numbers, noise into seeds."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import EXAMPLE, PARAMS

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import CATALOG
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params, read_yaml, validate
from lmc_repro.config.params import Params
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.config.study import Settings, nested


def params(settings: dict[str, Any], overrides: list[dict[str, Any]] | None = None, **study: Any) -> Params:
    """Return the example with one study of one cell that has these settings."""
    values = read_yaml(EXAMPLE)
    values["profiles"]["digits"]["overrides"] = overrides or []
    base = Settings(
        data={"dataset": "mnist"}, model={"depth": 2, "slope": 0.0}, batch="1K", optimizer={"use": "sgd-high"}
    )
    merged = nested(Settings.model_validate(settings).over(base).given())
    values["studies"] = {
        "one": {
            "title": "One", "question": "?", "base": merged,
            "rows": {"r": {"label": "R"}, "s": {"label": "S", "model": {"width": 9}}},
            "columns": {"c": {"label": "C"}}, **study,
        }
    }  # fmt: skip
    values["profiles"]["paper"]["overrides"] = []
    return validate(Params, values, "params.yaml")


def cell(settings: dict[str, Any], **more: Any) -> Cell:
    return plan_study(params(settings, **more), "one").cells[0]


def own() -> Params:
    return load_params(PARAMS)


def test_width_positions_is_that_of_the_locally_connected_layer() -> None:
    assert CATALOG["digits"].shape == (1, 8, 8)
    assert cell({"model": {"width": "positions", "filters": 5, "kernel": 2}}).config["model"]["width"] == 16 * 5
    with pytest.raises(LmcError, match=r"model\.kernel: found 3, allowed: a divisor of 8 and 8"):
        cell({"model": {"width": "positions", "filters": 5, "kernel": 3}})
    with pytest.raises(LmcError, match="positions of a locally connected layer: filters: missing"):
        cell({"model": {"width": "positions"}})


def test_networks_of_other_kinds() -> None:
    patches = {"filters": 5, "kernel": 2}
    local = cell({"model": {"kind": "local", **patches, "start": "conv"}}).config["model"]
    assert local == {
        "kind": "local", "filters": 5, "kernel": 2, "slope": 0.0, "bias": "unit", "start_from_conv": True,
        "init": "torch-default", "gain": None,
    }  # fmt: skip
    assert cell({"model": {"kind": "conv", **patches}}).config["model"]["kind"] == "conv"
    attention = cell({"model": {"kind": "attention", "patch": 2, "heads": 3, "head_dim": 4}}).config["model"]
    assert (attention["patch"], attention["heads"], attention["head_dim"]) == (2, 3, 4)
    one_row = {"rows": {"r": {"label": "R"}}}
    mlp = cell({"model": {"width": "positions", **patches, "start": "local"}}, **one_row).config["model"]
    assert mlp["start_from_local"] == patches and mlp["width"] == 80
    with pytest.raises(LmcError, match="width: found 9, allowed with start: local: 80, positions x filters on digits"):
        cell({"model": {"width": 9, **patches, "start": "local"}}, **one_row)
    with pytest.raises(LmcError, match=r"model\.patch: found 3, allowed: a divisor of 8 and 8"):
        cell({"model": {"kind": "attention", "patch": 3, "heads": 3, "head_dim": 4}})
    with pytest.raises(LmcError, match=r"row r, column c, profile digits: model\.heads: missing"):
        cell({"model": {"kind": "attention", "patch": 2, "head_dim": 4}})


def test_what_is_said_of_an_optimizer_replaces_the_profiles_number() -> None:
    plain = cell({}).config["optimizer"]
    changed = cell({"optimizer": {"momentum": 0.0, "weight_decay": 5e-4, "lr_divisor": 4.0}}).config["optimizer"]
    assert changed == plain | {"momentum": 0.0, "weight_decay": 5e-4, "lr": plain["lr"] / 4}
    adam = cell({"optimizer": {"use": "adam-high", "momentum": 0.0}}).config["optimizer"]
    assert (adam["beta1"], adam["beta2"]) == (0.0, 0.999)  # ADAM's momentum
    conv = {"kind": "conv", "filters": 5, "kernel": 2}
    slow = cell({"model": conv, "optimizer": {"lr_divisor": "positions"}}).config["optimizer"]
    assert slow["lr"] == plain["lr"] / 16
    with pytest.raises(LmcError, match=r"optimizer\.beta2: unknown key; .*allowed: kind, lr, momentum, weight_decay"):
        cell({"optimizer": {"beta2": 0.7}})


def test_an_optimizer_of_a_study_needs_no_name_of_the_profile() -> None:
    own = {"kind": "adam", "lr": 0.5, "beta1": 0.8, "beta2": 0.9, "eps": 1e-6}
    base = {"data": {"dataset": "mnist"}, "model": {"depth": 1}, "batch": 32, "optimizer": own}
    rows = {"r": {"label": "R", "optimizer": {"beta2": 0.7}}}
    assert cell({}, base=base, rows=rows).config["optimizer"] == own | {"beta2": 0.7, "weight_decay": 0.0}
    del own["kind"]
    with pytest.raises(LmcError, match=r"row r, column c, profile digits: optimizer\.use: missing"):
        cell({}, base=base)


def test_sizes_of_other_kinds_are_left_out() -> None:
    sizes = {"width": 3, "filters": 5, "kernel": 2, "patch": 2, "heads": 3, "head_dim": 4, "bias": True}
    fields = {"mlp": {"width", "bias"}, "conv": {"filters", "kernel"}, "attention": {"patch", "heads", "head_dim"}}
    for kind, own in fields.items():
        model = cell({"model": {"kind": kind, **sizes}}).config["model"]
        assert {name: model[name] for name in sizes if name in model} == {name: sizes[name] for name in own}
    assert cell({"model": {"kind": "local", **sizes}}).config["model"]["bias"] == "unit"


def test_an_augmented_cell_has_augmentation_seeds() -> None:
    runs = cell({"data": {"augment": {"flip": True}}}).runs
    assert [(run.seeds.loader, run.seeds.augmentation) for run in runs] == [(i, i) for i in range(6)]
    assert (
        cell({"data": {"augment": {"flip": True}}, "batch": 899}).config["batch_size"] == 899
    )  # the draws are noise enough
    with pytest.raises(LmcError, match="no SGD noise: same batches"):
        cell({"batch": 899})


def test_shared_noise_is_that_of_the_first_run() -> None:
    plain, spawned = cell({}), cell({"share_noise_until": 7, "data": {"augment": None}})
    for pair, (first, second) in zip(plain.pairs, (pair.runs for pair in spawned.pairs), strict=True):
        assert first == pair.runs[0]  # the plain run itself
        assert second.seeds.early is not None
        assert (second.seeds.early.until, second.seeds.early.loader) == (7, first.seeds.loader)
        assert [second.seeds.loader_at(epoch) for epoch in (0, 6, 7, 8)] == [
            first.seeds.loader, first.seeds.loader, second.seeds.loader, second.seeds.loader,
        ]  # fmt: skip
    with pytest.raises(LmcError, match="share_noise_until: found 60, allowed: 1 to 59"):
        cell({"share_noise_until": 60})


def test_pairs_of_a_cell() -> None:
    cells = plan_study(params({"pairs": 1, "pair": "init"}), "one").cells
    assert [(run.seeds.trainer, run.seeds.loader) for run in cells[0].runs] == [(0, 0), (1, 1)]
    assert cells[0].pair_kind == "init"
    assert len(plan_study(params({"pairs": 1}), "one", Choice(pairs=2)).cells[0].pairs) == 2  # the command line wins


def test_a_profile_renames_changes_and_leaves_out() -> None:
    overrides: list[dict[str, Any]] = [
        {"study": "one", "row": "r", "label": "R, harder", "set": {"data": {"label_noise": 0.2}}},
        {"study": "one", "row": "s", "drop": True, "why": "the same again"},
    ]
    plan = plan_study(params({}, overrides), "one")
    assert [(c.row_label, c.column_label, c.config["data"]["label_noise"]) for c in plan.cells] == [
        ("R, harder", "C", 0.2)
    ]
    both = [{"study": ["one"], "row": ["r", "s"], "set": {"model": {"width": 5}}}]
    assert [c.config["model"]["width"] for c in plan_study(params({}, both), "one").cells] == [5, 5]
    with pytest.raises(LmcError, match=r"overrides\.0\.row: found 'q', allowed: r, s"):
        params({}, [{"study": "one", "row": ["r", "q"]}])
    everything = [{"study": "one", "drop": True, "why": "the same again"}]
    with pytest.raises(LmcError, match=r"none of these cells \(the same again\)"):
        plan_study(params({}, everything), "one")
    with pytest.raises(LmcError, match="drop and why go together"):
        params({}, [{"study": "one", "drop": True}])
    with pytest.raises(LmcError, match="label: names one row or one column"):
        params({}, [{"study": "one", "label": "x"}])


def columns(plan: StudyPlan) -> set[str]:
    return {c.column for c in plan.cells}


def test_a_data_set_narrows_a_study_that_has_it_and_moves_one_that_has_not() -> None:
    values = read_yaml(PARAMS)
    if not {"cifar10", "cifar100"} <= set(CATALOG):
        pytest.skip("the catalog has one image data set only")
    paper = validate(Params, values | {"profile": "paper"}, "params.yaml")
    figure3 = plan_study(paper, "figure3", Choice(dataset="cifar100"))
    assert columns(figure3) == {"cifar100"} and len(figure3.cells) == 7
    table1 = plan_study(paper, "table1", Choice(dataset="cifar10"))
    assert len(table1.cells) == 24 and {c.config["data"]["dataset"] for c in table1.cells} == {"cifar10"}
    with pytest.raises(LmcError, match="--dataset: found 'imagenet', allowed: "):
        plan_study(paper, "table1", Choice(dataset="imagenet"))


def test_the_width_of_the_command_line() -> None:
    cells = plan_study(own(), "table1", Choice(width=33)).cells
    assert {c.config["model"]["width"] for c in cells} == {None, 33}  # logistic regression has none


def test_settings_of_the_command_line_win_in_every_cell() -> None:
    settings = Settings(model={"filters": 16}, optimizer={"momentum": 0.5})
    plan = plan_study(own(), "figure2", Choice(profile="paper", settings=settings))
    networks = {c.row: c.config["model"] for c in plan.cells if c.column == "cifar10-high"}
    assert networks["cnn"]["filters"] == networks["lc-cnn"]["filters"] == 16
    assert networks["mlp"]["width"] == 8 * 8 * 16  # positions x filters
    assert {c.config["optimizer"]["momentum"] for c in plan.cells} == {0.5}


def test_an_ablation_names_a_row_that_is_there() -> None:
    with pytest.raises(LmcError, match=r"rows\.r\.varies: found 'q', allowed: s"):
        params({}, rows={"r": {"label": "R", "varies": "q"}, "s": {"label": "S"}})


def test_figure_1_has_one_initialisation_for_a_curve() -> None:
    plan = plan_study(own(), "figure1", Choice(profile="paper"))
    for column in columns(plan):
        inits = {(c.config["model"]["init"], c.config["model"]["gain"]) for c in plan.cells if c.column == column}
        slopes = [c.config["model"]["slope"] for c in plan.cells if c.column == column]
        assert len(inits) == 1 and slopes == [1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.01, 0.0]


def test_table_2_looks_early() -> None:
    for profile in ("digits", "paper"):
        for c in plan_study(own(), "table2", Choice(profile=profile)).cells:
            assert {0.5, 1, 2, 5, 10} < set(c.config["evaluate_at"])

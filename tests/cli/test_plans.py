"""data/plans: what an edit of params.yaml changes, and so what DVC makes again."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from helpers import PARAMS
from ruamel.yaml import YAML

from lmc_repro.cli.plans import write_plans
from lmc_repro.common.files import read_json
from lmc_repro.config.expand import plan_study
from lmc_repro.config.load import read_yaml, validate
from lmc_repro.config.params import Params

PIPELINE = Path(__file__).parents[2] / "dvc.yaml"


def written(values: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """Write the plans of a params.yaml with these values and return the files by stem."""
    write_plans(validate(Params, values, "params.yaml"), folder)
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


@cache
def unedited() -> dict[str, bytes]:
    """Return the files of the repository's own params.yaml."""
    with TemporaryDirectory() as folder:
        return written(read_yaml(PARAMS), Path(folder))


def touched(folder: Path, edit: Any) -> set[str]:
    """Return whose files an edit of params.yaml changes, adds or removes."""
    values, before = read_yaml(PARAMS), unedited()
    for stem, content in before.items():
        (folder / f"{stem}.json").write_bytes(content)
    edit(values)
    after = written(values, folder)
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def of_profile(*path: str, to: Any) -> Any:
    """Return an edit of one value of profile digits."""

    def edit(values: dict[str, Any]) -> None:
        place = values["profiles"]["digits"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return edit


STUDIES = set(read_yaml(PARAMS)["studies"])


def test_every_study_and_exhibit_has_a_file_and_a_second_writing_changes_none(tmp_path: Path) -> None:
    values = read_yaml(PARAMS)
    first = written(values, tmp_path)
    assert first.keys() == values["studies"].keys() | values["exhibits"].keys()
    assert written(values, tmp_path) == first


def test_an_override_touches_its_study_alone(tmp_path: Path) -> None:
    def edit(values: dict[str, Any]) -> None:
        values["profiles"]["digits"]["overrides"].append(
            {"study": "figure2", "set": {"optimizer": {"weight_decay": 0.25}}}
        )

    assert touched(tmp_path, edit) == {"figure2"}


SGD_HIGH = {"table1", "table2", "figure1", "figure2", "figure3", "figure5", "logistic", "appendix_c", "stability"}
EDITS = {
    "a rate": (of_profile("optimizers", "sgd-high", "lr", to=0.02), SGD_HIGH),
    "another rate": (of_profile("optimizers", "adam-medium", "lr", to=0.02), {"table1", "table2", "figure5"}),
    "the source of a rate": (
        of_profile("provenance", "optimizers.adam-medium.lr", to="ours: other words"),
        {"table1", "table2", "figure5"},
    ),
    "a batch": (of_profile("batches", "30K", to=448), {"table1", "logistic"}),
    "a setting": (of_profile("settings", "data", "drop_last", to=False), STUDIES),
    "points": (of_profile("points", to=21), STUDIES),
    "the threshold": (of_profile("judgement", "threshold", to=3.0), STUDIES),
    "the least accuracy": (of_profile("judgement", "min_train_accuracy", to=0.5), STUDIES),
    "pairs": (of_profile("pairs", to=4), STUDIES - {"stability"}),
    "the title": (of_profile("title", to="other"), STUDIES),
    "the device": (of_profile("device", to="auto"), STUDIES),
    "numerics": (of_profile("numerics", to="native"), STUDIES),
    "the loader": (of_profile("loader", to="ffcv"), STUDIES),
}


FAST = ("a rate", "the source of a rate", "pairs")  # each with studies of its own


@pytest.mark.parametrize("edit", [e if e in FAST else pytest.param(e, marks=pytest.mark.slow) for e in EDITS])
def test_an_edit_of_the_profile_touches_the_studies_that_use_it_and_no_exhibit(tmp_path: Path, edit: str) -> None:
    change, expected = EDITS[edit]
    assert touched(tmp_path, change) == expected


def test_results_list_the_numbers_that_the_plan_rests_on_and_no_others(tmp_path: Path) -> None:
    params = validate(Params, read_yaml(PARAMS), "params.yaml")
    plan = plan_study(params, "figure2")
    listed = {entry["key"] for entry in plan.provenance()}
    assert {key for key in listed if key.startswith("optimizers.")} == {
        f"optimizers.sgd-high.{name}" for name in ("kind", "lr", "momentum", "weight_decay")
    }
    every = {entry["key"] for study in STUDIES for entry in plan_study(params, study).provenance()}
    assert every == set(params.profiles["digits"].hyper_parameters())


def test_another_profile_touches_all(tmp_path: Path) -> None:
    values = read_yaml(PARAMS)
    all_of_them = set(values["studies"]) | set(values["exhibits"])
    assert touched(tmp_path, lambda changed: changed.update(profile="paper")) == all_of_them


def test_the_profile_that_is_not_active_touches_nothing(tmp_path: Path) -> None:
    assert touched(tmp_path, lambda changed: changed["profiles"]["paper"]["settings"].update(epochs=10)) == set()


@pytest.mark.parametrize("words", ["title", pytest.param("question", marks=pytest.mark.slow)])
def test_words_of_a_study_touch_it_since_its_results_carry_them(tmp_path: Path, words: str) -> None:
    assert touched(tmp_path, lambda values: values["studies"]["logistic"].update({words: "other"})) == {"logistic"}


def test_the_plan_of_a_study_that_is_gone_goes(tmp_path: Path) -> None:
    (tmp_path / "gone.json").write_text("{}")
    assert "gone" not in written(read_yaml(PARAMS), tmp_path)


def test_a_plan_holds_rates_and_seeds_of_every_pair(tmp_path: Path) -> None:
    write_plans(validate(Params, read_yaml(PARAMS), "params.yaml"), tmp_path)
    plan = read_json(tmp_path / "table1.json", "")
    assert len(plan["cells"]) == 24
    cell = next(cell for cell in plan["cells"] if cell["key"] == "2-layer-bs1024--adam-high")
    assert cell["config"]["optimizer"]["lr"] == 0.02 and cell["config"]["model"]["depth"] == 2
    pairs = [[(seed["trainer"], seed["loader"]) for seed in pair["seeds"]] for pair in cell["pairs"]]
    assert [first[0] == second[0] for first, second in pairs] == [True] * 3  # one initialisation
    assert [first[1] != second[1] for first, second in pairs] == [True] * 3  # two orders


def test_stages_depend_on_their_own_plan_and_copy_no_parameters() -> None:
    stages = YAML(typ="safe", pure=True).load(PIPELINE.read_text())["stages"]
    for name in ("train", "compare", "exhibit"):
        assert "data/plans/${key}.json" in stages[name]["do"]["deps"], name
    assert "data/plans" in stages["check"]["outs"]
    assert all("params" not in stage.get("do", stage) for stage in stages.values())

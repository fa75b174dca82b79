"""Network, optimizer, schedule, augmentation and data set from outside the package, in all commands that meet them."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_study
from commands import lmc, refused
from ruamel.yaml import YAML

from lmc_repro.cli.plans import require_listed
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import write_json
from lmc_repro.common.project import find_project
from lmc_repro.data.status import read_status
from lmc_repro.maintenance.doctor import check_data
from lmc_repro.notebook.runs import load_dataset, run_config, train

EXAMPLES = Path(__file__).parents[2] / "examples" / "extending"
RESULTS, RUNS = Path("out/tiny/one/results/one"), Path("out/tiny/one/runs")
HALVES = "halves.py:HALVES"
PIN = re.compile("#[0-9a-f]{16}")


@pytest.fixture(autouse=True)
def _project(begun: Path) -> None:
    """A project whose study `one` has a cell with all of the examples, on images of its own."""
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, begun)
    rng, arrays = np.random.default_rng(0), {}
    for half, n in (("train", 200), ("test", 50)):
        labels = rng.integers(0, 2, n)
        images = rng.integers(0, 128, (n, 6, 6, 3), dtype=np.uint8)
        images[labels == 1, :3] += 100
        arrays |= {f"x_{half}": images, f"y_{half}": labels}
    Path("data/raw").mkdir()
    np.savez("data/raw/halves.npz", **arrays)
    params = copy.deepcopy(small_study.PARAMS)
    tiny, one = params["profiles"]["tiny"], params["studies"]["one"]
    tiny |= {"pairs": 1, "points": 5, "datasets": [HALVES]}
    tiny["settings"] |= {"model": {"width": 8}, "epochs": 2, "evaluate_at": [0, 2]}
    tiny["optimizers"] = {"lion": {"kind": "lion.py:Lion", "lr": 0.001, "beta1": 0.9, "beta2": 0.99}}
    del tiny["provenance"]["optimizers.fast.lr"]
    one["base"] = {
        "batch": 64, "schedule": {"kind": "linear.py:linear"},
        "data": {"dataset": HALVES, "augment": {"steps": [{"kind": "brightness.py:Brightness", "by": 0.2}]}},
    }  # fmt: skip
    one["rows"] = {"deep": {"label": "skips", "model": {"kind": "residual.py:Residual", "blocks": 1}}}
    one["columns"] = {"fast": {"label": "Lion", "optimizer": "lion"}}
    del params["studies"]["two"], one["reported"]
    write(params)


def write(params: object) -> None:
    with open("params.yaml", "w") as file:
        YAML(typ="safe", pure=True).dump(params, file)


def edited(file: str) -> None:
    Path(file).write_text(Path(file).read_text() + "# changed\n")


def run(*more: str) -> str:
    code, out, err = lmc("run", "one", "--jobs", "1", *more)
    assert code == 0, out + err
    return out


@pytest.mark.slow
def test_every_command_takes_them_and_people_see_no_pin() -> None:
    assert "trained 2, reused 0" in run()
    assert "trained 0, reused 2" in run()
    (cell,) = json.loads((RESULTS / "cells.json").read_text())
    config = cell["config"]
    assert config["model"]["blocks"] == 1 and config["model"]["width"] == 8
    named = (
        config["data"]["dataset"],
        config["model"]["kind"],
        config["optimizer"]["kind"],
        config["schedule"]["kind"],
    )
    assert all(PIN.search(name) for name in named) and PIN.sub("", named[0]) == HALVES
    (data,) = json.loads((RESULTS / "runs.json").read_text())["datasets"]
    assert (data["name"], data["title"]) == (HALVES, "Halves")
    page = (RESULTS.parents[1] / "report/index.html").read_text()
    assert "residual.py:Residual" in page and not re.search(rf"\.py:\w+{PIN.pattern}", page)

    (listed,) = lmc("list", "one", "--json").json["cells"]
    shown = lmc("show", listed["run_id"], "--json").json
    ids = [training["run_id"] for training in shown["trainings"]]
    said = lmc("show", ids[0])
    assert said.code == 0 and "model.kind residual.py:Residual" in said.out and not PIN.search(said.out)
    assert lmc("show", ids[0], "--json").json["config"]["model.kind"] == config["model"]["kind"]
    assert lmc("verify", "one").code == 0 and lmc("reproduce", ids[0]).code == 0
    compared = lmc("compare", *ids, "--json")
    assert compared.code == 0 and compared.json["dataset"] == HALVES

    ends = [RUNS / end["fingerprint"] for end in compared.json["runs"]]
    weights = [end / "checkpoints/epoch-0002.safetensors" for end in ends]
    words = ("barrier", *weights, "--data", HALVES, "--points", 5, "--json", "--model")
    measured = lmc(*words, ends[0] / "config.json").json
    assert measured["data"]["name"] == HALVES and measured["test"] == compared.json["test"]
    model = '{kind: "residual.py:Residual", width: 8, blocks: 1}'
    assert lmc(*words, model).json["test"] == measured["test"]
    findings = [finding for finding in check_data(find_project(), None, (HALVES,)) if finding.name == HALVES]
    assert [finding.state for finding in findings] == ["ok"]

    edited("lion.py")
    code, _, err = lmc("reproduce", ids[0])
    assert code == 2 and "lion.py: changed since this run" in err and "Traceback" not in err
    assert lmc("report", "one").code == 0 and lmc("show", ids[0]).code == 0  # what was made is still to be seen
    assert "trained 2, reused 0" in run("--no-tracking")


def test_a_data_set_is_prepared_again_when_its_file_changes() -> None:
    assert lmc("prepare", HALVES).code == 0
    prepared = Path("data/prepared")
    assert (prepared / "halves-py-HALVES/train.safetensors").is_file() and read_status(prepared, HALVES) is not None
    assert load_dataset(HALVES).info.name == HALVES
    edited("halves.py")
    assert read_status(prepared, HALVES) is None
    with pytest.raises(
        LmcError, match=r"halves-py-HALVES: data set halves\.py:HALVES is not prepared; run `lmc prepare"
    ):
        load_dataset(HALVES)
    assert lmc("prepare", HALVES).code == 0 and read_status(prepared, HALVES) is not None
    Path("halves_py.py").write_text(Path("halves.py").read_text())
    shutil.copytree(prepared / "halves-py-HALVES", prepared / "halves_py-py-HALVES")
    assert read_status(prepared, "halves_py.py:HALVES") is None  # another file's


def test_a_notebook_trains_with_them() -> None:
    assert lmc("prepare", HALVES).code == 0
    config = run_config(
        HALVES,
        model={"kind": "residual.py:Residual", "width": 4, "blocks": 1},
        optimizer={"kind": "lion.py:Lion", "lr": 0.01, "beta1": 0.9, "beta2": 0.99},
        schedule={"kind": "linear.py:linear"},
        batch_size=50,
        epochs=1,
    )
    (made,) = train([config], load_dataset(HALVES))
    assert made.config == config and made.weights.keys() == {"maps.0.weight", "maps.1.weight", "maps.2.weight"}
    wrong = [row.wrong for row in made.metrics if row.split == "train" and row.wrong is not None]
    assert wrong[-1] < wrong[0]


def test_exhibits_count_and_draw_them() -> None:
    params = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())
    network = {"kind": "residual.py:Residual", "width": 8, "blocks": 1}
    step = {"kind": "brightness.py:Brightness", "by": 0.5}
    both = {"title": "t", "question": "q", "dataset": HALVES}
    loaders = {key: {"label": key, "loader": i, "augmentation": 0} for i, key in enumerate("ab")}
    params["exhibits"] = {
        "counts": both | {
            "kind": "parameters", "made_from": "params.yaml", "networks": {"own": {"label": "own", "model": network}},
        },
        "drawn": both | {
            "kind": "batches", "made_from": "data/prepared", "augment": {HALVES: {"steps": [step]}}, "batch_size": 4,
            "batches": 1, "loaders": loaders,
        },
    }  # fmt: skip
    write(params)
    assert lmc("prepare", HALVES).code == 0
    for key in params["exhibits"]:
        code, out, err = lmc("exhibit", key)
        assert code == 0 and not PIN.search(out), err
    counts, drawn = (json.loads(Path(f"results/{key}/exhibit.json").read_text()) for key in params["exhibits"])
    assert counts["networks"][0]["parameters"] == 8 * 108 + 8 * 8 + 2 * 8
    assert counts["dataset"]["name"] == drawn["dataset"]["name"] == HALVES
    assert drawn["loaders"][0]["sha256"] != drawn["loaders"][1]["sha256"]


MISTAKES = {
    ("halves.py:HALVES", "halves.py:HALFS"): "studies.one.base.data.dataset: ",
    ("halves.py:HALVES", "lion.py:Lion"): "dataset: lion.py:Lion is a type, expected a DatasetInfo",
    ("linear.py:linear", "linear.py:line"): "schedule.kind: ",
    ("brightness.py:Brightness", "bright.py:Brightness"): "studies.one.base.data.augment.steps.0: ",
    ("lion.py:Lion", "lion.py:Lions"): "profiles.tiny.optimizers.lion: ",
    ("residual.py:Residual", "residua.py:Residual"): "params.yaml: studies.one.rows.deep.model.kind: ",
    ("beta2: 0.99", "beta3: 0.99"): "profiles.tiny.optimizers.lion.beta3: unknown key; did you mean beta",
    ("blocks: 1", "blocks: one"): "studies.one.rows.deep.model.blocks: found 'one', allowed: a valid integer",
}


@pytest.mark.parametrize(("right", "wrong"), MISTAKES)
def test_a_mistake_is_one_line_before_any_work(right: str, wrong: str) -> None:
    text = Path("params.yaml").read_text()
    assert right in text
    Path("params.yaml").write_text(text.replace(right, wrong))
    assert MISTAKES[right, wrong] in refused("check")


def test_plans_change_with_a_file_and_dvc_has_to_know_of_it(tmp_path: Path) -> None:
    own = {"brightness.py", "halves.py", "linear.py", "lion.py", "residual.py"}
    plan, stages = Path("plans/one.json"), Path("dvc.yaml")
    seen = set()
    for file in ("", *sorted(own)):
        if file:
            edited(file)
        assert lmc("check", "--plans", "plans").code == 0  # there is no dvc.yaml
        seen.add(plan.read_bytes())
    assert len(seen) == 1 + len(own)
    stages.write_text(json.dumps({"stages": {"check": {"deps": ["params.yaml", *sorted(own - {"lion.py"})]}}}))
    assert refused_line("check", "--plans", "plans").startswith("dvc.yaml: stages.check.deps: missing lion.py;")
    stages.write_text(json.dumps({"stages": {"check": {"deps": ["params.yaml", *own]}}}))
    assert lmc("check", "--plans", "plans").code == 0
    write_json(plan, {"kind": "mögen.py:x#0123456789abcdef"})
    with pytest.raises(LmcError, match=r"missing mögen\.py;"):
        require_listed(plan.parent, stages)


def refused_line(*words: str) -> str:
    code, _, err = lmc(*words)
    assert code == 2 and err.count("\n") == 1
    return err.removeprefix("error: ")


def test_a_carried_folder_imports_nothing_that_it_brings() -> None:
    run("--no-tracking")
    folder = Path("out/tiny/one")
    (folder / "evil.py").write_text("open('imported', 'w').close()\nclass X: ...\n")
    run_folder = next(path for path in RUNS.iterdir() if (path / "config.json").exists())
    stored = json.loads((run_folder / "config.json").read_text())
    evil = f"{folder}/evil.py:X"
    for change in ({"model": stored["model"] | {"kind": evil}}, {"schedule": stored["schedule"] | {"kind": evil}}):
        (run_folder / "config.json").write_text(json.dumps(stored | change))
        assert "config.json: " in refused("publish", str(folder))
    (run_folder / "config.json").write_text(json.dumps(stored))
    runs = json.loads((RESULTS / "runs.json").read_text())
    runs["datasets"][0]["name"] = evil
    (RESULTS / "runs.json").write_text(json.dumps(runs))
    assert refused("publish", str(folder))
    assert not Path("imported").exists()

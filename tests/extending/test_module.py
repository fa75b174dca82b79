"""A torch module from outside the package: named in params.yaml, trained, killed and resumed, compared, reproduced."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import small_study
from commands import lmc, refused
from helpers import contents, run_config, tiny_dataset, train
from ruamel.yaml import YAML

from lmc_repro.data.dataset import Dataset
from lmc_repro.training import trainer
from lmc_repro.training.trainer import Event

EXAMPLE = Path(__file__).parents[2] / "examples" / "extending" / "small_resnet.py"
NETWORK = {"kind": "module", "module": f"{EXAMPLE}:build", "options": {"channels": 4, "blocks": 1}}


def write_project(root: Path, **base: object) -> None:
    """Write a params.yaml whose study `one` has a cell of the example."""
    params = copy.deepcopy(small_study.PARAMS)
    params["profiles"]["tiny"] |= {"pairs": 1, "points": 3}
    params["profiles"]["tiny"]["settings"] = {"epochs": 2, "evaluate_at": [0, 2]}
    one = params["studies"]["one"]
    model = {"kind": "module", "module": "small_resnet.py:build", "options": {"channels": 4, "blocks": 1}}
    one["base"] |= {"model": model, **base}
    one["rows"] = {"net": {"label": "a net"}}
    one["columns"] = {"fast": one["columns"]["fast"]}
    del params["studies"]["two"]
    with open(root / "params.yaml", "w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    shutil.copy(EXAMPLE, root)


@pytest.fixture
def root(begun: Path) -> Path:
    return begun


@pytest.mark.slow
def test_from_params_to_a_reproduced_run(root: Path) -> None:
    write_project(root, pair="init", align="activations", repair="repair")
    assert "FLOPs" in lmc("run", "one", "--dry-run").out
    code, out, err = lmc("run", "one", "--jobs", "1")
    assert code == 0, out + err
    (cell,) = json.loads((root / "out/tiny/one/results/one/cells.json").read_text())
    model = cell["config"]["model"]
    assert model["module"].startswith("small_resnet.py:build#") and model["options"]["channels"] == 4
    (pair,) = cell["pairs"]
    assert pair["test"]["error_0"] < 60.0  # 90 is chance
    (order,) = pair["permutations"].values()  # of the residual stream
    assert sorted(order.split()) == ["0", "1", "2", "3"] and order != "0 1 2 3"
    assert lmc("verify", "one").code == 0
    view = next(entry for entry in json.loads(lmc("list", "one", "--json").out)["cells"])
    (tracked,) = lmc("show", view["run_id"], "--json").json["pairs"]
    ends = [end["run_id"] for end in lmc("show", tracked["run_id"], "--json").json["ends"]]
    again = lmc("compare", *ends, "--align", "activations", "--points", 3, "--json").json
    assert again["distance"] == pair["distance"] and again["align"] == "activations"
    proof = lmc("reproduce", tracked["run_id"], "--json").json
    assert proof["identical"] is True
    assert {"name": "permutations", "equal": 1, "total": 1} in proof["path"]["checks"]
    (root / "small_resnet.py").write_text(EXAMPLE.read_text() + "\n# another file\n")
    assert "small_resnet.py: changed since this run" in lmc("verify", "one").out
    assert "trained 2, reused 0" in "".join(lmc("run", "one", "--jobs", "1", "--no-tracking")[1:])


def test_mistakes_are_one_line_before_any_work(root: Path) -> None:
    write_project(root)
    (root / "small_resnet.py").unlink()
    assert "small_resnet.py: cannot be read" in refused("check")
    (root / "small_resnet.py").write_text("build = 3\n")
    assert "model.module: small_resnet.py:build is no function" in refused("check")
    write_project(root, align="weights")
    (root / "small_resnet.py").write_text(EXAMPLE.read_text().replace("return x + ", "return x.cumsum(1) + "))
    code, _, err = lmc("run", "one", "--no-tracking")
    assert code == 2 and "small_resnet.py:build: units cannot be followed through cumsum in 1 (Block)" in err
    assert not list(root.rglob("checkpoints"))


class Killed(BaseException):
    """The process ends here, as far as the trainer can tell."""


def test_killed_and_resumed_has_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", -1.0)
    data, config = tiny_dataset(), run_config(model=NETWORK)
    (whole,) = train([config], data, tmp_path / "whole")

    def kill(event: Event) -> None:
        if event.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        train([config], data, tmp_path / "killed", kill)
    (resumed,) = train([config], data, tmp_path / "killed")
    assert contents(resumed) == contents(whole)
    assert resumed.config() == config


@pytest.mark.slow
def test_it_learns_digits(digits: Dataset, tmp_path: Path) -> None:
    config = run_config(model=NETWORK, data={"dataset": "digits"}, epochs=1, evaluate_at=[0, 1])
    (folder,) = train([config], digits, tmp_path)
    wrong = {row.epoch: row.wrong for row in folder.metrics() if row.split == "test"}
    assert wrong[1] < wrong[0] * 0.6  # type: ignore[operator]

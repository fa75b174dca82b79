"""A run that two cells of one study need: trained once, and in MLflow with each of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import lmc
from ruamel.yaml import YAML
from tiny_project import tiny_params


@pytest.fixture
def root(begun: Path) -> Path:
    """A project with a study of two cells: init pairs and noise pairs of the same networks."""
    params = tiny_params()
    study = params["studies"]["table1"]
    for key in ("provenance", "reported"):
        del study[key]
    study["rows"] = {"all": {"label": "all", "model": {"depth": 1}, "batch": 300}}
    study["columns"] = {
        kind: {"label": kind, "optimizer": "sgd-high", "pair": kind, "epochs": 1, "evaluate_at": [0, 1], "pairs": 2}
        for kind in ("noise", "init")
    }
    params["profiles"]["digits"]["overrides"] = []
    with open("params.yaml", "w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    return begun


@pytest.mark.slow
def test_noise_and_init_pairs_of_the_same_networks(root: Path) -> None:
    printed = lmc("run", "table1", "--jobs", "16", "--dry-run").out
    assert "2 cells, 7 runs\n" in printed and "memory: 7 stacks" in printed and "under a minute" in printed
    # (trainer, loader) seeds: noise 0-0, 0-1, 1-2, 1-3 and init 0-0, 1-1, 2-2, 3-3.
    assert "trained 7, reused 0" in "".join(lmc("run", "table1", "--jobs", "1")[1:])
    cells = json.loads((root / "out/digits/table1/results/table1/cells.json").read_text())
    seeds = [[pair["fingerprints"] for pair in cell["pairs"]] for cell in cells]
    assert seeds[0][0][0] == seeds[1][0][0] and len({name for pairs in seeds for pair in pairs for name in pair}) == 7
    assert [cell["n_runs"] for cell in cells] == [4, 4]
    listed = lmc("list", "table1", "--json").json
    shown = [lmc("show", cell["run_id"], "--json").json for cell in listed["cells"]]
    assert [len(cell["trainings"]) for cell in shown] == [4, 4]
    assert "trained 0, reused 7" in "".join(lmc("run", "table1", "--jobs", "1")[1:])

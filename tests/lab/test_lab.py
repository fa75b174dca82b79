"""examples/lab: a study per question, valid under both profiles, from training to results and back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import lmc
from ruamel.yaml import YAML
from test_readme import results_of_the_lock

from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params
from lmc_repro.config.plan import StudyPlan
from lmc_repro.models.registry import build_model
from lmc_repro.results.read import read_study
from lmc_repro.tracking.find import Reader

LAB = Path(__file__).parents[2] / "examples" / "lab"
PAGE = LAB.parents[1] / "docs" / "beyond.md"


@pytest.fixture
def plans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, StudyPlan]:
    monkeypatch.chdir(LAB)
    params = load_params(LAB / "params.yaml")
    return {key: plan_study(params, key, Choice(profile=request.param)) for key in params.studies}


@pytest.mark.parametrize("plans", ["digits", "full"], indirect=True)
def test_each_study_varies_what_its_question_asks(plans: dict[str, StudyPlan]) -> None:
    def seen(study: str, of: str) -> set[object]:
        return {getattr(cell.path, of) for cell in plans[study].cells}

    until = {run.seeds.early.until for run in plans["spawn"].runs if run.seeds.early}
    assert until == {1, 2, 5, 10} and {cell.pair_kind for cell in plans["spawn"].cells} == {"spawn"}
    assert {cell.pair_kind for cell in plans["noise"].cells} == {"order", "augmentation", "noise", "init"}
    assert seen("permutation", "align") == {"none", "weights", "activations"}
    noise = [cell for cell in plans["permutation"].cells if cell.pair_kind == "noise"]
    assert {cell.config["optimizer"]["kind"] for cell in noise} == {"adam"}
    assert seen("collapse", "repair") == {"none", "repair"} and seen("collapse", "metrics") == {("variance_ratio",)}
    assert len(seen("layers", "layers")) == 9
    assert seen("features", "metrics") == {("llfc",)}
    assert seen("ensemble", "metrics") == {("ensemble_error", "calibrated_loss")}
    optimizers = {cell.config["optimizer"]["kind"] for cell in plans["optimizers"].cells}
    assert optimizers == {"sgd", "sam", "adam", "adamw", "muon"}
    assert all(cell.plane is not None for cell in plans["planes"].cells)
    modules = {cell.config["model"]["module"].partition("#")[0] for cell in plans["architectures"].cells}
    assert modules == {"networks.py:resnet20", "networks.py:vgg11", "networks.py:vit"}
    for study, plan in plans.items():
        for config in {run.model_dump_json(exclude={"seeds"}): run for run in plan.runs}.values():
            assert build_model(config.model, dataset_info(config.data.dataset)).shapes, study


@pytest.mark.parametrize("plans, names", [("digits", {"digits"}), ("full", {"mnist", "cifar10"})], indirect=["plans"])
def test_data_sets_of_the_profiles(plans: dict[str, StudyPlan], names: set[str]) -> None:
    assert {cell.config["data"]["dataset"] for plan in plans.values() for cell in plan.cells} == names


@pytest.mark.parametrize("plans", ["digits", "full"], indirect=True)
def test_cells_that_share_networks_train_them_once(plans: dict[str, StudyPlan]) -> None:
    assert len(plans["spawn"].runs) == 3 * 2 * (1 + 5)  # one run of each trainer seed stands in every pair
    spawn, *others = (set(plans[study].runs) for study in ("spawn", "layers", "features", "optimizers"))
    assert all(len(spawn & other) >= 6 for other in others)
    assert len(plans["permutation"].runs) == 3 * 2 * 5  # three columns


FIGURES = re.findall(r"^lmc (plot (\w+) .*--out) \.\./\.\./docs/(\S+)$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("command, study, figure", FIGURES, ids=[figure for _, _, figure in FIGURES])
def test_figures_of_the_page_are_those_of_their_commands(
    command: str, study: str, figure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PAGE.parent / figure
    assert f"]({figure})" in PAGE.read_text() and file.stat().st_size <= 100_000
    if not results_of_the_lock(LAB, study):
        pytest.skip("examples/lab/results is not that of dvc.lock: `make lab` makes it")
    monkeypatch.chdir(LAB)
    code, out, err = lmc(*command.split(), str(tmp_path / file.name))
    assert code == 0, out + err
    assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_the_page_has_its_figures() -> None:
    drawn = [figure for _, _, figure in FIGURES]
    assert len(drawn) >= 3 and re.findall(r"^!\[.*\]\((\S+)\)$", PAGE.read_text(), re.MULTILINE) == drawn


@pytest.mark.slow
def test_dvc_takes_the_lab_and_the_repository_for_two_projects() -> None:
    def stages(folder: Path) -> set[str]:
        command = [sys.executable, "-m", "dvc", "stage", "list", "--recursive", "--name-only", "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    if not (LAB.parents[1] / ".git").exists():
        pytest.skip("not a git checkout")
    studies = set(YAML(typ="safe").load(LAB / "params.yaml")["studies"])
    steps = {f"{step}@{study}" for step in ("train", "compare") for study in studies}
    assert stages(LAB) == {"check", "prepare", "report"} | steps
    assert not steps & stages(LAB.parents[1])


@pytest.mark.slow
def test_two_cells_from_training_to_the_same_bits_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("params.yaml", "networks.py"):
        shutil.copy(LAB / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    short = ("--pairs", "1", "--epochs", "2", "--jobs", "1")
    for study, row, column in (("collapse", "relu-4", "both"), ("optimizers", "linear-8", "muon")):
        code, out, err = lmc("run", study, "--row", row, "--column", column, *short)
        assert code == 0, out + err
    results = read_study(tmp_path / "out/digits/collapse/results/collapse")
    (cell,) = results.cells
    assert cell.path.given() == {"metrics": ["variance_ratio"], "align": "weights", "repair": "repair"}
    curve = results.curves[cell.key, "0", 2, "test"]
    ratios = [curve.columns[f"variance_ratio_layers_{i}"][5] for i in range(3)]
    assert all(ratio is not None and 0.8 < ratio < 1.2 for ratio in ratios)  # REPAIR's purpose, on other images
    reader = Reader.open(tmp_path)
    runs = reader.runs({"lmc.kind": "pair"}, [each.experiment_id for each in reader.experiments()])
    aligned = next(run for run in runs if run.tags["lmc.row"] == "relu-4")
    code, out, err = lmc("reproduce", aligned.run_id, "--json")
    assert code == 0, out + err
    certificate = json.loads(out)
    assert (certificate["identical"], certificate["trained"]) == (True, 2)

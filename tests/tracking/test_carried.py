"""`lmc publish FOLDER`: what was trained elsewhere, on a GPU as far as its tags go, with and without its weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_study import make_plan
from toy_engine import Here
from trained_store import write_params, write_prepared

from lmc_repro.cli import files
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_file, write_json
from lmc_repro.common.progress import Lines
from lmc_repro.common.project import Project
from lmc_repro.data.dataset import Dataset
from lmc_repro.pipeline import compare, train
from lmc_repro.pipeline.workspace import Workspace
from lmc_repro.results import write
from lmc_repro.tracking.store import tracking_uri
from lmc_repro.training import fingerprint, trainer
from lmc_repro.training.run_folder import Keep

GPU, TORCH = "cuda:A Fake GPU", "9.8.7"
Make = Callable[[Keep], Path]


@pytest.fixture(scope="module")
def elsewhere(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return what makes a folder as a machine with a GPU and another torch would, in this process, on the CPU."""
    other = Project(tmp_path_factory.mktemp("elsewhere"))
    write_prepared(other, digits)

    def make(keep: Keep) -> Path:
        out = other.root / keep
        with pytest.MonkeyPatch.context() as patch:
            for module in (write, fingerprint, trainer):
                patch.setattr(module, "torch_version", lambda: TORCH)
            places = (out / "runs", out / "results" / "one", other.prepared)
            w = Workspace(other, make_plan(), *places, 1, "cpu", GPU, Lines(), tracked=False, keep=keep, engine=Here())
            train.train_study(w)
            compare.compare_study(w)
        torch.set_deterministic_debug_mode("default")
        return out

    return make


@pytest.fixture
def here(project: Project, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> Project:
    write_params(project)
    write_prepared(project, digits)
    monkeypatch.chdir(project.root)
    return project


def publish(folder: Path) -> None:
    files.publish(str(folder))


def runs(project: Project, kind: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri(project.root))
    experiments = client.search_experiments(filter_string="name = 'lmc/one/tiny'")
    ids = [experiment.experiment_id for experiment in experiments]
    return list(client.search_runs(ids, f"tags.`lmc.kind` = '{kind}'")) if ids else []


def weights_tags(project: Project, kind: str) -> set[str | None]:
    return {run.data.tags.get("lmc.weights") for run in runs(project, kind)}


@pytest.mark.slow
def test_a_gpu_run_has_its_stack_and_says_that_its_weights_are_not_here(here: Project, elsewhere: Make) -> None:
    folder = elsewhere("none")
    assert not list(folder.rglob("*.safetensors"))
    publish(folder)
    trained, pairs = runs(here, "train"), runs(here, "pair")
    assert (len(trained), len(pairs)) == (16, 8)
    for run in trained:
        tags = run.data.tags
        assert (tags["lmc.numerics"], tags["lmc.version.torch"], tags["lmc.stack"]) == (GPU, TORCH, "8")
        assert run.info.status == "FINISHED" and not run.outputs.model_outputs
        assert run.data.params["precision"] == "float32" and run.data.metrics["test/error"] < 100
    assert all("barrier/test" in run.data.metrics for run in pairs if run.data.tags["lmc.status_0"] == "trained")
    assert weights_tags(here, "train") == weights_tags(here, "pair") == {"not kept"}
    said = json.loads((folder / "results/one/runs.json").read_text())
    assert (said["numerics"], said["torch"]) == (GPU, TORCH)
    assert {tuple(run["stack"]) for run in said["runs"]} == {(8,)}


@pytest.mark.slow
def test_weights_that_come_later_take_the_tag_away(here: Project, elsewhere: Make) -> None:
    publish(elsewhere("none"))
    before = {run.info.run_id for run in runs(here, "train")}
    publish(elsewhere("last"))
    assert weights_tags(here, "train") == {"last kept"} and weights_tags(here, "pair") == {None}
    publish(elsewhere("all"))
    trained = runs(here, "train")
    assert {run.info.run_id for run in trained} == before
    assert all(len(run.outputs.model_outputs) == 1 for run in trained)
    assert all("weights/distance_from_init" in run.data.metrics for run in trained)
    assert weights_tags(here, "train") == weights_tags(here, "pair") == {None}
    publish(elsewhere("none"))  # what is here stays
    assert weights_tags(here, "train") == weights_tags(here, "pair") == {None}


def test_the_same_run_of_another_stack_is_refused(here: Project, elsewhere: Make) -> None:
    """On a GPU it may have other weights: the curves of one are not those of the other."""
    folder = elsewhere("all")
    run = first(folder)
    own = here.working / "runs" / run.name
    shutil.copytree(run, own)
    change(own / "status.json", lambda said: said["checkpoints"].update({"4": "0" * 64}))
    with pytest.raises(LmcError, match=f"{own} is the same run with other weights"):
        publish(folder)


def first(folder: Path) -> Path:
    return sorted((folder / "runs").iterdir())[0]


def change(path: Path, edit: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text())
    edit(values)
    path.unlink()  # it may be linked
    write_json(path, values)


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.unlink()
    path.write_text(text.replace(old, new, 1))


def link(folder: Path, place: Path) -> None:
    """Put a link in the place of a file or folder, to a copy of it elsewhere."""
    target = folder.parent / "target"
    place.rename(target)
    place.symlink_to(target)


def curve_line(folder: Path, alpha: str, by: int) -> None:
    """Change one count of the first pair's last test curve."""
    path = folder / "results/one/curves.csv"
    lines = path.read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if f",0,4,test,{alpha}," in line)
    parts = lines[at].split(",")
    parts[6] = str(int(parts[6]) + by)
    lines[at] = ",".join(parts)
    path.write_text("".join(lines))


def other_weights(folder: Path) -> None:
    """Put weights of another network, with their right checksums, into a run."""
    run = first(folder)
    path = run / "checkpoints/epoch-0004.safetensors"
    path.unlink()
    save_file({"weight": torch.zeros(2)}, path)
    sha = sha256_file(path)
    change(
        run / "status.json",
        lambda said: (said["files"].update({"checkpoints/epoch-0004.safetensors": sha}), said.update(final_sha256=sha)),
    )


RESULTS = "results/one"
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "linked run": (lambda f: link(f, first(f)), "is a link or another special file"),
    "linked checkpoint": (lambda f: link(f, first(f) / "checkpoints/epoch-0004.safetensors"), "is a link or another"),
    "linked results": (lambda f: link(f, f / RESULTS), "is a link or another special file"),
    "a program": (lambda f: (first(f) / "run.py").write_text("!"), r"run\.py: is no file of a run or a result"),
    "a name": (lambda f: first(f).rename(f / "runs" / "x' OR '1'='1"), "is no file of a run or a result"),
    "a path outside": (
        lambda f: change(first(f) / "status.json", lambda said: said["files"].update({"../../../x": "0"})),
        r"status\.json: checkpoints: other epochs",
    ),
    "other bytes": (lambda f: edit_text(first(f) / "metrics.csv", "train", "test"), r"metrics\.csv: damaged"),
    "no network": (other_weights, r"epoch-0004\.safetensors: no weights of its network"),
    "other numerics": (
        lambda f: change(first(f) / "status.json", lambda said: said.update(numerics="portable")),
        r"status\.json: numerics: found 'portable', allowed: 'cuda:A Fake GPU'",
    ),
    "other version": (
        lambda f: change(f / RESULTS / "runs.json", lambda said: said.update(training_numerics=0)),
        r"training and evaluation numerics: found \(0, \d\)",
    ),
    "other data": (
        lambda f: change(f / RESULTS / "runs.json", lambda said: said["datasets"][0].update(digest="0" * 64)),
        "data set digits has digest 000000000000",
    ),
    "a run missing": (lambda f: shutil.rmtree(first(f)), "missing"),
    "a run added": (lambda f: shutil.copytree(first(f), f / "runs" / ("0" * 16)), r"0{16}: not named in runs\.json"),
    "another run": (
        lambda f: (
            shutil.copytree(first(f), f / "runs" / ("0" * 16)),
            change(f / RESULTS / "runs.json", lambda s: s["runs"].append({**s["runs"][0], "fingerprint": "0" * 16})),
        ),
        "0{16}: no run of one, profile tiny, in params",
    ),
    "no status": (
        lambda f: change(first(f) / "status.json", lambda said: said.pop("checkpoints")),
        r"status\.json: damaged",
    ),
    "another score": (
        lambda f: change(f / RESULTS / "runs.json", lambda said: said["runs"][0].update(test_error=0.5)),
        r"runs\.json: run \w{16}: other values than its folder gives",
    ),
    "an infinity": (
        lambda f: edit_text(f / RESULTS / "cells.json", '"cosine": ', '"cosine": 1e999, "x": '),
        "1e999, a number must be finite",
    ),
    "a count inside": (lambda f: curve_line(f, "0.5", 1), r"cells\.json: .*other numbers than curves\.csv gives"),
    "a count at an end": (lambda f: curve_line(f, "0.0", 1), r"metrics\.csv: epoch 4 says \d+ wrong on test"),
    "two studies": (lambda f: shutil.copytree(f / RESULTS, f / "results/two"), "found 2 studies, allowed: one"),
}


@pytest.mark.parametrize(("harm", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_folder_is_one_line_and_changes_nothing(
    harm: Callable[[Path], object], said: str, here: Project, elsewhere: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "carried" / "one"
    shutil.copytree(elsewhere("all"), folder)
    harm(folder)
    with pytest.raises(LmcError, match=said) as error:
        publish(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    assert not runs(here, "train") and not here.out.exists() and not here.runs.exists()


@pytest.mark.slow
def test_runs_of_other_settings_are_refused_and_options_name_them(here: Project, elsewhere: Make) -> None:
    with pytest.raises(LmcError, match="no run of one, profile tiny, in params"):
        files.publish(str(elsewhere("none")), epochs=2)
    files.publish(str(elsewhere("none")), pairs=3)  # two of three pairs are there
    assert len(runs(here, "pair")) == 8

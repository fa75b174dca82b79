"""A bundle in MLflow: what was trained elsewhere, on a GPU as far as its tags go, with and without its weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_study import make_plan
from trained_store import write_params, write_prepared

from lmc_repro.cli.bundles import import_command
from lmc_repro.data.dataset import Dataset
from lmc_repro.errors import LmcError
from lmc_repro.execution.task import train_task
from lmc_repro.progress import Lines
from lmc_repro.project import Project
from lmc_repro.studies import bundle as bundle_module
from lmc_repro.studies.bundle import Keep, bundle_study
from lmc_repro.tracking.store import tracking_uri
from lmc_repro.training import fingerprint, trainer

GPU, TORCH = "cuda:A Fake GPU", "9.8.7"


@pytest.fixture
def elsewhere(project: Project, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what makes a bundle as a machine with a GPU and another torch would, in this process, on the CPU."""
    write_params(project)
    write_prepared(project, digits)
    monkeypatch.chdir(project.root)

    def make(keep: Keep) -> Path:
        out = tmp_path / f"{keep}.lmc"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bundle_module, "numerics_tag", lambda device: GPU)
            patch.setattr(bundle_module, "run_stacks", lambda tasks, jobs, tell: [train_task(t, tell) for t in tasks])
            patch.setattr(bundle_module, "map_tasks", lambda function, tasks, jobs: map(function, tasks))
            for module in (bundle_module, fingerprint, trainer):
                patch.setattr(module, "torch_version", lambda: TORCH)
            bundle_study(make_plan(), project.prepared, tmp_path / "work", out, "cpu", 1, keep, Lines())
        return out

    yield make
    torch.set_deterministic_debug_mode("default")


def runs(project: Project, kind: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri(project.root))
    (experiment,) = client.search_experiments(filter_string="name = 'lmc/one/tiny'")
    return list(client.search_runs([experiment.experiment_id], f"tags.`lmc.kind` = '{kind}'"))


def weights_tags(project: Project) -> set[str | None]:
    return {run.data.tags.get("lmc.weights") for kind in ("train", "pair") for run in runs(project, kind)}


def test_a_gpu_run_has_its_stack_and_says_that_its_weights_are_not_here(project: Project, elsewhere: Any) -> None:
    import_command(elsewhere("none"), None)
    trained, pairs = runs(project, "train"), runs(project, "pair")
    assert (len(trained), len(pairs)) == (16, 8)
    for run in trained:
        tags = run.data.tags
        assert (tags["lmc.numerics"], tags["lmc.version.torch"], tags["lmc.stack"]) == (GPU, TORCH, "8")
        assert run.info.status == "FINISHED" and not run.outputs.model_outputs
        assert run.data.params["precision"] == "float32" and run.data.metrics["test/error"] < 100
    assert all("barrier/test" in run.data.metrics for run in pairs if run.data.tags["lmc.status_0"] == "trained")
    assert weights_tags(project) == {"not kept"}
    said = json.loads((project.out / "tiny/one/results/one/runs.json").read_text())
    assert (said["numerics"], said["torch"]) == (GPU, TORCH)
    assert {tuple(run["stack"]) for run in said["runs"]} == {(8,)}


def test_weights_that_come_later_take_the_tag_away(project: Project, elsewhere: Any) -> None:
    import_command(elsewhere("none"), None)
    before = {run.info.run_id for run in runs(project, "train")}
    import_command(elsewhere("last"), None)
    tags = {kind: {run.data.tags.get("lmc.weights") for run in runs(project, kind)} for kind in ("train", "pair")}
    assert tags == {"train": {"last kept"}, "pair": {None}}
    import_command(elsewhere("all"), None)
    trained = runs(project, "train")
    assert {run.info.run_id for run in trained} == before
    assert all(len(run.outputs.model_outputs) == 1 for run in trained)
    assert all("weights/distance_from_init" in run.data.metrics for run in trained)
    assert weights_tags(project) == {None}
    import_command(elsewhere("none"), None)  # what is here stays
    assert weights_tags(project) == {None}


def test_the_same_run_of_another_stack_is_refused(project: Project, elsewhere: Any) -> None:
    """On a GPU it may have other weights: the curves of one are not those of the other."""
    import_command(elsewhere("all"), None)
    status = sorted((project.working / "runs").glob("*/status.json"))[0]
    said = json.loads(status.read_text())
    status.unlink()  # it is linked to the one in out/
    status.write_text(json.dumps({**said, "checkpoints": {**said["checkpoints"], "4": "0" * 64}}))
    with pytest.raises(LmcError, match="is the same run with other weights"):
        import_command(elsewhere("none"), None)

"""`lmc reproduce`: a run made again from what MLflow holds alone; what is damaged or made otherwise is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import lmc, refused
from finished_study import Finished, changed, flipped
from safetensors.torch import load_file, save_file

from lmc_repro.common.numerics import numerics_tag
from lmc_repro.data.dataset import Split, data_digest
from lmc_repro.tracking.find import Points, Reader

pytestmark = pytest.mark.slow  # the study is trained first


def reproduced(run_id: str, *options: object) -> tuple[int, dict[str, Any]]:
    said = lmc("reproduce", run_id, "--json", *options)
    return said.code, said.json


def counted(proof: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {check["name"]: (check["equal"], check["total"]) for check in proof["checks"]}


@contextmanager
def without_own_runs(finished: Finished) -> Iterator[None]:
    """Hide the working store and the runs of `lmc run`: there is nothing but MLflow, the data and the config."""
    hidden = [finished.project.working / "runs", finished.project.working / "pairs", finished.project.out]
    for place in hidden:
        place.rename(place.with_name(f"{place.name}.hidden"))
    try:
        yield
        assert not any(place.exists() for place in hidden)  # nor is anything written there
    finally:
        for place in hidden:
            place.with_name(f"{place.name}.hidden").rename(place)


def test_a_training_is_made_again_from_the_store_alone(finished: Finished, tmp_path: Path) -> None:
    run_id = finished.trainings()[1]
    with without_own_runs(finished):
        code, found = reproduced(run_id, "--out", tmp_path / "again")
    assert (code, found["identical"], found["first"], found["likely"]) == (0, True, None, [])
    assert found["trained"] == 1
    (proof,) = found["trainings"]
    assert counted(proof) == {
        "stored in MLflow": (6, 6),
        "data digest": (1, 1),
        "initial weights": (1, 1),
        "order": (1, 1),
        "augmentation": (0, 0),
        "diverged epoch": (0, 0),
        "checkpoints": (3, 3),
        "metrics.csv": (1, 1),
    }
    first = proof["here"]["fingerprint"]
    assert proof["recorded"] == proof["here"] | {"commit": proof["recorded"]["commit"]}
    # It did train: the folder that it leaves is the run's, byte for byte.
    made, own = tmp_path / "again" / first, finished.out / "runs" / first
    names = sorted(str(path.relative_to(own)) for path in own.rglob("*") if path.is_file())
    assert [name for name in names if (made / name).read_bytes() != (own / name).read_bytes()] == []
    assert json.loads((tmp_path / "again" / "certificate.json").read_text())["identical"] is True
    assert {path.name for path in (tmp_path / "again").iterdir()} == {first, "certificate.json"}


def test_a_pair_is_made_again_with_both_trainings_and_its_path(finished: Finished) -> None:
    with without_own_runs(finished):
        code, found = reproduced(finished.pair())
    assert (code, found["identical"], found["trained"]) == (0, True, 2)
    assert [proof["run_id"] for proof in found["trainings"]] == finished.trainings()
    path = counted(found["path"])
    assert path["error counts"] == (6, 6) and path["losses"] == (6, 6)
    assert path["numbers in MLflow"][0] == path["numbers in MLflow"][1] > 40


def test_an_aligned_pair_is_made_again(finished: Finished) -> None:
    reader = Reader.open(finished.project.root)
    plain, aligned = (reader.run(finished.pair(study)) for study in ("one", "two"))
    assert aligned.params["path.align"].startswith("lab.py:mirrored#")
    losses = [reader.history(run, ["path/test_loss"])["path/test_loss"] for run in (plain, aligned)]
    assert losses[0][0] == losses[1][0] and losses[0][1] != losses[1][1]  # another way between the ends
    code, found = reproduced(aligned.run_id)
    assert (code, found["identical"]) == (0, True) and counted(found["path"])["error counts"] == (6, 6)
    assert counted(found["path"])["permutations"] == (1, 1)
    place, content = reader.artifact(aligned, "permutations.json")
    (pair,) = json.loads((finished.project.out / "tiny/two/results/two/cells.json").read_text())[0]["pairs"]
    orders = json.loads(content)
    assert pair["permutations"] == orders
    for order in orders.values():
        units = [int(unit) for unit in order.split()]
        assert units == list(range(len(units)))[::-1] and len(units) > 1
    group, order = next(iter(orders.items()))
    with changed(Path(place), json.dumps(orders | {group: " ".join(sorted(order.split()))}).encode()):
        code, found = reproduced(aligned.run_id)
    assert (code, found["identical"], found["first"]["where"]) == (1, False, "path")
    assert counted(found["path"])["permutations"] == (0, 1)


def test_a_training_reused_from_another_study(finished: Finished) -> None:
    run_id = finished.trainings("two")[0]
    assert "lmc.reused_from" in Reader.open(finished.project.root).run(run_id).tags
    code, found = reproduced(run_id)
    assert (code, found["trained"], found["trainings"][0]["run_id"]) == (0, 1, run_id)


@pytest.mark.parametrize("epoch", [2, 4])  # a file of the run, and a logged model
def test_a_flipped_bit_of_a_stored_weight_fails_and_names_the_file(finished: Finished, epoch: int) -> None:
    reader = Reader.open(finished.project.root)
    run = reader.tracked(reader.run(finished.trainings()[0]))
    file, _ = reader.stored_checkpoint(run, epoch)
    with changed(file, flipped(file)):
        code, found = reproduced(run.run_id)
        assert (code, found["identical"], found["first"]["where"]) == (1, False, "stored")
        assert found["first"]["text"].startswith(f"{file}: damaged: its sha256 is")
        assert counted(found["trainings"][0])["checkpoints"] == (3, 3)  # made again with the recorded sha256
        code, printed, _ = lmc("reproduce", run.run_id)
    assert code == 1
    assert f"differs: {file}: damaged" in printed and "15 of" not in printed
    assert "likely: a disk, a copy or a hand has changed MLflow's files" in printed


def test_other_files_of_the_store_are_checked_too(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = finished.trainings()[0]
    reader = Reader.open(finished.project.root)
    place, content = reader.artifact(reader.run(run_id), "metrics.csv")
    with changed(Path(place), content.replace(b"899", b"898", 1)):
        code, found = reproduced(run_id)
    assert code == 1 and found["first"]["text"].startswith(f"{place}: damaged")
    assert counted(found["trainings"][0])["metrics.csv"] == (1, 1)  # made again with the recorded sha256

    def one_point_moved(self: Reader, run: Any, metrics: Any) -> dict[str, Points]:
        found = history(self, run, metrics)
        return {name: [(step, v + (step == 2)) for step, v in points] for name, points in found.items()}

    history = Reader.history
    monkeypatch.setattr(Reader, "history", one_point_moved)
    code, found = reproduced(run_id)
    assert code == 1 and found["first"]["text"].startswith("metric test/error at step 2 is")


def test_other_data_are_tried_and_named_as_the_reason(finished: Finished) -> None:
    folder = finished.project.prepared / "digits"
    train = load_file(folder / "train.safetensors")
    test = load_file(folder / "test.safetensors")
    train["labels"][0] = (train["labels"][0] + 1) % 10
    digest = data_digest(Split(**train), Split(**test))
    status = json.loads((folder / "status.json").read_text())
    other = folder / "other.safetensors"
    save_file(train, other)
    content = other.read_bytes()
    other.unlink()
    with (
        changed(folder / "train.safetensors", content),
        changed(folder / "status.json", json.dumps({**status, "digest": digest}).encode()),
    ):
        code, found = reproduced(finished.trainings()[0])
    assert (code, found["trained"], found["first"]["where"]) == (1, 1, "data")
    assert found["likely"][0] == f"data digest: recorded {status['digest']}, here {digest}"
    proof = counted(found["trainings"][0])
    assert proof["initial weights"] == (1, 1) and proof["order"] == (1, 1)  # neither looks at the data
    assert proof["checkpoints"] == (1, 3)  # the initial ones
    assert any(f["text"].startswith("weights at epoch 2: layers.") for f in found["trainings"][0]["findings"])


def test_what_cannot_be_tried_is_one_line(finished: Finished, tmp_path: Path) -> None:
    run_id = finished.trainings()[0]
    assert "is of kind cell: give a training or a pair" in refused("reproduce", finished.cell())
    assert "run 'nothing'" in refused("reproduce", "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "full: exists already" in refused("reproduce", run_id, "--out", tmp_path / "full")
    client = Reader.open(finished.project.root).client
    client.update_run(run_id, status="RUNNING")
    try:
        assert "is RUNNING: it has no final checkpoint" in refused("reproduce", run_id)
    finally:
        client.set_terminated(run_id, "FINISHED")
    prepared = finished.project.prepared
    shutil.move(prepared, prepared.with_name("elsewhere"))
    try:
        assert "data set digits is not prepared; run `lmc prepare digits`" in refused("reproduce", run_id)
    finally:
        shutil.move(prepared.with_name("elsewhere"), prepared)


def test_every_run_records_its_numerics_and_versions(finished: Finished) -> None:
    import torch

    runs = [run for kind in ("cell", "train", "pair") for run in finished.runs(kind)]
    assert len(runs) == 4
    for run in runs:
        assert run.tags["lmc.numerics"] == numerics_tag()
        assert run.tags["lmc.version.torch"] == torch.__version__.split("+")[0]
    for run in finished.runs("train"):
        status = Reader.open(finished.project.root).json_artifact(run, "status.json")
        assert (status["numerics"], status["torch"]) == (numerics_tag(), torch.__version__.split("+")[0])
    assert json.loads((finished.results / "runs.json").read_text())["numerics"] == numerics_tag()

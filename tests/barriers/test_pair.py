"""A pair is measured from its stored weights; what was measured is judged anew when it is read back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
from helpers import final_weights, run_config, tiny_dataset, train, weights_at

from lmc_repro.barriers import measure
from lmc_repro.barriers import pair as pairs
from lmc_repro.barriers.measure import measure_pair
from lmc_repro.barriers.pair import PairEnd, PairTask, pair_key, pair_task
from lmc_repro.barriers.results import PairResult
from lmc_repro.config.base import canonical_json
from lmc_repro.config.path import PathConfig
from lmc_repro.config.plan import Epochs
from lmc_repro.data.dataset import Dataset, with_label_noise
from lmc_repro.results.pairs import ends_problem, load_pair, store_pair
from lmc_repro.training.checkpoint import Checkpoint
from lmc_repro.training.run_folder import RunFolder

NOT_DIVERGED = {"a": {"diverged_epoch": None}, "b": {"diverged_epoch": None}}


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    dataset = tiny_dataset()
    monkeypatch.setattr(measure, "_dataset", lambda prepared, name, device: dataset)
    monkeypatch.setattr("lmc_repro.results.pairs.dataset_info", lambda name: dataset.info)
    return dataset


@pytest.fixture
def folders(data: Dataset, tmp_path: Path) -> list[RunFolder]:
    return train([run_config(seeds={"trainer": 0, "loader": loader}) for loader in (0, 1)], data, tmp_path)


def stored(folder: RunFolder, epoch: float) -> Checkpoint:
    path = folder.checkpoint(epoch)
    return Checkpoint(path, path.read_bytes(), folder.fix)


def task(folders: list[RunFolder], diverged: tuple[int | None, int | None] = (None, None)) -> PairTask:
    weights = {epoch: (stored(folders[0], epoch), stored(folders[1], epoch)) for epoch in (0.0, 1.0, 3.0)}
    config = folders[0].config()
    return PairTask("0", 0, ("a", "b"), diverged, weights, config.model, config.data, Path("unused"), 11)


CONFIG = {"data": {"dataset": "tiny"}}


def test_ends_have_the_counts_of_training(folders: list[RunFolder]) -> None:
    result = measure_pair(task(folders))
    for end, folder in enumerate(folders):
        logged = {(row.epoch, row.split): row.wrong for row in folder.metrics()}
        for epoch in result.evaluations:
            for split, curve in epoch.curves.items():
                assert curve.wrong[-end] == logged[epoch.epoch, split]


def test_the_path_on_train_is_over_the_labels_that_were_trained_on(data: Dataset, tmp_path: Path) -> None:
    configs = [run_config(data={"label_noise": 0.4}, seeds={"trainer": 0, "loader": loader}) for loader in (0, 1)]
    noisy = train(configs, data, tmp_path)
    curves = measure_pair(task(noisy)).final.curves
    for end, folder in enumerate(noisy):
        logged = {row.split: row.wrong for row in folder.metrics() if row.epoch == 3}
        assert [curves[split].wrong[-end] for split in ("train", "test")] == [logged["train"], logged["test"]]
    clean = dataclasses.replace(task(noisy), data=run_config().data)
    assert measure_pair(clean).final.curves["train"] != curves["train"]
    assert measure_pair(clean).final.curves["test"] == curves["test"]


def test_distance_and_disagreement_by_hand(folders: list[RunFolder], data: Dataset) -> None:
    result = measure_pair(task(folders))
    first, second = (final_weights(folder) for folder in folders)
    squares = sum(((first[name].double() - second[name].double()) ** 2).sum().item() for name in first)
    assert result.distance == pytest.approx(squares**0.5, rel=1e-12)
    assert result.cosine is not None and 0.0 < result.cosine < 1.0
    for split, curve in result.final.curves.items():
        gap = abs(curve.wrong[0] - curve.wrong[-1]) / curve.n  # at least so many images are predicted differently
        assert gap <= result.disagreement[split] <= (curve.wrong[0] + curve.wrong[-1]) / curve.n


def test_one_initialisation_has_no_distance_at_its_start(folders: list[RunFolder]) -> None:
    start = measure_pair(task(folders)).evaluations[0]
    assert start.epoch == 0
    assert [len(set(start.curves[split].wrong)) for split in ("train", "test")] == [1, 1]
    assert start.barriers is None  # flat, which is no connection: nothing is trained yet


def test_a_diverged_end_has_no_barriers_from_that_epoch_on(folders: list[RunFolder]) -> None:
    evaluations, lost = (measure_pair(task(folders, diverged=(None, epoch))).evaluations for epoch in (None, 2))
    assert evaluations[2].status == ("trained", "trained") and evaluations[2].barriers is not None
    assert lost[:2] == evaluations[:2] and "diverged" not in lost[1].status
    assert lost[2].status == ("trained", "diverged") and lost[2].barriers is None


def test_stored_pair_is_read_back_exactly(folders: list[RunFolder], tmp_path: Path) -> None:
    result = measure_pair(task(folders))
    store_pair(tmp_path, "key", result)
    assert load_pair(tmp_path, "key", CONFIG, NOT_DIVERGED) == result


def test_stored_pair_is_judged_anew(folders: list[RunFolder], tmp_path: Path) -> None:
    store_pair(tmp_path, "key", measure_pair(task(folders)))
    read = load_pair(tmp_path, "key", CONFIG, {"a": {"diverged_epoch": None}, "b": {"diverged_epoch": 1}})
    assert isinstance(read, PairResult)
    assert [epoch.status[1] for epoch in read.evaluations][1:] == ["diverged", "diverged"]
    assert [epoch.barriers for epoch in read.evaluations][1:] == [None, None]


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_constant_predictor_is_that_of_the_labels_that_were_trained_on(
    share: float, data: Dataset, tmp_path: Path
) -> None:
    configs = [run_config(data={"label_noise": share}, seeds={"trainer": 0, "loader": loader}) for loader in (0, 1)]
    labels = with_label_noise(data, share).train.labels.tolist()
    found = measure_pair(task(train(configs, data, tmp_path))).largest_class
    assert found == max(map(labels.count, range(4)))
    assert (found == 14) == (share == 0.0)  # 53 labels in turn


def test_a_file_without_the_largest_class_is_measured_again(folders: list[RunFolder], tmp_path: Path) -> None:
    store_pair(tmp_path, "key", measure_pair(task(folders)))
    measured = json.loads((tmp_path / "key.json").read_text())["measured"]
    del measured["largest_class"]
    sha = hashlib.sha256(canonical_json(measured).encode()).hexdigest()
    (tmp_path / "key.json").write_text(json.dumps({"measured": measured, "sha256": sha}))
    assert load_pair(tmp_path, "key", CONFIG, NOT_DIVERGED) is None


def test_a_damaged_stored_pair_is_measured_again(folders: list[RunFolder], tmp_path: Path) -> None:
    store_pair(tmp_path, "key", measure_pair(task(folders)))
    path = tmp_path / "key.json"
    stored = json.loads(path.read_text())
    stored["measured"]["evaluations"][-1]["curves"]["test"]["wrong"][5] += 1
    path.write_text(json.dumps(stored))
    assert load_pair(tmp_path, "key", CONFIG, NOT_DIVERGED) is None
    assert load_pair(tmp_path, "other", CONFIG, NOT_DIVERGED) is None


def test_pair_key_knows_runs_points_and_numerics() -> None:
    keys = {
        pair_key(("a", "b"), 11, "portable"),
        pair_key(("b", "a"), 11, "portable"),
        pair_key(("a", "b"), 101, "portable"),
        pair_key(("a", "b"), 11, "native:AVX2"),
    }
    assert len(keys) == 4


def test_weight_matching_has_numerics_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [PathConfig(), PathConfig(align="activations"), PathConfig(align="weights")]
    before = [pair_key(("a", "a"), 11, "portable", path) for path in paths]
    assert len(set(before)) == 3 and before[:2] == ["4d9235601588a2c7", "0a2d27468b0437b3"]
    monkeypatch.setattr(pairs, "WEIGHT_MATCHING", pairs.WEIGHT_MATCHING + 1)
    after = [pair_key(("a", "a"), 11, "portable", path) for path in paths]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False]


def test_own_epochs_of_the_ends_are_in_the_key_where_they_are_given() -> None:
    plain = pair_key(("a", "a"), 11, "portable")
    assert pair_key(("a", "a"), 11, "portable", epochs=(None, None)) == plain == "4d9235601588a2c7"
    given: list[Epochs] = [(0, 3), (3, 0), (0, None), (None, 0)]
    assert len({plain, *(pair_key(("a", "a"), 11, "portable", epochs=epochs) for epochs in given)}) == 5


def own_epochs(folders: list[RunFolder], epochs: Epochs) -> PairResult:
    first, second = map(PairEnd.of, folders)
    return measure_pair(pair_task("0", (first, second), Path("unused"), 5, epochs=epochs))


def test_one_run_at_one_epoch_is_no_path(folders: list[RunFolder]) -> None:
    result = own_epochs([folders[0], folders[0]], (3, 3))
    assert result.distance == 0.0 and result.disagreement == {"train": 0.0, "test": 0.0}
    (epoch,) = result.evaluations
    assert epoch.epoch == 3 and epoch.barriers is not None
    assert all(found.barrier == found.line == found.midpoint_excess == 0.0 for found in epoch.barriers.values())


@pytest.mark.parametrize("epochs", [(1, 3), (3, 1), (0, 3)])
def test_the_ends_of_two_snapshots_have_the_runs_own_counts_there(folders: list[RunFolder], epochs: Epochs) -> None:
    logged = {(row.epoch, row.split): row.wrong for row in folders[1].metrics()}
    result = own_epochs([folders[1], folders[1]], epochs)
    (at_epoch,) = result.evaluations
    assert (at_epoch.epoch, result.epochs) == (3, epochs)
    for split, curve in at_epoch.curves.items():
        assert (curve.wrong[0], curve.wrong[-1]) == tuple(logged[epoch, split] for epoch in epochs)
    assert at_epoch.status == tuple("trained" if epoch == 3 else "collapsed" for epoch in epochs)
    assert at_epoch.barriers is None
    first, second = (weights_at(folders[1], epoch) for epoch in epochs if epoch is not None)
    squares = sum(((first[name].double() - second[name].double()) ** 2).sum().item() for name in first)
    assert result.distance == pytest.approx(squares**0.5, rel=1e-12)
    assert ends_problem(folders[1].path.parent, "portable", dataclasses.replace(
        result, fingerprints=(folders[1].fingerprint,) * 2)) is None  # fmt: skip


def test_an_end_may_stay_where_the_other_moves(folders: list[RunFolder]) -> None:
    logged = [{(row.epoch, row.split): row.wrong for row in folder.metrics()} for folder in folders]
    result = own_epochs(folders, (3, None))
    assert [epoch.epoch for epoch in result.evaluations] == [0, 1, 3]
    for epoch in result.evaluations:
        for split, curve in epoch.curves.items():
            assert (curve.wrong[0], curve.wrong[-1]) == (logged[0][3, split], logged[1][epoch.epoch, split])


def test_an_end_is_judged_at_its_own_epoch(folders: list[RunFolder]) -> None:
    for epochs, lost in (((1, 3), (False, True)), ((3, 1), (True, False)), ((1, None), (False, True))):
        ends = map(PairEnd.of, folders)
        first, second = (dataclasses.replace(end, status={**end.status, "diverged_epoch": 2}) for end in ends)
        epoch = measure_pair(pair_task("0", (first, second), Path("unused"), 5, epochs=epochs)).final
        assert tuple(status == "diverged" for status in epoch.status) == lost
        assert epoch.epoch == 3 and epoch.barriers is None


def test_a_stored_pair_keeps_its_own_epochs(folders: list[RunFolder], tmp_path: Path) -> None:
    result = own_epochs(folders, (1, 3))
    store_pair(tmp_path, "key", result)
    statuses = {folder.fingerprint: {"diverged_epoch": None} for folder in folders}
    assert load_pair(tmp_path, "key", CONFIG, statuses) == result
    later = {folders[0].fingerprint: {"diverged_epoch": 2}, folders[1].fingerprint: {"diverged_epoch": None}}
    assert load_pair(tmp_path, "key", CONFIG, later) == result  # diverged after its own epoch


def test_a_task_travels_as_bytes_and_arrives_whole(folders: list[RunFolder]) -> None:
    sent = task(folders)
    back = pickle.loads(ForkingPickler.dumps(sent))  # as to a worker
    assert back == sent
    for epoch, pair in back.weights.items():
        for folder, file in zip(folders, pair, strict=True):
            there, here = weights_at(folder, epoch), file.tensors()
            assert there.keys() == here.keys() and all(torch.equal(there[name], here[name]) for name in here)

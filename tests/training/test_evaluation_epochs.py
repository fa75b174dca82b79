"""Marks within an epoch: at which step, with which weights, and that a run does not notice them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import ADAM, contents, run_config, tiny_dataset, train, weights_at
from safetensors.torch import load_file

from lmc_repro.barriers.status import endpoint_status
from lmc_repro.common.errors import LmcError
from lmc_repro.config.base import marks_within
from lmc_repro.data.dataset import normalise
from lmc_repro.data.loaders import open_loader
from lmc_repro.models.registry import build_model
from lmc_repro.training import steps
from lmc_repro.training.optimizer import build_optimizer
from lmc_repro.training.stack import Layout
from lmc_repro.training.step import TrainStep
from lmc_repro.training.trainer import Evaluation

CONFIG = run_config(evaluate_at=[0, 0.5, 1, 1.25, 3], optimizer=ADAM)  # 53 images, batches of 10: 6 steps an epoch


@pytest.mark.parametrize(
    ("marks", "steps", "expected"),
    [
        ([0, 1, 3], 6, {}),
        ([0.5], 6, {0: {3: 0.5}}),
        ([0, 0.25, 2.25, 2.5, 3], 6, {0: {2: 0.25}, 2: {2: 2.25, 3: 2.5}}),  # 1.5 and 13.5 steps: half up
        ([0.5], 7, {0: {4: 0.5}}),
        ([0.145], 100, {0: {15: 0.145}}),  # 14.499999999999998 in floating point
        ([0.01, 0.99], 6, {0: {1: 0.01, 5: 0.99}}),  # within the epoch, not at its ends
        ([3.5], 2, {3: {1: 3.5}}),
    ],
)
def test_steps_by_hand(marks: list[float], steps: int, expected: dict[int, dict[int, float]]) -> None:
    assert marks_within(marks, steps) == expected


def test_marks_without_a_step_of_their_own() -> None:
    with pytest.raises(LmcError, match=r"^evaluate_at: mark 0\.5: an epoch is one step here.*give whole epochs$"):
        marks_within([0, 0.5, 1], 1)
    with pytest.raises(LmcError, match=r"^evaluate_at: marks 1\.5 and 1\.6 both fall on step 2 of 4 in epoch 2;"):
        marks_within([1.5, 1.6], 4)
    assert marks_within([0, 1, 2], 1) == {}


def test_training_refuses_them_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(LmcError, match="both fall on step 3 of 6"):
        train([run_config(evaluate_at=[0.5, 0.51, 3])], tiny_dataset(), tmp_path)
    assert not any(tmp_path.iterdir())


def test_weights_and_scores_are_those_after_so_many_steps(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    (folder,) = train([CONFIG], dataset, tmp_path)
    model = build_model(CONFIG.model, dataset.info)
    layout = Layout(model)
    weights = layout.stack([model.init(torch.Generator().manual_seed(0))])
    step = TrainStep(model, layout, weights, build_optimizer(CONFIG.optimizer, weights))
    loader = open_loader("resident", dataset, tmp_path, [CONFIG.seeds], 10, False, "philox")
    done = 0
    for epoch in (0, 1):
        for images, labels, _ in loader.epoch(epoch):
            step(normalise(images, dataset.info), labels, torch.tensor([[ADAM["lr"]]]), done)
            done += 1
            if (mark := {3: 0.5, 6: 1, 8: 1.25}.get(done)) is not None:  # 1.25 x 6 = 7.5
                stored, expected = weights_at(folder, mark), layout.child(weights, 0)
                assert all(torch.equal(stored[name], expected[name]) for name in expected), mark
    rows = [(row.epoch, row.split) for row in folder.metrics()]
    both = [[(mark, "train"), (mark, "test")] for mark in CONFIG.evaluate_at]
    batch = [(epoch, "batch") for epoch in (1, 2, 3)]
    assert rows == [*both[0], *both[1], batch[0], *both[2], *both[3], batch[1], batch[2], *both[4]]
    assert {"checkpoints/epoch-0000.5.safetensors", "checkpoints/epoch-0001.25.safetensors"} < contents(folder).keys()
    assert list(folder.status()["checkpoints"]) == ["0", "0.5", "1", "1.25", "3"]


def test_a_run_does_not_notice_them(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    (plain,) = train([run_config(optimizer=ADAM)], dataset, tmp_path)
    (marked,) = train([CONFIG], dataset, tmp_path)
    without = contents(plain)
    found = contents(marked)
    for name in without:
        if name.startswith("checkpoints/"):
            assert found[name] == without[name]
    whole = [row for row in marked.metrics() if row.epoch == int(row.epoch)]
    assert whole == plain.metrics()


@pytest.mark.parametrize(("marks", "recorded"), [([0, 0.5, 3], 1), ([0, 0.5, 0.8, 3], 0.8), ([0, 0.9, 3], 0.9)])
def test_divergence_is_recorded_by_the_mark_after_it(
    marks: list[float], recorded: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = steps.learning_rates
    # Step 3 (the fourth) throws the weights away, step 4 meets a loss that is not finite: after mark 0.5, before 0.8.
    monkeypatch.setattr(steps, "learning_rates", lambda c, step, per: rates(c, step, per) * (1e38 if step == 3 else 1))
    (folder,) = train([run_config(evaluate_at=marks)], tiny_dataset(), tmp_path)
    diverged = folder.status()["diverged_epoch"]
    assert diverged == recorded
    status = {mark: endpoint_status(mark, diverged, 0, 100, 25) for mark in marks}
    assert status == {mark: "trained" if mark < 0.75 else "diverged" for mark in marks}


def test_a_callback_from_outside_sees_each_evaluation_and_moves_no_bit(tmp_path: Path) -> None:
    seen: list[tuple[float, list[int], list[bool]]] = []

    def norms(evaluation: Evaluation) -> None:
        wrong = [score.wrong for score in evaluation.scores["test"]]
        stored = [
            {name: tensor[i] for name, tensor in evaluation.weights.items()} for i in range(len(evaluation.folders))
        ]
        same = []
        for folder, weights in zip(evaluation.folders, stored, strict=True):
            found = load_file(folder.checkpoint(evaluation.epoch))
            same.append(all(torch.equal(found[name], weights[name]) for name in found))
        seen.append((evaluation.epoch, wrong, same))

    configs = [CONFIG, run_config(evaluate_at=[0, 0.5, 1, 1.25, 3], optimizer=ADAM, seeds={"loader": 1})]
    called = train(configs, tiny_dataset(), tmp_path / "called", callbacks=[norms])
    plain = train(configs, tiny_dataset(), tmp_path / "plain")
    assert [contents(folder) for folder in called] == [contents(folder) for folder in plain]
    rows = [
        [row.wrong for folder in plain for row in folder.metrics() if (row.epoch, row.split) == (epoch, "test")]
        for epoch in CONFIG.evaluate_at
    ]
    assert seen == [(epoch, wrong, [True, True]) for epoch, wrong in zip(CONFIG.evaluate_at, rows, strict=True)]

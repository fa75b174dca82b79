"""Whole runs: what each seed moves, augmentation, label noise, divergence, evaluation epochs within an epoch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ADAM, SGD, contents, final_weights, folder_for, run_config, tiny_dataset, train, weights_at
from safetensors.torch import load_file
from torch.nn import functional

from lmc_repro.barriers.status import endpoint_status
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_file
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.config.base import epochs_within
from lmc_repro.config.run import RunConfig
from lmc_repro.data.augment import augment, augmentation_sha256, epoch_draws
from lmc_repro.data.beton import write_beton
from lmc_repro.data.dataset import Dataset, normalise, with_label_noise
from lmc_repro.data.loaders import open_loader
from lmc_repro.data.order import epoch_order
from lmc_repro.data.status import write_status
from lmc_repro.models.registry import build_model
from lmc_repro.training import steps
from lmc_repro.training.evaluate import evaluate
from lmc_repro.training.optimizer import build_optimizer
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.stack import Layout
from lmc_repro.training.step import TrainStep
from lmc_repro.training.trainer import Evaluation, StackedRun, order_sha256, train_stack

SEEDS = [{"trainer": 0, "loader": 0}, {"trainer": 0, "loader": 1}, {"trainer": 1, "loader": 0}]


def statuses(root: Path) -> list[dict[str, Any]]:
    configs = [run_config(seeds=seeds) for seeds in SEEDS]
    return [folder.status() for folder in train(configs, tiny_dataset(), root)]


def test_each_seed_moves_its_own_stream(tmp_path: Path) -> None:
    base, loader, trainer = statuses(tmp_path)
    assert loader["init_sha256"] == base["init_sha256"] and loader["order_sha256"] != base["order_sha256"]
    assert trainer["init_sha256"] != base["init_sha256"] and trainer["order_sha256"] == base["order_sha256"]
    assert len({s["final_sha256"] for s in (base, loader, trainer)}) == 3
    assert len({s["fingerprint"] for s in (base, loader, trainer)}) == 3


def test_recorded_order_is_that_of_the_batches() -> None:
    config = run_config(seeds={"trainer": 5, "loader": 7})
    orders = [epoch_order(53, 7, epoch).astype("<u4") for epoch in range(config.epochs)]
    assert order_sha256(53, config) == hashlib.sha256(np.concatenate(orders).tobytes()).hexdigest()


def test_initial_weights_are_those_of_the_trainer_seed(tmp_path: Path) -> None:
    (folder,) = train([run_config(seeds={"trainer": 12, "loader": 3})], tiny_dataset(), tmp_path)
    start = weights_at(folder, 0)
    generator = torch.Generator().manual_seed(12)
    first = torch.empty(9, 25).uniform_(-0.2, 0.2, generator=generator)  # 1 / sqrt(25)
    assert torch.equal(start["layers.0.weight"], first)
    assert not torch.equal(start["layers.0.weight"], final_weights(folder)["layers.0.weight"])


def test_no_global_generator_is_read_or_moved(tmp_path: Path) -> None:
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        runs.append(statuses(tmp_path / str(seed)))
        assert torch.equal(before[0], torch.get_rng_state())
        assert np.array_equal(before[1], np.random.get_state()[1])
    assert runs[0] == runs[1]


def test_rate_zero_leaves_the_initial_weights(tmp_path: Path) -> None:
    for optimizer in (SGD, ADAM):
        (folder,) = train([run_config(optimizer={**optimizer, "lr": 0.0})], tiny_dataset(), tmp_path)
        status = folder.status()
        assert status["final_sha256"] == status["init_sha256"] == status["checkpoints"]["1"]
        assert status["diverged_epoch"] is None


AUGMENT = {"flip": True, "crop": 2, "cutout": 2}


def augmented(loader: int = 0, augmentation: int | None = 0, early: Any = None, **data: Any) -> RunConfig:
    """Return a run of four epochs, augmented unless its augmentation seed is None."""
    seeds = {"trainer": 0, "loader": loader, "augmentation": augmentation, "early": early}
    more = {} if augmentation is None else {"augment": AUGMENT}
    return run_config(seeds=seeds, data={**more, **data}, epochs=4, evaluate_at=[0, 1, 2, 3, 4])


def checkpoints(folder: RunFolder) -> list[str]:
    """Return the sha256 of the weights at every epoch."""
    return list(folder.status()["checkpoints"].values())


@pytest.mark.slow
def test_ffcv_and_resident_give_the_same_run(tmp_path: Path) -> None:
    dataset = tiny_dataset(shape=(3, 5, 4))
    folder = tmp_path / "prepared" / "tiny"
    folder.mkdir(parents=True)
    write_beton(folder / "train.beton", dataset.train)  # clean labels
    files = {"train.beton": sha256_file(folder / "train.beton")}
    write_status(folder, {"state": "ready", "digest": dataset.digest, "files": files})
    early = {"until": 2, "loader": 90, "augmentation": 91}
    runs = [augmented(51, 71, early, label_noise=0.2), augmented(52, 72, label_noise=0.2)]
    streamed = [StackedRun(run, folder_for(run, dataset, tmp_path / "ffcv")) for run in runs]
    train_stack(streamed, dataset, tmp_path / "prepared", "ffcv", numerics_tag(), torch.device("cpu"))
    for child, other in zip(streamed, train(runs, dataset, tmp_path / "resident"), strict=True):
        assert contents(child.folder) == contents(other)


def test_a_step_is_taken_on_the_augmented_images(tmp_path: Path) -> None:
    # Two epochs of logistic regression on all images at once, without momentum: two gradients by hand.
    dataset, sgd = tiny_dataset(), {**SGD, "lr": 0.5, "momentum": 0.0}
    run = run_config(
        model={"depth": 1}, optimizer=sgd, batch_size=53, epochs=2, evaluate_at=[0, 2],
        data={"augment": AUGMENT}, seeds={"trainer": 0, "loader": 3, "augmentation": 6},
    )  # fmt: skip
    (folder,) = train([run], dataset, tmp_path)
    start, end = weights_at(folder, 0), weights_at(folder, 2)
    weight, bias = (start[f"layers.0.{name}"].clone().requires_grad_() for name in ("weight", "bias"))
    assert run.data.augment is not None
    for epoch in range(2):
        draws = torch.from_numpy(epoch_draws(run.data.augment, 6, epoch, 53, 5, 5))
        inputs = augment(dataset.train.images, draws, run.data.augment, dataset.info).flatten(1)
        loss = functional.cross_entropy(inputs @ weight.T + bias, dataset.train.labels)
        with torch.no_grad():
            for parameter, gradient in zip((weight, bias), torch.autograd.grad(loss, (weight, bias)), strict=True):
                parameter -= 0.5 * gradient
    assert torch.allclose(end["layers.0.weight"], weight, atol=1e-6)
    assert torch.allclose(end["layers.0.bias"], bias, atol=1e-6)


def test_augmentation_is_a_stream_of_its_own_and_evaluation_has_none(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    base, other = train([augmented(), augmented(augmentation=1)], dataset, tmp_path)
    (plain,) = train([augmented(augmentation=None)], dataset, tmp_path)
    a, b, c = (folder.status() for folder in (base, other, plain))
    assert a["order_sha256"] == b["order_sha256"] == c["order_sha256"]
    assert a["init_sha256"] == b["init_sha256"] == c["init_sha256"]
    assert len({a["final_sha256"], b["final_sha256"], c["final_sha256"]}) == 3
    # The same weights, so the same errors and losses on whole splits: they are not augmented.
    assert base.metrics()[:2] == other.metrics()[:2] == plain.metrics()[:2]
    augment = base.config().data.augment
    assert augment is not None
    assert a["augmentation_sha256"] == augmentation_sha256(augment, dataset.info, 53, base.config().seeds, 4)
    assert b["augmentation_sha256"] != a["augmentation_sha256"] and "augmentation_sha256" not in c


@pytest.mark.parametrize("drawn", [True, False])
def test_shared_early_noise_is_one_trajectory_and_then_two(drawn: bool, tmp_path: Path) -> None:
    dataset = tiny_dataset()
    noise: list[int | None] = [4, 5, 4] if drawn else [None] * 3

    def early(run: int) -> dict[str, Any]:
        return {"until": 2, "loader": run, "augmentation": noise[0]}

    plain = augmented(loader=4, augmentation=noise[0])
    spawned = augmented(loader=5, augmentation=noise[1], early=early(4))
    written_out = augmented(loader=4, augmentation=noise[2], early=early(4))  # its own noise, by another name
    folders = train([plain, spawned, written_out], dataset, tmp_path)
    one, two, three = (checkpoints(folder) for folder in folders)
    assert one[:3] == two[:3] and not set(one[3:]) & set(two[3:])
    assert one == three
    statuses = [folder.status() for folder in folders]
    for key in ["order_sha256", *(["augmentation_sha256"] if drawn else [])]:
        assert statuses[0][key] == statuses[2][key] != statuses[1][key]
    # Apart, its later noise is that of its own seed.
    orders = [epoch_order(53, seed, epoch).astype("<u4") for epoch, seed in enumerate((4, 4, 5, 5))]
    assert statuses[1]["order_sha256"] == hashlib.sha256(b"".join(o.tobytes() for o in orders)).hexdigest()


def wrong(dataset: Dataset, folder: RunFolder, split: str) -> int:
    weights = {name: tensor.unsqueeze(0) for name, tensor in weights_at(folder, 4).items()}
    model = build_model(folder.config().model, dataset.info)
    return evaluate(model, weights, getattr(dataset, split), dataset.info)[0].wrong


def test_label_noise_is_trained_and_measured_on_train_and_never_on_test(tmp_path: Path) -> None:
    dataset = tiny_dataset(n_train=203)
    (noisy,) = train([augmented(augmentation=None, label_noise=0.4)], dataset, tmp_path)
    (clean,) = train([augmented(augmentation=None)], dataset, tmp_path)
    assert checkpoints(noisy)[0] == checkpoints(clean)[0] and not set(checkpoints(noisy)[1:]) & set(checkpoints(clean))
    assert noisy.status()["data_digest"] == clean.status()["data_digest"] == dataset.digest
    logged = {row.split: row.wrong for row in noisy.metrics() if row.epoch == 4}
    seen = with_label_noise(dataset, 0.4)
    assert logged["train"] == wrong(seen, noisy, "train") != wrong(dataset, noisy, "train")
    assert logged["test"] == wrong(dataset, noisy, "test")


def test_a_diverged_run_is_recorded(tmp_path: Path) -> None:
    wild = run_config(optimizer={"kind": "sgd", "lr": 1e6, "momentum": 0.9}, seeds={"trainer": 9, "loader": 9})
    calm, diverged = train([run_config(), wild], tiny_dataset(), tmp_path)
    assert calm.status()["diverged_epoch"] is None
    assert diverged.is_complete() and diverged.status()["diverged_epoch"] == 1
    assert "null" not in diverged.status_file.read_text() and "NaN" not in diverged.status_file.read_text()
    for row in diverged.metrics():
        if row.epoch == 0:
            assert row.loss is not None and row.wrong is not None and row.wrong < row.n
        else:
            assert row.loss is None  # the mean of an epoch with such a batch, and every evaluation after
            assert row.split == "batch" or row.wrong == row.n
    assert (diverged.path / "metrics.csv").read_text().splitlines()[-1] == "3,test,17,17,"


def test_a_rate_that_is_only_high_does_not_diverge(tmp_path: Path) -> None:
    (folder,) = train(
        [run_config(model={"depth": 1}, optimizer={"kind": "sgd", "lr": 50.0, "momentum": 0.0})],
        tiny_dataset(),
        tmp_path,
    )
    assert folder.status()["diverged_epoch"] is None
    assert all(row.loss is not None for row in folder.metrics())


def test_logits_that_are_not_finite_count_as_wrong(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    config = run_config()
    (folder,) = train([config], dataset, tmp_path)
    model = build_model(config.model, dataset.info)
    good = weights_at(folder, 3)
    for value in (float("nan"), float("inf")):
        bad = {name: tensor.clone() for name, tensor in good.items()}
        bad["layers.1.bias"][2] = value  # one class of four
        stacked = {name: torch.stack([good[name], bad[name]]) for name in good}
        fine, broken = evaluate(model, stacked, dataset.train, dataset.info)
        assert fine.wrong < 20 and fine.loss is not None
        assert broken.wrong == broken.n == 53 and broken.loss is None


CONFIG = run_config(evaluate_at=[0, 0.5, 1, 1.25, 3], optimizer=ADAM)  # 53 images, batches of 10: 6 steps an epoch


@pytest.mark.parametrize(
    ("evaluations", "steps", "expected"),
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
def test_steps_by_hand(evaluations: list[float], steps: int, expected: dict[int, dict[int, float]]) -> None:
    assert epochs_within(evaluations, steps) == expected


def test_marks_without_a_step_of_their_own(tmp_path: Path) -> None:
    assert epochs_within([0, 1, 2], 1) == {}
    for evaluations, per_epoch, told in (
        ([0, 0.5, 1], 1, "0.5, but an epoch is one step"),
        ([1.5, 1.6], 4, "both at step 2 of 4"),
    ):
        with pytest.raises(LmcError) as caught:
            epochs_within(evaluations, per_epoch)
        assert str(caught.value).startswith("evaluate_at and batch: ") and told in str(caught.value)
    with pytest.raises(LmcError, match="both at step 3 of 6"):
        train([run_config(evaluate_at=[0.5, 0.51, 3])], tiny_dataset(), tmp_path)
    assert not any(tmp_path.iterdir())  # refused before it begins


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
            if (at_epoch := {3: 0.5, 6: 1, 8: 1.25}.get(done)) is not None:  # 1.25 x 6 = 7.5
                stored, expected = weights_at(folder, at_epoch), layout.run(weights, 0)
                assert all(torch.equal(stored[name], expected[name]) for name in expected), at_epoch
    rows = [(row.epoch, row.split) for row in folder.metrics()]
    both = [[(at_epoch, "train"), (at_epoch, "test")] for at_epoch in CONFIG.evaluate_at]
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


@pytest.mark.parametrize(("evaluations", "recorded"), [([0, 0.5, 3], 1), ([0, 0.5, 0.8, 3], 0.8), ([0, 0.9, 3], 0.9)])
def test_divergence_is_recorded_by_the_mark_after_it(
    evaluations: list[float], recorded: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = steps.learning_rates
    # Step 3 (the fourth) throws the weights away, step 4 meets a loss that is not finite: after epoch 0.5, before 0.8.
    monkeypatch.setattr(steps, "learning_rates", lambda c, step, per: rates(c, step, per) * (1e38 if step == 3 else 1))
    (folder,) = train([run_config(evaluate_at=evaluations)], tiny_dataset(), tmp_path)
    diverged = folder.status()["diverged_epoch"]
    assert diverged == recorded
    status = {epoch: endpoint_status(epoch, diverged, 0, 100, 25) for epoch in evaluations}
    assert status == {epoch: "trained" if epoch < 0.75 else "diverged" for epoch in evaluations}


def test_a_callback_from_outside_sees_each_evaluation_and_moves_no_bit(tmp_path: Path) -> None:
    seen: list[tuple[float, list[int], list[bool]]] = []

    def norms(evaluation: Evaluation) -> None:
        wrong = [score.wrong for score in evaluation.scores["test"]]
        same = []
        for i, folder in enumerate(evaluation.folders):
            found = load_file(folder.checkpoint(evaluation.epoch))
            same.append(all(torch.equal(found[name], evaluation.weights[name][i]) for name in found))
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

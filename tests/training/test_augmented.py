"""Whole runs with augmentation, label noise and shared early noise: same bits where they must be, others where not."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ADAM, SGD, contents, folder_for, run_config, tiny_dataset, train, weights_at
from torch.nn import functional

from lmc_repro.common.files import sha256_file
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.config.run import RunConfig
from lmc_repro.data.augment import augment, augmentation_sha256, epoch_draws
from lmc_repro.data.beton import write_beton
from lmc_repro.data.dataset import Dataset
from lmc_repro.data.label_noise import with_label_noise
from lmc_repro.data.order import epoch_order
from lmc_repro.data.status import write_status
from lmc_repro.models.registry import build_model
from lmc_repro.training import trainer
from lmc_repro.training.evaluate import evaluate
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Child, Event, train_stack

AUGMENT = {"flip": True, "crop": 2, "cutout": 2}
MARKS = [0, 1, 2, 3, 4]


def config(trainer: int = 0, loader: int = 0, augmentation: int | None = 0, **more: Any) -> RunConfig:
    """Return a run of four epochs, augmented unless its augmentation seed is None; `early` are Seeds.early's fields."""
    early, data = more.pop("early", None), more.pop("data", {})
    seeds = {"trainer": trainer, "loader": loader, "augmentation": augmentation, "early": early}
    augmented = {} if augmentation is None else {"augment": AUGMENT}
    return run_config(seeds=seeds, data={**augmented, **data}, epochs=4, evaluate_at=MARKS, **more)


def number(n: int) -> RunConfig:
    """Return run `n` of a stack: its own seeds, some with early noise."""
    early = {"until": 1 + n % 3, "loader": 90, "augmentation": 91} if n % 2 else None
    return config(trainer=n, loader=50 + n, augmentation=70 + n, early=early, optimizer=ADAM, data={"label_noise": 0.2})


def checkpoints(folder: RunFolder) -> list[str]:
    """Return the sha256 of the weights at every mark."""
    return list(folder.status()["checkpoints"].values())


def test_bits_do_not_depend_on_the_stack(tmp_path: Path) -> None:
    dataset = tiny_dataset(shape=(3, 5, 4))
    seen: dict[int, dict[str, bytes]] = {}
    for k, stack in enumerate(
        [[3], [3, 5], [0, 3], [5, 3, 1], [3, 2, 4], list(range(8)), [10, 12, 11, 9, 3, 14, 8, 13]]
    ):
        folders = train([number(n) for n in stack], dataset, tmp_path / str(k))
        for n, folder in zip(stack, folders, strict=True):
            files = contents(folder)
            assert seen.setdefault(n, files) == files, f"run {n} has other bits in the stack {stack}"
    assert len({files["checkpoints/epoch-0004.safetensors"] for files in seen.values()}) == len(seen)


class Killed(BaseException):
    """The process ends here, as far as the trainer can tell."""


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_resumed_run_has_the_same_bits(epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(event: Event) -> None:
        if (event.kind, event.epoch) == ("epoch", epoch):
            raise Killed

    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", -1.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", math.inf)
    dataset, runs = tiny_dataset(), [number(1), number(2)]
    through = [contents(folder) for folder in train(runs, dataset, tmp_path / "through")]
    with pytest.raises(Killed):
        train(runs, dataset, tmp_path / "killed", kill)
    assert not any(folder_for(run, dataset, tmp_path / "killed").is_complete() for run in runs)
    assert [contents(folder) for folder in train(runs, dataset, tmp_path / "killed")] == through


def test_ffcv_and_resident_give_the_same_run(tmp_path: Path) -> None:
    dataset = tiny_dataset(shape=(3, 5, 4))
    folder = tmp_path / "prepared" / "tiny"
    folder.mkdir(parents=True)
    write_beton(folder / "train.beton", dataset.train)  # clean labels
    files = {"train.beton": sha256_file(folder / "train.beton")}
    write_status(folder, {"state": "ready", "digest": dataset.digest, "files": files})
    runs = [number(1), number(2)]
    streamed = [Child(run, folder_for(run, dataset, tmp_path / "ffcv")) for run in runs]
    train_stack(streamed, dataset, tmp_path / "prepared", "ffcv", numerics_tag(), torch.device("cpu"))
    resident = train(runs, dataset, tmp_path / "resident")
    for child, other in zip(streamed, resident, strict=True):
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
    base, other = train([config(), config(augmentation=1)], dataset, tmp_path)
    (plain,) = train([config(augmentation=None)], dataset, tmp_path)
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


@pytest.mark.parametrize("augmented", [True, False])
def test_shared_early_noise_is_one_trajectory_and_then_two(augmented: bool, tmp_path: Path) -> None:
    dataset = tiny_dataset()
    noise: list[int | None] = [4, 5, 4] if augmented else [None] * 3

    def early(run: int) -> dict[str, Any]:
        return {"until": 2, "loader": run, "augmentation": noise[0]}

    plain = config(loader=4, augmentation=noise[0])
    spawned = config(loader=5, augmentation=noise[1], early=early(4))
    written_out = config(loader=4, augmentation=noise[2], early=early(4))  # its own noise, by another name
    folders = train([plain, spawned, written_out], dataset, tmp_path)
    one, two, three = (checkpoints(folder) for folder in folders)
    assert one[:3] == two[:3] and not set(one[3:]) & set(two[3:])
    assert one == three
    statuses = [folder.status() for folder in folders]
    for key in ["order_sha256", *(["augmentation_sha256"] if augmented else [])]:
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
    (noisy,) = train([config(augmentation=None, data={"label_noise": 0.4})], dataset, tmp_path)
    (clean,) = train([config(augmentation=None)], dataset, tmp_path)
    assert checkpoints(noisy)[0] == checkpoints(clean)[0] and not set(checkpoints(noisy)[1:]) & set(checkpoints(clean))
    assert noisy.status()["data_digest"] == clean.status()["data_digest"] == dataset.digest
    logged = {row.split: row.wrong for row in noisy.metrics() if row.epoch == 4}
    seen = with_label_noise(dataset, 0.4)
    assert logged["train"] == wrong(seen, noisy, "train") != wrong(dataset, noisy, "train")
    assert logged["test"] == wrong(dataset, noisy, "test")

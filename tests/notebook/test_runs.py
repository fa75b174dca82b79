"""Trainings and pairs in a notebook: the stages' own bits, and mistakes in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import final_weights, tiny_dataset
from helpers import run_config as helper_config
from helpers import train as train_folders

from lmc_repro import LmcError, curve_barriers, load_dataset, measure_pair, plot_path, run_config, train
from lmc_repro.barriers.alignment import none, permuted
from lmc_repro.barriers.matching import weight_matching
from lmc_repro.barriers.metrics import llfc, margin
from lmc_repro.barriers.path import path_curves
from lmc_repro.barriers.repair import repair
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.models.base import Model, Weights
from lmc_repro.models.registry import build_model

MLP = {"kind": "mlp", "depth": 2, "width": 9, "slope": 0.0}


def config(**changes: Any) -> RunConfig:
    given = {"model": MLP, "optimizer": {"kind": "sgd", "lr": 0.05}, "batch_size": 10, "epochs": 3}
    return run_config("tiny", **(given | changes))


def test_a_config_is_that_of_a_study() -> None:
    assert config(evaluate_at=[0, 1, 3]) == helper_config()
    adam = config(optimizer={"kind": "adam", "lr": 0.1, "beta1": 0.5}).optimizer.model_dump()
    assert adam == {"kind": "adam", "lr": 0.1, "beta1": 0.5, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}


def test_the_bits_are_those_of_the_stages(tmp_path: Path) -> None:
    data = tiny_dataset()
    configs = [config(loader_seed=0), config(loader_seed=1), config(epochs=2), config(loader_seed=0)]
    runs = train(configs, data)
    folders = [train_folders([each], data, tmp_path)[0] for each in configs[:3]]
    for run, folder in zip(runs, folders, strict=False):
        assert run.fingerprint == folder.fingerprint and run.status == folder.status()
        assert all(torch.equal(run.weights[name], tensor) for name, tensor in final_weights(folder).items())
        assert run.error("train") == [row.error for row in folder.metrics() if row.split == "train"][-1]
    assert runs[3].fingerprint == runs[0].fingerprint
    assert [run.fingerprint for run in train(configs[2], data)] == [runs[2].fingerprint]
    pair = measure_pair(runs[0], runs[1], data, points=5)
    model = build_model(configs[0].model, data.info)
    assert pair.final.curves == path_curves(model, runs[0].weights, runs[1].weights, data, 5)
    assert pair.final.barriers is not None
    alone = curve_barriers(pair.final.curves["test"], data.info.classes)
    assert pair.final.barriers["test"] == alone


def test_a_folder_keeps_runs(tmp_path: Path) -> None:
    data, told = tiny_dataset(), []
    first = train([config()], data, tmp_path / "kept", on_event=told.append)
    assert [event.kind for event in told].count("epoch") == 3
    again = train([config()], data, tmp_path / "kept", on_event=lambda event: pytest.fail("trained again"))
    assert again[0].status == first[0].status
    path = tmp_path / "kept" / first[0].fingerprint / "metrics.csv"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(LmcError, match=r"metrics\.csv: damaged"):
        train([config()], data, tmp_path / "kept")


def test_a_device_and_a_precision_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device, precision, named in (("cuda", "float32", "cuda"), ("tpu", "float32", "tpu"), ("auto", "tf32", "tf32")):
        with pytest.raises(LmcError, match=named):
            train([config(precision=precision)], tiny_dataset(), device=device)


def test_threads_are_given_back() -> None:
    torch.set_num_threads(2)
    try:
        train([config(epochs=1)], tiny_dataset())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"model": {**MLP, "widht": 3}}, "run_config: model.widht: unknown key; did you mean width?"),
        ({"optimizer": {"kind": "sgd"}}, "run_config: optimizer.lr: missing"),
        ({"epoch": 3}, "run_config: epoch: unknown key; did you mean epochs?"),
        ({"optimizer": {"kind": "sgd", "lr": 1}}, None),
    ],
)
def test_mistakes_of_a_config(changes: dict[str, Any], told: str | None) -> None:
    if told is None:
        assert config(**changes).optimizer.lr == 1.0  # a whole number is one, too
        return
    with pytest.raises(LmcError) as caught:
        config(**changes)
    assert str(caught.value).startswith(told)


def test_two_runs_that_make_no_pair() -> None:
    data = tiny_dataset()
    a, b, wide = train([config(), config(batch_size=60), config(model={**MLP, "width": 8})], data)
    with pytest.raises(LmcError, match="no SGD noise: the same training"):
        measure_pair(a, a, data)
    with pytest.raises(LmcError, match=r"other architectures: .*width 9"):
        measure_pair(a, wide, data)
    (other,) = train([config(batch_size=61)], data)
    with pytest.raises(LmcError, match="no SGD noise: same initialisation, same batches"):
        measure_pair(b, other, data)
    with pytest.raises(LmcError, match="points: found 2"):
        measure_pair(a, b, data, points=2)
    with pytest.raises(LmcError, match=r"tiny: digest \w{12}, but the runs saw"):
        measure_pair(a, b, tiny_dataset(seed=1))
    with pytest.raises(LmcError, match="the configs are for data set digits, the data set given is tiny"):
        train([helper_config(data={"dataset": "digits"})], data)


def test_a_pair_with_alignment_repair_and_metrics() -> None:
    def mirrored(model: Model, theta_0: Weights, theta_1: Weights, dataset: Dataset, seed: int) -> Weights:
        return permuted(theta_1, model.axes(), {name: torch.arange(8, -1, -1) for name in model.axes()})

    data = tiny_dataset()
    a, b = train([config(), config(loader_seed=1)], data)
    plain, aligned = (measure_pair(a, b, data, points=5, align=align).final.curves for align in (none, mirrored))
    model = build_model(a.config.model, data.info)
    moved = {**b.weights, "layers.0.bias": b.weights["layers.0.bias"].flip(0)}
    moved |= {f"layers.{i}.weight": b.weights[f"layers.{i}.weight"].flip(i) for i in (0, 1)}
    assert aligned == path_curves(model, a.weights, moved, data, 5)
    assert aligned["test"].wrong[::4] == plain["test"].wrong[::4] and aligned["test"].loss[2] != plain["test"].loss[2]
    with pytest.raises(LmcError, match="of 17 test images are predicted differently"):
        measure_pair(a, b, data, align=lambda model, theta_0, theta_1, dataset, seed: theta_0)
    named = {"align": "weights", "repair": "repair", "metrics": ["margin", "llfc"]}
    objects = {"align": weight_matching, "repair": repair, "metrics": [margin, llfc]}
    assert measure_pair(a, b, data, 5, **named) == measure_pair(a, b, data, 5, **objects)  # type: ignore[arg-type]
    for wrong in ({"align": "weight"}, {"repair": "reapir"}, {"metrics": ["margni"]}):
        with pytest.raises(LmcError, match=r"did you mean (weights|repair|margin)"):
            measure_pair(a, b, data, **wrong)  # type: ignore[arg-type]
    with pytest.raises(LmcError, match="align: is a int"):
        measure_pair(a, b, data, align=3)  # type: ignore[arg-type]


def test_digits_need_nothing(digits: Dataset) -> None:
    found = load_dataset()
    assert found.digest == digits.digest == found.info.digest
    with pytest.raises(LmcError, match="found 'digit', allowed: digits, mnist"):
        load_dataset("digit")


def test_pictures(tmp_path: Path) -> None:
    data = tiny_dataset()
    a, b = train([config(), config(loader_seed=1)], data)
    pair = measure_pair(a, b, data)
    picture = plot_path(pair, "two runs")
    assert b"two runs" in picture.svg and b"train, barrier" in picture.svg
    picture.save(tmp_path / "path.png")
    assert (tmp_path / "path.png").read_bytes() == picture.png
    with pytest.raises(LmcError, match=r"path\.gif: found '\.gif', allowed: \.png, \.svg, \.pdf"):
        picture.save(tmp_path / "path.gif")
    one = plot_path({"test": pair.final.curves["test"]})
    assert b"test, barrier" in one.svg and b"train" not in one.svg
    assert plot_path(pair, "two runs") == picture  # what was hidden comes back
    still = {"kind": "sgd", "lr": 1e-9}
    slow = train([config(optimizer=still), config(optimizer=still, loader_seed=1)], data)
    assert b"no barrier: endpoints collapsed" in plot_path(measure_pair(*slow, data)).svg
    with pytest.raises(LmcError, match="plot_path: found nothing, allowed"):
        plot_path({})

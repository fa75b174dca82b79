"""Which two runs may be compared where labels are noisy or images augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import run_config

from lmc_repro.barriers.pair import PairEnd
from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import dataset_info
from lmc_repro.data.augment import augmentation_sha256
from lmc_repro.data.status import write_status
from lmc_repro.notebook.compare_runs import check_fit
from lmc_repro.training.trainer import order_sha256

DIGITS = dataset_info("digits")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    (tmp_path / "digits").mkdir()
    write_status(tmp_path / "digits", {"state": "ready", "digest": DIGITS.digest})
    return tmp_path


def end(run_id: str, loader: int = 0, augmentation: int | None = None, **changes: Any) -> PairEnd:
    """Return a run on digits of trainer seed 0, with the status that its training would have left."""
    data = {"dataset": "digits", **changes.pop("data", {})}
    config = run_config(data=data, seeds={"loader": loader, "augmentation": augmentation}, **changes)
    status = {
        "data_digest": DIGITS.digest,
        "init_sha256": "i" * 64,
        "order_sha256": order_sha256(DIGITS.n_train, config),
    }
    if config.data.augment is not None:
        status["augmentation_sha256"] = augmentation_sha256(
            config.data.augment, DIGITS, DIGITS.n_train, config.seeds, config.epochs
        )
    return PairEnd(f"fingerprint-{run_id}", config, status, pytest.fail)


def fit(a: PairEnd, b: PairEnd, prepared: Path) -> None:
    check_fit((a, b), prepared, "runs a and b")


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ({}, {"data": {"label_noise": 0.1}}, "label_noise 0.0 and 0.1"),
        ({"data": {"label_noise": 0.2}}, {"data": {"label_noise": 0.1}}, "label_noise 0.2 and 0.1"),
        ({}, {"augmentation": 1, "data": {"augment": {"flip": True}}}, "augment None and flip True"),
        (
            {"augmentation": 0, "data": {"augment": {"flip": True, "crop": 4}}},
            {"augmentation": 1, "data": {"augment": {"flip": True}}},
            "augment flip True crop 4 and flip True",
        ),
    ],
)
def test_other_labels_or_images_are_refused_in_one_line(
    a: dict[str, Any], b: dict[str, Any], told: str, prepared: Path
) -> None:
    with pytest.raises(LmcError) as error:
        fit(end("a", **a), end("b", loader=1, **b), prepared)
    assert str(error.value) == (f"runs a and b: trained on other labels or images: {told}; choose two with one setting")


def test_augmentation_alone_is_noise(prepared: Path) -> None:
    flip = {"data": {"augment": {"flip": True}}}
    for batch in (64, 899):  # with all images in one batch, too
        fit(
            end("a", augmentation=0, batch_size=batch, **flip),
            end("b", augmentation=1, batch_size=batch, **flip),
            prepared,
        )
    with pytest.raises(LmcError, match="same initialisation, same batches"):
        same = [end(name, augmentation=0, optimizer={"lr": lr}, **flip) for name, lr in (("a", 0.1), ("b", 0.2))]
        fit(same[0], same[1], prepared)


def test_runs_on_the_same_noisy_labels_fit(prepared: Path) -> None:
    noisy = {"data": {"label_noise": 0.2}}
    fit(end("a", **noisy), end("b", loader=1, **noisy), prepared)
    with pytest.raises(LmcError, match="same batches"):
        fit(end("a", **noisy), end("b", optimizer={"lr": 0.2}, **noisy), prepared)


def test_other_networks_are_named_and_other_beginnings_fit(prepared: Path) -> None:
    local: dict[str, Any] = {"kind": "local", "filters": 5, "kernel": 2}
    with pytest.raises(LmcError) as error:
        fit(end("a", model=local), end("b", loader=1, model={**local, "kind": "conv"}), prepared)
    assert str(error.value) == (
        "runs a and b: other architectures: LC-CNN, 5 filters of 2x2, slope 0, a bias a unit and CNN, 5 filters of "
        "2x2, slope 0; choose two of one architecture"
    )
    # Weights of the CNN or its own: another initialisation of one network.
    fit(end("a", model=local), end("b", loader=1, model={**local, "start_from_conv": True}), prepared)

"""Batches of loaders with equal and with other seeds: what is hashed is what a network would see."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_dataset

from lmc_repro.common.errors import LmcError
from lmc_repro.config.exhibit import BatchesExhibit
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.data.order import epoch_order
from lmc_repro.exhibits import batches
from lmc_repro.exhibits.batches import draw_batches, make, show
from lmc_repro.report.agreement import NOT_COUNTED


def exhibit(**changes: Any) -> BatchesExhibit:
    loaders = {"first": (3, 5), "again": (3, 5), "other-augmentation": (3, 6), "other-loader": (4, 5)}
    values: dict[str, Any] = {
        "kind": "batches",
        "title": "t",
        "question": "q",
        "made_from": "data/prepared",
        "dataset": "tiny",
        "augment": {"tiny": {"flip": True, "crop": 1}},
        "batch_size": 8,
        "batches": 2,
        "loaders": {k: {"label": k, "loader": a, "augmentation": b} for k, (a, b) in loaders.items()},
    }
    return BatchesExhibit.model_validate(values | changes)


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    return tiny_dataset(shape=(3, 5, 5))


def by_key(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {loader["key"]: loader for loader in found["loaders"]}


def as_the_seeds_say(found: dict[str, Any], analogue: bool = False) -> tuple[list[tuple[str, ...]], str]:
    """Return (order, images, verdict) of each loader as the table shows them, and the outcome."""
    outcome, _, (grid,) = show(found | {"analogue": analogue})
    return [row[1:4] for row in grid.rows], outcome


def test_each_seed_changes_its_own_half_of_the_noise(tiny: Dataset) -> None:
    found, images = draw_batches(exhibit(), tiny, Path("unused"))
    first, again, augmented, ordered = by_key(found).values()
    assert again["sha256"] == first["sha256"] and again["order_sha256"] == first["order_sha256"]
    assert augmented["order_sha256"] == first["order_sha256"]
    for batch in range(2):
        assert augmented["sha256"][batch] != first["sha256"][batch]
        assert ordered["order_sha256"][batch] != first["order_sha256"][batch]
        assert ordered["sha256"][batch] != first["sha256"][batch]
    assert first["sha256"][0] != first["sha256"][1]
    assert (images["first"] == images["again"]).all() and (images["first"] != images["other-loader"]).any()
    rows, outcome = as_the_seeds_say(found)
    assert rows == [("same", "same", "-"), ("same", "same", "yes"), ("same", "other", "yes"), ("other", "other", "yes")]
    assert "3 of 3" in outcome and " agrees" in outcome
    assert as_the_seeds_say(found, analogue=True)[1].endswith(NOT_COUNTED)


def test_hashes_are_of_the_order_and_of_what_a_network_sees(tiny: Dataset) -> None:
    found, _ = draw_batches(exhibit(augment={"tiny": {"cutout": 10}}), tiny, Path("unused"))
    order = epoch_order(len(tiny.train), 3, 0)
    for batch, sha in enumerate(by_key(found)["first"]["order_sha256"]):
        assert sha == hashlib.sha256(order[8 * batch : 8 * batch + 8].astype("<i8").tobytes()).hexdigest()
    # A cutout of twice the image's side leaves the mean of the data set, which is 0 to a network.
    nothing = np.zeros((8, 3, 5, 5), dtype="<f4")
    assert {sha for e in found["loaders"] for sha in e["sha256"]} == {hashlib.sha256(nothing.tobytes()).hexdigest()}


def test_drawn_images_are_the_samples_or_their_mirror_images(tiny: Dataset) -> None:
    found, images = draw_batches(exhibit(augment={"tiny": {"flip": True}}), tiny, Path("unused"))
    drawn = images["first"].reshape(16, 3, 5, 5)
    raw = tiny.train.images.numpy()[epoch_order(len(tiny.train), 3, 0)[:16]]
    flipped = [bool((a == b[..., ::-1]).all()) for a, b in zip(drawn, raw, strict=True)]
    assert all((a == b).all() or f for a, b, f in zip(drawn, raw, flipped, strict=True))
    assert 0 < sum(flipped) < 16
    seen = normalise(tiny.train.images[torch.from_numpy(epoch_order(len(tiny.train), 3, 0)[:8])], tiny.info)
    seen = torch.where(torch.tensor(flipped[:8]).view(-1, 1, 1, 1), seen.flip(-1), seen)
    assert by_key(found)["first"]["sha256"][0] == hashlib.sha256(seen.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("deaf", ["loader", "augmentation"])
def test_a_program_that_ignores_a_seed_is_found_out(tiny: Dataset, monkeypatch: pytest.MonkeyPatch, deaf: str) -> None:
    kept = batches.Seeds
    monkeypatch.setattr(batches, "Seeds", lambda **seeds: kept(**seeds | {deaf: 0}))
    found, _ = draw_batches(exhibit(), tiny, Path("unused"))
    rows, outcome = as_the_seeds_say(found)
    assert [row[2] for row in rows] == ["-", "yes", *(["no", "yes"] if deaf == "augmentation" else ["yes", "no"])]
    assert "2 of 3" in outcome and f"not other-{deaf}" in outcome and " disagrees" in outcome


def test_a_data_set_that_cannot_be_had_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(LmcError, match=r"tiny: data set tiny is not prepared; run `lmc prepare tiny`"):
        make(exhibit(), "tiny", tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "status.json").write_text('{"state": "absent", "reason": "no such address"}')
    found, images = make(exhibit(), "tiny", tmp_path)
    assert found == {"not_run": "data set tiny is absent: no such address"} and images == {}

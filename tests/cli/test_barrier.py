"""`lmc barrier` as it is typed: what it prints, as JSON and as a picture."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from commands import lmc, refused
from hand_made_ends import CODE, CURVE, LOSS, MODEL, weights, write_ends, write_images
from safetensors.torch import save_file

LAB = Path(__file__).parents[2] / "examples" / "paths" / "lab.py"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    write_ends(tmp_path)
    write_images(tmp_path / "images.npz")
    (tmp_path / "mine.py").write_text(CODE)


def barrier(*more: str, model: str = MODEL, data: str = "images.npz") -> list[str]:
    return ["barrier", "A.safetensors", "B.safetensors", "--model", model, "--data", data, *more]


@pytest.mark.parametrize("model", [MODEL, "mine.py:build"])
def test_it_prints_points_barriers_statuses_and_a_curve(model: str) -> None:
    code, out, _ = lmc(*barrier(model=model))
    lines = out.splitlines()
    assert code == 0 and lines[:2] == ["theta_0: A.safetensors, trained", "theta_1: B.safetensors, trained"]
    assert lines[2].split() == ["alpha", "test", "error", "test", "loss", "train", "error", "train", "loss"]
    for i, line in enumerate(lines[3:14]):
        assert [float(word) for word in line.split()] == pytest.approx(
            [i / 10, 100 * CURVE[i], LOSS[i], 100 * CURVE[i], LOSS[i]], abs=0.006
        )
    words = [line.split() for line in lines]
    assert ["barrier", "(Eq.", "1)", "100.00", "100.00"] in words and ["at", "alpha", "0.20", "0.20"] in words
    assert "test: disconnected (threshold 2 points)" in out
    assert "100.00 |" in out and "test error in points, alpha 0 to 1, 11 points" in out


def test_as_json_and_as_a_picture(tmp_path: Path) -> None:
    words = barrier("--json", "--plot", "path.svg", "--split", "test", "--points", "101")
    code, out, err = lmc(*words)
    found = json.loads(out)
    assert code == 0 and err == "plot: path.svg\n" and (tmp_path / "path.svg").read_bytes().startswith(b"<?xml")
    assert "train" not in found and found["points"] == 101 and len(found["test"]["curve"]["wrong"]) == 101
    assert (found["test"]["barrier"], found["test"]["barrier_at_11_points"]) == (100.0, 100.0)
    assert found["test"]["argmax_alpha"] == 0.15 and found["test"]["verdict"] == "disconnected"  # (1 - 0.3)^2 < 1/2
    assert [end["status"] for end in found["files"]] == ["trained", "trained"]
    assert all(re.fullmatch("[0-9a-f]{64}", end["sha256"]) for end in found["files"])
    assert found["model"]["kind"] == "mlp" and found["data"]["classes"] == 2 and found["threshold"] == 2.0


def test_what_a_module_prints_and_what_was_done_to_a_file_leave_json_alone(tmp_path: Path) -> None:
    half = {f"module.{name}": tensor.half() for name, tensor in weights(1.0).items()}
    save_file(half, tmp_path / "A.safetensors")
    (tmp_path / "mine.py").write_text(
        CODE.replace("    net =", "    print('built')\n    net =") + "print('imported')\n"
    )
    code, out, err = lmc(*barrier("--json", model="mine.py:build"))
    found = json.loads(out)
    assert code == 0 and found["test"]["barrier"] == 100.0
    assert err.splitlines() == ["imported", "built", *found["notes"]] and len(found["notes"]) == 2
    assert all(note.startswith("A.safetensors: ") for note in found["notes"])


def test_an_alignment_of_ones_own_moves_the_second_end(tmp_path: Path) -> None:
    """With B's units in reverse the right logit is (alpha - 1/2)^2 + 1/4 all along: no barrier is left."""
    shutil.copy(LAB, tmp_path)
    found = lmc(*barrier("--align", "lab.py:mirrored", "--json")).json
    assert found["align"].startswith("lab.py:mirrored#") and found["test"]["curve"]["wrong"] == [0] * 11
    losses = [math.log1p(math.exp(-2 * ((i / 10 - 0.5) ** 2 + 0.25))) for i in range(11)]
    assert found["test"]["barrier"] == 0.0 and found["test"]["curve"]["loss"] == pytest.approx(losses, rel=1e-5)
    assert "theta_1 is aligned by lab.py:mirrored\n" in lmc(*barrier("--align", "lab.py:mirrored")).out


@pytest.mark.parametrize("model", [MODEL, "mine.py:build"])
def test_an_end_that_is_no_network_is_never_connected(tmp_path: Path, model: str) -> None:
    nothing = {name: torch.zeros_like(tensor) for name, tensor in weights(1.0).items()}
    for name in ("A", "B"):
        save_file(nothing, tmp_path / f"{name}.safetensors")
    code, out, _ = lmc(*barrier("--plot", "flat.pdf", model=model))
    assert code == 0 and "theta_0: A.safetensors, collapsed" in out
    assert "one and the same: the line between them is a point" in out
    assert "test: no verdict" in out and "connected (" not in out and "barrier (Eq. 1)" not in out
    assert (tmp_path / "flat.pdf").read_bytes().startswith(b"%PDF")
    found = lmc(*barrier("--json", model=model)).json
    assert found["test"]["barrier"] is None and found["train"]["verdict"] is None
    assert (
        found["test"]["curve"]["wrong"] == [2] * 11 and [end["status"] for end in found["files"]] == ["collapsed"] * 2
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (barrier("--split", "val"), "--split: found 'val', allowed: train, test, both"),
        (barrier("--plot", "path.gif"), "--plot path.gif: found '.gif', allowed: .png, .svg, .pdf"),
        (barrier(data="digit"), "--data: found 'digit', allowed: digits, mnist, cifar10"),
        (barrier(data="mine.py"), "mine.py: not an .npz of plain arrays"),
        (barrier(data="mnist"), ""),
        (barrier(model="mine.py:biuld"), "--model mine.py:biuld: mine.py has no biuld; name a function"),
        (barrier(data="digits"), "A.safetensors: layers.0.weight is [2, 2], of 2-layer MLP"),
        (barrier("--device", "cua"), "--device: found 'cua', allowed: auto, cpu, cuda"),
        (barrier("--align", "wieghts"), "--align: align: found 'wieghts', allowed: 'none', 'weights', 'activations', "),
        (
            barrier("--align", "mine.py:build", model="mine.py:build"),
            "--align: found 'mine.py:build', allowed with a module: none, weights, activations",
        ),
    ],
    ids=["split", "plot", "data", "file", "no project", "function", "shape", "device", "align", "align a module"],
)
def test_a_mistake_is_one_line(words: list[str], line: str) -> None:
    assert refused(*words).startswith(line)


@pytest.mark.parametrize("by", ["weights", "activations"])
def test_a_module_is_aligned_as_the_network_of_the_same_weights(by: str) -> None:
    found = [lmc(*barrier("--align", by, "--json", model=model)).json for model in (MODEL, "mine.py:build")]
    assert found[0]["align"] == found[1]["align"] == by
    for split in ("train", "test"):
        assert found[0][split]["curve"]["wrong"] == found[1][split]["curve"]["wrong"]
        assert found[0][split]["barrier"] == (0.0 if by == "weights" else 100.0)  # both orders correlate alike


def test_help_says_that_code_is_run_and_what_becomes_of_batch_norm() -> None:
    _, out, _ = lmc("barrier", "--help")
    told = " ".join(out.split())
    assert "RUN THAT CODE" in told and "BatchNorm's running statistics are never averaged" in told

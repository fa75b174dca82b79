"""What differs between a recorded training and its second making: which epoch, which tensor, by how much."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import run_config, tiny_dataset, train

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import json_bytes, sha256_file, write_json
from lmc_repro.config.run import RunConfig
from lmc_repro.tracking.content import training_points
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.verification.differences import Finding, RecordedTraining, differences, explain, values
from lmc_repro.verification.reproduce import compare_training, likely_reasons, tensor_difference

IDENTITY = {
    "torch": "2.14.1",
    "numerics": "portable:GenuineIntel",
    "training_numerics": "1",
    "data": "d" * 64,
    "commit": "c" * 40,
    "numpy": "2.4.6",
    "lmc_repro": "0.1.0",
}


class Store:
    """Gives a run folder's files and points as MLflow does, but for the weights that are `lost`."""

    def __init__(self, folder: RunFolder, lost: bool = False) -> None:
        self.folder, self.lost = folder, lost

    def tracked(self, run: Any) -> Any:
        return SimpleNamespace(status=self.folder.status())

    def artifact(self, run: Any, name: str) -> tuple[str, bytes]:
        return name, (self.folder.path / name).read_bytes()

    def stored_checkpoint(self, run: Any, epoch: float) -> tuple[Path, bytes]:
        if self.lost:
            raise LmcError(f"epoch {epoch:g} is gone")
        path = self.folder.checkpoint(epoch)
        return path, path.read_bytes()

    def history(self, run: Any, metrics: Any) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        for point in training_points(self.folder.metrics()):
            found.setdefault(point.name, []).append((point.step, point.value))
        return found


def made(config: RunConfig, root: Path) -> RunFolder:
    (folder,) = train([config], tiny_dataset(), root)
    return folder


def compared(
    recorded: RunFolder, again: RunFolder, lost: bool = False
) -> tuple[dict[str, tuple[int, int]], list[Finding]]:
    store: Any = Store(recorded, lost)
    stored: Any = SimpleNamespace(run_id="r", tags={}, metrics={})
    tally = compare_training(RecordedTraining(store, stored), again)
    return {c.name: (c.equal, c.total) for c in tally.checks}, sorted(tally.findings, key=lambda f: f.rank)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return made(run_config(), tmp_path_factory.mktemp("base"))


def test_equal_trainings(base: RunFolder, tmp_path: Path) -> None:
    checks, findings = compared(base, made(run_config(), tmp_path))
    assert findings == []
    assert checks["checkpoints"] == (3, 3) and checks["metrics.csv"] == (1, 1)
    assert checks["augmentation"] == (0, 0)


@pytest.mark.parametrize(
    ("changes", "counts", "place", "text"),
    [
        (
            {"seeds": {"trainer": 1}},
            {"initial weights": (0, 1), "order": (1, 1)},
            ("init", 0),
            r"weights at epoch 0: layers\.0\.bias differs in 9 of 9 entries, by up to \S+; 4 of 4 tensors differ",
        ),
        (
            {"seeds": {"loader": 1}},
            {"order": (0, 1), "initial weights": (1, 1), "checkpoints": (1, 3)},
            ("order", None),
            r"order: [0-9a-f]{12}, recorded [0-9a-f]{12}",
        ),
        (
            {"optimizer": {"lr": 0.05 * (1 + 1e-6)}},
            {"order": (1, 1), "initial weights": (1, 1)},
            ("training", 1),
            r"weights at epoch 1: layers\..*, by up to [1-9][\d.]*e-(0[5-9]|[1-9]\d); .*",
        ),
    ],
    ids=["weights by tensor", "order before its effects", "a step, at the first evaluation epoch after it"],
)
def test_the_first_difference_is_the_cause(
    base: RunFolder, tmp_path: Path, changes: dict[str, Any], counts: dict[str, Any], place: Any, text: str
) -> None:
    checks, findings = compared(base, made(run_config(**changes), tmp_path))
    assert {name: checks[name] for name in counts} == counts
    assert (findings[0].where, findings[0].epoch) == place
    assert re.fullmatch(text, findings[0].text), findings[0].text


def test_a_metric_row_alone(base: RunFolder, tmp_path: Path) -> None:
    again = made(run_config(), tmp_path)
    rows = again.metrics()
    place = next(i for i, row in enumerate(rows) if (row.epoch, row.split) == (1, "test"))
    rows[place] = dataclasses.replace(rows[place], wrong=(rows[place].wrong or 0) + 1)
    again.write_metrics(rows)
    files = again.status()["files"] | {"metrics.csv": sha256_file(again.path / "metrics.csv")}
    write_json(again.status_file, {**again.status(), "files": files})
    checks, (finding,) = compared(base, again)
    assert checks["metrics.csv"] == (0, 1)
    assert (finding.where, finding.epoch) == ("training", 1)
    wrong = base.metrics()[place].wrong
    assert finding.text == f"metrics.csv: epoch 1, split test: wrong is {wrong}, recomputed {rows[place].wrong}"


def test_a_mark_that_was_not_made_here_and_rows_too_many(base: RunFolder, tmp_path: Path) -> None:
    _, findings = compared(base, made(run_config(evaluate_at=[0, 2, 3]), tmp_path))
    told = [finding.text for finding in findings]
    assert "weights at epoch 1: not made here" in told
    assert "weights at epoch 2: not recorded, made here" in told
    (rows,) = [text for text in told if text.startswith("metrics.csv: epoch 1, split ")]
    assert "recomputed absent (and " in rows


def test_by_how_much_tensors_differ() -> None:
    a = {"a": torch.zeros(4), "b": torch.tensor([1.0, 2.0, float("nan")])}
    b = {"a": torch.zeros(4), "b": torch.tensor([1.0, 2.5, float("nan")])}
    assert tensor_difference(a, b) == "b differs in 1 of 3 entries, by up to 0.5"
    assert tensor_difference(a, a) == "equal tensors in another file"
    minus = tensor_difference(a, {**b, "a": -torch.zeros(4)})
    assert minus == "a differs in 4 of 4 entries, by up to 0; 2 of 2 tensors differ"
    assert tensor_difference(a, {"a": a["a"]}) == "tensors a; recorded a, b"
    assert tensor_difference(a, {**a, "a": torch.zeros(5)}) == "a has shape [5], recorded [4]"


def test_a_store_without_the_weights_still_gives_checksums(base: RunFolder, tmp_path: Path) -> None:
    checks, findings = compared(base, made(run_config(seeds={"trainer": 1}), tmp_path), lost=True)
    assert checks["stored in MLflow"] == (3, 6) and checks["checkpoints"] == (0, 3)
    assert [finding.epoch for finding in findings if finding.where == "stored"] == [0, 1, 3]
    first = next(finding for finding in findings if finding.where == "init")
    assert base.status()["init_sha256"][:12] in first.text


def test_a_key_of_status_json_alone(base: RunFolder, tmp_path: Path) -> None:
    again = made(run_config(), tmp_path)
    write_json(again.status_file, {**again.status(), "diverged_epoch": 2.5})
    _, findings = compared(base, again)
    assert [(finding.where, finding.epoch) for finding in findings] == [("training", 2.5)]
    write_json(again.status_file, {**again.status(), "diverged_epoch": None, "torch": "9.9"})
    assert compared(base, again)[1] == []  # a condition, not a bit of the run


def test_the_first_difference_of_a_file() -> None:
    pairs: list[Any] = [{"pair": "0", "n": 1}, {"pair": "1", "n": 2}]
    recorded = json_bytes([{"cell": "a", "pairs": pairs}, {"cell": "b", "late": [1.5]}])
    read = values("cells.json", recorded)
    assert read["cell a.pairs.pair 1.n"] == 2 and read["cell b.late.0"] == 1.5
    other = json_bytes([{"cell": "a", "pairs": pairs}, {"cell": "b", "late": [2.5, 3.5]}])
    assert list(differences(read, values("cells.json", other))) == [
        ("cell b.late.0", 1.5, 2.5),
        ("cell b.late.1", None, 3.5),
    ]
    assert explain("cells.json", recorded, other) == "cell b.late.0 is 1.5, recomputed 2.5 (and 1 more)"
    assert explain("cells.json", recorded, recorded + b"\n") == "equal values in other bytes"
    assert values("metrics.csv", b"epoch,split,c\n1,x,2\n") == {"epoch 1, split x: c": "2"}


@pytest.mark.parametrize(
    ("where", "changes", "first"),
    [
        ("training", {"torch": "2.15.0", "numerics": "portable:AuthenticAMD"}, "torch: recorded 2.14.1, here 2.15.0"),
        ("training", {"numerics": "portable:AuthenticAMD"}, "numerics (mode and kind of CPU): recorded portable:G"),
        ("training", {"training_numerics": "2"}, "TRAINING_NUMERICS: recorded 1, here 2"),
        ("training", {"commit": "e" * 40}, "commit: recorded cccc"),
        ("training", {}, "of all that was recorded nothing that could do this has changed"),
        ("order", {"numerics": "portable:AuthenticAMD", "numpy": "2.5.0"}, "numpy: recorded 2.4.6, here 2.5.0"),
        ("init", {"numerics": "portable:AuthenticAMD"}, "of all that was recorded nothing"),  # a CPU draws no weights
        ("data", {"data": "e" * 64, "torch": "2.15.0"}, "data digest: recorded dddd"),
        ("stored", {"torch": "2.15.0"}, "a disk, a copy or a hand"),
    ],
)
def test_the_likely_reason_is_one_that_can_move_what_differs(where: Any, changes: dict[str, str], first: str) -> None:
    reasons = likely_reasons(Finding(where, "it"), IDENTITY, IDENTITY | changes)
    assert reasons[0].startswith(first), reasons

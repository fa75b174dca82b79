"""`lmc verify`: nothing is wrong with a finished study, and whatever is damaged is named in one line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import lmc, refused
from finished_study import Finished, changed, flipped

from lmc_repro.common.files import json_bytes
from lmc_repro.tracking.find import Points, Reader

pytestmark = pytest.mark.slow  # the study is trained first


def verified(*options: str, study: str = "one") -> tuple[int, dict[str, Any]]:
    said = lmc("verify", study, "--json", *options)
    return said.code, said.json


def one_problem(*options: str) -> str:
    code, found = verified(*options)
    assert code == 1 and found["ok"] is False
    (problem,) = found["problems"]
    assert "\n" not in problem
    return str(problem)


def test_a_finished_study_is_all_well(finished: Finished) -> None:
    code, found = verified()
    assert (code, found["ok"], found["problems"], found["left_out"]) == (0, True, [], [])
    assert found["places"] == [str(finished.results)]
    assert {check["name"]: (check["equal"], check["total"]) for check in found["checks"]} == {
        "run folders": (2, 2),
        "runs.json": (1, 1),
        "ends of paths": (1, 1),
        "cells.json": (2, 2),
        "trainings in MLflow": (2, 2),
        "checkpoints in MLflow": (6, 6),
        "pairs in MLflow": (1, 1),
        "cells in MLflow": (1, 1),
        "paths measured again": (1, 1),
        "curves.csv": (1, 1),
    }


def test_reused_runs_are_well_too_and_nothing_is_written(finished: Finished) -> None:
    def files() -> dict[Path, tuple[int, int]]:
        every = (path for path in finished.project.root.rglob("*") if "mlflow.db" not in path.name)
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in every if path.is_file()}

    before = files()
    code, found = verified(study="two")
    assert (code, found["problems"]) == (0, [])
    assert files() == before


def test_quick_says_what_it_leaves_out(finished: Finished) -> None:
    code, printed, _ = lmc("verify", "one", "--quick")
    assert code == 0
    assert "left out: paths measured again: --quick" in printed
    assert "curves.csv" not in printed and "no problems in" in printed


def edit(path: Path, change: Callable[[Any], None]) -> bytes:
    value = json.loads(path.read_text())
    change(value)
    return json_bytes(value)


def test_a_damaged_checkpoint_of_a_run_folder(finished: Finished) -> None:
    fingerprint = json.loads((finished.results / "runs.json").read_text())["runs"][0]["fingerprint"]
    file = finished.out / "runs" / fingerprint / "checkpoints" / "epoch-0002.safetensors"
    with changed(file, flipped(file)):
        assert one_problem().startswith(f"{file}: damaged: its sha256 is")
    status = file.parents[1] / "status.json"
    moved = status.read_bytes()
    status.unlink()
    try:
        assert one_problem().startswith(f"{file.parents[1]}: no finished run, which {finished.results}")
    finally:
        status.write_bytes(moved)


def test_a_damaged_checkpoint_in_mlflow(finished: Finished) -> None:
    reader = Reader.open(finished.project.root)
    file, _ = reader.stored_checkpoint(reader.tracked(reader.run(finished.trainings()[0])), 2)
    with changed(file, flipped(file)):
        code, found = verified()
        assert code == 1
        checkpoint, path = found["problems"]
        assert checkpoint.startswith(f"{file}: damaged") and "delete mlflow.db and mlartifacts" in checkpoint
        assert path.startswith("cell deep--fast, pair 0: not measured again")
        assert one_problem("--quick") == checkpoint


def test_a_count_of_curves_csv(finished: Finished) -> None:
    file = finished.results / "curves.csv"
    lines = file.read_text().splitlines()
    i = next(i for i, line in enumerate(lines) if line.startswith("one,deep--fast,0,4,test,0.5,"))
    words = lines[i].split(",")
    lines[i] = ",".join([*words[:6], str(int(words[6]) + 300), *words[7:]])
    with changed(file, ("\n".join(lines) + "\n").encode()):
        code, found = verified()
    assert code == 1
    told = " | ".join(found["problems"])
    assert f"{finished.results / 'cells.json'}: cell deep--fast.pairs.pair 0.test." in told
    assert f"{file}: cell deep--fast, pair 0, epoch 4, split test, alpha 0.5: wrong is" in told
    assert f"path.json: test_wrong at alpha 0.5 is {words[6]}, recomputed {int(words[6]) + 300}" in told


def test_a_permutation(finished: Finished) -> None:
    reader = Reader.open(finished.project.root)
    place, content = reader.artifact(reader.run(finished.pair("two")), "permutations.json")
    orders = json.loads(content)
    group, order = next(iter(orders.items()))
    with changed(Path(place), json.dumps(orders | {group: " ".join(order.split()[::-1])}).encode()):
        code, found = verified(study="two")
    assert code == 1
    (problem,) = found["problems"]
    assert place in problem and f"{' '.join(order.split()[::-1])}, recomputed {order} from" in problem


def test_a_loss_that_only_measuring_again_can_tell(finished: Finished) -> None:
    file = finished.results / "curves.csv"
    text = file.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("one,deep--fast,0,2,train,0.5,")]
    loss = line.rpartition(",")[2]
    nearly = repr(float(loss) * (1 + 1e-13))
    assert nearly != loss
    with changed(file, text.replace(line, line.replace(loss, nearly)).encode()):
        assert verified("--quick")[0] == 0
        problem = one_problem()
    assert problem.startswith(f"{file}: cell deep--fast, pair 0, epoch 2, split train, alpha 0.5: loss is {nearly}, ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda cells: cells[0]["pairs"][0]["test"].update(barrier=1.25), "pairs.pair 0.test.barrier is 1.25"),
        (lambda cells: cells[0]["pairs"][0].update(largest_class=92), "pairs.pair 0.largest_class is 92"),
        (lambda cells: cells[0]["pairs"][0].update(status=["trained", "diverged"]), "pairs.pair 0.status.1 is div"),
        (lambda cells: cells[0]["train"].update(verdict="unequal ends"), "train.verdict is unequal ends"),
        (lambda cells: cells[0]["test"]["late"][0].update(mean=9.5), "test.late.0.mean is 9.5"),
        (lambda cells: cells[0]["pairs"][0].update(cosine=0.5), "pairs.pair 0.cosine is 0.5"),
    ],
)
def test_a_number_of_cells_json(finished: Finished, change: Callable[[Any], None], told: str) -> None:
    file = finished.results / "cells.json"
    with changed(file, edit(file, change)):
        code, found = verified()
    assert code == 1
    (problem,) = [problem for problem in found["problems"] if problem.startswith(f"{file}: ")]
    assert problem.startswith(f"{file}: cell deep--fast.{told}") and ", recomputed " in problem
    assert problem.endswith("run `lmc run one --profile tiny` as before")


def test_other_bytes_with_equal_numbers(finished: Finished) -> None:
    file = finished.results / "cells.json"
    with changed(file, file.read_bytes() + b"\n"):
        assert one_problem("--quick").startswith(f"{file}: equal values in other bytes; ")


def test_a_number_of_runs_json(finished: Finished) -> None:
    file = finished.results / "runs.json"
    with changed(file, edit(file, lambda runs: runs["runs"][1].update(final_sha256="0" * 64))):
        assert re.search(r"runs.json: runs.fingerprint \w+.final_sha256 is 0000", one_problem("--quick"))
    with changed(file, b"{"):
        assert one_problem().startswith(f"{file}: cannot be read")


def test_numbers_of_mlflow(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    history = Reader.history

    def moved(self: Reader, run: Any, metrics: Any) -> dict[str, Points]:
        found = history(self, run, metrics)
        return {name: [(step, v + (name == "path/test_excess")) for step, v in p] for name, p in found.items()}

    monkeypatch.setattr(Reader, "history", moved)
    problem = one_problem("--quick")
    assert problem.startswith("metric path/test_excess at step 0 is ")
    assert f"in run {finished.pair()} (pair 0 fast deep)," in problem


def test_a_run_that_mlflow_lacks(finished: Finished) -> None:
    client = Reader.open(finished.project.root).client
    run_id = finished.pair()
    client.delete_run(run_id)
    try:
        code, found = verified("--quick")
    finally:
        client.restore_run(run_id)
    assert code == 1
    assert "no finished pair 0 of cell deep--fast; run `lmc run one --profile tiny`" in found["problems"][0]


def test_without_a_store_the_files_are_verified(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    code, found = verified()
    assert code == 1 and "none.db: no MLflow store" in found["problems"][0]
    assert {check["name"]: check["equal"] for check in found["checks"]}["run folders"] == 2
    assert len(found["left_out"]) == 1
    assert not (tmp_path / "none.db").exists()


def test_other_numerics_measure_nothing_again(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmc_repro.verification.verify.numerics_tag", lambda *conditions: "portable:Another")
    code, found = verified()
    assert code == 0
    assert found["left_out"][0].startswith("paths measured again: they were made with numerics portable:")


def test_a_study_without_results(finished: Finished, tmp_path: Path) -> None:
    shutil.move(finished.out, tmp_path / "out")
    try:
        line = refused("verify", "one")
        assert line.startswith("one, profile tiny: no results in ") and line.endswith("`lmc run one --profile tiny`")
    finally:
        shutil.move(tmp_path / "out", finished.out)
    assert refused("verify", "three").startswith("STUDY: found 'three'")

"""`lmc check-lock`: which stages and which cells are not as the committed dvc.lock has them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from small_results import make_cell, make_mark
from small_study import DIGESTS, make_plan

from lmc_repro.barriers.results import PairResult
from lmc_repro.cli.lock import check_lock_command
from lmc_repro.compare.files import write_results
from lmc_repro.errors import LmcError
from lmc_repro.project import Project
from lmc_repro.proof.checked_lock import check_lock, lock_lines
from lmc_repro.proof.counts import FILE, differing_cells, read_counts, read_kept, write_kept
from lmc_repro.proof.lock import compare_locks, parse_lock


def moved(pair: PairResult, images: int) -> PairResult:
    """Return a pair whose path is so many images higher at its last epoch."""
    return dataclasses.replace(pair, marks=(*pair.marks[:-1], make_mark(4, images)))


def results(folder: Path, numerics: str = "portable:A", images: int = 0) -> Path:
    """Write a comparison of two cells; the first pair of `deep--slow` is moved by so many images."""
    plan = make_plan()
    cells = {cell.key: make_cell(cell) for cell in plan.cells if cell.row == "deep"}
    slow = cells["deep--slow"]
    first, *others = slow.pairs
    cells["deep--slow"] = dataclasses.replace(slow, pairs=(moved(first, images), *others))
    write_results(folder, plan, cells, [], DIGESTS, {}, numerics, "cpu")
    return folder


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def lock(folder: Path, runs: str = "r", **more: Any) -> dict[str, Any]:
    """Return the stages of a dvc.lock whose outputs are the files of a results folder."""
    names = ("runs.json", "cells.json", "curves.csv")
    return {
        "check": {"cmd": "lmc check", "outs": [{"path": "data/checked.txt", "md5": "c"}]},
        "train@one": {
            "cmd": "lmc train one",
            "deps": [{"path": "lmc_repro/training", "md5": more.get("code", "t")}],
            "params": {"params.yaml": {"profile": more.get("profile", "digits")}},
            "outs": [{"path": "runs/one", "md5": f"{runs}.dir"}],
        },
        "compare@one": {
            "cmd": "lmc compare one",
            "deps": [{"path": "runs/one", "md5": f"{runs}.dir"}, {"path": "results", "md5": f"{runs}.dir"}],
            "outs": [{"path": f"results/one/{name}", "md5": md5(folder / name)} for name in names],
        },
    }


def test_stages_are_told_by_their_outputs_and_own_inputs(tmp_path: Path) -> None:
    a, b = results(tmp_path / "a"), results(tmp_path / "b", images=2)
    assert [stage.state for stage in compare_locks(lock(a), lock(a))] == ["as locked"] * 3
    check, train, compare = compare_locks(lock(a), lock(b, runs="s"))
    assert (check.state, train.state, compare.state) == ("as locked", "other outputs", "other outputs")
    assert train.outs == ("runs/one",) and train.inputs == ()
    assert compare.outs == ("results/one/cells.json", "results/one/curves.csv")
    assert compare.inputs == ()  # runs/one and the folder `results` are what stages make
    _, train, _ = compare_locks(lock(a), lock(a, runs="s", code="u", profile="paper"))
    assert train.inputs == ("lmc_repro/training", "params.yaml")
    less = {name: stage for name, stage in lock(a).items() if name != "train@one"}
    assert [stage.state for stage in compare_locks(less, lock(a))] == ["as locked", "as locked", "not locked"]
    assert [stage.state for stage in compare_locks(lock(a), less)] == ["as locked", "not made here", "as locked"]


def test_cells_are_told_by_their_counts(tmp_path: Path) -> None:
    then, now = (read_counts(results(tmp_path / name, images=images)) for name, images in (("a", 0), ("b", 3)))
    assert differing_cells(then, then) == []
    (cell,) = differing_cells(then, now)
    # Train is 3 images higher at all three points, test at the last; two pairs of 3 points on 2 splits.
    assert (cell.cell, cell.differ, cell.total, cell.largest) == ("deep--slow", 4, 12, 3)
    # Test: 100 - (20 + 40) / 2 = 70 of 200 images in both pairs, 1.5 less in one of them now.
    assert cell.barriers["test"] == (35.0, pytest.approx((35.0 + 34.25) / 2))
    assert cell.barriers["train"] == (25.0, 25.0)
    assert cell.verdicts["test"] == ("disconnected", "disconnected")


def test_a_cell_that_is_not_there_any_more_differs(tmp_path: Path) -> None:
    then = read_counts(results(tmp_path / "a"))
    less = dataclasses.replace(then, wrong={key: w for key, w in then.wrong.items() if key[0] != "deep--fast"})
    (cell,) = differing_cells(then, less)
    assert (cell.cell, cell.differ, cell.total) == ("deep--fast", 12, 12)
    assert cell.barriers["test"] == (35.0, None)


def project(root: Path, images: int) -> Project:
    results(root / "results" / "one", "portable:B", images)
    return Project(root)


def test_without_the_locked_counts_only_stages_can_be_told(tmp_path: Path) -> None:
    here = project(tmp_path / "here", 2)
    locked = results(tmp_path / "locked")
    found = check_lock(here, lock(locked), lock(here.results / "one", runs="s"), tmp_path / "cache")
    assert not found.same and found.studies[0].cells is None
    printed = lock_lines(found)
    assert printed[0] == "train@one: other outputs: runs/one"
    assert "neither DVC's cache nor dvc.counts.json has the locked curves" in printed[2]
    assert printed[-1] == "1 of 3 stages have the locked outputs"


@pytest.mark.parametrize("source", ["cache", "kept"])
def test_the_cells_are_told_from_the_cache_or_the_kept_counts(source: str, tmp_path: Path) -> None:
    here = project(tmp_path / "here", 2)
    locked = results(tmp_path / "locked")
    if source == "cache":
        for file in locked.iterdir():
            place = tmp_path / "cache" / "files" / "md5" / md5(file)[:2] / md5(file)[2:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    else:
        write_kept(here.root / FILE, {"one": read_counts(locked)})
    found = check_lock(here, lock(locked), lock(here.results / "one", runs="s"), tmp_path / "cache")
    assert [cell.cell for cell in found.studies[0].cells or ()] == ["deep--slow"]
    printed = lock_lines(found)
    assert printed[2].startswith("one, locked with portable:A, torch ")
    assert "1 of 2 cells have other counts" in printed[2]
    told = "4 of 12 counts differ, by up to 2 images; mean barrier test 35.00 -> 34.75"
    assert printed[3].startswith(f"  deep--slow: {told}")


def test_kept_counts_of_another_lock_are_not_taken(tmp_path: Path) -> None:
    here = project(tmp_path / "here", 2)
    locked, older = results(tmp_path / "locked"), results(tmp_path / "older", images=1)
    write_kept(here.root / FILE, {"one": read_counts(older)})
    found = check_lock(here, lock(locked), lock(here.results / "one", runs="s"), tmp_path / "cache")
    assert found.studies[0].cells is None


def test_kept_counts_come_back_as_they_were(tmp_path: Path) -> None:
    counts = read_counts(results(tmp_path / "a"))
    write_kept(tmp_path / FILE, {"one": counts})
    assert read_kept(tmp_path / FILE) == {"one": counts}
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text().replace("deep--fast 0 test 200:", "deep--fast 0 test:"))
    with pytest.raises(LmcError, match=r"dvc\.counts\.json: not kept counts"):
        read_kept(tmp_path / FILE)


def test_equal_counts_with_other_losses_say_so(tmp_path: Path) -> None:
    here = project(tmp_path / "here", 0)
    curves = here.results / "one" / "curves.csv"
    curves.write_text(curves.read_text().replace(",0.75", ",0.7500000001", 1))
    write_kept(here.root / FILE, {"one": read_counts(results(tmp_path / "locked"))})
    found = check_lock(here, lock(tmp_path / "locked"), lock(here.results / "one"), tmp_path / "cache")
    assert found.studies[0].cells == ()
    assert any("the counts at the last epoch are equal" in line for line in lock_lines(found))


def test_the_command_compares_with_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = project(tmp_path, 0)
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lmc_repro.cli.lock._cache", lambda root: root / "cache")

    def write_lock() -> None:
        with open(tmp_path / "dvc.lock", "w") as file:
            YAML(typ="safe", pure=True).dump({"schema": "2.0", "stages": lock(here.results / "one")}, file)

    def git(*words: str) -> None:
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", *identity, *words], check=True, capture_output=True)

    with pytest.raises(LmcError, match=r"dvc\.lock: cannot be read"):
        check_lock_command("HEAD", False, False)
    write_lock()
    git("init", "-q")
    with pytest.raises(LmcError, match=r"name a commit that has a dvc\.lock with --against"):
        check_lock_command("HEAD", False, False)
    assert check_lock_command("HEAD", True, False) == 0
    git("add", "dvc.lock", FILE)
    git("commit", "-q", "-m", "locked")
    assert check_lock_command("HEAD", False, False) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 of 3 stages have the locked outputs"
    results(here.results / "one", "portable:B", images=1)
    with pytest.raises(LmcError, match=r"curves\.csv: not the file that dvc\.lock names; run `dvc repro` first"):
        check_lock_command("HEAD", True, False)
    write_lock()
    assert check_lock_command("HEAD", False, True) == 1
    (study,) = json.loads(capsys.readouterr().out)["studies"]
    assert [(cell["cell"], cell["largest"]) for cell in study["cells"]] == [("deep--slow", 1)]
    with pytest.raises(LmcError, match=r"name: not a dvc\.lock"):
        parse_lock("stages: [", "name")

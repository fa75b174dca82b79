"""`lmc gc`: what nothing names is listed, and removed only if asked; what is named or under way stays."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import small_study
from commands import lmc, refused
from filelock import FileLock
from small_study import PARAMS, make_plan, write_run
from trained_store import write_params

from lmc_repro.common.project import Project
from lmc_repro.config.load import load_params, read_yaml
from lmc_repro.config.run import RunConfig
from lmc_repro.maintenance.cleanup import find_leftovers, remove
from lmc_repro.results.write import run_record, write_results
from lmc_repro.training.run_folder import RunFolder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path)
    write_params(made)
    return made


def named_config() -> RunConfig:
    return make_plan().cells[0].runs[0]


def other_config(loader: int = 77) -> RunConfig:
    config = named_config()
    return config.model_copy(update={"seeds": config.seeds.model_copy(update={"loader": loader})})


def stored(project: Project, config: RunConfig, last: int | None = None) -> RunFolder:
    """Return a run of the working store, with its lock."""
    folder = write_run(project.working / "runs", config, last)
    (project.working / "runs" / f"{folder.fingerprint}.lock").touch()
    return folder


def listed(project: Project, *options: str) -> dict[str, Any]:
    found = lmc("gc", "--json", *options).json
    found["paths"] = {str(Path(item["path"]).relative_to(project.root)): item["kind"] for item in found["leftovers"]}
    return dict(found)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def old(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(path, (long_ago, long_ago))


def test_nothing_is_left_over(project: Project) -> None:
    assert listed(project)["leftovers"] == []
    stored(project, named_config())
    found = listed(project)
    assert found["leftovers"] == [] and found["kept_runs"] == 1
    code, out, _ = lmc("gc")
    assert code == 0 and "nothing is left over" in out


def test_a_run_that_no_study_has_goes_with_its_lock_and_nothing_else(project: Project) -> None:
    kept, gone = stored(project, named_config()), stored(project, other_config())
    half = stored(project, other_config(78), last=2)
    before = {path for path in project.root.rglob("*") if path.is_file()}
    found = listed(project)
    assert found["paths"] == {
        f".lmc/runs/{gone.fingerprint}": "run",
        f".lmc/runs/{half.fingerprint}": "unfinished run",
        f".lmc/runs/{gone.fingerprint}.lock": "lock",
        f".lmc/runs/{half.fingerprint}.lock": "lock",
    }
    assert found["removed"] is False and {path for path in project.root.rglob("*") if path.is_file()} == before
    found = listed(project, "--yes")
    assert found["removed"] is True and found["stayed"] == {}
    store = project.working / "runs"
    assert {path.name for path in store.iterdir()} == {kept.fingerprint, f"{kept.fingerprint}.lock"}
    assert kept.damage() is None


def with_profile(project: Project, name: str, **changes: Any) -> None:
    """Give params.yaml another profile, a copy of the active one with changes."""
    params = read_yaml(project.params)
    params["profiles"][name] = copy.deepcopy(params["profiles"]["tiny"]) | changes
    project.params.write_text(json.dumps(params))


def test_every_profile_and_study_names_runs(project: Project) -> None:
    longer = {"epochs": 6, "evaluate_at": [0, 6]}
    with_profile(project, "long", settings=PARAMS["profiles"]["tiny"]["settings"] | longer)
    with_profile(project, "none", overrides=[{"study": ["one", "two"], "drop": True, "why": "nothing to see"}])
    stored(project, RunConfig.model_validate(named_config().model_dump(mode="json") | longer))
    assert listed(project)["leftovers"] == []
    with_profile(project, "long")
    assert "run" in listed(project)["paths"].values()


def test_a_study_that_cannot_be_worked_out_stops_it(project: Project) -> None:
    sources = PARAMS["profiles"]["tiny"]["provenance"] | {"settings": "ours: small"}
    with_profile(project, "other", settings={"model": {"width": 3}}, provenance=sources)
    folder = stored(project, other_config())
    assert "profile other: epochs: missing" in refused("gc", "--yes")
    assert folder.is_complete()


@pytest.mark.parametrize("place", ["runs/one", "out/paper/table1/runs"])
def test_what_dvc_or_lmc_run_hold_is_named(place: str, project: Project) -> None:
    folder = stored(project, other_config())
    folder.export(project.root / place)
    assert listed(project)["leftovers"] == []


def test_what_results_speak_of_is_named(project: Project) -> None:
    folder = stored(project, other_config())
    results = project.out / "x" / "one" / "results" / "one"
    run = run_record(folder, "deep--fast", folder.config(), folder.status())
    write_results(results, make_plan(), {}, [run], small_study.DIGESTS, {}, "portable", "cpu")
    assert listed(project)["leftovers"] == []
    (results / "runs.json").write_text("{")
    assert "runs.json: cannot be read" in refused("gc", "--yes")  # what it names is not known
    assert folder.is_complete()


def test_nothing_is_removed_while_a_run_is_under_way(project: Project) -> None:
    running, done = stored(project, other_config(71), last=2), stored(project, other_config(72))
    with FileLock(project.working / "runs" / f"{running.fingerprint}.lock"):
        found = listed(project, "--yes")
        assert found["leftovers"] == []  # its command may have finished the other one
        assert found["under_way"] == [str(running.path)] and found["kept_runs"] == 2
        assert lmc("gc").code == 0
    assert running.path.is_dir() and done.is_complete()
    assert len(listed(project)["paths"]) == 4


def test_a_run_that_begins_after_the_listing_stays(project: Project) -> None:
    folder = stored(project, other_config())
    found = find_leftovers(project, load_params(project.params))
    with FileLock(project.working / "runs" / f"{folder.fingerprint}.lock"):
        stayed = {Path(path).name: why for path, why in remove(found.leftovers).items()}
    assert stayed == {folder.fingerprint: "under way now", f"{folder.fingerprint}.lock": "under way now"}
    assert folder.is_complete()


def test_measured_pairs_of_runs_that_stay_are_kept(project: Project) -> None:
    kept = stored(project, named_config())
    pairs = project.working / "pairs"
    pairs.mkdir()
    for key, ends in (("a" * 16, [kept.fingerprint] * 2), ("b" * 16, [kept.fingerprint, "0" * 16])):
        (pairs / f"{key}.json").write_text(json.dumps({"measured": {"fingerprints": ends}}))
    (pairs / f"{'c' * 16}.json").write_text("{")
    (pairs / "notes.json").write_text("{}")
    assert listed(project)["paths"] == {
        f".lmc/pairs/{'b' * 16}.json": "measured pair",
        f".lmc/pairs/{'c' * 16}.json": "measured pair",
    }


def test_half_written_files_of_processes_that_are_gone(project: Project) -> None:
    folder = stored(project, named_config())
    gone = dead_process()
    old(folder.path / f".status.json.{gone}.tmp")
    old(project.results / "one" / f".cells.json.{gone}.tmp")
    old(project.results / "one" / f".curves.csv.{os.getpid()}.tmp")  # this process may be writing it
    old(project.results / "one" / ".notes.tmp")  # not a name of ours
    (project.results / "one" / f".runs.json.{gone}.tmp").touch()  # a moment ago
    assert set(listed(project)["paths"]) == {
        f".lmc/runs/{folder.fingerprint}/.status.json.{gone}.tmp",
        f"results/one/.cells.json.{gone}.tmp",
    }


def test_resume_files_of_a_finished_run(project: Project) -> None:
    folder, half = stored(project, named_config()), stored(project, make_plan().cells[0].runs[1], last=2)
    for each in (folder, half):
        (each.path / "progress.json").touch()
        (each.path / "state-0002.safetensors").touch()
    found = listed(project, "--yes")
    assert set(found["paths"].values()) == {"resume file"} and len(found["paths"]) == 2
    assert folder.damage() is None and not (folder.path / "progress.json").exists()
    assert (half.path / "progress.json").exists()


def test_bytes_with_a_link_elsewhere_are_not_called_freed(project: Project, tmp_path: Path) -> None:
    folder = stored(project, other_config())
    folder.export(tmp_path / "elsewhere")  # `lmc run --out` of another folder
    found = listed(project)
    assert found["bytes"] > 0 and found["bytes_freed"] == 0
    code, out, _ = lmc("gc")
    assert code == 0 and "0 B of it freed" in out
    (tmp_path / "elsewhere" / folder.fingerprint / "config.json").unlink()
    found = listed(project)
    assert found["bytes_freed"] == (folder.path / "config.json").stat().st_size


def test_links_are_not_followed(project: Project, tmp_path: Path) -> None:
    precious = write_run(tmp_path / "precious", other_config())
    store = project.working / "runs"
    store.mkdir(parents=True)
    (store / precious.fingerprint).symlink_to(precious.path)
    assert listed(project, "--yes")["leftovers"] == []
    assert precious.is_complete()
    inside = stored(project, other_config(78))
    (inside.path / "more").symlink_to(precious.path)
    found = find_leftovers(project, load_params(project.params))
    assert sum(item.size for item in found.leftovers) < 50_000
    listed(project, "--yes")
    assert not inside.path.exists() and precious.damage() is None


def test_an_interrupted_removal_is_completed(project: Project) -> None:
    folder = stored(project, named_config())
    aside = project.working / "runs" / ".removing-0123456789abcdef"
    aside.mkdir()
    (aside / "config.json").touch()
    assert listed(project, "--yes")["removed"] is True
    assert not aside.exists() and folder.is_complete()


def test_it_asks_on_a_terminal_and_needs_yes_elsewhere(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(project, other_config())
    code, out, _ = lmc("gc")
    assert code == 0 and "--yes removes them" in out and folder.is_complete()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("lmc_repro.cli.project.confirm", lambda text: False)
    assert lmc("gc").code == 0 and folder.is_complete()
    monkeypatch.setattr("lmc_repro.cli.project.confirm", lambda text: True)
    code, out, _ = lmc("gc")
    assert code == 0 and "removed 2 of 2" in out and not folder.path.exists()

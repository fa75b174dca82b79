"""A project that was moved or copied: recognised, and its store fixed with all that it holds."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from small_results import Small
from small_study import fingerprint, weights

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.maintenance.doctor import check_store
from lmc_repro.tracking.find import Reader
from lmc_repro.tracking.moved import fix_store
from lmc_repro.tracking.store import other_folders, require_in_place, tracking_uri
from lmc_repro.tracking.views import find_shown

FIX = "lmc doctor --fix-store"


def dump(project: Project) -> list[str]:
    with closing(sqlite3.connect(project.root / "mlflow.db")) as store:
        return list(store.iterdump())


@pytest.fixture
def filled(small: Small) -> Small:
    """A cell with a training and a pair, a note that a person added, and an address that is a bare path."""
    train = small.sync()
    small.pair()
    small.finish()
    small.client.set_tag(train, "mlflow.note.content", f"seen in {small.project.root}/notes")
    small.tracker.close()
    with closing(sqlite3.connect(small.project.root / "mlflow.db")) as store, store:
        store.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = 'Default'", (f"{small.project.root}/mlruns/0",)
        )
    return small


def renamed(project: Project) -> Project:
    return Project(project.root.rename(project.root.with_name("else where")))


def copied_into_itself(project: Project) -> Project:
    names = [path.name for path in project.root.iterdir()]
    new = project.root / "copy"
    new.mkdir()
    for name in names:
        place = project.root / name
        shutil.copytree(place, new / name) if place.is_dir() else shutil.copy(place, new / name)
    return Project(new)


def moved_up(project: Project) -> Project:
    """Return the project in a folder whose name begins the old one's."""
    return Project(project.root.rename(project.root.with_name("a")))


@pytest.mark.parametrize(
    "move", [renamed, *(pytest.param(move, marks=pytest.mark.slow) for move in (copied_into_itself, moved_up))]
)
def test_only_addresses_below_the_old_folder_change(move: Callable[[Project], Project], filled: Small) -> None:
    old, note = filled.project.root, f"seen in {filled.project.root}/notes"
    before = dump(filled.project)
    project = filled.project = move(filled.project)
    with pytest.raises(LmcError) as error:
        require_in_place(project.home, tracking_uri(project.home))
    assert str(error.value).endswith(f"`{FIX}`") and old.as_uri() in str(error.value) and dump(project) == before
    addresses = sum(old.as_uri() in line or f"{old}/mlruns" in line for line in before)
    assert fix_store(project) == addresses > 5
    new = [
        line.replace(old.as_uri(), project.root.as_uri()).replace(f"{old}/mlruns", f"{project.root}/mlruns")
        for line in before
    ]
    assert dump(project) == new and any(note in line for line in new)
    assert fix_store(project) == 0 and dump(project) == new
    filled.open().close()
    tracker = filled.open()
    run = tracker.runs(filled.cell, [fingerprint(filled.config)])[fingerprint(filled.config)]
    assert tracker.checkpoint(run, 4).tensors()["bias"].tolist() == weights(filled.config, 4)["bias"].tolist()
    assert run.location.startswith(project.root.as_uri())


def test_whoever_opens_the_store_is_refused_until_it_is_fixed(filled: Small) -> None:
    project = filled.project = renamed(filled.project)
    opens: tuple[Callable[[], object], ...] = (
        filled.open,
        lambda: Reader.open(project.home),
        lambda: find_shown(project, None, None, None),
    )
    for open_it in opens:
        with pytest.raises(LmcError, match=FIX):
            open_it()
    (told,) = [f for f in check_store(project.root, fix_runs=False) if f.name == "artifacts"]
    assert (told.state, told.fix) == ("warning", FIX)
    fix_store(project)
    for open_it in opens:
        open_it()
    assert "artifacts" not in {f.name for f in check_store(project.root, fix_runs=False)}


def test_a_store_that_is_written_or_whose_artifacts_are_elsewhere_stays_as_it_is(filled: Small) -> None:
    project = renamed(filled.project)
    before = dump(project)
    with closing(sqlite3.connect(project.root / "mlflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LmcError, match=r"mlflow\.db: not changed"):
            fix_store(project)
    (project.root / "mlartifacts").rename(project.root / "away")
    with pytest.raises(LmcError, match="no mlartifacts"):
        fix_store(project)
    assert dump(project) == before


def test_what_is_no_folder_of_a_project_is_not_moved(filled: Small, tmp_path: Path) -> None:
    assert fix_store(Project(tmp_path / "nowhere")) == 0 and other_folders(tmp_path / "nowhere") == []
    with closing(sqlite3.connect(filled.project.root / "mlflow.db")) as store, store:
        store.execute("UPDATE experiments SET artifact_location = 'mlflow-artifacts:/1' WHERE name LIKE 'lmc/%'")
    before = dump(filled.project)
    assert fix_store(filled.project) == 0 and Reader.open(filled.project.home).experiments()
    with pytest.raises(LmcError, match=r"mlflow-artifacts:/1.*delete mlflow\.db"):
        filled.open()
    assert dump(filled.project) == before


def test_artifacts_lie_beside_a_store_that_is_not_the_projects(
    small: Small, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where `mlflow run git://...` names the caller's store, and the project is a clone that does not last."""
    (tmp_path / "caller").mkdir()
    database = shutil.copy(empty_store, tmp_path / "caller" / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    with small.open() as tracker:
        run = small.run(small.sync(tracker))
    assert run.info.artifact_uri.startswith((tmp_path / "caller" / "mlartifacts" / "one" / "tiny").as_uri())
    assert not (small.project.root / "mlartifacts").exists()

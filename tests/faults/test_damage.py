"""Damaged files and full disks: named in one line with what to do, the rest kept; then the study ends as ever."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from small import HARM, LONG, OUT, Small, flip, kill, remove, replace

from lmc_repro.common.errors import LmcError
from lmc_repro.results.read import read_study

REBUILD = "delete mlflow.db and mlartifacts"


def holds(line: str, *parts: str) -> bool:
    return all(part in line for part in parts) and "Traceback" not in line


@pytest.fixture(scope="module")
def done(whole: Small, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A finished study that every test leaves whole. A store says where it lies: here it is made anew from the runs."""
    copy = whole.copy(tmp_path_factory.mktemp("damage") / "project")
    copy.forget_store()
    copy.finish(whole)
    return copy


@pytest.mark.parametrize("name, loader", [("train.safetensors", "resident"), ("train.beton", "ffcv")])
def test_prepared_data(name: str, loader: str, whole: Small, small: Small) -> None:
    path, params = small.root / "data/prepared/digits" / name, small.root / "params.yaml"
    content, settings = path.read_bytes(), params.read_text()
    for harm in HARM.values():
        params.write_text(settings.replace('"loader": "resident"', f'"loader": "{loader}"'))
        harm(path)
        assert holds(small.refused("train", "one", "--jobs", "1"), "/digits", "`lmc prepare digits`")
        params.write_text(settings)
        small.run("prepare", "digits")
        assert path.read_bytes() == content
    small.finish(whole)


def test_checkpoints_of_the_working_store(done: Small, whole: Small) -> None:
    """A run whose folder is damaged is taken from the study's own copy, or trained again where that is damaged too."""
    store, copies = done.root / ".lmc" / "runs", done.root / OUT / "runs"
    names = sorted(folder.name for folder in store.glob("*/"))
    for pair in (("cut", "flipped"), ("emptied", "unreadable")):
        for name, harm in zip(names, pair, strict=False):
            for place in (store, copies):
                HARM[harm](place / name / "checkpoints" / "epoch-0002.safetensors")
        printed = done.finish(whole)
        # Printed in the order of the study; fingerprints, and so names, have none.
        lines = sorted(line for line in printed.splitlines() if "it is trained again" in line)
        assert len(lines) == 2 and "trained 2, reused 2, resumed 0" in printed
        for name, line in zip(names, lines, strict=False):
            assert holds(line, f"{name}/checkpoints/epoch-0002.safetensors", "run again")
    for name, harm in zip(names, HARM, strict=True):
        HARM[harm](store / name / "checkpoints" / "epoch-0002.safetensors")
    assert "trained 0, reused 4" in done.finish(whole)


def test_resume_files(whole: Small, small: Small) -> None:
    """A damaged one costs time: its run starts again."""
    pid = small.start_study(slow=0.3)
    small.wait_for_epoch(pid, 1)
    kill(pid, group=True)
    small.wait(pid)
    files = sorted(small.root.glob(".lmc/runs/*/state-*.safetensors"))
    for harm, file in zip(HARM.values(), files, strict=False):
        harm(file)
    if any(file.is_dir() for file in files):  # where the run writes its own, when it comes there
        assert holds(small.refused(), "state-", "Is a directory", "run again")
        for file in files:
            remove(file)
    small.finish(whole)


def test_checkpoints_in_mlflow(done: Small, whole: Small) -> None:
    path = sorted((done.root / "mlartifacts").rglob("epoch-0002.safetensors"))[0]
    content = path.read_bytes()
    for harm in HARM.values():
        harm(path)
        assert holds(done.refused(), "epoch-0002.safetensors", REBUILD)
        replace(path, content)
    done.forget_store()
    assert "trained 0, reused 4" in done.finish(whole)


def test_the_database(done: Small, whole: Small) -> None:
    path = done.root / "mlflow.db"
    content = path.read_bytes()
    for harm in (HARM["cut"], lambda path: flip(path, 3), HARM["unreadable"]):  # 3: in the name that sqlite begins with
        harm(path)
        assert holds(done.refused(), "mlflow.db", REBUILD)
        replace(path, content)
    done.forget_store()
    assert "trained 0, reused 4" in done.finish(whole)
    HARM["emptied"](path)  # a new store, as good as none: the runs are published again, and nothing is trained
    remove(done.root / "mlartifacts")
    assert "trained 0, reused 4" in done.finish(whole)


NUMBERS = {  # where a number stands that says something of a run
    "runs.json": r'"final_sha256": "\D*(\d)',
    "cells.json": r'"error_0": (\d)',
    "curves.csv": r",test,0.0,(\d)",
}


def test_results(done: Small, whole: Small) -> None:
    folder = done.root / OUT / "results" / "one"
    for name, number in NUMBERS.items():
        path = folder / name
        content = path.read_bytes()
        for harm in ("cut", "emptied", "unreadable"):
            HARM[harm](path)
            with pytest.raises(LmcError) as error:
                read_study(folder)
            assert holds(str(error.value), f"{path}: ", "run `lmc compare one`")
            replace(path, content)
        match = re.search(number, content.decode())
        assert match
        flip(path, match.start(1))  # a number that still can be read: only verifying can tell
        assert name in done.run("verify", "one", code=1)
        replace(path, content)
    for path in folder.iterdir():
        HARM["cut"](path)
    done.finish(whole)


def test_params(done: Small, whole: Small) -> None:
    path = done.root / "params.yaml"
    content = path.read_bytes()
    for harm in (HARM["cut"], lambda path: flip(path, 0), HARM["emptied"], HARM["unreadable"]):
        harm(path)
        assert "params.yaml" in done.refused("run", "one")
        assert done.results() == whole.results()
        replace(path, content)
    assert "trained 0, reused 4" in done.finish(whole)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB in memory; the test is skipped where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={24 * 2**20}", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, room: int) -> Path:
    """Leave so many KiB of a file system, and return the file that takes up the rest."""
    file = place / "filler"
    with open(file, "wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError:
            out.truncate(out.tell() - room * 1024)
    return file


def test_a_full_disk(whole: Small, fresh: Small, disk: Path) -> None:
    small, ended = fresh.copy(disk / "project"), 0
    # KiB that are left: for the first files only, for training, for a part of MLflow's
    for room in (4, 24, 64, 160, 320) if LONG else (4, 64, 320):
        filler = fill(disk, room)
        code, printed = small.wait(small.start_study()), small.printed()
        assert code in (0, 2) and "Traceback" not in printed, printed
        if code:  # what could not be printed, for want of room, is no matter
            line = printed.splitlines()[-1] if printed else ""
            assert not line or "space" in line or "disk is full" in line or not line.startswith("error"), printed
            ended += 1
        filler.unlink()
    assert ended >= 2
    small.finish(whole)


@pytest.mark.parametrize("limit", [2000, 20_000] if LONG else [20_000])
def test_a_file_that_cannot_grow(limit: int, whole: Small, small: Small) -> None:
    """The same without a mount: a write fails after so many bytes of one file."""
    line = small.refused("run", "one", "--jobs", "1", file_bytes=limit)
    assert "space" in line or "large" in line, line
    small.finish(whole)

"""A disk that fills at some moment: one line, nothing lost; with room again the study goes on and ends as ever."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from figures import LONG, note
from small import SOUND, Small, store_faults

SIZE = 24 * 2**20
# KiB that are left: for the first files only, for training, for a part of MLflow's
ROOM = (4, 24, 64, 160, 320) if LONG else (4, 64, 320)
ENDED: list[str] = []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB in memory; the test is skipped where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
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


def test_a_full_disk(undisturbed: tuple[Small, float], fresh: Small, disk: Path) -> None:
    small = fresh.copy(disk / "project")
    for room in ROOM:
        filler = fill(disk, room)
        pid = small.start("run", "one", "--jobs", "2")
        code = small.wait(pid)
        printed = small.printed()
        assert code in (0, 2) and "Traceback" not in printed, printed
        if code:  # what could not be printed, for want of room, is no matter
            line = printed.splitlines()[-1] if printed else ""
            assert not line or "space" in line or "disk is full" in line or not line.startswith("error"), printed
            ENDED.append(f"{room} KiB")
        filler.unlink()
    assert len(ENDED) >= 2
    small.study()
    assert small.results() == undisturbed[0].results()
    assert store_faults(small.root) == SOUND
    note("full disk", f"ended in one line with {', '.join(ENDED)} of room; then went on to the undisturbed bytes")


@pytest.mark.parametrize("limit", [2000, 20_000] if LONG else [20_000])
def test_a_file_that_cannot_grow(limit: int, undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    """The same without a mount: a write fails after so many bytes of one file."""
    small = fresh.copy(tmp_path / "project")
    line = small.run("run", "one", "--jobs", "1", code=2, file_bytes=limit).splitlines()[-1]
    assert line.startswith("error: ") and ("space" in line or "large" in line), line
    small.study()
    assert small.results() == undisturbed[0].results()
    assert store_faults(small.root) == SOUND

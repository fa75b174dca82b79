"""Finds what is left over in a project's working store, and half-written files anywhere in it."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from lmc_repro.errors import LmcError
from lmc_repro.files import process_exists
from lmc_repro.leftovers.named import FINGERPRINT, Named
from lmc_repro.models.names import network
from lmc_repro.project import Project
from lmc_repro.training.run_folder import RunFolder

Kind = Literal["run", "unfinished run", "measured pair", "resume file", "half-written file", "lock"]

_HALF_WRITTEN = re.compile(r"\..+\.(\d+)\.tmp")  # .<name>.<process>.tmp, see files.write_atomic
SETTLED_SECONDS = 600.0
"""Since when a half-written file has not moved: its process may be of another container, with numbers of its own."""

REMOVING = ".removing-"  # a run's folder while it is taken away


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing names. `lock` is the run's, held while it is removed."""

    path: Path
    kind: Kind
    what: str
    lock: Path | None = None

    def files(self) -> Iterator[Path]:
        """Yield its files; links are not followed."""
        if self.path.is_dir() and not self.path.is_symlink():
            for folder, _, names in os.walk(self.path):
                yield from (Path(folder) / name for name in names)
        else:
            yield self.path


@dataclass(frozen=True)
class Found:
    """All leftovers of a project; how many runs of its working store stay, and the folders of those under way."""

    leftovers: tuple[Leftover, ...]
    kept: int
    under_way: tuple[Path, ...]


def find_leftovers(project: Project, named: Named) -> Found:
    """Look at .lmc/runs, .lmc/pairs and all half-written files; nothing is changed.

    A run whose lock is held is under way. While there is one, all runs and pairs are kept: those that its command has
    finished are named only at its end.
    """
    store = project.working / "runs"
    leftovers: list[Leftover] = []
    kept, under_way = set[str](), list[Path]()
    for path in sorted(store.iterdir()) if store.is_dir() else ():
        if path.is_symlink() or not path.is_dir():
            continue
        if path.name.startswith(REMOVING):
            leftovers.append(Leftover(path, "half-written file", "its removal was interrupted"))
        elif FINGERPRINT.fullmatch(path.name):
            lock = store / f"{path.name}.lock"
            if is_held(lock):
                under_way.append(path)
                kept.add(path.name)
            elif named.has(folder := RunFolder(path)):
                kept.add(path.name)
                leftovers += _resume_files(folder, lock)
            else:
                leftovers.append(_run(folder, lock))
    if under_way:
        runs = [path for path in store.iterdir() if FINGERPRINT.fullmatch(path.name)]
        return Found(tuple(_half_written(project, under_way)), len(runs), tuple(under_way))
    leftovers += _pairs(project.working / "pairs", kept | named.fingerprints)
    leftovers += _half_written(project, [item.path for item in leftovers])
    leftovers += _locks(store, kept)
    return Found(tuple(leftovers), len(kept), ())


def sizes(leftovers: Sequence[Leftover]) -> tuple[list[int], int]:
    """Return the bytes of each, and those that are freed if all are removed: of files without a link elsewhere."""
    each, links, last = [], Counter[tuple[int, int]](), dict[tuple[int, int], tuple[int, int]]()
    for leftover in leftovers:
        total = 0
        for file in leftover.files():
            try:
                stat = file.lstat()
            except OSError:
                continue  # gone meanwhile
            total += stat.st_size
            inode = (stat.st_dev, stat.st_ino)
            links[inode] += 1
            last[inode] = (stat.st_nlink, stat.st_size)
        each.append(total)
    return each, sum(size for inode, (count, size) in last.items() if links[inode] >= count)


def is_held(lock: Path) -> bool:
    """Return whether a process holds a lock; a lock file that is not there is not made."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _run(folder: RunFolder, lock: Path) -> Leftover:
    try:
        config = folder.config()
    except LmcError:
        return Leftover(folder.path, "unfinished run", "its config.json cannot be read", lock)
    seeds = "-".join(str(s) for s in (config.seeds.trainer, config.seeds.loader))
    what = f"{network(config.model.model_dump(mode='json'))} on {config.data.dataset}, {config.epochs} epochs, {seeds}"
    return Leftover(folder.path, "run" if folder.is_complete() else "unfinished run", what, lock)


def _resume_files(folder: RunFolder, lock: Path) -> Iterator[Leftover]:
    """Yield what a run that was killed in the moment of its end needs no more."""
    if folder.is_complete():
        for path in sorted([*folder.path.glob("state-*.safetensors"), *folder.path.glob("progress.json")]):
            yield Leftover(path, "resume file", "its run is finished", lock)


def _pairs(folder: Path, named: set[str] | frozenset[str]) -> Iterator[Leftover]:
    for path in sorted(folder.glob("*.json")):
        if not FINGERPRINT.fullmatch(path.stem):
            continue
        try:
            ends = [str(end) for end in json.loads(path.read_bytes())["measured"]["fingerprints"]]
        except (OSError, ValueError, KeyError, TypeError):
            yield Leftover(path, "measured pair", "cannot be read: it would be measured again")
            continue
        if not named.issuperset(ends):
            yield Leftover(path, "measured pair", f"of {' and '.join(ends)}")


def _half_written(project: Project, but: Iterable[Path]) -> Iterator[Leftover]:
    """Yield what processes that are gone were writing, outside of the folders `but`."""
    spared = tuple(but)
    for top in (project.working, project.runs, project.results, project.report, project.out, project.prepared.parent):
        for place, folders, names in os.walk(top):
            folders[:] = [name for name in folders if Path(place) / name not in spared]
            for name in names:
                match, path = _HALF_WRITTEN.fullmatch(name), Path(place) / name
                gone = match is not None and not process_exists(int(match[1]))
                if match and gone and time.time() - path.lstat().st_mtime > SETTLED_SECONDS:
                    yield Leftover(path, "half-written file", f"process {match[1]} is gone")


def _locks(store: Path, kept: set[str]) -> Iterator[Leftover]:
    """Yield the lock files of runs that are not here or go too, last: a run is removed under its lock."""
    for path in sorted(store.glob("*.lock*")):  # beside it there may be a file with its holder's name
        name = path.name.partition(".")[0]
        lock = store / f"{name}.lock"
        if FINGERPRINT.fullmatch(name) and name not in kept and not is_held(lock):
            yield Leftover(path, "lock", "its run is not here, or goes too", lock if lock.exists() else None)

"""`lmc gc`: runs and pairs of the working store that nothing names any more, and half-written files; their removal."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import process_exists, read_json
from lmc_repro.common.locks import is_held
from lmc_repro.common.project import Project
from lmc_repro.config.expand import Choice, NoCells, plan_study
from lmc_repro.config.own_code import short_name
from lmc_repro.config.params import Params
from lmc_repro.config.run import RunConfig
from lmc_repro.models.registry import network
from lmc_repro.training.run_folder import RunFolder

Kind = Literal["run", "unfinished run", "measured pair", "resume file", "half-written file", "lock"]

FINGERPRINT = re.compile("[0-9a-f]{16}")
HALF_WRITTEN = re.compile(r"\..+\.(\d+)\.tmp")  # .<name>.<process>.tmp, see files.write_atomic
SETTLED_SECONDS = 600.0
"""Age from which a half-written file counts: its process may be of another container, with numbers of its own."""
REMOVING = ".removing-"
"""Prefix of a run folder that is being removed, so that no process ever sees half of a run."""


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
    """All leftovers of a project, the number of runs that stay in its working store, and the runs under way."""

    leftovers: tuple[Leftover, ...]
    kept: int
    under_way: tuple[Path, ...]


def find_leftovers(project: Project, params: Params) -> Found:
    """Examine .lmc/runs, .lmc/pairs and all half-written files; change nothing.

    A run stays if a study has its config under any profile, whatever torch and CPU trained it, or if runs/, results/
    or out/ name its fingerprint. A run whose lock is held is under way. While one is, all runs and pairs stay: its
    command may have finished others, which are named only at its end.

    Raises:
        LmcError: A study cannot be expanded or a result cannot be read: the runs that they name are not known.
    """
    configs, fingerprints = set(_configs(params)), set(_fingerprints(project))
    store = project.working / "runs"
    folders = sorted(path for path in store.glob("*") if path.is_dir() and not path.is_symlink())
    runs = [RunFolder(path) for path in folders if FINGERPRINT.fullmatch(path.name)]
    if under_way := tuple(run.path for run in runs if is_held(_lock(run.path))):
        return Found(tuple(_half_written(project, under_way)), len(runs), under_way)
    removed = [path for path in folders if path.name.startswith(REMOVING)]
    leftovers = [Leftover(path, "half-written file", "its removal was interrupted") for path in removed]
    kept = set[str]()
    for run in runs:
        config = None
        with suppress(LmcError):
            config = run.config()
        if run.fingerprint in fingerprints or config in configs:
            kept.add(run.fingerprint)
            leftovers += _resume_files(run)
        else:
            kind: Kind = "run" if run.is_complete() and config else "unfinished run"
            leftovers.append(Leftover(run.path, kind, _described(config), _lock(run.path)))
    leftovers += _pairs(project.working / "pairs", kept | fingerprints)
    leftovers += _half_written(project, [item.path for item in leftovers])
    leftovers += _locks(store, kept)
    return Found(tuple(leftovers), len(kept), ())


def sizes(leftovers: Sequence[Leftover]) -> tuple[list[int], int]:
    """Return the bytes of each leftover, and the bytes that removing all frees: of files with no link elsewhere."""
    each, links, last = [], Counter[tuple[int, int]](), dict[tuple[int, int], tuple[int, int]]()
    for leftover in leftovers:
        total = 0
        for file in leftover.files():
            with suppress(OSError):  # gone meanwhile
                stat = file.lstat()
                total += stat.st_size
                inode = (stat.st_dev, stat.st_ino)
                links[inode] += 1
                last[inode] = (stat.st_nlink, stat.st_size)
        each.append(total)
    return each, sum(size for inode, (count, size) in last.items() if links[inode] >= count)


def remove(leftovers: Iterable[Leftover]) -> Iterator[tuple[Leftover, str | None]]:
    """Remove leftovers, each under its run's lock.

    Yields:
        Each leftover with None, or with the reason why it stays: a run that has begun since, or an error.
    """
    for leftover in leftovers:
        try:
            with ExitStack() as held:
                if leftover.lock is not None and leftover.lock.parent.is_dir():
                    held.enter_context(FileLock(leftover.lock, timeout=0))
                _remove(leftover.path)
        except Timeout:
            yield leftover, "under way now"
        except OSError as error:
            yield leftover, f"{error.filename or leftover.path}: {error.strerror}"
        else:
            yield leftover, None


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    aside = path if path.name.startswith(REMOVING) else path.with_name(REMOVING + path.name)
    if aside != path:
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(path, aside)
    shutil.rmtree(aside)


def _configs(params: Params) -> Iterator[RunConfig]:
    """Yield the runs of every study under every profile."""
    for profile in params.profiles:
        for study in params.studies:
            with suppress(NoCells):  # the profile leaves all of its cells out
                yield from plan_study(params, study, Choice(profile=profile)).runs


def _fingerprints(project: Project) -> Iterator[str]:
    """Yield the runs that DVC's runs and those of `lmc run` hold, and those that any results name."""
    for folder in (*project.runs.glob("*/*"), *project.out.glob("*/*/runs/*")):
        if FINGERPRINT.fullmatch(folder.name):
            yield folder.name
    fix = "compare the study again, or remove the folder"
    for file in (*project.results.glob("*/runs.json"), *project.out.glob("*/*/results/*/runs.json")):
        try:
            yield from [str(run["fingerprint"]) for run in read_json(file, fix)["runs"]]
        except (KeyError, TypeError):
            raise LmcError(f"{file}: not the file of a comparison; {fix}") from None


def _lock(run: Path) -> Path:
    return run.with_name(f"{run.name}.lock")


def _described(config: RunConfig | None) -> str:
    if config is None:
        return "its config.json cannot be read"
    kind, seeds = network(config.model.model_dump(mode="json")), config.seeds
    return f"{kind} on {short_name(config.data.dataset)}, {config.epochs} epochs, {seeds.trainer}-{seeds.loader}"


def _resume_files(run: RunFolder) -> Iterator[Leftover]:
    """Yield what a run that was killed in the moment of its end needs no more."""
    if run.is_complete():
        for path in sorted([*run.path.glob("state-*.safetensors"), *run.path.glob("progress.json")]):
            yield Leftover(path, "resume file", "its run is finished", _lock(run.path))


def _pairs(folder: Path, kept: set[str]) -> Iterator[Leftover]:
    for path in sorted(folder.glob("*.json")):
        if not FINGERPRINT.fullmatch(path.stem):
            continue
        try:
            ends = [str(end) for end in json.loads(path.read_bytes())["measured"]["fingerprints"]]
        except (OSError, ValueError, KeyError, TypeError):
            yield Leftover(path, "measured pair", "cannot be read: it would be measured again")
            continue
        if not kept.issuperset(ends):
            yield Leftover(path, "measured pair", f"of {' and '.join(ends)}")


def _half_written(project: Project, spared: Sequence[Path]) -> Iterator[Leftover]:
    """Yield what processes that are gone were writing, outside of the folders `spared`."""
    for top in (project.working, project.runs, project.results, project.report, project.out, project.prepared.parent):
        for place, folders, names in os.walk(top):
            folders[:] = [name for name in folders if Path(place) / name not in spared]
            for match in filter(None, map(HALF_WRITTEN.fullmatch, names)):
                path = Path(place) / match[0]
                if not process_exists(int(match[1])) and time.time() - path.lstat().st_mtime > SETTLED_SECONDS:
                    yield Leftover(path, "half-written file", f"process {match[1]} is gone")


def _locks(store: Path, kept: set[str]) -> Iterator[Leftover]:
    """Yield the lock files of runs that are not here or go too, last: a run is removed under its lock."""
    for path in sorted(store.glob("*.lock*")):  # a holder's name may lie beside the lock
        run = store / path.name.partition(".")[0]
        lock = _lock(run)
        if FINGERPRINT.fullmatch(run.name) and run.name not in kept and not is_held(lock):
            yield Leftover(path, "lock", "its run is not here, or goes too", lock if lock.exists() else None)

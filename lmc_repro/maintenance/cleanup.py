"""`lmc gc`: removal of runs and pairs of the working store that nothing refers to any more, of half-written files."""

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
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import process_exists
from lmc_repro.common.locks import is_held
from lmc_repro.common.project import Project
from lmc_repro.common.words import counted
from lmc_repro.config.expand import Choice, NoCells, plan_study
from lmc_repro.config.own_code import short_name
from lmc_repro.config.params import Params
from lmc_repro.config.run import RunConfig
from lmc_repro.models.registry import network
from lmc_repro.results.read import read_study
from lmc_repro.training.run_folder import RunFolder

Kind = Literal["run", "unfinished run", "measured pair", "resume file", "half-written file", "lock"]

FINGERPRINT = re.compile("[0-9a-f]{16}")
HALF_WRITTEN = re.compile(r"\..+\.(\d+)\.tmp")  # .<name>.<process>.tmp, see files.write_atomic
SETTLED_SECONDS = 600.0
"""Age from which a half-written file counts: its process may be of another container, with numbers of its own."""
REMOVING = ".removing-"
"""Prefix of a run folder that is being removed, so that no process ever sees half of a run."""
SHOWN = 20
"""Leftovers of one kind that are listed for people."""


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing names. `lock` is the run's, held while it is removed."""

    path: Path
    kind: Kind
    what: str
    lock: Path | None = None

    @cached_property
    def files(self) -> list[os.stat_result]:
        """The stat results of its files; links are not followed."""
        found = [self.path]
        if self.path.is_dir() and not self.path.is_symlink():
            found = [Path(folder, name) for folder, _, names in os.walk(self.path) for name in names]
        stats = []
        for file in found:
            with suppress(OSError):  # gone meanwhile
                stats.append(file.lstat())
        return stats

    @property
    def size(self) -> int:
        return sum(stat.st_size for stat in self.files)


@dataclass(frozen=True)
class Found:
    """All leftovers of a project, the number of runs that stay in its working store, and the runs under way."""

    leftovers: tuple[Leftover, ...]
    kept: int
    under_way: tuple[Path, ...]

    @property
    def freed(self) -> int:
        """The bytes that removing all leftovers frees: of files with no link elsewhere."""
        stats = {(stat.st_dev, stat.st_ino): stat for item in self.leftovers for stat in item.files}
        links = Counter((stat.st_dev, stat.st_ino) for item in self.leftovers for stat in item.files)
        return sum(stat.st_size for inode, stat in stats.items() if links[inode] >= stat.st_nlink)

    def record(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "leftovers": [
                {"path": str(item.path), "kind": item.kind, "what": item.what, "bytes": item.size}
                for item in self.leftovers
            ],
            "bytes": sum(item.size for item in self.leftovers),
            "bytes_freed": self.freed,
            "kept_runs": self.kept,
            "under_way": list(map(str, self.under_way)),
        }

    def lines(self, root: Path) -> Iterator[str]:
        """Yield the leftovers by kind, paths relative to `root`, and the bytes that their removal frees."""
        for kind, items in groupby(sorted(self.leftovers, key=lambda item: item.kind), key=lambda item: item.kind):
            group = list(items)
            yield f"{kind}s: {len(group)}, {_megabytes(sum(item.size for item in group))}"
            for item in group[:SHOWN]:
                yield f"  {_megabytes(item.size):>9}  {item.path.relative_to(root)}  {item.what}"
            if len(group) > SHOWN:
                yield f"  and {len(group) - SHOWN} more; --json lists all"
        if self.under_way:
            yield f"kept: all {self.kept} runs: {len(self.under_way)} training now; ask again when it is over"
        else:
            yield f"kept: {counted(self.kept, 'run')} that a study of params.yaml, runs/ or out/ names"
        if not self.leftovers:
            yield "nothing is left over"
            return
        total = sum(item.size for item in self.leftovers)
        linked = "" if self.freed == total else f", {_megabytes(self.freed)} of it freed: the rest has links elsewhere"
        yield f"left over: {_megabytes(total)}{linked}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size} B"


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
            if run.is_complete():  # killed just as it ended
                for path in sorted([*run.path.glob("state-*.safetensors"), *run.path.glob("progress.json")]):
                    leftovers.append(Leftover(path, "resume file", "its run is finished", _lock(run.path)))
        else:
            kind: Kind = "run" if run.is_complete() and config else "unfinished run"
            leftovers.append(Leftover(run.path, kind, _described(config), _lock(run.path)))
    leftovers += _pairs(project.working / "pairs", kept | fingerprints)
    leftovers += _half_written(project, [item.path for item in leftovers])
    # Last, since a run is removed under its lock. A holder's name may lie beside the lock.
    for path in sorted(store.glob("*.lock*")):
        lock = _lock(run_path := store / path.name.partition(".")[0])
        if FINGERPRINT.fullmatch(run_path.name) and run_path.name not in kept and not is_held(lock):
            held = lock if lock.exists() else None
            leftovers.append(Leftover(path, "lock", "its run is not here, or goes too", held))
    return Found(tuple(leftovers), len(kept), ())


def remove(leftovers: Iterable[Leftover]) -> dict[str, str]:
    """Remove leftovers, each under its run's lock; return why the others stay, by path: begun since, or an error."""
    stayed = {}
    for leftover in leftovers:
        try:
            with ExitStack() as held:
                if leftover.lock is not None and leftover.lock.parent.is_dir():
                    held.enter_context(FileLock(leftover.lock, timeout=0))
                _remove(leftover.path)
        except Timeout:
            stayed[str(leftover.path)] = "under way now"
        except OSError as error:
            stayed[str(leftover.path)] = f"{error.filename or leftover.path}: {error.strerror}"
    return stayed


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
    for file in (*project.results.glob("*/runs.json"), *project.out.glob("*/*/results/*/runs.json")):
        yield from (run.fingerprint for run in read_study(file.parent).runs)


def _lock(run: Path) -> Path:
    return run.with_name(f"{run.name}.lock")


def _described(config: RunConfig | None) -> str:
    if config is None:
        return "its config.json cannot be read"
    kind, seeds = network(config.model.model_dump(mode="json")), config.seeds
    return f"{kind} on {short_name(config.data.dataset)}, {config.epochs} epochs, {seeds.trainer}-{seeds.loader}"


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
    """Yield the unfinished files of processes that are gone, outside of the folders `spared`."""
    for top in (project.working, project.runs, project.results, project.report, project.out, project.prepared.parent):
        for place, folders, names in os.walk(top):
            folders[:] = [name for name in folders if Path(place) / name not in spared]
            for match in filter(None, map(HALF_WRITTEN.fullmatch, names)):
                path = Path(place) / match[0]
                if not process_exists(int(match[1])) and time.time() - path.lstat().st_mtime > SETTLED_SECONDS:
                    yield Leftover(path, "half-written file", f"process {match[1]} is gone")

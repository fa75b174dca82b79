"""A task on another machine: the machine's identity, its data sets, its folders, and the letters that it sends home."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lmc_repro import __version__
from lmc_repro.barriers.pair import EVALUATION_NUMERICS, PairTask
from lmc_repro.barriers.plane import PlaneTask
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import process_exists
from lmc_repro.common.numerics import numerics_tag, torch_version
from lmc_repro.config.own_code import own_sources, pinned, use_sources
from lmc_repro.engine.local import Stopped
from lmc_repro.engine.task import StackTask, train_task
from lmc_repro.engine.transfer import Files, keep_dataset, read_files, write_files
from lmc_repro.training.fingerprint import TRAINING_NUMERICS
from lmc_repro.training.run_folder import RunFolder
from lmc_repro.training.trainer import Event

LETTERS_PER_SECOND = 100
"""About epochs alone, from all stacks together; each sends at most one per second."""

MAILBOX_BYTES = 10**9
"""Letters that wait for their reader hold about so many bytes at most."""

Identity = Mapping[str, str]
"""All that decides a machine's bits, by name."""


def identity(device: str) -> Identity:
    """Return everything in this process that decides the bits of runs and paths."""
    return {
        "numerics": numerics_tag(device),
        "torch": torch_version(),
        "TRAINING_NUMERICS": str(TRAINING_NUMERICS),
        "EVALUATION_NUMERICS": str(EVALUATION_NUMERICS),
        "lmc_repro": __version__,
    }


def require_same(machine: str, found: Identity, needed: Identity) -> None:
    """Raise LmcError for a machine whose bits may be others."""
    for key, value in needed.items():
        if found.get(key) != value:
            raise LmcError(
                f"{machine}: {key}: found {found.get(key)}, needed {value} as on the machine of this command; install "
                "the same versions there, or take it out of the cluster"
            )


def probe(device: str) -> tuple[Identity, bool]:
    """Return this process's identity, and whether its cluster asks for a token."""
    return identity(device), os.environ.get("RAY_AUTH_MODE") == "token"


@dataclass(frozen=True)
class Data:
    """A data set by name and key, and how its files are fetched where they are missing."""

    name: str
    key: str
    fetch: Callable[[], Files]


@dataclass(frozen=True)
class Attempt:
    """A stack as it is sent: its runs' newest states by fingerprint, and `sources`, the FILE.py that it names.

    `pause`: the least number of seconds between two letters about epochs alone.
    """

    number: int
    task: StackTask
    folders: Mapping[str, Files]
    data: Data
    needed: Identity
    sources: Files = field(default_factory=dict)
    pause: float = 1.0


@dataclass(frozen=True)
class Letter:
    """Events of an attempt on a machine, and files by fingerprint: new ones of a saved run, all of a finished one."""

    attempt: int
    machine: str
    events: tuple[Event, ...]
    folders: Mapping[str, Files]


class Mailbox:
    """Keeps letters until they are read; it lives beside their reader, so none is lost with its sender."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self._bytes = 0
        self._stop = False

    def has_room(self, size: int) -> bool:
        """Return whether `size` bytes may be pushed now, and keep room for them; a reader who is behind slows senders.

        A letter of any size has room in an empty mailbox, and every letter at the end.
        """
        if self._bytes and self._bytes + size > MAILBOX_BYTES and not self._stop:
            return False
        self._bytes += size
        return True

    def push(self, letter: Letter) -> bool:
        """Keep a letter; return whether its sender shall end."""
        self._letters.append(letter)
        return self._stop

    def take(self) -> list[Letter]:
        """Return the letters since the last call."""
        letters, self._letters, self._bytes = self._letters, [], 0
        return letters

    def stop(self) -> None:
        """Let every sender know with its next letter."""
        self._stop = True


@dataclass
class _Sender:
    """Sends letters: at once for files, else with the attempt's pause between them."""

    attempt: Attempt
    working: Path
    push: Callable[[Letter], bool]
    machine: str = field(default_factory=lambda: f"{socket.gethostname()} (process {os.getpid()})")
    events: list[Event] = field(default_factory=list)
    next: float = 0.0

    def __post_init__(self) -> None:
        # Checkpoints stay as they are, and are sent once; all else is new each time.
        self.known = {name: _checkpoints(files) for name, files in self.attempt.folders.items()}

    def tell(self, event: Event) -> None:
        self.events.append(event)
        folders = {}
        for name in event.fingerprints if event.kind in ("saved", "done") else ():
            known = self.known[name] if event.kind == "saved" else set()
            folders[name] = read_files(RunFolder(self.working / name), known)
            self.known[name] |= _checkpoints(folders[name])
        if folders or time.monotonic() >= self.next:
            self.send(folders)

    def send(self, folders: Mapping[str, Files]) -> None:
        events, self.events = tuple(self.events), []
        stop = self.push(Letter(self.attempt.number, self.machine, events, folders))
        self.next = time.monotonic() + self.attempt.pause
        if stop:
            raise Stopped


def _checkpoints(files: Files) -> set[str]:
    return {name for name in files if name.startswith("checkpoints/")}


def train(attempt: Attempt, push: Callable[[Letter], bool]) -> None:
    """Train a stack in this machine's cache, and send home what it saves and finishes."""
    task = attempt.task
    prepared = _ready(attempt.data, attempt.sources, attempt.needed, task.device)
    working = _own_folder()
    try:
        for name, files in attempt.folders.items():
            write_files(RunFolder(working / name), files)
        sender = _Sender(attempt, working, push)
        sender.send({})  # the task has begun
        train_task(replace(task, working=working, prepared=prepared, loader="resident"), sender.tell)
        sender.send({})
    finally:
        shutil.rmtree(working, ignore_errors=True)


def measured_in(task: Any) -> PairTask | PlaneTask | None:
    """Return the pair or plane that a task of `Engine.map` is, or begins with; None for any other."""
    first = task[0] if isinstance(task, tuple) and task else task
    return first if isinstance(first, PairTask | PlaneTask) else None


def sources_of(task: StackTask | PairTask | PlaneTask) -> dict[str, bytes]:
    """Return the contents of the FILE.py that a task names; LmcError if one has changed since it was pinned."""
    if isinstance(task, StackTask):
        texts = [config.model_dump_json() for _, config in task.runs]
        texts.append(json.dumps([*map(pinned, task.callbacks)], ensure_ascii=False))
    else:
        texts = [task.model.model_dump_json(), task.data.model_dump_json()]
        texts += [task.path.model_dump_json()] if isinstance(task, PairTask) else []
    return own_sources("\n".join(texts))


def measure(function: Callable[[Any], Any], task: Any, data: Data | None, sources: Files, needed: Identity) -> Any:
    """Return `function` of a task, its pair or plane, if it has one, with this machine's copies of data and sources."""
    measured = measured_in(task)
    if measured is not None and data is not None:
        moved = replace(measured, prepared=_ready(data, sources, needed, measured.device))
        task = (moved, *task[1:]) if isinstance(task, tuple) else moved
    return function(task)


def _ready(data: Data, sources: Files, needed: Identity, device: str) -> Path:
    require_same(socket.gethostname(), identity(device), needed)
    use_sources(sources, cache_folder() / "own")
    return keep_dataset(cache_folder(), data.name, data.key, data.fetch)


def cache_folder() -> Path:
    """Return this user's folder below TMPDIR, which holds data sets by key, files of one's own, and runs under way."""
    path = Path(tempfile.gettempdir()) / f"lmc_repro-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise LmcError(f"{path}: belongs to another user; set TMPDIR to a folder of your own and start Ray again")
    return path


def _own_folder() -> Path:
    """Return an empty folder for this process, and remove those of processes that are gone."""
    parent = cache_folder() / "runs"
    own = parent / str(os.getpid())
    parent.mkdir(exist_ok=True)
    for left in parent.iterdir():
        if left == own or not (left.name.isdecimal() and process_exists(int(left.name))):
            shutil.rmtree(left, ignore_errors=True)
    own.mkdir()
    return own

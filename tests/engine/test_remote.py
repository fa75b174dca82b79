"""A stack on another machine, without one: letters of files, what is refused of them, data sets once per machine."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import refused
from helpers import contents, run_config
from trained_store import write_prepared

from lmc_repro.barriers.pair import PairTask
from lmc_repro.barriers.plane import PlaneTask
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.common.project import Project
from lmc_repro.config import own_code
from lmc_repro.config.path import PathConfig, PlaneConfig
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine import remote
from lmc_repro.engine.cluster import Cluster, chosen_cluster
from lmc_repro.engine.local import Stopped
from lmc_repro.engine.remote import Attempt, Data, Letter
from lmc_repro.engine.task import StackTask, train_task
from lmc_repro.engine.transfer import Expected, Files, read_dataset, read_files, write_state, write_whole
from lmc_repro.training import trainer
from lmc_repro.training.run_folder import RunFolder, load_progress

NAMES = ("a" * 16, "b" * 16)
CONFIGS = {
    name: run_config(data={"dataset": "digits"}, epochs=4, evaluate_at=[0, 2, 4], batch_size=300, seeds={"loader": i})
    for i, name in enumerate(NAMES)
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", 1e9)
    yield
    torch.set_deterministic_debug_mode("default")


@pytest.fixture
def task(tmp_path: Path, digits: Dataset) -> StackTask:
    write_prepared(Project(tmp_path), digits)
    prepared = tmp_path / "data" / "prepared"
    return StackTask(tuple(CONFIGS.items()), tmp_path / "runs", prepared, "resident", numerics_tag(), "cpu", 1.0)


@pytest.fixture
def expected(digits: Dataset) -> dict[str, Expected]:
    return {name: Expected(config, digits.digest, numerics_tag()) for name, config in CONFIGS.items()}


class Home:
    """Receives letters; asks their sender to end after the `stop_at`-th; data sets are fetched from here."""

    def __init__(self, task: StackTask, stop_at: int = 99) -> None:
        self.task, self.stop_at = task, stop_at
        self.letters, self.fetched = list[Letter](), 0

    def push(self, letter: Letter) -> bool:
        self.letters.append(letter)
        return len(self.letters) >= self.stop_at

    def fetch(self) -> Files:
        self.fetched += 1
        return read_dataset(self.task.prepared, "digits")[1]

    def attempt(self, number: int = 0) -> Attempt:
        folders = {name: read_files(RunFolder(self.task.working / name)) for name in NAMES}
        data = Data("digits", read_dataset(self.task.prepared, "digits")[0], self.fetch)
        return Attempt(number, self.task, folders, data, remote.identity("cpu"))

    def folders(self, kind: str) -> list[dict[str, Files]]:
        """Return the files that came with the events of a kind."""
        return [dict(x.folders) for x in self.letters if x.events and x.events[-1].kind == kind]


@pytest.fixture
def local(task: StackTask) -> dict[str, dict[str, bytes]]:
    train_task(task, lambda event: None)
    found = {name: contents(task.working / name) for name in NAMES}
    for name in NAMES:
        for file in found[name]:
            (task.working / name / file).unlink()
    return found


def test_what_is_sent_home_is_the_folder_of_this_machine(
    task: StackTask, expected: dict[str, Expected], local: dict[str, dict[str, bytes]]
) -> None:
    home = Home(task)
    remote.train(home.attempt(), home.push)
    (whole,) = home.folders("done")
    for name in NAMES:
        folder = RunFolder(task.working / name)
        assert write_whole(folder, whole[name], expected[name], "there")
        assert contents(folder) == local[name]
        assert not write_whole(folder, whole[name], expected[name], "there, later")
    assert sum(event.kind == "epoch" for letter in home.letters for event in letter.events) == 4
    assert list((remote.cache_folder() / "runs").iterdir()) == []


def test_a_stopped_stack_goes_on_elsewhere_from_what_it_sent(
    task: StackTask, expected: dict[str, Expected], local: dict[str, dict[str, bytes]]
) -> None:
    home = Home(task, stop_at=2)
    with pytest.raises(Stopped):
        remote.train(home.attempt(), home.push)
    saved = home.folders("saved")[-1]
    for name in NAMES:
        write_state(RunFolder(task.working / name), saved[name], "there")
        progress = load_progress(RunFolder(task.working / name))
        assert progress is not None and progress.epoch == 1
    again = Home(task)
    remote.train(again.attempt(), again.push)
    epochs = [event.epoch for letter in again.letters for event in letter.events if event.kind == "epoch"]
    assert epochs == [2, 3, 4]
    for state in again.folders("saved"):
        for name in NAMES:
            assert "checkpoints/epoch-0000.safetensors" not in state[name]  # it was there before
            write_state(RunFolder(task.working / name), state[name], "elsewhere")
            assert len(list((task.working / name).glob("state-*"))) == 1
    for name in NAMES:
        folder = RunFolder(task.working / name)
        assert write_whole(folder, again.folders("done")[0][name], expected[name], "elsewhere")
        assert contents(folder) == local[name]
    assert (home.fetched, again.fetched) == (1, 0)


def test_letters_about_epochs_alone_have_a_second_between_them(
    task: StackTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", 99.0)
    home = Home(task)
    remote.train(home.attempt(), home.push)
    assert [[event.kind for event in letter.events] for letter in home.letters] == [[], ["epoch"] * 4 + ["done"], []]


def test_senders_wait_for_a_reader_who_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAILBOX_BYTES", 100)
    mailbox = remote.Mailbox()
    assert [mailbox.has_room(size) for size in (500, 1, 1)] == [True, False, False]  # a large one comes through alone
    mailbox.take()
    assert [mailbox.has_room(size) for size in (60, 60, 40, 1)] == [True, False, True, False]
    mailbox.stop()
    assert mailbox.has_room(60) and not mailbox._letters


def hostile(files: dict[str, bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield ways in which a whole folder may be wrong."""

    def status(**changes: object) -> dict[str, bytes]:
        return {**files, "status.json": json.dumps(json.loads(files["status.json"]) | changes).encode()}

    last = "checkpoints/epoch-0004.safetensors"
    yield "a name outside", {**files, "../../stolen": b"x"}
    yield "an absolute name", {**files, "/tmp/stolen": b"x"}
    yield "a name too many", {**files, "checkpoints/epoch-0003.safetensors": files[last]}
    yield "a name too few", {name: content for name, content in files.items() if name != last}
    yield "a changed file", {**files, last: files[last][:-1] + b"x"}
    yield "a damaged status", {**files, "status.json": b"[]"}
    yield "another run", status(fingerprint="c" * 16)
    yield "other numerics", status(numerics="native:X:AVX2:2")
    yield "another torch", status(torch="0.1")
    yield "other data", status(data_digest="0" * 64)
    sums = json.loads(files["status.json"])["files"]
    yield "another config", {**status(files=sums | {"config.json": sha256_bytes(b"{}")}), "config.json": b"{}"}


def test_a_hostile_folder_is_refused_and_nothing_is_written(
    task: StackTask, expected: dict[str, Expected], local: dict[str, dict[str, bytes]]
) -> None:
    name, before = NAMES[0], contents(task.working.parent)
    for what, files in hostile(local[name]):
        with pytest.raises(LmcError, match=r"there sent"):
            write_whole(RunFolder(task.working / name), files, expected[name], "there")
            pytest.fail(what)
    assert contents(task.working.parent) == before


def test_a_hostile_state_is_refused_and_nothing_is_written(task: StackTask) -> None:
    home = Home(task, stop_at=2)
    with pytest.raises(Stopped):
        remote.train(home.attempt(), home.push)
    files = dict(home.folders("saved")[-1][NAMES[0]])
    state = next(name for name in files if name.startswith("state-"))
    before = contents(task.working.parent)
    for changes in (
        {"../stolen": b"x"},
        {"status.json": b"{}"},
        {state: b"x"},
        {"state-9999.safetensors": files[state]},
        {"progress.json": b"{"},
        {"progress.json": files["progress.json"].replace(NAMES[0].encode(), NAMES[1].encode())},
    ):
        with pytest.raises(LmcError, match=r"there sent"):
            write_state(RunFolder(task.working / NAMES[0]), {**files, **changes}, "there")
            pytest.fail(str(changes.keys()))
    assert contents(task.working.parent) == before


def test_a_second_result_with_other_bytes_is_named(
    task: StackTask, expected: dict[str, Expected], local: dict[str, dict[str, bytes]]
) -> None:
    name = NAMES[0]
    folder = RunFolder(task.working / name)
    assert write_whole(folder, local[name], expected[name], "there")
    other = {**local[name], "metrics.csv": local[name]["metrics.csv"] + b"\n"}
    status = json.loads(other["status.json"])
    status["files"]["metrics.csv"] = sha256_bytes(other["metrics.csv"])
    other["status.json"] = json.dumps(status).encode()
    with pytest.raises(LmcError, match=r"metrics\.csv"):
        write_whole(folder, other, expected[name], "elsewhere")
    assert contents(folder) == local[name]


def test_a_machine_with_other_bits_is_refused_before_anything_is_fetched(task: StackTask) -> None:
    for key in ("numerics", "torch", "TRAINING_NUMERICS", "EVALUATION_NUMERICS", "lmc_repro"):
        home = Home(task)
        attempt = home.attempt()
        object.__setattr__(attempt, "needed", {**attempt.needed, key: "another"})
        with pytest.raises(LmcError, match=f"{key}: found"):
            remote.train(attempt, home.push)
        assert (home.letters, home.fetched) == ([], 0)


def prepared_of(task: PairTask | PlaneTask) -> Path:
    return task.prepared


def test_pairs_and_planes_are_measured_on_the_data_sets_of_the_other_machine(task: StackTask) -> None:
    home, config = Home(task), CONFIGS[NAMES[0]]
    data, model = config.data, config.model
    pair = PairTask("0", 0, ("a", "b"), (None, None), {}, model, data, task.prepared, 5)
    plane = PlaneTask(("a", "b", "c"), ((), (), ()), model, data, task.prepared, PlaneConfig())  # type: ignore[arg-type]
    sent = home.attempt()
    for one in (pair, plane):
        assert remote.measured_in(one) is one and remote.measured_in((one, "a title")) is one
        moved = remote.measure(prepared_of, one, sent.data, {}, sent.needed)
        assert moved.is_relative_to(remote.cache_folder()) and (moved / "digits" / "status.json").is_file()
    assert home.fetched == 1
    assert remote.measured_in(-3) is None and remote.measure(abs, -3, None, {}, sent.needed) == 3


@pytest.fixture
def own_files(task: StackTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackTask:
    """The task, with a schedule and a callback from files of a project, which is the working folder."""
    (tmp_path / "params.yaml").write_text("studies: {}\n")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "falls.py").write_text("def falls(done, steps):\n    return 0.5 - 0.4 * done / steps\n")
    (tmp_path / "count.py").write_text("seen = []\n\ndef count(evaluation):\n    seen.append(evaluation.epoch)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_code, "_COPIES", {})
    schedule = {"schedule": {"kind": "code/falls.py:falls"}}
    runs = [(name, RunConfig.model_validate(c.model_dump(mode="json") | schedule)) for name, c in task.runs]
    return replace(task, runs=tuple(runs), callbacks=("count.py:count",))


def test_files_of_ones_own_travel_by_their_content(
    own_files: StackTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_task(own_files, lambda event: None)
    found = {name: contents(own_files.working / name) for name in NAMES}
    shutil.rmtree(own_files.working)
    sources = remote.sources_of(own_files)
    assert sources.keys() == {"code/falls.py", "count.py"}
    home = Home(own_files)
    attempt = replace(home.attempt(), sources=sources)
    monkeypatch.chdir(tmp_path / "tmp")
    for name in sources:
        (tmp_path / name).unlink()
    own_code._pinned_object.cache_clear()  # as in another process
    remote.train(attempt, home.push)
    (whole,) = home.folders("done")
    assert whole == found
    assert own_code.own_object("count.py:count").__globals__["seen"] == [0, 2, 4]
    with pytest.raises(LmcError, match=r"count\.py: cannot be read"):  # copies are those of one task
        remote.train(replace(attempt, sources={}), home.push)


def test_a_changed_file_of_ones_own_is_refused_before_it_travels(own_files: StackTask, tmp_path: Path) -> None:
    path = PathConfig.model_validate({"metrics": ["count.py:count"]}).pinned()
    pair = PairTask("0", 0, ("a", "b"), (None, None), {}, own_files.runs[0][1].model, own_files.runs[0][1].data,
                    own_files.prepared, 5, path=path)  # fmt: skip
    assert remote.sources_of(pair).keys() == {"count.py"}
    for name, one in (("code/falls.py", own_files), ("count.py", pair)):
        (tmp_path / name).write_text("changed = 1\n")
        with pytest.raises(LmcError, match=f"{name}: changed since this run"):
            remote.sources_of(one)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"engine": "dask"}, "--engine"),
        ({"address": "host:6379"}, "--address"),
        ({"wait": 1.0}, "--wait"),
        ({"engine": "ray"}, "--address"),
        ({"engine": "ray", "address": "host"}, "--address"),
        ({"engine": "ray", "address": "ray://host:10001"}, "--address"),
        ({"engine": "ray", "address": "host:6379"}, "pip install 'lmc_repro[ray]'"),
    ],
)
def test_mistakes_of_the_choice(options: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("LMC_ENGINE", "LMC_RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LmcError) as caught:
        chosen_cluster(**options)  # type: ignore[arg-type]
    assert named in str(caught.value)


def test_the_environment_chooses_and_options_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert chosen_cluster() is None
    chosen = {"LMC_ENGINE": "ray", "LMC_RAY_ADDRESS": "a:1", "LMC_RAY_INSECURE": "1", "LMC_RAY_WAIT": "2"}
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    assert chosen_cluster() == Cluster("a:1", insecure=True, wait=2)
    assert chosen_cluster(address="b:2", wait=7) == Cluster("b:2", insecure=True, wait=7)
    assert chosen_cluster(engine="local") is None
    monkeypatch.setenv("LMC_RAY_WAIT", "long")
    with pytest.raises(LmcError, match="LMC_RAY_WAIT"):
        chosen_cluster()


def test_without_a_token_nothing_is_connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LmcError, match="RAY_AUTH_TOKEN"):
        Cluster("a:1").require_token()
    Cluster("a:1", insecure=True).require_token()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 64)
    Cluster("a:1").require_token()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(LmcError, match="RAY_AUTH_MODE"):
        Cluster("a:1").require_token()


def test_lmc_run_refuses_a_mistake_in_one_line() -> None:
    assert "--engine" in refused("run", "table1", "--engine", "dask")
    assert "--insecure" in refused("run", "table1", "--insecure")

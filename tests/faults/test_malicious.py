"""Files and tags that mean harm: refused in one line, nothing in them is executed, nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers import contents
from small import LONG, Small, remove, replace, rows

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes
from lmc_repro.data.dataset import load_dataset
from lmc_repro.tracking import server
from lmc_repro.training.checkpoint import read_checkpoint


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that makes a file wherever it is unpickled; it must not be made in the test."""
    marker = tmp_path / "executed"
    pickle.loads(content := pickle.dumps(Bomb(marker)))
    assert marker.exists()
    marker.unlink()
    yield content
    assert not marker.exists()


def test_a_pickle_in_the_place_of_a_checkpoint(tmp_path: Path, bomb: bytes) -> None:
    """Its checksum fits: whoever put it there mended the record, too."""
    path = tmp_path / "epoch-0002.safetensors"
    path.write_bytes(bomb)
    with pytest.raises(LmcError, match=r"epoch-0002\.safetensors: not a safetensors file"):
        read_checkpoint(path, sha256_bytes(bomb), "delete it")


def test_a_pickle_in_the_place_of_prepared_data(fresh: Small, tmp_path: Path, bomb: bytes) -> None:
    folder = shutil.copytree(fresh.root / "data" / "prepared", tmp_path / "prepared")
    replace(folder / "digits" / "train.safetensors", bomb)
    with pytest.raises(LmcError, match=r"train\.safetensors: cannot be read .*run `lmc prepare digits`"):
        load_dataset(folder, "digits")


def test_pickles_in_a_study(whole: Small, tmp_path: Path, bomb: bytes) -> None:
    """In the place of checkpoints and stored pairs; records and checksums name them."""
    small = whole.copy(tmp_path / "project")
    sha256 = sha256_bytes(bomb)
    remove(small.root / "out")
    for run in (small.root / ".lmc" / "runs").glob("*/"):
        status = json.loads((run / "status.json").read_bytes())
        path = run / "checkpoints" / "epoch-0004.safetensors"
        replace(path, bomb)
        status["checkpoints"]["4"] = status["final_sha256"] = sha256
        status["files"]["checkpoints/epoch-0004.safetensors"] = sha256
        replace(run / "status.json", json.dumps(status).encode())
    for pair in (small.root / ".lmc" / "pairs").glob("*.json"):
        replace(pair, bomb)
    small.forget_store()
    assert "epoch-0004.safetensors: not a safetensors file" in small.refused()


EVIL = ("../../../evil", "x' OR '1'='1", "/tmp/lmc-evil\n..", "") if LONG else ("../../../evil' OR '1'='1",)
COMMANDS = (  # all of them in the long set
    ("show", "{train}"), ("show", "{pair}"), ("list", "one"), ("reproduce", "{train}"), ("reproduce", "{pair}"),
    ("verify", "one", "--quick"), ("compare", "{train}", "{other}"), ("run", "one", "--jobs", "1"),
)  # fmt: skip


@pytest.fixture
def store(whole: Small, tmp_path: Path) -> Small:
    """A finished study, with a store of its own place, that may be harmed."""
    small = whole.copy(tmp_path / "deep" / "project")
    small.forget_store()
    small.finish(whole)
    return small


def harm(small: Small, change: str) -> None:
    """Change the store behind MLflow's back."""
    with closing(sqlite3.connect(small.root / "mlflow.db")) as connection:
        connection.executescript(change)


@pytest.mark.parametrize("value", EVIL)
def test_tags_that_lead_out(value: str, store: Small, tmp_path: Path) -> None:
    """Every tag of ours of every run, then each run reused from elsewhere: answers of a line, and no file elsewhere."""
    kinds = rows(store.root, "SELECT value, run_uuid FROM tags WHERE key = 'lmc.kind'")
    first, second, *_ = [run for kind, run in kinds if kind == "train"]
    ids = {"train": first, "other": second, "pair": dict(kinds)["pair"]}
    text = value.replace("'", "''")
    ours = "key LIKE 'lmc.%' AND key NOT IN ('lmc.kind', 'lmc.study', 'lmc.profile', 'lmc.cell_id')"
    changes = (
        f"INSERT OR REPLACE INTO tags (key, value, run_uuid) SELECT 'lmc.reused_from', '{text}', run_uuid FROM runs",
        f"UPDATE tags SET value = '{text}' WHERE {ours}",
    )
    before = elsewhere(tmp_path)
    for change, commands in zip(changes, (COMMANDS[-1:], COMMANDS if LONG else COMMANDS[1::3]), strict=True):
        harm(store, change)
        for command in commands:
            code = store.wait(store.start(*(word.format(**ids) for word in command)))
            assert code in (0, 1, 2) and "Traceback" not in store.printed(), (command, store.printed())
    assert elsewhere(tmp_path) == before and not Path("/evil").exists()


ADDRESSES = ["file://{0}/elsewhere", "file://{0}/deep/project/../../elsewhere/{{id}}/artifacts"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_artifact_addresses_that_lead_out(address: str, store: Small, tmp_path: Path) -> None:
    """Runs that are not finished, into whose folders the next command would write."""
    where = "'" + address.format(tmp_path).replace("{id}", "' || run_uuid || '") + "'"
    harm(store, f"UPDATE runs SET status = 'RUNNING', artifact_uri = {where}; DELETE FROM inputs")
    line = store.refused()
    assert "artifact address" in line and "delete mlflow.db and mlartifacts" in line
    assert not (tmp_path / "elsewhere").exists()


def elsewhere(root: Path) -> set[str]:
    """Return the files that are not the project's."""
    return {name for name in contents(root) if not name.startswith("deep/project/")}


def test_the_server_listens_to_this_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    class Ended(Exception):
        """In the place of a server."""

    def started(command: list[str], **how: object) -> None:
        commands.append(command)
        raise Ended

    monkeypatch.setattr(server.subprocess, "Popen", started)
    with pytest.raises(Ended), server.mlflow_server("sqlite:///x.db", tmp_path, 5000, tmp_path / "log"):
        pass
    (command,) = commands
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "sqlite:///x.db" not in command  # addresses may hold passwords, and every user of the machine reads it
    assert not {"--allowed-hosts", "--cors-allowed-origins"} & set(command)  # MLflow's own guards stay on

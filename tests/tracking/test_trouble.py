"""A store that cannot be used: each command says so in one line, before any work, and a dead server within seconds."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from commands import lmc, refused
from trained_store import write_params

from lmc_repro.common.project import Project
from lmc_repro.maintenance.doctor import check_store

RUN = "0" * 32
WRITE = [("run", "one", "--jobs", "1"), ("train", "one"), ("compare", "one"), ("link",), ("publish", "one")]
READ = [
    *(("list", "one"), ("show", RUN), ("ui", "one"), ("verify", "one"), ("reproduce", RUN)),
    ("compare", RUN, "1" * 32),
]


@pytest.fixture
def in_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The working folder: a project with params.yaml and an empty store."""
    write_params(project)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    return project


def one_line_each(project: Project, uri: str, words: str, commands: list[tuple[str, ...]]) -> None:
    """Hold that each command is refused with these words, for this address, and leaves nothing behind."""
    for command in commands:
        begun = time.monotonic()
        line = refused(*command)
        assert uri in line and words in line, (command, line)
        assert time.monotonic() - begun < 30.0, command
    assert not any(path.exists() for path in (project.runs, project.out, project.results, project.working / "runs"))
    finding = next(iter(check_store(project.root, fix_runs=False)))
    assert finding.state == "warning" and finding.fix


@pytest.mark.parametrize(
    "uri",
    [
        *("nonsense://x", "sqlite:///"),
        *(
            pytest.param(uri, marks=pytest.mark.slow)
            for uri in ("./mlruns", "file:///nowhere/mlruns", "sqlite://x.db", "http://", "databricks")
        ),
    ],
)
def test_an_address_of_no_store(uri: str, in_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    one_line_each(in_project, repr(uri), "MLFLOW_TRACKING_URI", [*WRITE, *READ])
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert repr(uri) in refused("show", RUN, "--tracking-uri", uri)
    assert not (in_project.root / "mlruns").exists()


class _Answer(BaseHTTPRequestHandler):
    """Answers every request with the code that its port stands for, by default with no JSON."""

    code = 200
    asked: ClassVar[list[str]] = []
    content = b"<html>\nnot JSON</html>"

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(self.code)
        self.end_headers()
        self.wfile.write(self.content)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that answers with the code of the parameter; of none, for None; "3": as MLflow 3 does."""
    answer = type("Answer", (_Answer,), {"code": request.param} if request.param != "3" else {"content": b"{}"})
    _Answer.asked.clear()
    with HTTPServer(("127.0.0.1", 0), answer) as listening:
        address = f"http://127.0.0.1:{listening.server_port}"
        if request.param is None:
            listening.server_close()
            yield address
            return
        thread = Thread(target=listening.serve_forever)
        thread.start()
        yield address
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (None, "does not answer; start the server"),
        (401, "MLFLOW_TRACKING_USERNAME"),
        (404, "no MLflow server of version 3"),
        (200, "no MLflow server of version 3"),
        (500, "answers with error 500"),
    ],
    indirect=["server"],
)
def test_a_server_that_is_of_no_use(
    server: str, words: str, in_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    one_line_each(in_project, server, words, [*WRITE, *READ])


@pytest.mark.parametrize("server", ["3"], indirect=True)
def test_a_run_asks_the_server_once_before_its_first_line(
    server: str, in_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    code, _, err = lmc("run", "one", "--set", "precision=tf32")  # which a CPU refuses after that line
    assert code == 2 and [line.split(":")[0] for line in err.splitlines()][:2] == ["one, profile tiny", "error"]
    assert _Answer.asked == ["/api/2.0/mlflow/logged-models/search"]


@pytest.mark.parametrize(
    ("uri", "shown", "words"),
    [
        ("mysql+pymysql://me:secret@127.0.0.1:1/x", "mysql+pymysql://me:***@127.0.0.1:1/x: ", "pip install pymysql"),
        ("mysql+nothing://127.0.0.1/x", "mysql+nothing://127.0.0.1/x: ", "correct MLFLOW_TRACKING_URI"),
    ],
)
def test_a_database_without_its_driver(
    uri: str, shown: str, words: str, in_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setitem(sys.modules, "pymysql", None)
    one_line_each(in_project, shown, words, [*WRITE, *READ])


def test_a_database_of_another_mlflow(in_project: Project) -> None:
    """Readers go past MLflow and can read it."""
    database = in_project.root / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    for command in WRITE:
        line = refused(*command)
        assert "mlflow db upgrade" in line and "delete mlflow.db" not in line
    assert not in_project.runs.exists() and not in_project.out.exists()


def test_a_database_in_no_folder(in_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none/x.db")
    for command in [*WRITE, *READ]:
        assert refused(*command).startswith(f"{tmp_path}/none/x.db: ")
    assert not (tmp_path / "none").exists()


def test_commands_without_a_store_do_not_ask_it(in_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
    assert lmc("run", "one", "--dry-run").code == 0
    assert not in_project.out.exists()

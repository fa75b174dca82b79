"""MLflow's server on PostgreSQL and S3, as deploy/ starts it, and what they hold."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3_proxy import Proxy

from lmc_repro.tracking.server import HOST, running_server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KEYS = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "a password of tests"}

ACTIVE = "WITH r AS (SELECT * FROM runs WHERE lifecycle_stage = 'active') "
QUERIES = {
    "run": "SELECT r.name, r.status, p.name FROM r LEFT JOIN tags t ON r.run_uuid = t.run_uuid"
    " AND t.key = 'mlflow.parentRunId' LEFT JOIN runs p ON p.run_uuid = t.value",
    "metrics": "SELECT r.name, key, step, m.value, is_nan FROM metrics m JOIN r USING (run_uuid)",
    "params": "SELECT r.name, key, m.value FROM params m JOIN r USING (run_uuid)",
    "model": "SELECT m.name, m.status FROM logged_models m JOIN r ON m.source_run_id = r.run_uuid",
}
OWNERS = (
    "SELECT run_uuid, name FROM r"
    " UNION SELECT model_id, m.name FROM logged_models m JOIN r ON m.source_run_id = r.run_uuid"
)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a server with all its processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def key_values(text: str) -> dict[str, str]:
    """Return the settings in lines of NAME=VALUE, `export` before them or not."""
    return dict(re.findall(r"^(?:export )?([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))


@dataclass
class Deployed:
    """MLflow's server as deploy/ has it: basic-auth, PostgreSQL, S3 behind a proxy."""

    home: Path
    services: Mapping[str, str]
    s3: Proxy
    port: int

    @property
    def client(self) -> dict[str, str]:
        """The environment of a client, which tries a request twice."""
        retries = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0"}
        return {"MLFLOW_TRACKING_URI": f"http://{HOST}:{self.port}", **KEYS, **retries}

    @contextmanager
    def serve(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the server with the command, the names of settings and the users' file of deploy/."""
        (command,) = re.findall("^ExecStart=(.*)$", (DEPLOY / "mlflow.service").read_text(), re.MULTILINE)
        program, *arguments = shlex.split(command)
        assert Path(program).name == "mlflow"
        arguments[arguments.index("--port") + 1] = str(self.port)
        arguments[arguments.index("--workers") + 1] = "1"
        database = self.services["MLFLOW_BACKEND_STORE_URI"]
        users = re.sub(
            "^database_uri = .*$",
            f"database_uri = {database.removesuffix('mlflow')}auth",
            (DEPLOY / "basic_auth.ini").read_text(),
            flags=re.MULTILINE,
        )
        (self.home / "basic_auth.ini").write_text(users)
        ours = {
            **{name: value for name, value in self.services.items() if not name.startswith("LMC_")},
            "MLFLOW_S3_ENDPOINT_URL": self.s3.address,
            "MLFLOW_AUTH_CONFIG_PATH": str(self.home / "basic_auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": KEYS["MLFLOW_TRACKING_PASSWORD"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret of tests",
        }
        settings = key_values((DEPLOY / "server.env").read_text())
        assert ours.keys() <= settings.keys()
        settings |= ours | {"AWS_MAX_ATTEMPTS": "1"}
        whole = [sys.executable, "-m", "mlflow", *arguments]
        with running_server(whole, settings, self.home, self.port, self.home / "log") as process:
            try:
                yield process
            finally:
                kill(process)  # a good end takes ten seconds

    def execute(self, statement: str) -> list[Any]:
        """Execute a statement in the server's database and return its rows, if it has any."""
        from sqlalchemy import NullPool, create_engine, text

        with create_engine(self.services["MLFLOW_BACKEND_STORE_URI"], poolclass=NullPool).begin() as connection:
            done = connection.execute(text(statement))
            return list(done) if done.returns_rows else []

    def forget(self) -> None:
        """Empty the database, but for the experiment that MLflow makes; the bucket keeps what nothing leads to."""
        from sqlalchemy import MetaData, NullPool, create_engine

        engine = create_engine(self.services["MLFLOW_BACKEND_STORE_URI"], poolclass=NullPool)
        tables = MetaData()
        tables.reflect(engine)
        with engine.begin() as connection:
            for table in reversed(tables.sorted_tables):
                if table.name == "experiments":
                    connection.execute(table.delete().where(table.c.experiment_id != 0))
                elif table.name not in ("alembic_version", "workspaces"):
                    connection.execute(table.delete())

    def content(self) -> Counter[Any]:
        """Return what PostgreSQL and S3 hold of active runs, without ids and times, and how often."""
        from sqlalchemy import NullPool, create_engine, text

        engine = create_engine(self.services["MLFLOW_BACKEND_STORE_URI"], poolclass=NullPool)
        found: Counter[Any] = Counter()
        with engine.connect() as connection:
            for kind, query in QUERIES.items():
                found.update((kind, *row) for row in connection.execute(text(ACTIVE + query)))
            owners = {owner: name for owner, name in connection.execute(text(ACTIVE + OWNERS))}
        for key, etag in self.objects().items():
            place, _, name = key.partition("/artifacts/")
            if owner := owners.get(place.rpartition("/")[2]):
                found["file", owner, name, etag] += 1
        return found

    def objects(self) -> dict[str, str]:
        """Return the ETag of every object in the bucket, by key."""
        import boto3

        given = {name.lower(): self.services[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        client = boto3.client("s3", endpoint_url=self.s3.address, region_name="us-east-1", **given)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="mlflow")
        return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", ())}

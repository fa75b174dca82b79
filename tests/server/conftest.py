"""PostgreSQL and S3 on this machine, MLflow's server on them, and finished projects to publish there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from deployed import ROOT, Deployed, key_values
from finished import write_finished
from s3_proxy import s3_proxy
from small import Small, Warm, small_params

from lmc_repro.tracking.server import free_port

SERVICES = ROOT / "scripts/services.sh"


@pytest.fixture(scope="session")
def services() -> Iterator[dict[str, str]]:
    """The variables that scripts/services.sh prints, for services of these tests alone."""
    if lacking := [name for name in ("psycopg2", "boto3", "dvc_s3", "flask_wtf") if find_spec(name) is None]:
        pytest.skip(f"without {', '.join(lacking)}: pip install 'lmc_repro[server]'")
    postgres = shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not (postgres and shutil.which("node") and (ROOT / "build/services/node_modules/s3rver").is_dir()):
        pytest.skip("without PostgreSQL or an S3 server: scripts/services.sh install")
    folder = tempfile.mkdtemp(prefix="lmc-services-", dir="/tmp")  # PostgreSQL, of another user, has to get in
    ports = {"LMC_POSTGRES_PORT": str(free_port(0)), "LMC_S3_PORT": str(free_port(0))}
    environment = {**os.environ, **ports, "LMC_SERVICES": folder}
    try:
        up = subprocess.run([SERVICES, "up"], env=environment, capture_output=True, text=True)
        assert up.returncode == 0, up.stderr
        again = subprocess.run([SERVICES, "up"], env=environment, capture_output=True, text=True)
        assert (again.returncode, again.stdout) == (0, up.stdout)
        assert (Path(folder) / "env").stat().st_mode & 0o077 == 0
        yield key_values(up.stdout)
    finally:
        down = subprocess.run([SERVICES, "down"], env=environment, capture_output=True, text=True)
    assert down.returncode == 0 and not Path(folder).exists()


@pytest.fixture(scope="session")
def deployed(services: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with s3_proxy(services["MLFLOW_S3_ENDPOINT_URL"]) as proxy:
        yield Deployed(tmp_path_factory.mktemp("deployed"), services, proxy, free_port(0))


@pytest.fixture(scope="session")
def serving(deployed: Deployed) -> Iterator[Deployed]:
    """The same while it runs; starting it takes ten seconds."""
    with deployed.serve():
        yield deployed


@pytest.fixture
def server(serving: Deployed) -> Iterator[Deployed]:
    """The running server with an empty database."""
    serving.s3.mode = "ok"
    serving.forget()
    yield serving
    serving.s3.mode = "ok"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finished(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def project(finished: Path, warm: Warm, tmp_path: Path) -> Small:
    """A finished project of the test's own, without a store."""
    return Small(Path(shutil.copytree(finished, tmp_path / "project")), warm)


@pytest.fixture(scope="session")
def expected(serving: Deployed, finished: Path, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Counter[Any]:
    """The content of the server after one undisturbed client."""
    serving.forget()
    alone = Small(Path(shutil.copytree(finished, tmp_path_factory.mktemp("alone") / "project")), warm)
    assert alone.run("publish", "one", env=serving.client).splitlines()[-1] == "published 7, there 0"
    found = serving.content()
    assert {kind for kind, *_ in found} == {"run", "metrics", "params", "model", "file"}
    assert max(found.values()) == 1
    return found


@pytest.fixture
def untrained(warm: Warm, tmp_path: Path) -> Small:
    """A project of two cells whose data is prepared."""
    root = tmp_path / "untrained"
    root.mkdir()
    (root / "params.yaml").write_text(json.dumps(small_params()))
    small = Small(root, warm)
    small.run("prepare", "digits")
    return small

"""The files of deploy/ and the script of services, without starting any of it."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from deployed import DEPLOY, ROOT, key_values

UNIT = (DEPLOY / "mlflow.service").read_text()


def test_the_unit_is_one_to_systemd_and_names_no_secret(tmp_path: Path) -> None:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.read_string(UNIT)
    service = parser["Service"]
    assert service["EnvironmentFile"] == "/etc/mlflow/server.env"
    assert not re.search("://|secret|password", service["ExecStart"], re.IGNORECASE)
    if systemd := shutil.which("systemd-analyze"):
        (tmp_path / "mlflow.service").write_text(
            UNIT.replace(service["ExecStart"].split()[0], shutil.which("true") or "")
        )
        checked = subprocess.run([systemd, "--man=no", "verify", tmp_path / "mlflow.service"], capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, b"")


def test_secrets_have_no_other_place() -> None:
    users = configparser.ConfigParser(interpolation=None)
    users.read(DEPLOY / "basic_auth.ini")
    settings = key_values((DEPLOY / "server.env").read_text())
    assert users["mlflow"]["auth_cache_ttl_seconds"] == "300" and "admin_password" not in users["mlflow"]
    for address in (settings["MLFLOW_BACKEND_STORE_URI"], users["mlflow"]["database_uri"]):
        assert address.startswith("postgresql+psycopg2://") and ":PASSWORD@" in address
    assert settings["MLFLOW_AUTH_ADMIN_PASSWORD"] == "PASSWORD"


@pytest.mark.parametrize("words", [[], ["start"], ["up", "minio"], ["down", "ceph"]])
def test_other_words_are_one_line(words: list[str], tmp_path: Path) -> None:
    done = services(tmp_path / "none", *words)
    assert (done.returncode, done.stdout) == (1, "") and len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "thesis").touch()
    assert services(tmp_path, "down").returncode == 0
    assert (tmp_path / "thesis").exists()


def services(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LMC_SERVICES": str(folder)}
    return subprocess.run([ROOT / "scripts/services.sh", *words], env=environment, capture_output=True, text=True)

"""DVC's remote on the same S3 server: what a clone pulls is whole, and is published without a training."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deployed import Deployed
from helpers import contents
from small import Small

pytestmark = [pytest.mark.server, pytest.mark.slow]

DVC = (sys.executable, "-m", "dvc")
STAGE = """
stages:
  one:
    cmd: "false"
    deps: [params.yaml]
    outs: [runs/one, results/one]
"""


def done(folder: Path, *command: str) -> str:
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert finished.returncode == 0, f"{command}: {finished.stdout}{finished.stderr}"
    return finished.stdout


def test_push_clone_pull_publish(server: Deployed, project: Small, expected: Counter[Any], tmp_path: Path) -> None:
    def give_keys(folder: Path) -> None:
        for name, key in (("access_key_id", "AWS_ACCESS_KEY_ID"), ("secret_access_key", "AWS_SECRET_ACCESS_KEY")):
            done(folder, *DVC, "remote", "modify", "--local", "server", name, server.services[key])

    root, clone = project.root, tmp_path / "clone"
    done(root, "git", "init", "-q")
    done(root, *DVC, "init", "-q")
    (root / "dvc.yaml").write_text(STAGE)
    done(root, *DVC, "commit", "-q", "-f")
    done(root, *DVC, "remote", "add", "-d", "server", "s3://dvc/project")
    done(root, *DVC, "remote", "modify", "server", "endpointurl", server.s3.address)
    give_keys(root)
    done(root, "git", "add", ".")
    done(root, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "all")
    assert "secret_access_key" not in done(root, "git", "grep", "--cached", "-h", "", "--", ".dvc")
    done(root, *DVC, "push", "-q")
    done(tmp_path, "git", "clone", "-q", str(root), str(clone))
    give_keys(clone)
    done(clone, *DVC, "pull", "-q")
    for name in ("runs", "results"):
        assert contents(clone / name / "one") == contents(root / name / "one")
    Small(clone, project.warm).run("publish", "one", env=server.client)
    assert server.content() == expected
    lock = (clone / "dvc.lock").read_bytes()
    done(clone, *DVC, "repro")  # its command would fail
    assert (clone / "dvc.lock").read_bytes() == lock

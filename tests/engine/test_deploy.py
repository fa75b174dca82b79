"""The files of deploy/ for other schedulers: their syntax, and what keeps a token to its owner."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPT = DEPLOY / "slurm.sbatch"
STUBS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done; echo "$*" >> calls; [[ $1 == ray ]] && exec sleep 3; "$@"',
    "scontrol": 'echo "scontrol $*" >> calls',
    "python": "if [[ $1 == -c ]]; then echo 127.0.0.1; else cat > /dev/null; fi",
    "lmc": 'trap "exit 130" INT; cat "$TMPDIR/token" > token; echo "$LMC_ENGINE $LMC_RAY_ADDRESS $*" > began\n'
    "for _ in {1..100}; do [[ $1 == short ]] && exit 7; sleep 0.1; done",
}
"""Programs of a cluster: each writes down how it was called."""


def test_the_sbatch_script_is_sound() -> None:
    assert SCRIPT.read_text().startswith("#!/bin/bash\n#SBATCH ")
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", SCRIPT], check=True)


@pytest.mark.parametrize("way", ["short", "long"])
def test_the_job_has_a_token_of_its_own_ends_with_the_code_or_is_queued_again(way: str, tmp_path: Path) -> None:
    """`long` is near its time limit: Slurm sends USR1 to the script."""
    (tmp_path / "bin").mkdir()
    for name, text in STUBS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        port = head.getsockname()[1]
        place = Path(f"/tmp/lmc-{port}")  # the job's number
        number = {"SLURM_JOB_ID": str(port), "SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_PER_TASK": "2"}
        environment = {**number, "SLURMD_NODENAME": "n1", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        script = SCRIPT.read_text().replace("$((20000 + SLURM_JOB_ID % 10000))", "$SLURM_JOB_ID")
        (tmp_path / "job").write_text(script)
        try:
            with (tmp_path / "printed").open("w") as printed:
                job = subprocess.Popen(["bash", "job", "lmc", way], cwd=tmp_path, env=environment, stderr=printed)
                if way == "long":
                    until = time.monotonic() + 30
                    while not (tmp_path / "began").exists() and time.monotonic() < until:
                        time.sleep(0.05)
                    assert (place / "token").stat().st_mode & 0o777 == 0o600
                    job.send_signal(signal.SIGUSR1)
                assert job.wait(30) == (7 if way == "short" else 138), (tmp_path / "printed").read_text()
            assert (tmp_path / "began").read_text() == f"ray 127.0.0.1:{port} {way}\n"
            token, calls = (tmp_path / "token").read_text(), (tmp_path / "calls").read_text()
            assert len(token) == 64 and token not in calls
            assert (
                calls.count("ray start") == 2 and f"--port={port}" in calls and f"--address=127.0.0.1:{port}" in calls
            )
            assert (f"scontrol requeue {port}\n" in calls) == (way == "long")
            assert place.exists() == (way == "long")
        finally:
            shutil.rmtree(place, ignore_errors=True)


def test_kuberay_has_a_token_on_head_and_workers() -> None:
    values = YAML(typ="safe").load(DEPLOY / "kuberay-values.yaml")
    for group in ("head", "worker"):
        variables = {entry["name"]: entry for entry in values[group]["containerEnv"]}
        assert variables["RAY_AUTH_MODE"]["value"] == "token"
        assert set(variables["RAY_AUTH_TOKEN"]) == {"name", "valueFrom"}  # never in the file itself
    assert values["head"]["rayStartParams"]["num-cpus"] == "0"

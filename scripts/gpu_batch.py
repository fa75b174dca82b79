"""One batch on a borrowed GPU: its tests, its benchmark, then studies of the paper until the time is over.

Usage: scripts/gpu_batch.sh OUT (which installs the wheels beside the tree first). Every step runs even where one
before it failed. OUT then holds at most eight files: tests.txt, benchmark.json, batch.json (each job with its exit
code and seconds), log.txt, and studies.tar.gz.00 to .03. At home:

    cat OUT/studies.tar.gz.* | tar -xz -C DIR, then for each folder in it: lmc publish DIR/JOB
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LMC = (sys.executable, "-c", "import sys; sys.argv[0] = 'lmc'; from lmc_repro.cli import main; sys.exit(main())")
PART_BYTES, PARTS = 15 * 2**20, 4
CHECKS = ("tests", "benchmark")
CHECK_SECONDS = 120.0  # at most, for each of these
LEAST_SECONDS = 15.0  # a job with less time left than this is not begun
GRACE_SECONDS = 20.0  # from the interruption of a job to its end

Run = Callable[[Sequence[str], float, Path], int]
"""Runs a command for at most so many seconds, its output appended to a file, and returns its exit code."""


@dataclass(frozen=True)
class Job:
    """A part of a study: its folder's name below OUT, and the arguments of `lmc run`."""

    name: str
    arguments: tuple[str, ...]


INITS = {"torch-default": (), "kaiming-normal": ("--set", "model.gain=slope")}
FEW = "evaluate_at=[0,2,10,50,100,185,190,195,200]"  # wide networks are evaluated as long as they are trained


def identify(width: int) -> list[Job]:
    """Return the cells that show which width and initialisation the paper used: Table 1's of ADAM, and 2 layers.

    Their products are tf32: in float32 the widest would take all of the time.
    """
    found = []
    for init, gain in INITS.items():
        setting = ["--pairs", "1", "--width", str(width), "--set", f"model.init={init}", *gain]
        setting += ["--set", "precision=tf32", *(("--set", FEW) if width > 1024 else ())]
        rows = ["--row", "4-layer-bs1024", "--row", "8-layer-bs1024"]
        columns = ["--column", "adam-high", "--column", "adam-medium"]
        two = ["--row", "constant", "--column", "adam-high"]
        found.append(Job(f"table1-width{width}-{init}", ("table1", *rows, *columns, *setting)))
        found.append(Job(f"table2-width{width}-{init}", ("table2", *two, *setting)))
    return found


def jobs() -> list[Job]:
    """Return all jobs, by value per second: what decides most first."""
    narrow = [job for width in (128, 256, 512, 1024) for job in identify(width)]
    one = ("--pairs", "1")
    slopes = [part for slope in ("slope-100", "slope-40", "slope-10", "slope-0") for part in ("--row", slope)]
    return [
        Job("table1", ("table1",)),
        *narrow,
        *identify(2048),
        Job("table2", ("table2",)),
        Job("figure3-mnist", ("figure3", "--column", "mnist")),
        Job("figure3-cifar10", ("figure3", "--column", "cifar10", *one)),
        Job("figure2-cifar10", ("figure2", "--column", "cifar10-high", *one)),
        Job("figure1", ("figure1", *slopes, *one)),
        Job("figure5", ("figure5", "--column", "mnist-sgd-high", "--column", "mnist-adam-high", *one)),
        Job("logistic-mnist", ("logistic", "--row", "mnist-bs1024", "--row", "mnist-bs30k")),
        Job("logistic-cifar10", ("logistic", "--row", "cifar10-bs1024", "--row", "cifar10-bs30k")),
        Job("appendix_c", ("appendix_c", *one)),
        Job("figure2-mnist", ("figure2", "--column", "mnist-high", *one)),
        *identify(4096),
    ]


def run_command(command: Sequence[str], seconds: float, log: Path) -> int:
    """Run a command, interrupt it when its time is over, and kill it if it does not end then."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
        for given, number in ((seconds, signal.SIGINT), (GRACE_SECONDS, signal.SIGKILL)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(given)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        return process.wait()


def batch(
    out: Path,
    work: Path,
    limit: float,
    wanted: Sequence[Job],
    device: str = "cuda",
    profile: str = "paper",
    checks: Sequence[str] = CHECKS,
    lanes: int = 1,
    run: Run = run_command,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, dict[str, float | int]]:
    """Run tests, benchmark and jobs, and leave their results in OUT after each.

    Args:
        out: The folder that is carried home.
        work: The folder of the studies, a subfolder each.
        limit: Seconds for all; the job that is running then is interrupted, and later ones are not begun.
        wanted: The jobs, in their order.
        device: cuda, or cpu for a trial.
        profile: The profile of params.yaml.
        checks: Which of tests and benchmark run first.
        lanes: How many jobs at once: one starts, reads and saves while another computes.
        run: See `Run`.
        clock: Seconds, rising.

    Returns:
        For each step begun its exit code and its seconds.
    """
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    log, end = out / "log.txt", clock() + limit
    quick = () if device == "cuda" else ("--quick", "--device", device, "--runs", "2", "--epochs", "3", "--alone", "1")
    common = ("--profile", profile, "--device", device, "--no-tracking", "--keep", "none")
    # -W default: another torch may warn of something else, which is to be read and not to fail
    tests = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "tests/gpu/test_gpu.py")
    first = {
        "tests": (tests, out / "tests.txt"),
        "benchmark": ((sys.executable, "-m", "benchmarks.gpu", *quick), out / "benchmark.json"),
    }
    done: dict[str, dict[str, float | int]] = {}
    one_at_a_time = threading.Lock()

    def take(name: str, command: Sequence[str], file: Path) -> None:
        left = end - clock() - GRACE_SECONDS
        if left < LEAST_SECONDS:
            return
        begun = clock()
        code = run(command, min(left, CHECK_SECONDS) if name in CHECKS else left, file)
        with one_at_a_time:
            done[name] = {"exit": code, "seconds": round(clock() - begun, 1)}
            print(f"{name}: exit {code} after {done[name]['seconds']} s", flush=True)
            if name not in CHECKS:
                with log.open("ab") as whole:
                    whole.write(f"== {name}: exit {code}\n".encode() + file.read_bytes())
            left_out = pack(work, [job for job in wanted if done.get(job.name, {}).get("exit") == 0], out)
            summary = {"steps": done, "left_out": left_out, "jobs": [asdict(job) for job in wanted]}
            (out / "batch.json").write_text(json.dumps(summary, indent=1) + "\n")

    def take_job(job: Job) -> None:
        take(job.name, (*LMC, "run", *job.arguments, *common, "--out", str(work / job.name)), work / f"{job.name}.log")

    for name in checks:
        take(name, *first[name])
    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(take_job, wanted))
    return done


def pack(work: Path, finished: Sequence[Job], out: Path) -> list[str]:
    """Write the finished jobs' folders as parts of one archive, and return the names of those that did not fit."""
    for old in out.glob("studies.tar.gz.*"):
        old.unlink()
    fits = list(finished)
    while fits:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for job in fits:
                archive.add(work / job.name, job.name)
        content = buffer.getvalue()
        if len(content) <= PART_BYTES * PARTS:
            for i in range(0, len(content), PART_BYTES):
                (out / f"studies.tar.gz.{i // PART_BYTES:02}").write_bytes(content[i : i + PART_BYTES])
            break
        fits.pop()
    return [job.name for job in finished[len(fits) :]]


def main() -> int:
    """Read the arguments, run the batch, and return 1 where a step failed."""
    parser = argparse.ArgumentParser(prog="scripts/gpu_batch.sh", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder that is carried home")
    parser.add_argument("--limit", type=float, default=540, help="seconds for all (default: 540)")
    names = [*CHECKS, *(job.name for job in jobs())]
    parser.add_argument("--only", nargs="+", default=names, metavar="STEP", help=", ".join(names))
    parser.add_argument("--lanes", type=int, default=2, help="jobs at once (default: 2)")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: a trial")
    parser.add_argument("--profile", default="paper", help="digits: a trial")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "gpu", help="folder of the studies")
    given = parser.parse_args()
    if unknown := set(given.only) - set(names):
        parser.error(f"--only: found {', '.join(sorted(unknown))}, allowed: {', '.join(names)}")
    wanted = [job for job in jobs() if job.name in given.only]
    checks = [name for name in CHECKS if name in given.only]
    out, work = given.out.resolve(), given.work.resolve()
    done = batch(out, work, given.limit, wanted, given.device, given.profile, checks, given.lanes)
    return 0 if all(step["exit"] == 0 for step in done.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

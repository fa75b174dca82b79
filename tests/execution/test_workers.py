"""The process that workers are forked from: begun early, and left alone by Ctrl-C."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal
from multiprocessing import forkserver
from lmc_repro.execution.workers import begin_early

def own(number, frame): ...
signal.signal(signal.SIGINT, own)
begin_early()
assert signal.getsignal(signal.SIGINT) is own
import sys
assert "torch" not in sys.modules
number = forkserver._forkserver._forkserver_pid
begin_early()
assert forkserver._forkserver._forkserver_pid == number
print(open(f"/proc/{number}/status").read())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_it_ignores_ctrl_c_from_its_first_moment_and_there_is_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    ignored = next(line for line in done.stdout.splitlines() if line.startswith("SigIgn:"))
    assert int(ignored.split()[1], 16) & 2  # bit of SIGINT
    assert done.stderr == ""


FREED = """
import resource, sys
from lmc_repro.execution.threads import keep_freed_memory
keep_freed_memory()
import torch
def step():
    return [torch.ones(100_000) for _ in range(8)]
for _ in range(3): step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep what they like")
def test_a_worker_asks_the_system_for_no_page_twice() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100  # of 20 x 8 x 98 pages

"""A signal that comes while Python runs a callback in which exceptions are dropped ends the process all the same."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time, weakref
from lmc_repro.common.errors import Interrupted
from lmc_repro.common.signals import listen

class Thing:
    def __del__(self):
        if {where!r} == "del":
            os.kill(os.getpid(), {number})
            time.sleep(0)

listen()
thing = Thing()
reference = weakref.ref(thing, lambda gone: {where!r} == "weakref" and os.kill(os.getpid(), {number}))
try:
    del thing
    if {where!r} == "plain":
        os.kill(os.getpid(), {number})
    time.sleep(60)
except Interrupted as interrupted:
    print("in order")
    sys.exit(interrupted.code)
"""


@pytest.mark.parametrize("where", ["plain", "del", "weakref"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_signal_is_lost(where: str, number: signal.Signals) -> None:
    program = PROGRAM.format(where=where, number=int(number))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "in order\n", "")


HALF_IMPORTED = """
import os, sys
from lmc_repro import cli
from lmc_repro.cli import app as module
from lmc_repro.common.errors import Interrupted

def command():
    if {number}:
        try:
            os.kill(os.getpid(), {number})
        except Interrupted:
            pass  # as a library's own handler of a failed import does
    raise RecursionError("numpy, half imported")

module.app = command
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_fails_because_of_a_signal_is_the_signals(number: signal.Signals) -> None:
    program = HALF_IMPORTED.format(number=int(number))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (128 + number, "interrupted: run the same command again to go on\n")


def test_a_mistake_of_this_program_stays_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", HALF_IMPORTED.format(number=0)], capture_output=True, text=True)
    assert done.returncode == 1 and "RecursionError: numpy, half imported" in done.stderr

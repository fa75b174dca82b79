"""A signal that comes while Python runs a callback in which exceptions are dropped ends the process all the same."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time, weakref
from lmc_repro.errors import Interrupted
from lmc_repro.interrupt import listen

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

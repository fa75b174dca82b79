"""A library is imported in a process of its own, whose end or silence is an answer."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from lmc_repro.doctor import probe


def test_a_library_that_is_there_and_one_that_is_not() -> None:
    there, absent = probe.start("json"), probe.start("no_such_library")
    assert "version" in probe.answer(there)
    assert probe.answer(absent)["error"] == "ModuleNotFoundError: No module named 'no_such_library'"


def test_ffcv_loads_where_it_is_imported() -> None:
    if importlib.util.find_spec("ffcv") is None:
        pytest.skip("ffcv is not installed")
    assert probe._ffcv()["library"].endswith(".so")


@pytest.mark.parametrize(
    ("code", "error"),
    [("import os; os.abort()", "ended with code -6"), ("raise SystemExit('words on stderr')", "words on stderr")],
)
def test_a_library_that_ends_its_process(code: str, error: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)
    assert error in probe.answer(process)["error"]


def test_a_library_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=-1, stderr=-1, text=True)
    assert "not imported within" in probe.answer(process)["error"]
    assert process.poll() is not None

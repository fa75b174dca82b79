"""A library is imported in a process of its own, whose end or silence is an answer."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lmc_repro.maintenance import probe


@pytest.mark.slow
def test_torch_is_imported_in_the_mode_asked_for() -> None:
    found = probe.answer(probe.start("torch", "native"))
    assert found["version"].startswith(metadata.version("torch"))
    assert found["mode"] == "native" and found["threads"] >= 1


def test_libraries_that_are_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ffcv").mkdir()
    (tmp_path / "ffcv" / "__init__.py").touch()
    (tmp_path / "torch.py").write_text("raise OSError('two\\nlines')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    torch, ffcv = probe.start("torch", "native"), probe.start("ffcv")
    assert probe.answer(torch) == {"error": "OSError: two lines"}
    assert probe.answer(ffcv) == {"error": f"ImportError: {tmp_path / 'ffcv'} holds no compiled _libffcv"}


def test_ffcv_loads_where_it_is_imported() -> None:
    if importlib.util.find_spec("ffcv") is None:
        pytest.skip("ffcv is not installed")
    found = probe.answer(probe.start("ffcv"))
    assert found["version"] == metadata.version("ffcv") and found["library"].endswith(".so")


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

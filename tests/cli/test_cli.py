"""The command line: quick to explain itself, one line for a mistake, progress that a log can hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lmc_repro.cli import main
from lmc_repro.cli.progress import Lines, Parts

HEAVY = {"torch", "mlflow", "matplotlib", "numpy", "dvc", "ffcv", "sklearn"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['lmc', 'run', '--help']\n"
        "from lmc_repro.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('modules:', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--profile" in done.stdout and "--dry-run" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].removeprefix("modules: ").split())
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_each_command_says_in_one_short_line_what_it_does() -> None:
    from typer.testing import CliRunner

    from lmc_repro.cli.app import app

    printed = CliRunner().invoke(app, ["--help"], terminal_width=80).stdout
    commands = printed.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(commands) > 10
    assert [line for line in commands if line.endswith("...") or len(line.split()) < 5] == []


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["lmc", *words])
    with pytest.raises(SystemExit) as end:
        main()
    code = end.value.code
    return (code if isinstance(code, int) else 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("run", "tabel1"), "error: STUDY: found 'tabel1', allowed: table1"),
        (("run", "table1", "--row", "x"), "error: --row: found 'x', allowed: 1-layer-bs30k"),
        (("run", "table1", "--column", "x"), "error: --column: found 'x', allowed: sgd-high"),
        (("run", "table1", "--profile", "x"), "error: --profile: found 'x', allowed: digits, paper"),
        (("prepare", "cifar"), "error: data set 'cifar' is unknown; use one of: cifar10, cifar100, digits"),
        (
            ("reproduction", "nowhere"),
            "error: nowhere: no such folder",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], line: str
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    code, printed = run(monkeypatch, capsys, *words)
    assert code == 2
    assert printed.startswith(line)
    assert printed.count("\n") == 1


def test_outside_of_a_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed = run(monkeypatch, capsys, "check")
    assert code == 2
    assert "no params.yaml here or in a folder above" in printed


def test_a_log_gets_a_line_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin("training", 100)
    for _ in range(100):
        lines.advance(1)
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "training"
    assert len(printed) == 11
    assert printed[-1].startswith("training: 100%")


def test_parts_of_a_preparation(capsys: pytest.CaptureFixture[str]) -> None:
    parts = Parts(Lines())
    for what, done in (("download", 40), ("download", 80), ("decoding", 40), ("decoding", 80)):
        parts.on_progress(what, done, 80)
    parts.end()
    lines = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["download", "download: 50%", "download: 100%", "decoding", "decoding: 50%", "decoding: 100%"]


def test_prepare_of_another_file_than_the_publishers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tmp_path / "mirror" / "cifar-100-python" / "train"
    train.parent.mkdir(parents=True)
    train.write_bytes(b"another file")
    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMC_DATA_MIRROR", str(tmp_path / "mirror"))
    code, printed = run(monkeypatch, capsys, "prepare", "cifar100")
    assert code == 2 and printed.count("\n") == 1
    assert printed.startswith(f"error: {train}: md5 ") and "expected 16019d7e3df5f24257cddd939b257f8d; put" in printed

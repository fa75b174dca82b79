"""The command line: quick to explain itself, one line for a mistake, progress that a log can hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from commands import lmc, refused
from helpers import EXAMPLE

from lmc_repro.cli.app import app
from lmc_repro.cli.progress import Lines, parts
from lmc_repro.cli.views import links
from lmc_repro.data.acquire import Unavailable
from lmc_repro.tracking.views import Shown

HEAVY = {"torch", "mlflow", "matplotlib", "numpy", "dvc", "ffcv", "sklearn"}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['lmc', *{words}]\n"
        "from lmc_repro.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('modules:', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("--dry-run" if words[1:] else "reproduction") in done.stdout
    loaded = set(done.stdout.splitlines()[-1].removeprefix("modules: ").split())
    assert "typer" in loaded and not loaded & HEAVY


def test_each_command_says_in_one_short_line_what_it_does() -> None:
    from typer.testing import CliRunner

    from lmc_repro.cli.app import app

    printed = CliRunner().invoke(app, ["--help"], terminal_width=80).stdout
    commands = printed.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(commands) > 10
    assert [line for line in commands if line.endswith("...") or len(line.split()) < 5] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("run", "tabel1"), "STUDY: found 'tabel1', allowed: table1"),
        (("run", "table1", "--row", "x"), "--row: found 'x', allowed: 1-layer-bs30k"),
        (("run", "table1", "--column", "x"), "--column: found 'x', allowed: sgd-high"),
        (("run", "table1", "--profile", "x"), "--profile: found 'x', allowed: digits, paper"),
        (
            ("prepare", "cifar"),
            "data set: found 'cifar', allowed: digits, mnist, cifar10, cifar100, tinyimagenet, FILE.py:NAME",
        ),
        (("reproduction", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], line: str
) -> None:
    monkeypatch.chdir(ROOT)
    assert refused(*words).startswith(line)


def test_outside_of_a_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused("check").startswith(f"{tmp_path}: no params.yaml")


def test_a_study_that_streams_is_refused_before_any_work_where_ffcv_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(EXAMPLE, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ffcv", None)
    said = refused("run", "table1", "--row", "1-layer-bs1024")
    assert all(word in said for word in ("params.yaml: studies.table1: loader", "'lmc_repro[ffcv]'", "resident"))
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_log_gets_a_line_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin("training", 100)
    for _ in range(100):
        lines.advance(1)
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "training" and printed[-1].startswith("training: 100%")
    assert len(printed) == 11


def test_parts_of_a_preparation(capsys: pytest.CaptureFixture[str]) -> None:
    with parts(Lines()) as on_progress:
        for what, done in (("download", 40), ("download", 80), ("decoding", 40), ("decoding", 80)):
            on_progress(what, done, 80)
    lines = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["download", "download: 50%", "download: 100%", "decoding", "decoding: 50%", "decoding: 100%"]


def test_prepare_of_another_file_than_the_publishers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = tmp_path / "mirror" / "cifar-100-python" / "train"
    train.parent.mkdir(parents=True)
    train.write_bytes(b"another file")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMC_DATA_MIRROR", str(tmp_path / "mirror"))
    code, _, err = lmc("prepare", "cifar100")
    assert code == 2 and err.count("\n") == 1
    assert err.startswith(f"error: {train}: md5 ") and "expected 16019d7e3df5f24257cddd939b257f8d; put" in err


@pytest.mark.parametrize(("options", "code"), [((), 2), (("--if-used",), 0)])
def test_prepare_of_what_cannot_be_had(
    options: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage of DVC goes on without it; whoever asks for it is told by the exit code."""

    def unavailable(*_: object) -> None:
        raise Unavailable("no network")

    monkeypatch.setattr("lmc_repro.data.prepare.fetch", unavailable)
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("profile: digits\n", "profile: paper\n", 1))
    monkeypatch.chdir(tmp_path)
    said = lmc("prepare", "mnist", *options)
    assert said.code == code and "data set mnist: absent: no network" in said.err
    assert json.loads((tmp_path / "data/prepared/mnist/status.json").read_text())["state"] == "absent"


def numeric_options() -> list[tuple[str, str]]:
    """Return every option that takes a number, with its command."""
    found = []
    for command in app.registered_commands:
        assert command.callback is not None and command.name is not None
        for name, hint in get_type_hints(command.callback).items():
            if {int, float} & {hint, *get_args(hint)}:
                found.append((command.name, f"--{name.replace('_', '-')}"))
    return found


def test_there_are_options_of_numbers() -> None:
    assert {("run", "--pairs"), ("barrier", "--min-train-accuracy"), ("ui", "--port")} <= set(numeric_options())


@pytest.mark.parametrize(("command", "option"), numeric_options())
def test_every_number_has_bounds(command: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for value in ("-1", "1e99", "nan", "inf", "10000000000"):
        code, out, err = lmc(command, f"{option}={value}")
        assert (code, out) == (2, "") and option in err and "Traceback" not in err, (value, err)


@pytest.mark.parametrize("value", ["-1", "1e99", "nan", "99999999999999999999", "0,0"])
def test_seeds_that_are_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert refused("run", "table1", f"--trainer-seeds={value}").startswith("--trainer-seeds: ")


@pytest.mark.parametrize(("pairs", "said"), [(25, 0), (26, 1), (100, 1), (101, 2)])
def test_it_says_when_a_page_does_not_begin_with_all_runs(pairs: int, said: int) -> None:
    """MLflow's pages load 100 runs, draw those, and call them all that match; cells and trainings are runs, too."""
    shown = Shown("lmc/figure1/digits", "7", tuple(f"{i:032x}" for i in range(pairs)))
    printed = "\n".join(links("http://127.0.0.1:5000", [shown], None, None))
    assert printed.startswith(f"lmc/figure1/digits: {pairs} pairs\n")
    assert printed.count("Load more") == said
    assert "--row" not in "\n".join(links("http://127.0.0.1:5000", [shown], "deep", None))


def test_a_terminal_gets_hyperlinks_and_short_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown("lmc/figure1/digits", "7", tuple(f"{i:032x}" for i in range(12)))
    piped = "\n".join(links("http://127.0.0.1:5000", [shown], None, None))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    printed = "\n".join(links("http://127.0.0.1:5000", [shown], None, None))
    addresses = re.findall(r"^ +(http\S+)$", piped, re.MULTILINE)
    assert re.findall(r"\033\]8;;(\S+?)\033\\", printed) == addresses
    seen = re.sub(r"\033\]8;;.*?\033\\", "", printed)
    assert max(map(len, seen.splitlines())) <= 205 < max(map(len, piped.splitlines()))

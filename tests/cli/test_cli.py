"""The command line: quick to explain itself, one line for a mistake, progress that a log can hold."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from commands import lmc, refused
from helpers import EXAMPLE
from ruamel.yaml import YAML
from typer.main import get_command

from lmc_repro.cli.app import app
from lmc_repro.cli.progress import Lines, parts
from lmc_repro.cli.studies import link
from lmc_repro.cli.views import links
from lmc_repro.common import progress
from lmc_repro.data.acquire import Unavailable
from lmc_repro.tracking.views import Shown

HEAVY = {"torch", "mlflow", "matplotlib", "numpy", "dvc", "ffcv", "sklearn"}
ROOT = Path(__file__).parents[2]
slow = pytest.mark.slow


def test_every_help_is_plain_and_imports_nothing_heavy() -> None:
    """In one process: no type of Python's, an example at the end that can be parsed, and `lmc list` too."""
    words = [["--help"], ["list"], *([command.name, "--help"] for command in app.registered_commands)]
    code = (
        "import json, sys\nfrom commands import lmc\n"
        "said = [lmc(*words) for words in json.loads(sys.argv[1])]\n"
        "print(json.dumps([said, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    command = [sys.executable, "-c", code, json.dumps(words)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "tests"), str(ROOT)))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=env)
    said, loaded = json.loads(done.stdout)
    assert "typer" in loaded and not set(loaded) & HEAVY
    assert [code for code, _, _ in said] == [0] * len(words) and "table1 " in said[1][1]
    for (_, out, _), (name, _) in zip(said[2:], words[2:], strict=True):
        assert not re.search("<[a-z]", out), name
        example = re.sub(r"\s+", " ", out.rpartition("Example: lmc ")[2]).split()
        assert example[0] == name
        get_command(app).commands[name].make_context(name, example[1:])  # type: ignore[attr-defined]


def test_each_command_says_in_one_short_line_what_it_does() -> None:
    from typer.testing import CliRunner

    from lmc_repro.cli.app import COMMANDS, app

    printed = CliRunner().invoke(app, ["--help"], terminal_width=80).stdout
    blocks = [block.splitlines() for block in printed.split("\n\n")]
    groups = {block[0].removesuffix(":"): block[1:] for block in blocks if block[0].removesuffix(":") in COMMANDS}
    assert list(groups) == list(COMMANDS)
    for group, commands in COMMANDS.items():
        names = [command.__name__.rstrip("_") for command in commands if command is not link]
        assert [line.split()[0] for line in groups[group]] == names
        assert [line for line in groups[group] if line.endswith("...") or len(line.split()) < 5] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("run", "tabel1"), "STUDY: found 'tabel1', allowed: table1"),
        (("run", "table3"), "STUDY: table3 is an exhibit, which needs no training; `lmc exhibit table3` makes it"),
        (("exhibit", "table1"), "EXHIBIT: table1 is a study; `lmc run table1` trains and compares it"),
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


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("run", "tabel1"), "table1"),
        pytest.param(("exhibit", "tabel3"), "table3", marks=slow),
        pytest.param(("train", "figur2"), "figure2", marks=slow),
        (("run", "table1", "--row", "2-layer-bs124"), "2-layer-bs1024"),
        pytest.param(("run", "table1", "--column", "adam-hihg"), "adam-high", marks=slow),
        pytest.param(("run", "table1", "--profile", "papre"), "paper", marks=slow),
        (("run", "table1", "--dataset", "mnits"), "mnist"),
        (("run", "table1", "--set", "schedule.kind=cosin"), "cosine"),
        pytest.param(("run", "table1", "--keep", "lst"), "last", marks=slow),
        (("prepare", "cifar"), "cifar10"),
        (("barrier", "a", "b", "--model", "mlp:depth=1", "--data", "digts"), "digits"),
    ],
)
def test_a_misspelled_name_is_answered_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], word: str
) -> None:
    monkeypatch.chdir(ROOT)
    assert refused(*words).endswith(f"; did you mean {word}?")


@pytest.mark.parametrize(("words", "word"), [(("rnu",), "'run'"), (("run", "table1", "--rows", "x"), "--row")])
def test_misspelled_commands_and_options_too(words: tuple[str, ...], word: str) -> None:
    code, out, err = lmc(*words)
    assert (code, out) == (2, "") and word in err.splitlines()[-1]


def test_check_names_every_mistake_on_a_line_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    profile = params["profiles"]["digits"]
    profile["optimizers"]["sgd-high"]["momentm"] = profile["optimizers"]["sgd-high"].pop("momentum")
    profile["points"] = 1
    params["studies"]["table1"]["title"] = 7
    monkeypatch.chdir(tmp_path)

    def places() -> list[str]:
        YAML(typ="safe", pure=True).dump(params, tmp_path / "params.yaml")
        code, out, err = lmc("check")
        assert (code, out) == (2, "")
        return [line.removeprefix("error: params.yaml: ").partition(": ")[0] for line in err.splitlines()]

    optimizer = "profiles.digits.optimizers.sgd-high.momentm"  # and not that momentum is missing
    assert places() == [optimizer, "profiles.digits.points", "studies.table1.title"]
    profile["optimizers"]["sgd-high"]["momentum"] = profile["optimizers"]["sgd-high"].pop("momentm")
    profile["points"], params["studies"]["table1"]["title"] = 11, "Table 1"
    profile["settings"]["model"] |= {"widht": 3, "bais": True}
    params["studies"]["table2"]["base"]["data"]["datset"] = "digits"
    model = "profiles.digits.settings.model"
    assert sorted(places()) == [f"{model}.bais", f"{model}.widht", "studies.table2.base.data.datset"]
    for key in ("widht", "bais"):
        del profile["settings"]["model"][key]
    del params["studies"]["table2"]["base"]["data"]["datset"]
    for study in ("table1", "table2"):
        params["studies"][study]["base"]["pair"] = "augmentation"  # where nothing is augmented
    params["exhibits"]["figure4"]["dataset"] = "cifr10"
    assert [place.partition(",")[0] for place in places()] == ["studies.table1", "studies.table2", "exhibits.figure4"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("lmc run tabl", {"table1", "table2"}),
        pytest.param("lmc exhibit tabl", {"table3", "table4"}, marks=slow),
        ("lmc run table1 --row 2-layer-bs1", {"2-layer-bs1024"}),
        ("lmc run table1 --column adam-", {"adam-high", "adam-medium"}),
        pytest.param("lmc run table1 --profile p", {"paper"}, marks=slow),
        ("lmc run nothing --row 2", set()),
        pytest.param("lmc ui tabl", {"table1", "table2"}, marks=slow),
        pytest.param("lmc ui table1 --column adam-", {"adam-high", "adam-medium"}, marks=slow),
        pytest.param("lmc publish tabl", {"table1", "table2"}, marks=slow),
        ("lmc report tabl", {"table1", "table2", "table3", "table4"}),
        pytest.param("lmc rep", {"report", "reproduce", "reproduction"}, marks=slow),
    ],
)
def test_tab_completes_names_of_params_yaml(typed: str, words: set[str]) -> None:
    code = (
        "import sys; sys.argv = ['lmc']\nfrom lmc_repro.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('heavy:', *{{name.partition('.')[0] for name in sys.modules}} & {HEAVY})"
    )
    asked = {"_LMC_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | asked)
    *found, heavy = done.stdout.splitlines()
    assert set(filter(None, found)) == words and heavy == "heavy:"


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


def test_a_log_gets_a_line_per_part_and_one_per_ten_minutes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 101 * 30, 30))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = Lines()
    lines.begin("training", 100)  # 100 units of 30 s each
    for _ in range(100):
        lines.advance(1)
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        "training",
        *(f"training: {20 * i}%, {600 * i} s spent, about {3000 - 600 * i} s left" for i in range(1, 5)),
    ]


def test_parts_of_a_preparation(capsys: pytest.CaptureFixture[str]) -> None:
    with parts(Lines()) as on_progress:
        for what, done in (("download", 40), ("download", 80), ("decoding", 40), ("decoding", 80)):
            on_progress(what, done, 80)
    assert capsys.readouterr().err.splitlines() == ["download", "decoding"]


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

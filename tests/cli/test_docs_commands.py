"""The `lmc` commands that pages and README show are parsed as they stand: each command and each option exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

UsageError = typer.BadParameter.__mro__[1]  # of click, or of typer's own copy
REPOSITORY = Path(__file__).parents[2]
PAGES = (
    "README.md",
    *("docs/own_studies.md", "docs/barriers.md", "docs/commands.md", "docs/paper.md", "docs/definitions.md"),
    *("docs/beyond.md", "docs/api.md", "docs/quickstart.md", "docs/faq.md", "docs/mlflow.md", "docs/report.md"),
    *("docs/extending.md", "docs/reproduction.md", "docs/cluster.md"),
)
BLOCK = re.compile(r"^```sh\n(.*?)^```$|^((?: {4}\S.*\n)+)", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return every shown line that begins with `lmc`, without comments; `&&` begins another."""
    found = {}
    for page in PAGES:
        for fenced, indented in BLOCK.findall((REPOSITORY / page).read_text()):
            for line in (fenced or indented).splitlines():
                for part in re.split(r"&&|;|\|", line.partition(" # ")[0]):
                    if part.split()[:1] == ["lmc"]:
                        found.setdefault(part.strip(), page)
    return sorted(found)


@pytest.mark.parametrize("line", commands())
def test_a_shown_command_parses(line: str) -> None:
    parse(shlex.split(line.partition(">")[0])[1:])


def parse(words: list[str]) -> None:
    """Parse the words after `lmc` and run nothing; names in capitals stand for arguments."""
    from lmc_repro.cli.app import app

    group = typer.main.get_command(app)
    name, *rest = words
    if name.startswith("--"):
        assert name in {option for param in group.params for option in param.opts} | {"--help"}
        return
    group.commands[name].make_context(name, rest)


@pytest.mark.parametrize("line", ["rnu table1", "run table1 --rows a", "run table1 --epochs many", "run"])
def test_a_wrong_one_is_seen(line: str) -> None:
    with pytest.raises((KeyError, UsageError)):
        parse(line.split())


def test_many_are_found() -> None:
    assert len(commands()) > 25

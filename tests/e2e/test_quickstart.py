"""The commands of docs/quickstart.md, as they stand there, in a tiny copy of the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browsing import served
from three_doors import runs_behind
from tiny_project import REPOSITORY, TinyProject, make_project

pytestmark = [pytest.mark.slow, pytest.mark.server]

# All that is not done as written: no installation (this environment comes first on PATH), and a server is ended again.
INSTEAD = {"make repro": "dvc repro", "source .venv/bin/activate": "true"}
SERVER = re.compile(r"^lmc ui (\w+)$", re.MULTILINE)


def blocks() -> list[str]:
    """Return the fenced commands, what replaces some lines put in their place."""
    page = (REPOSITORY / "docs" / "quickstart.md").read_text()
    found = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return ["".join(f"{INSTEAD.get(line, line)}\n" for line in block.splitlines()) for block in found]


def do(project: TinyProject, block: str) -> str:
    """Run a block as a user's shell would, stopping at what fails; a server is asked for its links, then ended."""
    printed = project.ok("bash", "-euo", "pipefail", "-c", SERVER.sub("", block))
    for study in SERVER.findall(block):
        with served(project.start, study) as links:
            printed += "\n".join(links.values())
    return printed


def test_its_commands_run_and_show_what_it_says(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    install, look, ui, own, change, see = blocks()
    assert "trained 8, reused 0, resumed 0" in do(project, install)
    assert "2-layer-bs1024--adam-high" in do(project, look)
    assert "viewStateShareKey=" in do(project, ui)
    printed = do(project, own)
    assert "slopes, profile digits: 6 cells, 12 runs" in printed
    assert "trained 12, reused 0, resumed 0" in printed
    assert "train@table1" not in printed.replace("'train@table1' didn't change", "")
    report = (tmp_path / "report" / "index.html").read_text()
    assert "Slopes of my own" in report and "slope 0.5" in report
    assert "trained 4, reused 8, resumed 0" in do(project, change)
    assert project.params()["studies"]["slopes"]["rows"]["leaky"]["model"]["slope"] == 0.2
    printed = do(project, see)
    assert "leaky--adam-high" in printed and "viewStateShareKey=" in printed
    report = (tmp_path / "report" / "index.html").read_text()
    assert "slope 0.2" in report and "slope 0.5" not in report
    with served(project.start, "slopes") as links:  # the view draws what has path/test_error
        pairs = runs_behind(links["view"], "pair")
    assert all("path/test_error" in run["metrics"] for run in pairs)
    assert {run["params"]["model.slope"] for run in pairs} == {"1.0", "0.5", "0.2", "0.0"}


def test_what_is_replaced_stands_there() -> None:
    page = (REPOSITORY / "docs" / "quickstart.md").read_text().splitlines()
    assert INSTEAD.keys() <= set(page)

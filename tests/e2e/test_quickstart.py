"""The commands of docs/quickstart.md, as they stand there, in a tiny copy of the project."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import served
from three_doors import runs_behind
from tiny_project import REPOSITORY, Finished, TinyProject

pytestmark = [pytest.mark.slow, pytest.mark.server]

# All that is not done as written: no installation (this environment comes first on PATH), and a server is ended again.
INSTEAD = {"make repro": "dvc repro", "source .venv/bin/activate": "true"}
SERVER = re.compile(r"^lmc ui (\w+)$", re.MULTILINE)


def blocks() -> list[str]:
    """Return the fenced commands, what replaces some lines put in their place."""
    page = (REPOSITORY / "docs" / "quickstart.md").read_text()
    found = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return ["".join(f"{INSTEAD.get(line, line)}\n" for line in block.splitlines()) for block in found]


def do(project: TinyProject, block: str) -> tuple[str, list[dict[str, Any]]]:
    """Run a block as a user's shell would, stopping at what fails; a server is asked for the view's pairs, then ended.

    Return what was printed, and the pairs.
    """
    printed = project.ok("bash", "-euo", "pipefail", "-c", SERVER.sub("", block))
    pairs = []
    for study in SERVER.findall(block):
        with served(project.start, study) as links:
            assert "viewStateShareKey=" in links["view"]
            pairs += runs_behind(links["view"], "pair")
    assert all("path/test_error" in run["metrics"] for run in pairs)  # which the view draws
    return printed, pairs


def test_its_commands_run_and_show_what_it_says(finished: Finished, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "project")  # after its first block
    install, look, ui, own, change, see = blocks()
    assert (install, ui) == ("dvc repro\n", "lmc ui table1\n")  # test_mlflow_ui.py opens its pages
    assert "2-layer-bs1024--adam-high" in do(project, look)[0]
    printed, _ = do(project, own)
    assert "slopes, profile digits: 6 cells, 36 runs" in printed
    assert "trained 36, reused 0, resumed 0" in printed
    assert "train@table1" not in printed.replace("'train@table1' didn't change", "")
    report = project.root / "report" / "index.html"
    assert "Slopes of my own" in report.read_text() and "slope 0.5" in report.read_text()
    assert "trained 12, reused 24, resumed 0" in do(project, change)[0]
    assert project.params()["studies"]["slopes"]["rows"]["leaky"]["model"]["slope"] == 0.2
    printed, pairs = do(project, see)
    assert "leaky--adam-high" in printed
    assert "slope 0.2" in report.read_text() and "slope 0.5" not in report.read_text()
    assert {run["params"]["model.slope"] for run in pairs} == {"1.0", "0.5", "0.2", "0.0"}


def test_what_is_replaced_stands_there() -> None:
    page = (REPOSITORY / "docs" / "quickstart.md").read_text().splitlines()
    assert INSTEAD.keys() <= set(page)

"""A project that `lmc init` begins: to its report without git, DVC and ffcv, and as DVC's pipeline without git."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_project import REPOSITORY, TinyProject, contents

pytestmark = pytest.mark.slow

HOOK = """
import sys

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("dvc", "ffcv", "git", "numba"):
            raise ImportError(f"{name} is not on this machine")

sys.meta_path.insert(0, Bare())
"""
QUICK = (("epochs: 20", "epochs: 2"), ("[0, 16, 18, 20]", "[0, 2]"), ("pairs: 3 ", "pairs: 1 "))
MINE = """
  mine:
    base: {data: {dataset: "halves.py:HALVES"}, batch: 32}
    rows:
      resnet: {label: ResNet, model: {kind: module, module: small_resnet.py:build, options: {channels: 4, blocks: 1}}}
    columns:
      sgd: {label: SGD, optimizer: {kind: sgd, lr: 0.01, momentum: 0.9}}
"""


def change(path: Path, *changes: tuple[str, str]) -> None:
    """Replace texts of a file that stand there once."""
    text = path.read_text()
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path.write_text(text)


def printed_cells(said: str) -> dict[tuple[str, str], list[str]]:
    """Return the numbers of each cell in the table that `lmc run` prints: a row's lines below a line of columns."""
    lines = said.splitlines()
    top = next(i for i, line in enumerate(lines) if line.strip().startswith("test / train "))
    names = re.split(r"\s{2,}", lines[top].strip())[1:]
    starts = [lines[top].index(name) for name in names]
    end_of_table = min(lines.index(title) for title in ("Flags", "Settings and versions") if title in lines)
    found: dict[tuple[str, str], list[str]] = {}
    label = ""
    for line in lines[top + 2 : end_of_table]:
        label = line[: starts[0]].strip() or label  # on the first line of its row
        for name, start, end in zip(names, starts, (*starts[1:], None), strict=True):
            if any(character.isdigit() for character in line[start:end]):
                found.setdefault((label, name), []).append(line[start:end].strip().split(", ")[0])
    return found


def in_a_table(cell: Mapping[str, Any]) -> list[str]:
    """Return the means of a cell, and of its line barriers, as a table has them; without them, why there are none."""
    if cell["test"]["mean"] is None:
        collapsed = sum("collapsed" in pair["status"] for pair in cell["pairs"])
        return [f"of {len(cell['pairs'])} pairs {collapsed} collapsed"]
    both = ([cell[split][name] for split in ("test", "train")] for name in ("mean", "line_mean"))
    mean, line = (" / ".join(f"{value:.2f}" for value in values) for values in both)
    return [mean, f"L {line}"]


@dataclass(frozen=True)
class Bare:
    """A machine on which only Python is: neither programs nor packages for git, DVC and ffcv."""

    site: Path

    def lmc(self, folder: Path, *words: str, code: int = 0) -> str:
        """Run `lmc` in a folder, check its exit code, and return what it printed."""
        environment: Mapping[str, str] = {
            "PYTHONPATH": f"{self.site}{os.pathsep}{REPOSITORY}",
            "PATH": str(self.site),
            "HOME": str(self.site),
            "COLUMNS": "160",
        }
        command = [sys.executable, "-c", "from lmc_repro.cli import main; main()", *words]
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code and "Traceback" not in done.stdout, done.stdout
        return done.stdout


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HOOK)
    return Bare(site)


def test_to_the_report_without_git_dvc_and_ffcv(bare: Bare, tmp_path: Path) -> None:
    bare.lmc(tmp_path, "init", "p")
    root = tmp_path / "p"
    change(root / "params.yaml", *QUICK)
    said = bare.lmc(root, "run", "depth")
    assert "trained 8, reused 0" in said
    cells = json.loads((root / "out/digits/depth/results/depth/cells.json").read_text())
    assert printed_cells(said) == {(cell["row_label"], cell["column_label"]): in_a_table(cell) for cell in cells}
    report = (root / "out/digits/depth/report/report.md").read_text()
    assert report.startswith("# Linear networks, deep and shallow")
    assert "Table 1" not in report and "Sources" not in report
    assert str(root / "out/digits/depth/report/index.html") in bare.lmc(root, "report")
    assert not list(root.rglob("*.beton"))
    assert "lmc_repro[ffcv]" in bare.lmc(root, "run", "depth", "--set", "loader=ffcv", code=2)
    findings = json.loads(bare.lmc(root, "doctor", "--json"))["findings"]
    assert {f["name"]: f["state"] for f in findings if f["name"] in ("ffcv", "git")} == {"ffcv": "info", "git": "info"}

    # A network and a data set of one's own, from docs/extending.md.
    for name in ("halves.py", "small_resnet.py"):
        shutil.copy(REPOSITORY / "examples/extending" / name, root)
    page = (REPOSITORY / "docs/extending.md").read_text()
    first = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert first is not None
    subprocess.run([sys.executable, "-c", first[1]], cwd=root, check=True, stdout=subprocess.DEVNULL)
    change(root / "params.yaml", ("datasets: [digits]", "datasets: [digits, halves.py:HALVES]"))
    with open(root / "params.yaml", "a") as file:
        file.write(MINE)
    assert "trained 2, reused 0" in bare.lmc(root, "run", "mine")
    cells = json.loads((root / "out/digits/mine/results/mine/cells.json").read_text())
    assert [(cell["row"], cell["column"], len(cell["pairs"])) for cell in cells] == [("resnet", "sgd", 1)]


def test_dvc_repro_twice_makes_what_lmc_run_makes_and_then_nothing(tmp_path: Path) -> None:
    project = TinyProject(tmp_path / "p")
    TinyProject(tmp_path).lmc("init", "p")
    change(project.root / "params.yaml", *QUICK)
    project.ok("dvc", "init", "-q", "--no-scm")
    assert "trained 8, reused 0" in project.ok("dvc", "repro")
    assert "Running stage" not in project.ok("dvc", "repro")
    assert "trained 0, reused 8" in project.lmc("run", "depth")
    assert contents(project.root / "out/digits/depth/results/depth") == contents(project.root / "results/depth")

"""A study that is trained on a machine with little installed, and imported: the results of `lmc run`, byte for byte."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_project import TinyProject, make_project

pytestmark = pytest.mark.slow

FORBIDDEN = (
    "mlflow", "ffcv", "dvc", "ruamel", "typer", "rich", "matplotlib", "sklearn", "torchvision", "PIL", "numba",
    "sqlalchemy", "jinja2",
)  # fmt: skip
HOOK = f"""
import sys

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN!r}:
            raise ImportError(f"{{name}} is not on this machine")

sys.meta_path.insert(0, Bare())
"""
RESULTS = "out/digits/table1/results/table1"


@dataclass(frozen=True)
class Bare:
    """A folder with a copy of the package, a plan and prepared data, on whose Python little is installed."""

    root: Path

    def bundle(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the bundle command; stderr is in stdout. Its workers meet the hook too: site imports it everywhere."""
        command = [sys.executable, "-m", "lmc_repro.execution.bundle", "plan.json", "--data", "prepared", *options]
        return subprocess.run(
            command, cwd=self.root, env={"PYTHONPATH": f"{self.root / 'site'}:{self.root}", "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip


def results(project: TinyProject) -> dict[str, bytes]:
    folder = project.root / RESULTS
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def forget(project: TinyProject) -> None:
    """Leave nothing of what was run, trained or logged."""
    for name in (".lmc", "out", "mlartifacts"):
        shutil.rmtree(project.root / name, ignore_errors=True)
    (project.root / "mlflow.db").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyProject, dict[str, bytes], Bare]:
    """A project in which `lmc run table1` has been forgotten, its results, and a bare machine with the plan."""
    project = make_project(tmp_path_factory.mktemp("project"))
    project.ok("lmc", "run", "table1", "--pairs", "2")
    expected = results(project)
    bare = Bare(tmp_path_factory.mktemp("bare"))
    shutil.copytree(project.root / "lmc_repro", bare.root / "lmc_repro")
    shutil.copytree(project.root / ".lmc/prepared", bare.root / "prepared")
    for beton in bare.root.glob("prepared/*/*.beton"):
        beton.unlink()
    (bare.root / "site").mkdir()
    (bare.root / "site" / "sitecustomize.py").write_text(HOOK)
    printed = project.ok("lmc", "plan", "table1", "--pairs", "2", "--out", str(bare.root / "plan.json"))
    assert "4 cells, 16 runs" in printed
    forget(project)
    return project, expected, bare


def test_results_of_a_bare_machine_are_those_of_lmc_run(both: tuple[TinyProject, dict[str, bytes], Bare]) -> None:
    project, expected, bare = both
    done = bare.bundle("--out", "table1.lmc", "--jobs", "2")
    assert done.returncode == 0, done.stdout
    assert "16 runs (16 trained now), 8 pairs, checkpoints: none" in done.stdout
    assert "training 16 runs" in done.stdout and "100%" in done.stdout  # progress
    first = (bare.root / "table1.lmc").read_bytes()
    again = bare.bundle("--out", "table1.lmc")
    assert "16 runs (0 trained now)" in again.stdout
    assert (bare.root / "table1.lmc").read_bytes() == first  # nothing is done twice, and equal bits give equal files
    with zipfile.ZipFile(bare.root / "table1.lmc") as bundle:
        assert not [name for name in bundle.namelist() if name.endswith(".safetensors")]

    printed = project.ok("lmc", "import", str(bare.root / "table1.lmc"))
    assert "imported 16 runs (0 with all their weights) and 8 pairs" in printed
    assert results(project) == expected
    assert (project.root / "out/digits/table1/report/index.html").is_file()
    ids = [cell["run_id"] for cell in json.loads(project.ok("lmc", "list", "table1", "--json"))["cells"]]
    project.ok("lmc", "import", str(bare.root / "table1.lmc"))  # changes nothing
    listed = json.loads(project.ok("lmc", "list", "table1", "--json"))["cells"]
    assert [cell["run_id"] for cell in listed] == ids and results(project) == expected
    shown = json.loads(project.ok("lmc", "show", ids[0], "--json"))
    assert len(shown["trainings"]) == len({run["run_id"] for run in shown["trainings"]}) == 4
    assert len(shown["pairs"]) == 2
    refused = project.fails("lmc", "compare", *[run["run_id"] for run in shown["trainings"][:2]])
    assert "was imported without the weights" in refused
    # Runs without weights are no runs to be reused: `lmc run` trains them and comes to the same.
    assert "trained 16, reused 0" in project.ok("lmc", "run", "table1", "--pairs", "2")
    assert results(project) == expected
    assert not list(project.root.glob(".lmc/imports/*"))


def test_with_all_weights_nothing_is_left_to_train(both: tuple[TinyProject, dict[str, bytes], Bare]) -> None:
    project, expected, bare = both
    forget(project)
    done = bare.bundle("--out", "whole.lmc", "--work", "table1.lmc.work", "--keep", "all")
    assert done.returncode == 0, done.stdout
    printed = project.ok("lmc", "import", str(bare.root / "whole.lmc"))
    assert "imported 16 runs (16 with all their weights)" in printed
    assert "trained 0, reused 16" in project.ok("lmc", "run", "table1", "--pairs", "2")
    assert results(project) == expected


def test_a_damaged_file_is_one_line_and_changes_nothing(
    both: tuple[TinyProject, dict[str, bytes], Bare], tmp_path: Path
) -> None:
    project, _, bare = both
    forget(project)
    content = bytearray((bare.root / "table1.lmc").read_bytes())
    content[content.index(b"epoch,split,wrong") + 40] ^= 1
    (tmp_path / "damaged.lmc").write_bytes(content)
    printed = project.fails("lmc", "import", str(tmp_path / "damaged.lmc"))
    assert "damaged.lmc" in printed and printed.count("\n") == 1
    assert not (project.root / "out").exists() and not (project.root / "mlflow.db").exists()


def test_mistakes_on_the_bare_machine_are_one_line(both: tuple[TinyProject, dict[str, bytes], Bare]) -> None:
    _, _, bare = both
    done = bare.bundle("--out", "x.lmc", "--pairs", "5")
    assert done.returncode == 2 and done.stdout == (
        "error: --pairs: plan.json has its choices made; give them to `lmc plan`\n"
    )
    (bare.root / "plan.json").rename(bare.root / "plan.txt")
    done = bare.bundle("--out", "x.lmc")
    (bare.root / "plan.txt").rename(bare.root / "plan.json")
    assert done.returncode == 2 and "cannot be read" in done.stdout and done.stdout.count("\n") == 1

"""A study that is trained where little is installed, and published here: the results of `lmc run`, byte for byte."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_project import Finished, TinyProject, contents

pytestmark = pytest.mark.slow

FORBIDDEN = (
    "mlflow", "ffcv", "dvc", "matplotlib", "sklearn", "torchvision", "PIL", "numba", "sqlalchemy", "jinja2",
)  # fmt: skip
HOOK = f"""
import sys

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {FORBIDDEN!r}:
            raise ImportError(f"{{name}} is not on this machine")

sys.meta_path.insert(0, Bare())
"""
LMC = "from lmc_repro.cli import main; main()"
OUT = "out/digits/table1"


@dataclass(frozen=True)
class Bare:
    """A folder with a copy of the package, params.yaml and prepared data, on whose Python little is installed."""

    root: Path

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the study; stderr is in stdout. Its workers meet the hook too: site imports it everywhere."""
        command = [sys.executable, "-c", LMC, "run", "table1", "--no-tracking", *options]
        return subprocess.run(
            command, cwd=self.root, env={"PYTHONPATH": f"{self.root / 'site'}:{self.root}", "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip


def results(root: Path) -> dict[str, bytes]:
    return contents(root / OUT / "results/table1")


@pytest.fixture(scope="module")
def bare(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """A bare machine with the study that `dvc repro` has finished elsewhere; nothing is run in it yet."""
    bare = Bare(tmp_path_factory.mktemp("bare"))
    shutil.copy(finished.project.root / "params.yaml", bare.root)
    for name in ("lmc_repro", "data/prepared"):
        shutil.copytree(finished.project.root / name, bare.root / name)
    (bare.root / "site").mkdir()
    (bare.root / "site" / "sitecustomize.py").write_text(HOOK)
    return bare


@pytest.fixture
def project(bare: Bare, tmp_path: Path, empty_store: Path) -> TinyProject:
    """The study where all is installed, nothing of it run, trained or logged."""
    shutil.copy(bare.root / "params.yaml", tmp_path)
    shutil.copytree(bare.root / "data", tmp_path / "data")
    shutil.copy(empty_store, tmp_path)
    return TinyProject(tmp_path)


def test_results_of_a_bare_machine_are_those_of_lmc_run(bare: Bare, project: TinyProject, finished: Finished) -> None:
    expected = contents(finished.project.root / "results" / "table1")
    done = bare.run("--jobs", "2", "--keep", "none")
    assert done.returncode == 0, done.stdout
    assert "trained 24, reused 0, resumed 0" in done.stdout
    assert results(bare.root) == expected
    assert not list((bare.root / OUT).rglob("*.safetensors")) and not (bare.root / "mlflow.db").exists()

    assert "published 40, there 0" in project.lmc("publish", str(bare.root / OUT))  # 24 runs, 12 pairs, 4 cells
    listed = json.loads(project.lmc("list", "table1", "--json"))["cells"]
    shown = json.loads(project.lmc("show", listed[0]["run_id"], "--json"))
    assert len(shown["trainings"]) == len({run["run_id"] for run in shown["trainings"]}) == 6
    assert len(shown["pairs"]) == 3
    refused = project.lmc("compare", *[run["run_id"] for run in shown["trainings"][:2]], code=2)
    assert "was published without the weights" in refused
    # Runs without weights are no runs to be reused: `lmc run` trains them and comes to the same.
    shutil.copytree(bare.root / OUT, project.root / OUT)
    assert "trained 24, reused 0" in project.lmc("run", "table1")
    assert results(project.root) == expected


def test_with_all_weights_nothing_is_left_to_train(bare: Bare, project: TinyProject) -> None:
    expected = results(bare.root)
    assert "trained 0, reused 24" in bare.run().stdout  # the working store keeps all weights, whatever the folder keeps
    assert results(bare.root) == expected
    shutil.copytree(bare.root / OUT, project.root / OUT)
    assert "published 40" in project.lmc("publish", OUT)
    assert "trained 0, reused 24" in project.lmc("run", "table1")
    assert results(project.root) == expected


def test_mistakes_are_one_line(bare: Bare, project: TinyProject, tmp_path: Path) -> None:
    done = bare.run("--keep", "some")
    assert done.returncode == 2 and done.stdout == "error: --keep: found 'some', allowed: all, last, none\n"
    assert "has no folder runs" in project.lmc("publish", str(tmp_path), code=2)


def test_mlflow_is_not_imported(project: TinyProject) -> None:
    """Here it is installed. Preparing data may import ffcv."""
    script = (
        "import sys\nfrom lmc_repro.cli import main\n"
        "sys.argv = ['lmc', 'run', 'table1', '--row', '1-layer-bs1024', '--pairs', '1', '--no-tracking']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print(sorted({'mlflow', 'dvc', 'matplotlib'} & set(sys.modules)))"
    )
    assert project.ok(sys.executable, "-c", script).splitlines()[-1] == "[]"

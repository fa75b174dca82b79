"""A study that is trained where little is installed, and published here: the results of `lmc run`, byte for byte."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from small import remove
from tiny_project import TinyProject, contents

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


Both = tuple[TinyProject, dict[str, bytes], Bare]


def results(root: Path) -> dict[str, bytes]:
    return contents(root / OUT / "results/table1")


def forget(project: TinyProject) -> None:
    """Leave nothing of what was run, trained or logged."""
    for name in (".lmc", "out", "runs", "results", "mlartifacts", "mlflow.db"):
        remove(project.root / name)


@pytest.fixture(scope="module")
def both(tiny: TinyProject, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A project in which its finished study has been forgotten, its results, and a bare machine with the same study."""
    project = tiny
    expected = contents(project.root / "results" / "table1")
    bare = Bare(tmp_path_factory.mktemp("bare"))
    for name in ("lmc_repro", "params.yaml"):
        copy = shutil.copytree if (project.root / name).is_dir() else shutil.copy
        copy(project.root / name, bare.root / name)
    shutil.copytree(project.root / "data/prepared", bare.root / "data/prepared")
    (bare.root / "site").mkdir()
    (bare.root / "site" / "sitecustomize.py").write_text(HOOK)
    forget(project)
    return project, expected, bare


def test_results_of_a_bare_machine_are_those_of_lmc_run(both: Both) -> None:
    project, expected, bare = both
    done = bare.run("--jobs", "2", "--keep", "none")
    assert done.returncode == 0, done.stdout
    assert "trained 24, reused 0, resumed 0" in done.stdout
    assert results(bare.root) == expected
    assert not list((bare.root / OUT).rglob("*.safetensors")) and not (bare.root / "mlflow.db").exists()

    assert "published 40, there 0" in project.ok("lmc", "publish", str(bare.root / OUT))  # 24 runs, 12 pairs, 4 cells
    listed = json.loads(project.ok("lmc", "list", "table1", "--json"))["cells"]
    shown = json.loads(project.ok("lmc", "show", listed[0]["run_id"], "--json"))
    assert len(shown["trainings"]) == len({run["run_id"] for run in shown["trainings"]}) == 6
    assert len(shown["pairs"]) == 3
    refused = project.fails("lmc", "compare", *[run["run_id"] for run in shown["trainings"][:2]])
    assert "was published without the weights" in refused
    # Runs without weights are no runs to be reused: `lmc run` trains them and comes to the same.
    shutil.copytree(bare.root / OUT, project.root / OUT)
    assert "trained 24, reused 0" in project.ok("lmc", "run", "table1")
    assert results(project.root) == expected


def test_with_all_weights_nothing_is_left_to_train(both: Both) -> None:
    project, expected, bare = both
    forget(project)
    assert "trained 0, reused 24" in bare.run().stdout  # the working store keeps all weights, whatever the folder keeps
    assert results(bare.root) == expected
    shutil.copytree(bare.root / OUT, project.root / OUT)
    assert "published 40" in project.ok("lmc", "publish", OUT)
    assert "trained 0, reused 24" in project.ok("lmc", "run", "table1")
    assert results(project.root) == expected


def test_mistakes_are_one_line(both: Both, tmp_path: Path) -> None:
    project, _, bare = both
    done = bare.run("--keep", "some")
    assert done.returncode == 2 and done.stdout == "error: --keep: found 'some', allowed: all, last, none\n"
    assert "has no folder runs" in project.fails("lmc", "publish", str(tmp_path))


def test_mlflow_is_not_imported(both: Both) -> None:
    """Here it is installed. Preparing data may import ffcv."""
    project, _, _ = both
    script = (
        "import sys\nfrom lmc_repro.cli import main\n"
        "sys.argv = ['lmc', 'run', 'table1', '--row', '1-layer-bs1024', '--no-tracking', '--out', 'bare']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print(sorted({'mlflow', 'dvc', 'matplotlib'} & set(sys.modules)))"
    )
    assert project.ok(sys.executable, "-c", script).splitlines()[-1] == "[]"

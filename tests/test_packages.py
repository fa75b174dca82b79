"""Wheel and sdist hold what they must, and an installed wheel works without the repository beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from lmc_repro import __version__

ROOT = Path(__file__).parent.parent
RELEASE = f"lmc_repro-{__version__}"
pytestmark = pytest.mark.slow


def tracked() -> set[str]:
    """Return the repository's files: those that git tracks, and those that it would if they were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not a git checkout, so there is nothing to compare with")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


@dataclass(frozen=True)
class Built:
    """Where the two packages are, built from nothing but the repository's files."""

    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    # The wheel is built from the sdist, so the sdist has all that a build needs.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PIP_NO_INDEX": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return Built(target / f"{RELEASE}-py3-none-any.whl", target / f"{RELEASE}.tar.gz")


def test_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
    about = {name for name in names if name.startswith(f"{RELEASE}.dist-info/")}
    assert names - about == {name for name in tracked() if name.startswith("lmc_repro/")}
    expected = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    assert about == {f"{RELEASE}.dist-info/{name}" for name in expected}


def test_sdist_holds_all_that_git_tracks(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {member.name.removeprefix(f"{RELEASE}/") for member in sdist.getmembers() if member.isfile()}
    made = {name for name in names if name.startswith("lmc_repro.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert names - made == tracked()


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel in it; its dependencies are this environment's own."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(built.wheel)], check=True)
    # A plain line of a .pth is put on the path; the editable installation that it also holds is not, and comes later.
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return programs


def run(programs: Path, folder: Path, *command: str, code: int = 0) -> str:
    """Run one of the environment's programs in a folder that is no checkout, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LMC_NUMERICS")}
    done = subprocess.run(
        [programs / command[0], *command[1:]], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_is_the_wheel_that_runs(installed: Path, tmp_path: Path) -> None:
    place = run(installed, tmp_path, "python", "-c", "import lmc_repro; print(lmc_repro.__file__)").strip()
    assert Path(place).is_relative_to(installed.parent)
    version = "from importlib.metadata import version; print(version('lmc_repro'))"
    assert run(installed, tmp_path, "python", "-c", version).strip() == __version__


def test_its_command(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "lmc", "--version").strip() == __version__
    assert "lmc run table1" in run(installed, tmp_path, "lmc", "--help")
    assert "params.yaml" in run(installed, tmp_path, "lmc", "check", code=2)  # no project here: one line


def test_its_data(installed: Path, tmp_path: Path) -> None:
    data = sorted(name for name in tracked() if name.startswith("lmc_repro/") and not name.endswith(".py"))
    assert {Path(name).name for name in data} >= {"reported.yaml", "page.css", "py.typed"}
    script = (
        "from importlib.resources import files\n"
        f"for name in {[name.removeprefix('lmc_repro/') for name in data]}:\n"
        "    print(len(files('lmc_repro').joinpath(name).read_bytes()))\n"
    )
    sizes = [int(line) for line in run(installed, tmp_path, "python", "-c", script).splitlines()]
    assert sizes == [(ROOT / name).stat().st_size for name in data]


def test_its_command_reads_a_project(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    assert "params.yaml" in run(installed, tmp_path, "lmc", "check")  # resolves every study, with reported.yaml

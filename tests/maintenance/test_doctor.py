"""The doctor as a whole: never a traceback, exit code 1 only for what is needed."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import lmc
from helpers import EXAMPLE

from lmc_repro.common.project import Project
from lmc_repro.config.load import load_params
from lmc_repro.maintenance import doctor, probe
from lmc_repro.maintenance.doctor import check_data, check_ffcv, check_packages, check_system, check_torch

ROOT = Path(__file__).parents[2]
TORCH = {
    "version": "2.14.1", "capability": "AVX2", "threads": 2, "gpus": [], "cuda_build": None, "mode": "portable",
    "remark": None, "tag": "portable",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Answers in place of imports, which take seconds."""
    answers: dict[str, Any] = {"torch": dict(TORCH), "ffcv": {"version": "1"}}
    monkeypatch.setattr(probe, "start", lambda name, *words: name)
    monkeypatch.setattr(probe, "answer", lambda name: answers[name])
    for name in ("MLFLOW_TRACKING_URI", "LMC_DATA_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    return answers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_name(out: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(f["section"], f["name"]): f for f in json.loads(out)["findings"]}


def with_mirror(folder: Path) -> Any:
    """Return a params.yaml that names a mirror."""
    return SimpleNamespace(data=SimpleNamespace(mirror=str(folder)))


def test_a_fresh_clone(folder: Path) -> None:
    code, out, _ = lmc("doctor", "--json")
    states = {name: finding["state"] for name, finding in by_name(out).items()}
    assert states["project", "params.yaml"] == "ok"
    assert states["store", "place"] == "info"
    assert states["data", "digits"] == "info"
    assert states["python", "numerics"] == "ok"
    assert code == (1 if "missing" in states.values() else 0) and json.loads(out)["ok"] is (code == 0)
    assert not (folder / "mlflow.db").exists(), "looking must not create a store"


def test_a_broken_store_is_a_finding(folder: Path) -> None:
    (folder / "mlflow.db").write_bytes(b"not a database at all" * 100)
    place = by_name(lmc("doctor", "--json").out)["store", "place"]
    assert place["state"] == "warning" and str(folder / "mlflow.db") in place["detail"]
    assert "delete mlflow.db and mlartifacts" in place["fix"]
    assert (folder / "mlflow.db").read_bytes().startswith(b"not a database")


@pytest.mark.slow
def test_an_ffcv_that_cannot_be_imported_is_missing_with_its_system_packages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, no_probes: dict[str, Any]
) -> None:
    no_probes["ffcv"] = {"error": "ImportError: libturbojpeg.so.0: cannot open shared object file"}
    monkeypatch.setattr(doctor, "NEEDS", (doctor.Need("libturbojpeg", "building ffcv", lambda: None, "turbo " * 4),))
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "apt-get" else None)
    code, out, _ = lmc("doctor")
    lines = [line.strip() for line in out.splitlines()]
    assert code == 1
    assert any(line.startswith("MISSING ffcv: ") and no_probes["ffcv"]["error"] in line for line in lines)
    place = next(i for i, line in enumerate(lines) if line.startswith("MISSING libturbojpeg: "))
    assert lines[place + 1] == "-> apt: sudo apt-get install -y turbo"
    found = by_name(lmc("doctor", "--json").out)
    assert found["python", "ffcv"]["state"] == found["system", "libturbojpeg"]["state"] == "missing"


def test_what_only_builds_ffcv_is_not_needed_where_ffcv_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDS", (doctor.Need("opencv4", "building ffcv", lambda: None, "turbo " * 4),))
    assert [f.state for f in check_system(ffcv_works=True)] == ["info"]
    (finding,) = check_system(ffcv_works=False)
    assert finding.state == "missing"
    assert finding.install["conda"] == "conda install -y -c conda-forge turbo"
    assert set(finding.install) == {"apt", "dnf", "brew", "conda"}


def test_a_package_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "dvc":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "numpy" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = {finding.name: finding for finding in check_packages(folder)}
    assert found["dvc"].state == "missing" and "-m pip install" in str(found["dvc"].fix)
    assert found["numpy"].state == "warning" and "1.0, needed: >=2.0" in found["numpy"].detail
    assert found["mlflow"].state == "ok"


def test_what_is_needed_on_other_systems_only_is_not_missing(tmp_path: Path) -> None:
    lines = ["no-such-package>=1; sys_platform == 'win32'", "no-such-extra; extra == 'dev'", "neither-such[x]>=2,<3"]
    text = f"[project]\nname = 'lmc_repro'\nrequires-python = '>=3.99'\ndependencies = {lines}\n"
    (tmp_path / "pyproject.toml").write_text(text)
    found = {f.name: f for f in check_packages(tmp_path)}
    assert {name: f.state for name, f in found.items() if f.state != "ok"} == {
        "python": "missing",
        "neither-such": "missing",
    }


def test_without_packaging(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    (finding,) = check_packages(folder)
    assert (finding.name, finding.state) == ("packaging", "missing") and "-m pip install" in str(finding.fix)


def test_torch_and_ffcv_that_break(tmp_path: Path) -> None:
    (finding,) = check_torch({"error": "OSError: libcudart"}, tmp_path)
    assert finding.state == "missing" and "libcudart" in finding.detail
    assert [f.state for f in check_ffcv({"error": "x"}, tmp_path)] == ["missing"]
    _, gpu, _ = check_torch({**TORCH, "gpus": ["Tesla T4, 15 GiB"]}, tmp_path)
    assert (gpu.name, gpu.detail) == ("GPU", "Tesla T4, 15 GiB")


def test_an_ffcv_that_is_not_installed_is_missing_where_a_study_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ffcv", None)
    params = load_params(EXAMPLE)  # its table1 has one cell with `loader: ffcv`
    profile = params.profiles[params.profile].model_copy(update={"overrides": ()})
    resident = params.model_copy(update={"profiles": {params.profile: profile}})
    for these, state in ((params, "missing"), (resident, "info"), (None, "info")):
        assert [f.state for f in check_ffcv({"error": "No module named 'ffcv'"}, tmp_path, these)] == [state]


def test_native_numerics_say_why(tmp_path: Path) -> None:
    remark = "numerics: native, for arm64 has no AVX2; bits are this machine's own"
    *_, found = check_torch({**TORCH, "mode": "native", "tag": "native:DEFAULT", "remark": remark}, tmp_path)
    assert found.detail.startswith("native (runs are tagged native:DEFAULT): for arm64 has no AVX2")


def test_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = lmc("doctor", "--json")
    place = by_name(out)["project", "place"]
    assert code == 1 and place["state"] == "missing" and "lmc init" in place["fix"]


def test_a_mistake_in_params_is_a_finding(folder: Path) -> None:
    (folder / "params.yaml").write_text("profile: nowhere\nprofiles: {}\n")
    code, out, _ = lmc("doctor", "--json")
    assert code == 1 and by_name(out)["project", "params.yaml"]["state"] == "missing"


def test_a_check_that_breaks_is_a_finding() -> None:
    def broken() -> list[Any]:
        raise ValueError("two\nlines")

    (finding,) = doctor._guarded("data", broken)
    assert (finding.state, finding.detail) == ("warning", "could not be made: ValueError: two lines")


def test_where_folders_and_archives_are(tmp_path: Path) -> None:
    project, mirror = Project(tmp_path / "p"), tmp_path / "mirror"
    (mirror / "tiny-imagenet-200").mkdir(parents=True)
    project.raw.mkdir(parents=True)
    with open(project.raw / "cifar-100-python.tar.gz", "wb") as file:
        file.truncate(169001437)
    (project.raw / "cifar-10-python.tar.gz").write_bytes(b"cut off")
    found = {f.name: f.detail for f in check_data(project, with_mirror(mirror), ("cifar10",))}
    assert found["tinyimagenet"] == f"not prepared; mirror: {mirror / 'tiny-imagenet-200'}"
    assert found["cifar100"] == f"not prepared; raw: {project.raw / 'cifar-100-python.tar.gz'}"
    assert found["cifar10"].endswith("makes it; not on this machine: it is downloaded when it is needed")


def test_where_data_sets_are(tmp_path: Path) -> None:
    project, mirror = Project(tmp_path / "p"), tmp_path / "mirror"
    files = mirror / "MNIST/raw"
    files.mkdir(parents=True)
    with open(files / "train-labels-idx1-ubyte.gz", "wb") as file:
        file.truncate(28881)
    (files / "t10k-labels-idx1-ubyte.gz").write_bytes(b"cut off")
    found = {f.name: f for f in check_data(project, with_mirror(mirror), ("mnist",))}
    assert found["mirror"].state == "ok"
    assert f"mirror: 1 of 4 files in {files}" in found["mnist"].detail
    assert "used by the active profile" in found["mnist"].detail
    assert "used by" not in found["digits"].detail
    place = project.prepared / "mnist"
    place.mkdir(parents=True)
    (place / "status.json").write_text('{"state": "ready", "digest": "00", "files": {}}')
    assert "digest 00, not 0fcb" in {f.name: f for f in check_data(project, None, ())}["mnist"].detail
    (gone,) = [f for f in check_data(project, with_mirror(tmp_path / "nowhere"), ()) if f.name == "mirror"]
    assert gone.state == "warning"

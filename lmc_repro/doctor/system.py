"""Programs and libraries outside of Python, and the commands that install them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lmc_repro.doctor.finding import Finding

SECTION = "system"

COMMANDS = {
    "apt": "sudo apt-get install -y {}",
    "dnf": "sudo dnf install -y {}",
    "brew": "brew install {}",
    "conda": "conda install -y -c conda-forge {}",
}
_PROGRAMS = {"apt": "apt-get"}


@dataclass(frozen=True)
class Need:
    """Something of the system: how it is recognised, what it is for, and the packages that hold it.

    `always` is needed whatever else is there; the rest only to build ffcv.
    """

    name: str
    purpose: str
    found: Callable[[], str | None]
    packages: dict[str, str]
    always: bool = False


def _program(*names: str) -> Callable[[], str | None]:
    return lambda: next((path for name in names if (path := shutil.which(name))), None)


def _library(name: str) -> Callable[[], str | None]:
    def found() -> str | None:
        if not shutil.which("pkg-config"):
            return None
        asked = subprocess.run(["pkg-config", "--modversion", name], capture_output=True, text=True, timeout=20)
        return asked.stdout.strip() if asked.returncode == 0 else None

    return found


def _headers() -> str | None:
    path = Path(sysconfig.get_path("include")) / "Python.h"
    return str(path) if path.is_file() else None


def _python_packages() -> dict[str, str]:
    minor = f"3.{sys.version_info.minor}"
    return {"apt": f"python{minor}-dev", "dnf": f"python{minor}-devel", "brew": f"python@{minor}", "conda": "python"}


def _everywhere(name: str) -> dict[str, str]:
    return dict.fromkeys(COMMANDS, name)


NEEDS = (
    Need("git", "DVC's experiments and the commit of each run", _program("git"), _everywhere("git"), always=True),
    Need("make", "`make repro` and `make test`", _program("make"), _everywhere("make")),
    Need(
        "C++ compiler",
        "building ffcv",
        _program("c++", "g++", "clang++"),
        {"apt": "build-essential", "dnf": "gcc-c++", "brew": "llvm", "conda": "cxx-compiler"},
    ),
    Need(
        "pkg-config",
        "building ffcv",
        _program("pkg-config"),
        {"apt": "pkg-config", "dnf": "pkgconf-pkg-config", "brew": "pkgconf", "conda": "pkg-config"},
    ),
    Need("Python.h", "building ffcv", _headers, _python_packages()),
    Need(
        "opencv4",
        "building ffcv",
        _library("opencv4"),
        {"apt": "libopencv-dev", "dnf": "opencv-devel", "brew": "opencv", "conda": "opencv"},
    ),
    Need(
        "libturbojpeg",
        "building ffcv",
        _library("libturbojpeg"),
        {"apt": "libturbojpeg0-dev", "dnf": "turbojpeg-devel", "brew": "jpeg-turbo", "conda": "libjpeg-turbo"},
    ),
)


def check_system(ffcv_works: bool) -> list[Finding]:
    """Return what of the system is there; what only builds ffcv is no loss where ffcv works."""
    findings = []
    for need in NEEDS:
        if there := need.found():
            findings.append(Finding(SECTION, need.name, "ok", there))
            continue
        install = {manager: COMMANDS[manager].format(package) for manager, package in need.packages.items()}
        if need.always or not (ffcv_works or need.name == "make"):
            findings.append(Finding(SECTION, need.name, "missing", f"not found; for {need.purpose}", install=install))
        else:
            why = "for `make repro`; `dvc repro` does without" if need.name == "make" else "only to build ffcv anew"
            findings.append(Finding(SECTION, need.name, "info", f"not found; {why}", install=install))
    return findings


def managers() -> list[str]:
    """Return the package managers of this machine, those that a missing package is shown for; all if there is none."""
    here = [name for name in COMMANDS if shutil.which(_PROGRAMS.get(name, name))]
    return here or list(COMMANDS)

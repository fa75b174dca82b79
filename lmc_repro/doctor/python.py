"""Python, the packages that the project asks for, and how torch computes here."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from lmc_repro.doctor.finding import Finding

SECTION = "python"
PACKAGE = "lmc_repro"


def check_python(root: Path | None) -> list[Finding]:
    """Return the interpreter and every package of pyproject.toml that is missing or of another version."""
    requires, requirements = _wanted(root)
    version = platform.python_version()
    install = _pip(root)
    if _admits(requires, version):
        findings = [Finding(SECTION, "python", "ok", f"{version}, {sys.executable}")]
    else:
        fix = "make setup PYTHON=/path/to/python3"
        findings = [Finding(SECTION, "python", "missing", f"{version}, needed: {requires}", fix)]
    right = []
    for requirement in requirements:
        name, wanted = _split(requirement)
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            findings.append(Finding(SECTION, name, "missing", f"not installed, needed: {wanted or 'any'}", install))
            continue
        if not _admits(wanted, found):
            findings.append(Finding(SECTION, name, "warning", f"{found}, needed: {wanted}", install))
        elif name in ("mlflow", "dvc"):
            findings.append(Finding(SECTION, name, "ok", found))
        else:
            right.append(name)
    findings.append(Finding(SECTION, "other packages", "ok", f"{len(right)} as needed"))
    return findings


def check_torch(found: dict[str, Any], root: Path | None) -> list[Finding]:
    """Return what the probe of torch saw: version, CPU, GPU, and the numerics mode that runs would have."""
    if error := found.get("error"):
        return [Finding(SECTION, "torch", "missing", f"cannot be imported: {error}", _pip(root))]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = f"{found['version']}, {found['capability']}, {found['threads']} threads by default, {cores} cores"
    findings = [Finding(SECTION, "torch", "ok", cpu)]
    if gpus := found["gpus"]:
        findings.append(Finding(SECTION, "GPU", "ok", "; ".join(gpus)))
    elif shutil.which("nvidia-smi"):
        build = found["cuda_build"]
        why = "this torch is built for CPUs" if build is None else f"this torch is built for CUDA {build}"
        findings.append(Finding(SECTION, "GPU", "warning", f"nvidia-smi is here, but torch sees no GPU; {why}"))
    else:
        findings.append(Finding(SECTION, "GPU", "info", "none; everything runs on the CPU"))
    remark = f": {found['remark'].removeprefix('numerics: native, ')}" if found["remark"] else ""
    findings.append(Finding(SECTION, "numerics", "ok", f"{found['mode']} (runs are tagged {found['tag']}){remark}"))
    return findings


def check_ffcv(found: dict[str, Any], root: Path | None) -> Finding:
    """Return whether ffcv can be loaded: it is compiled on installation, and its libraries may be gone since."""
    if error := found.get("error"):
        detail = f"cannot be loaded: {error}; it is compiled against the system packages below"
        return Finding(SECTION, "ffcv", "missing", detail, _pip(root))
    return Finding(SECTION, "ffcv", "ok", f"{_installed('ffcv')}, its compiled library loads")


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _wanted(root: Path | None) -> tuple[str, list[str]]:
    """Return requires-python and the requirements: of the project's pyproject.toml, else as installed."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"] if root else {}
    except (OSError, ValueError, KeyError):
        project = {}
    if project.get("name") == PACKAGE:
        return str(project["requires-python"]), [str(line) for line in project["dependencies"]]
    try:
        about = metadata.metadata(PACKAGE)
        listed = [line for line in metadata.requires(PACKAGE) or [] if "extra ==" not in line]
        return str(about["Requires-Python"] or ""), listed
    except metadata.PackageNotFoundError:
        return "", []


def _split(requirement: str) -> tuple[str, str]:
    """Return name and versions of a requirement."""
    match = re.match(r"\s*([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)", requirement)
    return (match[1], match[2].strip()) if match else (requirement, "")


def _admits(wanted: str, version: str) -> bool:
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
    except ImportError:  # it comes with mlflow, whose absence is said on its own line
        return True
    try:
        return SpecifierSet(wanted).contains(version.partition("+")[0], prereleases=True)
    except InvalidSpecifier:
        return True


def _pip(root: Path | None) -> str:
    if root and (root / "Makefile").is_file() and Path(sys.prefix).resolve() == (root / ".venv").resolve():
        return "make setup"
    python = sys.executable if " " not in sys.executable else f'"{sys.executable}"'
    return f"{python} -m pip install -c constraints.txt -e ."

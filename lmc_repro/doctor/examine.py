"""All checks, one after another; whatever breaks in one becomes its finding."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from lmc_repro.doctor import probe
from lmc_repro.doctor.finding import Finding
from lmc_repro.doctor.python import check_ffcv, check_python, check_torch
from lmc_repro.doctor.system import check_system
from lmc_repro.errors import LmcError
from lmc_repro.project import Project, find_project

LOW_DISK = 2e9  # bytes: an environment or a study of the paper's profile needs more


def examine(fix_runs: bool = False) -> list[Finding]:
    """Return everything that was found; never raises. Libraries are imported in processes of their own meanwhile."""
    project, findings = _project()
    root = project.root if project else None
    wanted, mirror, used, read = _params(project)
    probes = {"torch": probe.start("torch", wanted), "ffcv": probe.start("ffcv")}
    first = _guarded("python", lambda: check_python(root))
    findings += read
    if project is not None:
        findings += _guarded("project", lambda: [_disk(project.root)])
        findings += _guarded("data", lambda: _datasets(project, mirror, used))
    findings += _guarded("store", lambda: _store(root or Path.cwd(), fix_runs))
    answers = {name: probe.answer(process) for name, process in probes.items()}
    first += _guarded("python", lambda: check_torch(answers["torch"], root))
    first += _guarded("python", lambda: [check_ffcv(answers["ffcv"], root)])
    first += _guarded("system", lambda: check_system("error" not in answers["ffcv"]))
    return _once(first) + findings


def _once(findings: list[Finding]) -> list[Finding]:
    """Leave one line for a package that is not installed and so cannot be imported either."""
    seen: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        seen.setdefault((finding.section, finding.name), finding)
    return list(seen.values())


def _project() -> tuple[Project | None, list[Finding]]:
    try:
        project = find_project()
    except LmcError as error:
        line, _, mend = str(error).rpartition("; ")
        return None, [Finding("project", "place", "missing", line, mend)]
    return project, [Finding("project", "place", "ok", str(project.root))]


def _params(project: Project | None) -> tuple[str, Path | None, tuple[str, ...], list[Finding]]:
    """Return the numerics mode, the mirror and the data sets that the active profile wishes for."""
    if project is None:
        return "native", None, (), []
    try:
        from lmc_repro.schemas.load import load_params
        from lmc_repro.studies.expand import validate_all
        from lmc_repro.studies.workspace import mirror_of

        params = load_params(project.params)
        validate_all(params)
        profile = params.profiles[params.profile]
        detail = f"valid, profile {params.profile}, studies: {', '.join(params.studies)}"
        finding = Finding("project", "params.yaml", "ok", detail)
        return profile.numerics, mirror_of(params), profile.datasets, [finding]
    except Exception as error:  # a user's mistake, or a package that is not there
        return "native", None, (), [Finding("project", "params.yaml", "missing", _line(error))]


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    return Finding("project", "disk", "warning" if free < LOW_DISK else "ok", f"{free / 1e9:.1f} GB free")


def _datasets(project: Project, mirror: Path | None, used: tuple[str, ...]) -> list[Finding]:
    from lmc_repro.doctor.datasets import check_datasets

    return check_datasets(project, mirror, used)


def _store(root: Path, fix_runs: bool) -> list[Finding]:
    from lmc_repro.doctor.store import check_mlflow_run, check_store

    return [*check_store(root, fix_runs), check_mlflow_run()]


def _guarded(section: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # the doctor tells what is broken; it does not break
        return [Finding(section, "check", "warning", f"could not be made: {_line(error)}")]


def _line(error: Exception) -> str:
    told = str(error) if isinstance(error, LmcError) else f"{type(error).__name__}: {error}"
    return " ".join(told.split())[:300]

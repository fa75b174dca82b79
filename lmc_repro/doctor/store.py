"""The MLflow store, the runs that crashes left behind in it, and the message that `mlflow run .` is known for."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from lmc_repro.doctor.finding import Finding
from lmc_repro.errors import LmcError
from lmc_repro.tracking.environment import database_path, default_database, tracking_uri
from lmc_repro.tracking.survey import Survey, end_stale, survey

SECTION = "store"


def check_store(root: Path, fix_runs: bool) -> list[Finding]:
    """Return the store's place, experiments and stale runs; with `fix_runs` those are ended first."""
    uri = tracking_uri(root)
    try:
        found = survey(uri)
        if found is None:
            return [Finding(SECTION, "place", "info", f"{database_path(uri)}: not there yet, the first run makes it")]
        findings = [Finding(SECTION, "place", "ok", uri), *_experiments(found)]
        if moved := _moved(root, uri, found):
            findings.append(moved)
        if fix_runs and found.stale:
            ended = end_stale(uri, found)
            findings.append(Finding(SECTION, "stale runs", "ok", f"ended {len(ended)}: {_names(found)}"))
            found = survey(uri) or found
        return findings + _running(found)
    except LmcError as error:
        line, _, mend = str(error).rpartition("; ")
        return [Finding(SECTION, "place", "warning", line or str(error), mend or None)]


def check_mlflow_run() -> Finding:
    """Return how `mlflow run .` is to be called: its default makes an environment with pyenv, and fails without."""
    mend = "mlflow run . --env-manager local -P study=table1"
    pyenv = shutil.which("pyenv")
    says = "ShellCommandException ... 'pyenv', 'install'" if pyenv else "FileNotFoundError: ... 'None'"
    uv = ", or --env-manager uv" if shutil.which("uv") else ""
    detail = f"without --env-manager local{uv} it may end with `{says}` and leave a run that counts as RUNNING"
    return Finding("mlflow run", "call", "info", detail, mend)


def _experiments(found: Survey) -> list[Finding]:
    findings = []
    for name, kinds in found.experiments.items():
        if kinds:
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            findings.append(Finding(SECTION, name, "ok", f"runs: {counts}"))
    return findings or [Finding(SECTION, "experiments", "info", "no runs yet")]


def _moved(root: Path, uri: str, found: Survey) -> Finding | None:
    """Return a warning if the artifacts of the project's own store lie elsewhere: it was copied or moved."""
    if database_path(uri) != default_database(root):
        return None
    below = (root / "mlartifacts").as_uri()
    away = sorted(place for name, place in found.locations.items() if name.startswith("lmc/") and below not in place)
    if not away:
        return None
    mend = "delete mlflow.db and mlartifacts, then `lmc compare STUDY`: they are rebuilt from runs/"
    return Finding(SECTION, "artifacts", "warning", f"at {away[0]}: the project was moved or copied", mend)


def _running(found: Survey) -> list[Finding]:
    findings = []
    if stale := found.stale:
        detail = f"{len(stale)} count as RUNNING, but their process is gone: {_names(found)}"
        findings.append(Finding(SECTION, "stale runs", "warning", detail, "lmc doctor --fix-runs"))
    if alive := [run for run in found.running if run.gone is False]:
        findings.append(Finding(SECTION, "running", "ok", f"{len(alive)} runs of processes that live"))
    if unknown := [run for run in found.running if run.gone is None]:
        detail = f"{len(unknown)} runs of processes that cannot be seen from here: {_first(r.run_id for r in unknown)}"
        findings.append(Finding(SECTION, "running", "info", detail))
    return findings


def _names(found: Survey) -> str:
    kinds = Counter(run.kind for run in found.stale)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{counts} ({_first(run.name for run in found.stale)})"


def _first(names: Iterable[str], most: int = 3) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f", and {len(listed) - most} more" if len(listed) > most else "")

"""`lmc plan` and `lmc import`: a study that is computed on another machine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lmc_repro.cli.progress import listener
from lmc_repro.cli.session import open_project, show_report
from lmc_repro.errors import LmcError
from lmc_repro.execution.bundle_file import unpack_bundle
from lmc_repro.files import write_json
from lmc_repro.schemas.plan_file import plan_to_json
from lmc_repro.studies.expand import Choice, plan_study
from lmc_repro.studies.workspace import Workspace, study_lock


def plan_command(study: str, choice: Choice, out: Path) -> None:
    """Write what a study comes to as JSON, for `python -m lmc_repro.execution.bundle`."""
    _, params = open_project()
    plan = plan_study(params, study, choice)
    write_json(out, plan_to_json(plan))
    print(f"{study}, profile {plan.profile}: {len(plan.cells)} cells, {len(plan.runs)} runs: {out}")


def import_command(file: Path, out: Path | None) -> None:
    """Bring a bundle into MLflow and out/."""
    project, params = open_project()
    if not file.is_file():
        raise LmcError(f"{file}: no such file; `python -m lmc_repro.execution.bundle` writes one")
    staging = project.working / "imports"
    staging.mkdir(parents=True, exist_ok=True)
    unpacked = Path(tempfile.mkdtemp(dir=staging))
    try:
        header = unpack_bundle(file, unpacked)
        plan = header.plan
        folder = out or project.out / plan.profile / plan.study
        workspace = Workspace(
            project=project,
            plan=plan,
            runs=folder / "runs",
            results=folder / "results" / plan.study,
            prepared=project.prepared,
            jobs=1,
            device=header.device,
            tag=header.numerics,
            listener=listener(),
            torch=header.torch,
        )
        from lmc_repro.studies.importing import import_study

        with study_lock(project, folder, workspace.listener):
            said = import_study(workspace, header, unpacked)
            if plan.study in params.studies:
                chosen = {plan.study: Choice(profile=plan.profile)}
                show_report(params, folder / "results", folder / "report", chosen, (plan.study,))
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    print(f"{said}; results in {folder}")

"""`lmc reproduce` and `lmc verify`: print a certificate or a verification, and return its exit code."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lmc_repro.cli.progress import listener
from lmc_repro.cli.runs import find_root
from lmc_repro.errors import LmcError
from lmc_repro.files import write_json
from lmc_repro.numerics import choose_mode
from lmc_repro.project import Project, find_project
from lmc_repro.schemas.load import load_params
from lmc_repro.studies.expand import Choice, plan_study
from lmc_repro.studies.workspace import begin_process


def reproduce_command(run_id: str, uri: str | None, as_json: bool, out: Path | None) -> int:
    """Print the certificate of a run; return 0 if it is identical, 1 if it differs."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LmcError(f"--out {out}: is there already; name a new folder, so that nothing in it is taken for remade")
    from lmc_repro.tracking.find import Reader
    from lmc_repro.tracking.names import KIND

    project = Project(find_root(uri))
    reader = Reader.open(project.root, uri)
    run = reader.run(run_id)
    if (kind := run.tags.get(KIND)) not in ("train", "pair"):
        found = f"of kind {kind}" if kind else "not of this project"
        raise LmcError(f"run {run_id} is {found}: give a training or a pair; `lmc show {run_id}` lists those of a cell")
    told = listener()
    # The run's own mode, before anything imports torch.
    recorded = run.tags.get("lmc.numerics", "")
    _, remark = choose_mode("portable" if recorded.startswith("portable") else "native")
    if remark:
        told.line(remark)
    from lmc_repro.verification.reproduce import reproduce

    with ExitStack() as stack:
        fresh = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lmc-reproduce-")))
        certificate = reproduce(reader, run, project, fresh, told)
        if out is not None:
            write_json(out / "certificate.json", certificate.record())
    print(_json(certificate.record()) if as_json else "\n".join(certificate.lines()))
    return 0 if certificate.identical else 1


def verify_command(study: str, profile: str | None, quick: bool, as_json: bool) -> int:
    """Print what was verified of a study; return 0 if all is well, 1 if there is a problem."""
    project = find_project()
    params = load_params(project.params)
    plan = plan_study(params, study, Choice(profile=profile))
    begin_process(params, plan.profile, told := listener())
    from lmc_repro.verification.verify import verify_study

    found = verify_study(project, study, plan.profile, plan.profile_config.judgement, quick, told)
    record = {"ok": not found.problems, **dataclasses.asdict(found)}
    print(_json(record) if as_json else "\n".join(found.lines()))
    return 1 if found.problems else 0


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False)

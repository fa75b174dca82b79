"""What `lmc publish` does: finds a study's folders, names the store, fills it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from lmc_repro.cli.progress import listener
from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import find_project
from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params
from lmc_repro.pipeline.workspace import begin_process


def publish_command(study: str, choice: Choice, uri: str | None) -> None:
    """Publish one study: DVC's folders under the active profile, those of `lmc run` where they hold nothing.

    A name that is no study of params.yaml is a folder that was made elsewhere.
    """
    project = find_project()
    params = load_params(project.params)
    folder = Path(study)
    carried = study not in params.studies and folder.is_dir()
    if carried:
        from lmc_repro.pipeline.carried import carried_study

        found = carried_study(folder)
        if choice.profile not in (None, found.profile):
            raise LmcError(f"--profile {choice.profile}: {folder} is of profile {found.profile}; leave --profile out")
        study, choice = found.study, dataclasses.replace(choice, profile=found.profile)
    plan = plan_study(params, study, choice)
    begin_process(params, plan.profile, told := listener())
    from lmc_repro.pipeline.publish import publish_carried, publish_study
    from lmc_repro.tracking.store import TRACKING_URI

    if uri is not None:
        os.environ[TRACKING_URI] = uri
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds; by default minutes
    if carried:
        print(publish_carried(project, plan, folder.resolve(), told))
        return
    out = project.out / plan.profile / study
    runs, results = project.runs / study, project.results / study
    if plan.profile != params.profile or not any(runs.glob("*/status.json")):
        runs, results = out / "runs", out / "results" / study
    print(publish_study(project, plan, runs, results, told))

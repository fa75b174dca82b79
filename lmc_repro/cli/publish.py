"""What `lmc publish` does: finds a study's folders, names the store, fills it."""

from __future__ import annotations

import os

from lmc_repro.cli.progress import listener
from lmc_repro.project import find_project
from lmc_repro.schemas.load import load_params
from lmc_repro.studies.expand import Choice, plan_study
from lmc_repro.studies.workspace import begin_process


def publish_command(study: str, profile: str | None, uri: str | None) -> None:
    """Publish one study: DVC's folders under the active profile, those of `lmc run` where they hold nothing."""
    project = find_project()
    params = load_params(project.params)
    plan = plan_study(params, study, Choice(profile=profile))
    begin_process(params, plan.profile, told := listener())
    from lmc_repro.studies.publish import publish_study
    from lmc_repro.tracking.store import TRACKING_URI

    if uri is not None:
        os.environ[TRACKING_URI] = uri
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds; by default minutes
    out = project.out / plan.profile / study
    runs, results = project.runs / study, project.results / study
    if plan.profile != params.profile or not any(runs.glob("*/status.json")):
        runs, results = out / "runs", out / "results" / study
    print(publish_study(project, plan, runs, results, told))

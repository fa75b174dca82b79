"""Commands that look after a machine and a project's working files: doctor, gc."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lmc_repro.cli import options as opt


def doctor(
    fix_runs: Annotated[
        bool, typer.Option("--fix-runs", help="End the runs that count as RUNNING though their process is gone.")
    ] = False,
    fix_store: Annotated[
        bool, typer.Option("--fix-store", help="Point the store of a moved or copied project to its present folder.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Say what is missing, how to get it, and what crashes left.

    Also says what is installed, and where data and runs are. Exit code 1 if something is missing that the project
    needs. Changes nothing but with --fix-runs and --fix-store; notes, tags and ids of runs stay as they are.
    """
    from dataclasses import asdict

    from lmc_repro.cli.session import say
    from lmc_repro.maintenance.doctor import examine, finding_lines

    if fix_store:
        from lmc_repro.common.project import find_project
        from lmc_repro.tracking.moved import fix_store as fix

        changed = fix(find_project())
        typer.echo(f"store: changed {changed} addresses" if changed else "store: nothing to fix", err=True)
    findings = examine(fix_runs)
    ok = not any(finding.state == "missing" for finding in findings)
    say({"ok": ok, "findings": list(map(asdict, findings))}, finding_lines(findings), as_json)
    raise typer.Exit(0 if ok else 1)


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed without asking.")] = False,
    as_json: opt.AsJson = False,
) -> None:
    """List and remove working files that nothing names any more.

    Lists sizes, and removes only if you say so. Left over are runs and measured pairs in .lmc that no study of
    params.yaml has under any profile, and neither runs/ nor out/ names; their locks; files that a killed process
    was writing. Never touches runs under way, results, out/ or MLflow's store. On a terminal it asks; elsewhere --yes
    is needed.
    """
    from lmc_repro.cli.session import open_project, say
    from lmc_repro.maintenance.cleanup import find_leftovers, remove

    project, params = open_project()
    found = find_leftovers(project, params)
    record = found.record()
    if not as_json:
        say(None, found.lines(project.root), as_json=False)
    terminal = sys.stdin.isatty()
    asked = bool(found.leftovers) and (yes or (not as_json and terminal and typer.confirm("remove them?")))
    stayed: dict[str, str] = {}
    if asked:
        now = find_leftovers(project, params).leftovers  # since the question, a run may have begun
        stayed = {str(item.path): "in use now" for item in found.leftovers if item not in now}
        stayed |= remove(item for item in found.leftovers if item in now)
    lines = [f"stays: {path}: {why}" for path, why in stayed.items()]
    if asked:
        lines.append(f"removed {len(found.leftovers) - len(stayed)} of {len(found.leftovers)}")
    elif found.leftovers:
        lines.append("nothing was removed" + ("" if terminal else "; --yes removes them"))
    if as_json or lines:
        say(record | {"removed": asked, "stayed": stayed}, lines, as_json)
    raise typer.Exit(1 if stayed else 0)

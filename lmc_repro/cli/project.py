"""Commands around a project of one's own: init, schema for its editor, doctor, gc."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option, confirm, echo

from lmc_repro.cli import options as opt
from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import write_atomic
from lmc_repro.common.project import find_project


def init(directory: Annotated[Path, Argument(metavar="DIR", help="A new or an existing folder.")]) -> None:
    """Begin a project: a one-minute study, and its stages.

    Writes params.yaml, params.schema.json, dvc.yaml, MLproject, README.md, .gitignore and .dvcignore, and overwrites
    nothing: if one of them exists, nothing is written. Needs neither git nor DVC; a git repository may hold the folder.
    """
    name = re.sub(r"[^\w.-]+", "-", directory.resolve().name) or "lmc"
    template = sorted((files("lmc_repro.cli") / "template").iterdir(), key=lambda file: file.name)
    contents = {file.name.removesuffix(".in"): file.read_text("utf-8").replace("${name}", name) for file in template}
    contents["params.schema.json"] = _schema_text(None)
    if there := [file for file in contents if (directory / file).exists()]:
        raise LmcError(f"{directory}: has {', '.join(there)} already, nothing was written; name another folder")
    for file, text in contents.items():
        write_atomic(directory / file, text.encode())
    print(f"{directory}: {', '.join(contents)}\nnext:")
    print("\n".join(f"  {line}" for line in (f"cd {shlex.quote(str(directory))}", "lmc run depth", "lmc ui depth")))


def schema() -> None:
    """Print the JSON schema of params.yaml, for editors.

    In a project the schema has the keys of the project's own networks and optimizers too. `lmc schema >
    params.schema.json` renews what the first line of params.yaml names: # yaml-language-server:
    $schema=params.schema.json
    """
    try:
        path = find_project().params
    except LmcError:
        path = None
    print(_schema_text(path), end="")


def _schema_text(path: Path | None) -> str:
    """Return the schema as JSON; `path`: the params.yaml whose own kinds it knows."""
    from lmc_repro.config.load import load_params, params_schema

    return json.dumps(params_schema(load_params(path) if path else None), indent=2) + "\n"


def doctor(
    fix_runs: Annotated[
        bool, Option("--fix-runs", help="End the runs that count as RUNNING though their process is gone.")
    ] = False,
    fix_store: Annotated[
        bool, Option("--fix-store", help="Point the store of a moved or copied project to its present folder.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Say what is missing, how to get it, and what crashes left.

    Also says what is installed, and where data and runs are. Exit code 1 if something is missing that the project
    needs. Changes nothing but with --fix-runs and --fix-store; notes, tags and ids of runs stay as they are.
    """
    from lmc_repro.cli.session import say
    from lmc_repro.maintenance.doctor import examine, finding_lines

    if fix_store:
        from lmc_repro.tracking.moved import fix_store as fix

        changed = fix(find_project())
        echo(f"store: changed {changed} addresses" if changed else "store: nothing to fix", err=True)
    findings = examine(fix_runs)
    ok = not any(finding.state == "missing" for finding in findings)
    say({"ok": ok, "findings": list(map(asdict, findings))}, finding_lines(findings), as_json)
    raise Exit(0 if ok else 1)


def gc(
    yes: Annotated[bool, Option("--yes", help="Remove what is listed without asking.")] = False,
    as_json: opt.AsJson = False,
) -> None:
    """List and remove working files that nothing refers to any more.

    Lists sizes, and removes only if you say so. Left over are runs and measured pairs in .lmc that no study of
    params.yaml has under any profile, and neither runs/ nor out/ names; their locks; files that a killed process
    was writing. Never touches runs under way, results, out/ or MLflow's store. On a terminal it asks; elsewhere --yes
    is needed.
    """
    from lmc_repro.cli.session import open_project, say
    from lmc_repro.maintenance.cleanup import find_leftovers, remove

    project, params = open_project()
    found = find_leftovers(project, params)
    record, terminal = found.record(), sys.stdin.isatty()
    if not as_json:
        print("\n".join(found.lines(project.root)))
    asked = bool(found.leftovers) and (yes or (not as_json and terminal and confirm("remove them?")))
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
    raise Exit(1 if stayed else 0)

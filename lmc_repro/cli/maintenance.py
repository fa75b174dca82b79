"""`lmc doctor` and `lmc gc`: findings and leftovers, printed for people or as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lmc_repro.maintenance.cleanup import Found

SHOWN = 20
"""Leftovers of one kind that are listed on a terminal."""
_LABELS = {"ok": "ok", "info": "-", "warning": "WARN", "missing": "MISSING"}


def doctor_command(fix_runs: bool, as_json: bool) -> int:
    """Print the findings and return the exit code: 1 if something is missing that is needed."""
    from lmc_repro.maintenance.doctor import examine, managers

    findings = examine(fix_runs)
    missing, warnings = (sum(f.state == state for f in findings) for state in ("missing", "warning"))
    if as_json:
        print(json.dumps({"ok": not missing, "findings": [dataclasses.asdict(f) for f in findings]}, indent=2))
        return 1 if missing else 0
    shown = managers()
    for section in dict.fromkeys(finding.section for finding in findings):
        print(section)
        for finding in (f for f in findings if f.section == section):
            print(f"  {_LABELS[finding.state]:7} {finding.name}: {finding.detail}")
            commands = [f"{manager}: {finding.install[manager]}" for manager in shown if manager in finding.install]
            for fix in [finding.fix, *(commands if finding.state != "info" else ())]:
                if fix:
                    print(f"          -> {fix}")
    print(f"{missing} missing, {warnings} to fix" if missing or warnings else "all that is needed is here")
    return 1 if missing else 0


def gc_command(yes: bool, as_json: bool) -> int:
    """List the leftovers, remove them after a `yes`, and return the exit code: 1 if one could not be removed."""
    from lmc_repro.maintenance.cleanup import find_leftovers, remove, sizes
    from lmc_repro.project import find_project
    from lmc_repro.schemas.load import load_params
    from lmc_repro.studies.expand import validate_all

    project = find_project()
    params = load_params(project.params)
    validate_all(params)
    found = find_leftovers(project, params)
    each, freed = sizes(found.leftovers)
    if not as_json:
        print("\n".join(_listing(found, each, freed, f"{project.root}/")))
    asked = bool(found.leftovers) and (yes or (not as_json and sys.stdin.isatty() and typer.confirm("remove them?")))
    stayed: dict[str, str] = {}
    if asked:
        now = find_leftovers(project, params).leftovers  # since the question, a run may have begun
        stayed = {str(item.path): "in use now" for item in found.leftovers if item not in now}
        removed = remove(item for item in found.leftovers if item in now)
        stayed |= {str(leftover.path): why for leftover, why in removed if why is not None}
    if as_json:
        leftovers = [
            {"path": str(item.path), "kind": item.kind, "what": item.what, "bytes": size}
            for item, size in zip(found.leftovers, each, strict=True)
        ]
        record = {
            "leftovers": leftovers,
            "bytes": sum(each),
            "bytes_freed": freed,
            "kept_runs": found.kept,
            "under_way": [str(path) for path in found.under_way],
            "removed": asked,
            "stayed": stayed,
        }
        print(json.dumps(record, indent=2))
        return 1 if stayed else 0
    for path, why in stayed.items():
        print(f"stays: {path}: {why}")
    if asked:
        print(f"removed {len(found.leftovers) - len(stayed)} of {len(found.leftovers)}")
    elif found.leftovers:
        print("nothing was removed" + ("" if sys.stdin.isatty() else "; --yes removes them"))
    return 1 if stayed else 0


def _listing(found: Found, each: Sequence[int], freed: int, root: str) -> list[str]:
    """Return the leftovers by kind, paths below `root` without it, and the bytes that their removal frees."""
    lines = []
    for kind in dict.fromkeys(leftover.kind for leftover in found.leftovers):
        group = [(item, size) for item, size in zip(found.leftovers, each, strict=True) if item.kind == kind]
        lines.append(f"{kind}s: {len(group)}, {_megabytes(sum(size for _, size in group))}")
        for item, size in group[:SHOWN]:
            lines.append(f"  {_megabytes(size):>9}  {str(item.path).removeprefix(root)}  {item.what}")
        if len(group) > SHOWN:
            lines.append(f"  and {len(group) - SHOWN} more; --json lists all")
    if found.under_way:
        lines.append(f"kept: all {found.kept} runs: {len(found.under_way)} training now; ask again when it is over")
    else:
        lines.append(f"kept: {found.kept} runs that a study of params.yaml, runs/ or out/ names")
    if not found.leftovers:
        return [*lines, "nothing is left over"]
    linked = "" if freed == sum(each) else f", {_megabytes(freed)} of it freed: the rest has links elsewhere"
    return [*lines, f"left over: {_megabytes(sum(each))}{linked}"]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size} B"

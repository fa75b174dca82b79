"""Commands that look after a machine and a project's working files: doctor, gc."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lmc_repro.cli import options as opt

if TYPE_CHECKING:
    from lmc_repro.maintenance.cleanup import Found

SHOWN = 20
"""Leftovers of one kind that are listed on a terminal."""
_LABELS = {"ok": "ok", "info": "-", "warning": "WARN", "missing": "MISSING"}


def doctor(
    fix_runs: Annotated[
        bool, typer.Option("--fix-runs", help="End the runs that count as RUNNING though their process is gone.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Say what is missing, how to get it, and what crashes left.

    Also says what is installed, and where data and runs are. Exit code 1 if something is missing that the project
    needs. Changes nothing but with --fix-runs.
    """
    import dataclasses

    from lmc_repro.cli.session import print_json
    from lmc_repro.maintenance.doctor import examine, managers

    findings = examine(fix_runs)
    missing, warnings = (sum(f.state == state for f in findings) for state in ("missing", "warning"))
    if as_json:
        print_json({"ok": not missing, "findings": [dataclasses.asdict(f) for f in findings]})
        raise typer.Exit(1 if missing else 0)
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
    raise typer.Exit(1 if missing else 0)


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
    from lmc_repro.cli.session import open_project, print_json
    from lmc_repro.maintenance.cleanup import find_leftovers, remove, sizes

    project, params = open_project()
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
        print_json(record)
        raise typer.Exit(1 if stayed else 0)
    for path, why in stayed.items():
        print(f"stays: {path}: {why}")
    if asked:
        print(f"removed {len(found.leftovers) - len(stayed)} of {len(found.leftovers)}")
    elif found.leftovers:
        print("nothing was removed" + ("" if sys.stdin.isatty() else "; --yes removes them"))
    raise typer.Exit(1 if stayed else 0)


def _listing(found: Found, each: Sequence[int], freed: int, root: str) -> Iterator[str]:
    """Yield the leftovers by kind, paths below `root` without it, and the bytes that their removal frees."""
    for kind in dict.fromkeys(leftover.kind for leftover in found.leftovers):
        group = [(item, size) for item, size in zip(found.leftovers, each, strict=True) if item.kind == kind]
        yield f"{kind}s: {len(group)}, {_megabytes(sum(size for _, size in group))}"
        for item, size in group[:SHOWN]:
            yield f"  {_megabytes(size):>9}  {str(item.path).removeprefix(root)}  {item.what}"
        if len(group) > SHOWN:
            yield f"  and {len(group) - SHOWN} more; --json lists all"
    if found.under_way:
        yield f"kept: all {found.kept} runs: {len(found.under_way)} training now; ask again when it is over"
    else:
        yield f"kept: {found.kept} runs that a study of params.yaml, runs/ or out/ names"
    if not found.leftovers:
        yield "nothing is left over"
        return
    linked = "" if freed == sum(each) else f", {_megabytes(freed)} of it freed: the rest has links elsewhere"
    yield f"left over: {_megabytes(sum(each))}{linked}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size} B"

"""`lmc gc`: lists what nothing names any more, with sizes, and removes it if asked to."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import typer

from lmc_repro.leftovers.find import Found, Leftover, find_leftovers, sizes
from lmc_repro.leftovers.named import find_named
from lmc_repro.leftovers.remove import remove
from lmc_repro.project import find_project
from lmc_repro.schemas.load import load_params
from lmc_repro.studies.expand import validate_all

SHOWN = 20


def gc_command(yes: bool, as_json: bool) -> int:
    """Print the leftovers and remove them after a `yes`; returns 1 if one could not be removed."""
    project = find_project()
    params = load_params(project.params)
    validate_all(params)
    found = find_leftovers(project, find_named(project, params))
    each, freed = sizes(found.leftovers)
    if not as_json:
        print("\n".join(listing(found, each, freed, str(project.root))))
    asked = bool(found.leftovers) and (yes or (not as_json and sys.stdin.isatty() and typer.confirm("remove them?")))
    stayed: dict[str, str] = {}
    if asked:
        now = find_leftovers(project, find_named(project, params)).leftovers  # since the question a run may have begun
        stayed = {str(item.path): "in use now" for item in found.leftovers if item not in now}
        removed = remove([item for item in found.leftovers if item in now])
        stayed |= {str(leftover.path): why for leftover, why in removed if why is not None}
    if as_json:
        print(json.dumps(_record(found, each, freed, asked, stayed), indent=2))
        return 1 if stayed else 0
    for path, why in stayed.items():
        print(f"stays: {path}: {why}")
    if asked:
        print(f"removed {len(found.leftovers) - len(stayed)} of {len(found.leftovers)}")
    elif found.leftovers:
        print("nothing was removed" + ("" if sys.stdin.isatty() else "; --yes removes them"))
    return 1 if stayed else 0


def listing(found: Found, each: Sequence[int], freed: int, root: str) -> list[str]:
    """Return the leftovers by kind, paths below `root` without it, and what their removal frees."""
    lines = []
    for kind in dict.fromkeys(leftover.kind for leftover in found.leftovers):
        group = [(item, size) for item, size in zip(found.leftovers, each, strict=True) if item.kind == kind]
        lines.append(f"{kind}s: {len(group)}, {_megabytes(sum(size for _, size in group))}")
        lines += [f"  {_megabytes(size):>9}  {_below(item, root)}  {item.what}" for item, size in group[:SHOWN]]
        if len(group) > SHOWN:
            lines.append(f"  and {len(group) - SHOWN} more; --json lists all")
    if found.under_way:
        lines.append(f"kept: all {found.kept} runs: {len(found.under_way)} training now; ask again when it is over")
    else:
        lines.append(f"kept: {found.kept} runs that a study of params.yaml, runs/ or out/ names")
    if not found.leftovers:
        return [*lines, "nothing is left over"]
    total = sum(each)
    linked = "" if freed == total else f", {_megabytes(freed)} of it freed: the rest has links elsewhere"
    return [*lines, f"left over: {_megabytes(total)}{linked}"]


def _record(found: Found, each: Sequence[int], freed: int, asked: bool, stayed: dict[str, str]) -> dict[str, object]:
    return {
        "leftovers": [
            {"path": str(item.path), "kind": item.kind, "what": item.what, "bytes": size}
            for item, size in zip(found.leftovers, each, strict=True)
        ],
        "bytes": sum(each),
        "bytes_freed": freed,
        "kept_runs": found.kept,
        "under_way": [str(path) for path in found.under_way],
        "removed": asked,
        "stayed": stayed,
    }


def _below(item: Leftover, root: str) -> str:
    return str(item.path).removeprefix(f"{root}/")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size} B"

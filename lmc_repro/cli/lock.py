"""`lmc check-lock`: the results in this folder against the committed dvc.lock."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lmc_repro.errors import LmcError
from lmc_repro.project import Project, find_project

if TYPE_CHECKING:
    from lmc_repro.proof.counts import StudyCounts

LOCK = "dvc.lock"


def check_lock_command(against: str, keep: bool, as_json: bool) -> int:
    """Print what differs from the lock of a commit; return 0 if nothing does, 1 if something does."""
    from lmc_repro.proof.checked_lock import check_lock, lock_lines
    from lmc_repro.proof.lock import parse_lock

    project = find_project()
    here = parse_lock(_read(project.root / LOCK), str(project.root / LOCK))
    if keep:
        _keep(project, here)
        return 0
    name = f"{against}:{LOCK}"
    found = check_lock(project, parse_lock(_git_show(project.root, name), name), here, _cache(project.root))
    if as_json:
        print(json.dumps({"same": found.same, **dataclasses.asdict(found)}, indent=2))
    else:
        print("\n".join(lock_lines(found)))
    return 0 if found.same else 1


def _keep(project: Project, here: dict[str, object]) -> None:
    """Write the counts of the results that dvc.lock names; others than it names are not its counts."""
    from lmc_repro.proof.counts import FILE, read_counts, write_kept
    from lmc_repro.proof.lock import locked_md5

    kept: dict[str, StudyCounts] = {}
    for folder in sorted(project.results.glob("*")):
        if not (folder / "curves.csv").is_file():
            continue
        counts = read_counts(folder)
        if counts.md5 != locked_md5(here, f"results/{folder.name}/curves.csv"):
            raise LmcError(f"{folder / 'curves.csv'}: not the file that {LOCK} names; run `dvc repro` first")
        kept[folder.name] = counts
    write_kept(project.root / FILE, kept)
    print(f"{FILE}: the counts of {len(kept)} studies; commit it with {LOCK}")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LmcError(f"{path}: cannot be read ({error}); run `dvc repro` first") from None


def _git_show(root: Path, name: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), "show", name], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise LmcError(f"git show {name}: {error}; the committed {LOCK} is read with git") from None
    if done.returncode:
        said = " ".join(done.stderr.split())[:200]
        raise LmcError(f"git show {name}: {said}; name a commit that has a {LOCK} with --against")
    return done.stdout


def _cache(root: Path) -> Path:
    """Return DVC's cache, wherever its configuration puts it."""
    default = root / ".dvc" / "cache"
    try:
        done = subprocess.run(["dvc", "cache", "dir"], cwd=root, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return default
    said = done.stdout.strip()
    return root / said if done.returncode == 0 and said else default

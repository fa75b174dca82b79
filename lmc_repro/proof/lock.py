"""Two dvc.lock files, stage by stage: which outputs have other hashes, and which inputs that could explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from lmc_repro.errors import LmcError

State = Literal["as locked", "other outputs", "not made here", "not locked"]


@dataclass(frozen=True)
class Stage:
    """A stage of DVC in both locks. `outs` are the outputs with another hash, `inputs` the files, parameters and
    commands of its own (no other stage's outputs) that are not those of the lock.
    """

    name: str
    state: State
    outs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


def parse_lock(text: str, name: str) -> dict[str, Any]:
    """Return the stages of a dvc.lock; LmcError that begins with `name` if it is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        lock = YAML(typ="safe", pure=True).load(text)
        return dict(lock["stages"])
    except (YAMLError, KeyError, TypeError, ValueError) as error:
        told = " ".join(str(error).split())[:200]
        raise LmcError(f"{name}: not a dvc.lock ({told}); restore it, e.g. git checkout -- dvc.lock") from None


def compare_locks(locked: Mapping[str, Any], here: Mapping[str, Any]) -> list[Stage]:
    """Return every stage of either lock, in the order of the locked one."""
    made = {out["path"] for lock in (locked, here) for stage in lock.values() for out in stage.get("outs", ())}
    stages = []
    for name in dict.fromkeys((*locked, *here)):
        if name not in here:
            stages.append(Stage(name, "not made here"))
        elif name not in locked:
            stages.append(Stage(name, "not locked"))
        else:
            stages.append(_compare(name, locked[name], here[name], made))
    return stages


def locked_file(locked: Mapping[str, Any], path: str, cache: Path) -> Path | None:
    """Return where DVC's cache has the locked content of an output that is a file; None if it is not there."""
    if (md5 := locked_md5(locked, path)) is None:
        return None
    file = cache / "files" / "md5" / md5[:2] / md5[2:]
    return file if file.is_file() else None


def locked_md5(locked: Mapping[str, Any], path: str) -> str | None:
    """Return the hash of an output in a lock, None if no stage has it."""
    outs = (out for stage in locked.values() for out in stage.get("outs", ()))
    return next((str(out.get("md5")) for out in outs if out["path"] == path), None)


def _compare(name: str, locked: Mapping[str, Any], here: Mapping[str, Any], made: set[str]) -> Stage:
    outs = _apart(_hashes(locked, "outs"), _hashes(here, "outs"))
    inputs = [
        path for path in _apart(_hashes(locked, "deps"), _hashes(here, "deps")) if not _made_by_a_stage(path, made)
    ]
    inputs += [file for file in ("params.yaml",) if _params(locked, file) != _params(here, file)]
    inputs += ["its command"] if locked.get("cmd") != here.get("cmd") else []
    return Stage(name, "other outputs" if outs else "as locked", tuple(outs), tuple(dict.fromkeys(inputs)))


def _hashes(stage: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {entry["path"]: entry.get("md5") for entry in stage.get(kind, ())}


def _params(stage: Mapping[str, Any], file: str) -> Any:
    return stage.get("params", {}).get(file)


def _apart(locked: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    return [path for path in dict.fromkeys((*locked, *here)) if locked.get(path) != here.get(path)]


def _made_by_a_stage(path: str, made: set[str]) -> bool:
    """Whether a dependency is an output of a stage, or a folder of outputs."""
    return path in made or any(PurePosixPath(path) in PurePosixPath(out).parents for out in made)

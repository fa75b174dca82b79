"""A bundle: everything that a study came to on another machine in one file, and nothing in it that could run.

A zip without compression of bundle.json (plan, machine, sha256 of every other file), runs/<fingerprint>/ as in
training.run_folder, with or without checkpoints, and pairs/<key>.json. It holds no dates: equal bits give equal files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_repro.errors import LmcError
from lmc_repro.files import sha256_bytes, sha256_file
from lmc_repro.schemas.plan import StudyPlan
from lmc_repro.schemas.plan_file import plan_from_json, plan_to_json

FORMAT = 1
HEADER = "bundle.json"
FIX = "copy it again, or make it again with `python -m lmc_repro.execution.bundle`"

_NAMES = re.compile(
    r"runs/[0-9a-f]{16}/(config\.json|metrics\.csv|status\.json|checkpoints/epoch-[0-9]{4,}(\.[0-9]+)?\.safetensors)"
    r"|pairs/[0-9a-f]{16}\.json"
)
_NO_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Header:
    """What a bundle says of itself: the plan, what decides the bits besides, and why some cells were not run."""

    plan: StudyPlan
    digests: dict[str, str]
    not_run: dict[str, str]
    device: str
    numerics: str
    torch: str
    training_numerics: int
    evaluation_numerics: int


def write_bundle(path: Path, header: Header, files: Mapping[str, bytes | Path]) -> None:
    """Write a bundle of files, by name: bytes, or where they lie. The file is whole or not there."""
    hashes = {
        name: sha256_bytes(content) if isinstance(content, bytes) else sha256_file(content)
        for name, content in files.items()
    }
    said = {**vars(header), "plan": plan_to_json(header.plan), "format": FORMAT, "files": hashes}
    text = (json.dumps(said, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as bundle:
            for name, content in [(HEADER, text), *sorted(files.items())]:
                if isinstance(content, bytes):
                    bundle.writestr(zipfile.ZipInfo(name, _NO_DATE), content)
                else:
                    with open(content, "rb") as source, bundle.open(_sized(name, content), "w") as target:
                        shutil.copyfileobj(source, target, 2**20)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LmcError(f"{path}: cannot be written ({error.strerror}); free some space or give another --out") from None


def unpack_bundle(path: Path, folder: Path) -> Header:
    """Check a bundle, put its files below the empty `folder`, and return what it says of itself.

    LmcError, naming the file, if it is no bundle of this version, if a name in it is not one that bundles have (so
    nothing can land outside of `folder`), or if a file is missing, added, or has another sha256 than recorded.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            infos = bundle.infolist()
            names = [info.filename for info in infos]
            if names.count(HEADER) != 1 or len(set(names)) != len(names):
                raise LmcError(f"{path}: is not a bundle; {FIX}")
            if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
                raise LmcError(f"{path}: is compressed or encrypted, a bundle is neither; {FIX}")
            said = json.loads(bundle.read(HEADER))
            header, recorded = _header(said, path)
            names.remove(HEADER)
            for name in names:
                if not _NAMES.fullmatch(name):
                    raise LmcError(f"{path}: holds {name!r}, which is no file of a bundle; {FIX}")
            if set(names) != set(recorded):
                apart = sorted(set(names) ^ set(recorded))
                raise LmcError(f"{path}: {apart[0]}: in the file or in its list, not in both; {FIX}")
            for name in names:
                found = _copy(bundle, name, folder / name)
                if found != recorded[name]:
                    said_so = f"its sha256 is {found[:12]}, recorded {recorded[name][:12]}"
                    raise LmcError(f"{path}: {name}: damaged: {said_so}; {FIX}")
            return header
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise LmcError(f"{path}: is not a bundle, or not whole ({error}); {FIX}") from None
    except OSError as error:
        raise LmcError(f"{path}: cannot be read ({error.strerror or error}); {FIX}") from None


def _header(said: Any, path: Path) -> tuple[Header, dict[str, str]]:
    try:
        if said["format"] != FORMAT:
            raise LmcError(f"{path}: format {said['format']!r}, this program reads {FORMAT}; {FIX}")
        plan = plan_from_json(said["plan"], f"{path}: plan")
        fields = {name: said[name] for name in Header.__dataclass_fields__ if name != "plan"}
        files = said["files"]
        tables = (files, fields["digests"], fields["not_run"])
        if not all(isinstance(table, dict) and all(isinstance(v, str) for v in table.values()) for table in tables):
            raise TypeError("files, digests or not_run are no tables of text")
        if not all(isinstance(fields[name], str) for name in ("device", "numerics", "torch")):
            raise TypeError("device, numerics or torch are no text")
        return Header(plan=plan, **fields), files
    except (KeyError, TypeError, ValueError) as error:
        raise LmcError(f"{path}: {HEADER}: damaged ({error}); {FIX}") from None


def _copy(bundle: zipfile.ZipFile, name: str, target: Path) -> str:
    """Copy a file out of the zip and return its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with bundle.open(name) as source, open(target, "wb") as file:
        while part := source.read(2**20):
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


def _sized(name: str, source: Path) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _NO_DATE)
    info.file_size = source.stat().st_size  # so that more than 2 GiB can be written
    return info

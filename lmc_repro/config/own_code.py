"""Objects of one's own, named `FILE.py:NAME` in params.yaml; a run knows the file's content, not its name alone.

Validation pins a name to the content of its file, `FILE.py:NAME#<sha256>`, which stands in config.json and so enters
the fingerprint: a changed file is another run. Paths are relative to the project's root.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import sha256_bytes, write_atomic
from lmc_repro.common.project import find_project

_PIN = re.compile(r"(?<=\w)#[0-9a-f]{16}\b")
_NAME = re.compile(r'(?P<file>[^:#"]+\.py):(?P<name>[A-Za-z_]\w*)(#(?P<sha256>[0-9a-f]{16}))?')


def is_own(name: str) -> bool:
    """Return whether a name has the form `FILE.py:NAME`, pinned or not."""
    return _NAME.fullmatch(name) is not None


def pinned(name: str) -> str:
    """Return `FILE.py:NAME#<first 16 digits of the file's sha256>`, any other name as it is.

    Args:
        name: The name as params.yaml has it, or as a config that was written earlier pins it.

    Raises:
        LmcError: If the file is missing, cannot be imported, has no such object, or has other content than the pin.
    """
    return _found(name)[0] if is_own(name) else name


def own_object(name: str) -> Any:
    """Return the object of a name; LmcError as `pinned` raises it."""
    return _pinned_object(name if "#" in name else pinned(name))


def short_name(text: str) -> str:
    """Return a name, or a text that holds names, without pins: for people."""
    return _PIN.sub("", text)


def own_files(text: str) -> set[str]:
    """Return the files of all pinned names in a JSON text."""
    return {match["file"] for match in _NAME.finditer(text) if match["sha256"]}


def own_sources(text: str) -> dict[str, bytes]:
    """Return the contents of these files, by name; LmcError if one is missing or has other content than its pin."""
    return {
        match["file"]: _read(match["file"], match["sha256"])[1] for match in _NAME.finditer(text) if match["sha256"]
    }


def use_sources(sources: Mapping[str, bytes], folder: Path) -> None:
    """Read the files that `own_sources` found on another machine from copies in a folder, from now on, and no others.

    Each has a folder of its own, named by its content.
    """
    _COPIES.clear()
    for name, content in sources.items():
        copy = folder / sha256_bytes(content)[:16] / Path(name).name
        if not copy.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(copy, content)
        _COPIES[name] = copy


_COPIES: dict[str, Path] = {}
"""Another machine's files, by their names there."""

STORED = object()
"""The context in which pydantic reads stored configs: pins are trusted, and no file is read or imported."""


def pin(name: str, info: ValidationInfo) -> str:
    """Return `pinned(name)`, for pydantic's validators; stored names are pinned already."""
    if info.context is not STORED:
        try:
            return pinned(name)
        except LmcError as error:
            raise ValueError(str(error)) from None
    if is_own(name) and "#" not in name:
        raise ValueError(f"found {name!r}, allowed: {name}#<sha256>")
    return name


PinnedName = Annotated[str, AfterValidator(pin)]
"""A name of the package, or FILE.py:NAME, which becomes pinned."""


@cache
def _pinned_object(name: str) -> Any:
    return _found(name)[1]


def _found(name: str) -> tuple[str, Any]:
    """Return a name with its pin, and its object; LmcError as `pinned` raises it."""
    if (match := _NAME.fullmatch(name)) is None:
        raise LmcError(f"found {name!r}, allowed: FILE.py:NAME")
    path, content = _read(match["file"], match["sha256"])
    sha256, attribute = sha256_bytes(content)[:16], match["name"]
    module = _module(path, sha256)
    if not hasattr(module, attribute):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise LmcError(f"{path}: found no {attribute}, allowed: {', '.join(names)}")
    return f"{match['file']}:{attribute}#{sha256}", getattr(module, attribute)


def _read(file: str, recorded: str | None) -> tuple[Path, bytes]:
    """Return a file's path and content; LmcError if it cannot be read, or has another sha256 than the recorded one."""
    try:
        root = find_project().root
    except LmcError:  # a notebook
        root = Path.cwd()
    path = _COPIES.get(file) or (root / file).resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LmcError(f"{path}: cannot be read ({error.strerror}); FILE.py:NAME is relative to {root}") from None
    sha256 = sha256_bytes(content)[:16]
    if recorded is not None and recorded != sha256:
        raise LmcError(
            f"{path}: changed since this run: its sha256 begins with {sha256}, recorded {recorded}; restore the file, "
            "or train anew under params.yaml"
        )
    return path, content


@cache
def _module(path: Path, sha256: str) -> ModuleType:
    """Return the file as a module, imported once per content."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{sha256}", path)
    assert spec is not None and spec.loader is not None  # its suffix is .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pydantic look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise LmcError(f"{path}: cannot be imported ({type(error).__name__}: {error})") from None
    return module

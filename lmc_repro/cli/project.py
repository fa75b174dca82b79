"""Commands that begin a project of one's own: init, and schema for its editor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def init(directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or one that is there.")]) -> None:
    """Begin a project: a study of a minute, and its stages.

    Writes params.yaml, params.schema.json, dvc.yaml, MLproject, README.md, .gitignore and .dvcignore, and overwrites
    none: where one of them is there, nothing is written. Needs neither git nor DVC; a git repository may hold the
    folder.
    """
    import re
    import shlex
    from importlib.resources import files

    from lmc_repro.common.errors import LmcError
    from lmc_repro.common.files import write_atomic

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
    from lmc_repro.common.errors import LmcError
    from lmc_repro.common.project import find_project

    try:
        path = find_project().params
    except LmcError:
        path = None
    print(_schema_text(path), end="")


def _schema_text(path: Path | None) -> str:
    """Return the schema as JSON; `path`: the params.yaml whose own kinds it knows."""
    from lmc_repro.config.load import load_params, params_schema

    return json.dumps(params_schema(load_params(path) if path else None), indent=2) + "\n"

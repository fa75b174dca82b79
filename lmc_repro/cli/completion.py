"""Words that Tab completes, from params.yaml as it stands; none where it cannot be read."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import typer


def studies() -> list[str]:
    """Return the keys of the studies."""
    return _keys("studies")


def exhibits() -> list[str]:
    """Return the keys of the exhibits."""
    return _keys("exhibits")


def studies_and_exhibits() -> list[str]:
    """Return both."""
    return studies() + exhibits()


def profiles() -> list[str]:
    """Return the keys of the profiles."""
    return _keys("profiles")


def rows(ctx: typer.Context) -> list[str]:
    """Return the rows of the study that was typed."""
    return _keys("studies", _study(ctx), "rows")


def columns(ctx: typer.Context) -> list[str]:
    """Return the columns of the study that was typed."""
    return _keys("studies", _study(ctx), "columns")


def _study(ctx: typer.Context) -> str | None:
    """Return the study that was typed; after an option without its value the parser leaves it among the rest."""
    return ctx.params.get("study") or next(iter(ctx.args), None)


def _keys(*path: Any) -> list[str]:
    """Return the keys of a table of params.yaml: without its validation, since Tab waits for it."""
    from ruamel.yaml import YAML

    from lmc_repro.common.project import find_project

    found: Any = None
    with suppress(Exception):  # a shell that completes has no place for an error
        found = YAML(typ="safe").load(find_project().params)
        for key in path:
            found = found[key]
    return list(map(str, found)) if isinstance(found, dict) else []

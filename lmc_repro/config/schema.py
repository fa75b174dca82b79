"""The JSON schema of params.yaml, for editors: made from the models that validate it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from lmc_repro.config.load import OPEN, group_classes
from lmc_repro.config.params import Params

Schema = dict[str, Any]
_OWN = {"type": "string", "pattern": r"\.py:[A-Za-z_]\w*$"}


def params_schema(params: Params | None = None) -> Schema:
    """Return the JSON schema (draft 2020-12) of params.yaml.

    It knows keys, types and bounds. Which key goes with which kind, and all else that concerns several keys, is left to
    `lmc check`.

    Args:
        params: A project's file, so that keys of its networks and optimizers of one's own are known, too.
    """
    schema: Schema = Params.model_json_schema()
    definitions: dict[str, Schema] = schema["$defs"]
    groups = {group: [known for known, _ in classes] for group, classes in group_classes(params).items()}
    tables = {placeholder.__name__.removesuffix("Settings").lower(): placeholder for placeholder in OPEN}
    for group, classes in groups.items():
        kinds = OPEN[tables[group]] if group in tables else ()
        part = _union(classes, kinds, definitions)
        name = [{"type": "string"}] if group == "optimizer" else []  # one that the profile gives a meaning to
        for layer in ("Settings", "AxisEntry"):
            definitions[layer]["properties"][group] = {"anyOf": [part, *name]}
    for group, placeholder in tables.items():
        classes = [known for known in groups.get(group, ()) if issubclass(known, placeholder)]
        part = _union(classes, OPEN[placeholder], definitions)
        # Augmentations are of one's own alone.
        definitions[placeholder.__name__] = part | {"required": ["kind"], "additionalProperties": not classes}
    return schema


def _union(classes: Iterable[type[BaseModel]], kinds: Collection[str], definitions: dict[str, Schema]) -> Schema:
    """Return an object that may have the keys of any of `classes`, and as `kind` one of `kinds` or one of one's own.

    What the classes refer to joins `definitions`.
    """
    properties: dict[str, list[Mapping[str, Any]]] = {}
    for known in classes:
        part = known.model_json_schema()
        for name, definition in part.pop("$defs", {}).items():
            definitions.setdefault(name, definition)
        for key, value in part["properties"].items():
            properties.setdefault(key, []).append({k: v for k, v in value.items() if k not in ("default", "title")})
    merged: dict[str, Any] = {
        key: {"anyOf": [*_distinct(values), {"type": "null"}]} for key, values in properties.items()
    }
    if kinds or not properties:
        merged["kind"] = {"anyOf": [{"enum": list(kinds)}, _OWN]} if kinds else _OWN
    return {"type": "object", "properties": merged, "additionalProperties": False}


def _distinct(values: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found

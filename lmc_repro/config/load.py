"""Reads params.yaml; every mistake in it becomes one line: file, path in the file, found, allowed. Its JSON schema."""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from functools import partial, reduce
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from lmc_repro.common.errors import LmcError, every, meant, nearest
from lmc_repro.config.own_code import STORED, is_own
from lmc_repro.config.params import Params
from lmc_repro.config.registry import AUGMENTATIONS, MODELS, OPTIMIZERS, Kind, settings_class
from lmc_repro.config.run import DataConfig, ModelSettings, OptimizerSettings, ScheduleConfig, StepSettings
from lmc_repro.config.study import GROUPS, ModelTerms, OptimizerTerms, Settings

M = TypeVar("M", bound=BaseModel)


def load_params(path: Path) -> Params:
    """Return the validated params.yaml at `path`; LmcError with a line for each thing that is wrong with it."""
    return check_params(read_yaml(path), path.name)


def check_params(values: Any, name: str) -> Params:
    """Return the values of a params.yaml as Params; LmcError, beginning with `name`, with a line for each mistake."""
    params = validate(Params, values, name)
    classes = group_classes(params)
    layers = params.layers().items()
    every(partial(check_groups, settings, classes, f"{name}: {where}.") for where, settings in layers)
    return params


Classes = dict[str, list[tuple[type[BaseModel], Set[str]]]]
"""By group of settings: the classes that may have its keys, and the keys of each."""


def group_classes(params: Params | None = None, given: Settings | None = None) -> Classes:
    """Return RunConfig's parts, and of networks and optimizers every kind: of the registry, or named in a layer."""
    layers = {f"params.yaml: {where}.": layer for where, layer in (params.layers() if params else {}).items()}
    layers |= {"--set: ": given} if given else {}
    models = {str(layer.model.get("kind")): f"{where}model" for where, layer in layers.items()}
    optimizers = {str(layer.optimizer.get("kind")): f"{where}optimizer" for where, layer in layers.items()}
    for key, profile in params.profiles.items() if params else ():
        place = f"params.yaml: profiles.{key}.optimizers"
        optimizers |= {each.kind: f"{place}.{name}" for name, each in profile.optimizers.items()}
    parts: tuple[type[BaseModel], ...] = (ModelTerms, OptimizerTerms, ScheduleConfig, DataConfig)
    classes: Classes = {group: [(part, part.model_fields.keys())] for group, part in zip(GROUPS, parts, strict=True)}
    classes["model"] += _kinds(MODELS, models)
    classes["optimizer"] += _kinds(OPTIMIZERS, optimizers)
    return classes


def _kinds(table: Mapping[str, Kind], named: Mapping[str, str]) -> Iterator[tuple[type[BaseModel], Set[str]]]:
    """Yield the classes of a table's kinds, and of one's own by their places; the terms say what `kind` may be."""
    for name in (*table, *(name for name in named if is_own(name))):
        try:
            known = settings_class(table, name)
        except LmcError as error:
            raise LmcError(f"{named[name]}.kind: {error}") from None
        yield known, known.model_fields.keys() - {"kind"}


def check_groups(settings: Settings, classes: Classes, where: str) -> None:
    """Raise LmcError unless each key of `model` and so on is a key of some kind, with a value that this kind takes.

    Another layer may name the network's kind, so RunConfig validates the whole. Lines begin with `where`.
    """
    wrong: list[str] = []
    for group in GROUPS:
        given: dict[str, Any] = getattr(settings, group)
        mistakes = [_mistakes(known, given) if keys & given.keys() else {} for known, keys in classes[group]]
        kinds = [lines for (_, keys), lines in zip(classes[group], mistakes, strict=True) if "kind" in keys]
        refused = "kind" in given and all("kind" in lines for lines in kinds)  # then no other key can be judged
        for key, value in given.items():
            found = [lines.get(key) for (_, keys), lines in zip(classes[group], mistakes, strict=True) if key in keys]
            if not found and not refused:
                allowed = dict.fromkeys(name for _, keys in classes[group] for name in sorted(keys))
                wrong.append(f"{where}{group}.{key}: {unknown_key(key, allowed)}")
            elif found and value is not None and None not in found:
                first, *others = dict.fromkeys(line for line in found if line)
                or_else = "".join(f", or {line.rpartition('allowed: ')[2]}" for line in others)
                wrong.append(f"{where}{group}.{first}{or_else}")
    if wrong:
        raise LmcError(*wrong)


def _mistakes(known: type[BaseModel], given: dict[str, Any]) -> dict[str, str]:
    """Return by key the line of the first mistake below it."""
    try:
        known.model_validate_json(to_json(given))
    except ValidationError as error:
        lines = [(each["loc"][0], _line(known, given, each)) for each in error.errors(include_url=False) if each["loc"]]
        return {str(key): line for key, line in reversed(lines)}
    return {}


def read_yaml(path: Path) -> Any:
    """Return the plain values of a YAML 1.2 file, as DVC reads it (so that 1e-8 is a number)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LmcError(f"{path}: cannot be read ({error}); restore it, e.g. git checkout -- {path.name}") from None
    return parse_yaml(text, path.name)


def parse_yaml(text: str, name: str) -> Any:
    """Return the plain values of a YAML 1.2 text; LmcError that begins with `name`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context or "not YAML").split())
        raise LmcError(f"{name}{where}: not valid YAML ({problem})") from None
    except YAMLError as error:
        raise LmcError(f"{name}: not valid YAML ({' '.join(str(error).split())})") from None
    except (ValueError, RecursionError) as error:  # a date such as 2001-99-99, a number of thousands of digits
        raise LmcError(f"{name}: a value that YAML cannot hold ({' '.join(str(error).split())})") from None


def validate(model: type[M], value: Any, name: str = "", stored: bool = False) -> M:
    """Return `value` as a `model`.

    Args:
        model: Its class.
        value: Plain values.
        name: The file that the error line begins with; none where the caller names it.
        stored: Whether a run stored the values: names of one's own are pinned then, and no file of theirs is imported.

    Raises:
        LmcError: If anything is wrong with it, with one line per place.
    """
    try:
        return model.model_validate(value, context=STORED if stored else None)
    except ValidationError as error:
        # A misspelled key is also a missing one, a wrong item also one too few: report the spelling, the item.
        errors = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
        errors = [e for e in errors if e["type"] != "too_short" or len(e["input"]) < e["ctx"]["min_length"]]
        spelled = {_spelled(model, value, e["loc"]) for e in errors if e["type"] == "extra_forbidden"}
        lines = [_line(model, value, e) for e in errors if e["type"] != "missing" or e["loc"] not in spelled]
        first: dict[str, str] = {}
        for line in lines:  # a union has an error per branch
            place, _, said = line.partition(": ")
            _, allowed, more = said.partition(", allowed: ")
            known = first.setdefault(place, line)
            if known != line and allowed in known and allowed:
                first[place] = f"{known}, or {more}"
        place = f"{name}: " if name else ""
        raise LmcError(*(" ".join(f"{place}{line}".split()) for line in first.values())) from None


def _spelled(model: type[BaseModel], value: Any, loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the place of the key that an unknown one was meant to be."""
    here = _model_at(model, value, loc[:-1])
    return (*loc[:-1], nearest(str(loc[-1]), here.model_fields if here else ()))


def _line(model: type[BaseModel], value: Any, error: Any) -> str:
    path = error["loc"]
    loc = [part for i, part in enumerate(path) if part not in _NO_KEYS and not _is_tag(path, i)]
    if loc[-1:] and loc[-1] in _PLAIN and not isinstance(reduce(_inside, path[:-1], value), dict):
        loc.pop()  # the branch of a union, and no key of this name
    where = ".".join(str(part) for part in loc) or "the whole file"
    found, kind, context = error["input"], error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        here = _model_at(model, value, error["loc"][:-1])
        if here and issubclass(here, Settings) and (moved := _moved(str(loc[-1]))):
            return f"{where}: unknown key; did you mean {moved}?"
        return f"{where}: {unknown_key(str(loc[-1]), here.model_fields if here else ())}"
    if kind == "missing":
        return f"{where}: missing; add this key"
    if kind == "value_error":
        message = str(context["error"])
        return f"{where}: {message}" if loc else message
    if kind == "union_tag_invalid":
        return f"{where}.kind: {_choices(context['tag'], context['expected_tags'])}"
    if kind in ("kind_missing", "union_tag_not_found"):
        tags = context.get("allowed") or ", ".join(map(repr, _tags(error["loc"])))
        return f"{where}.kind: missing; allowed: {tags}"
    if kind == "literal_error":
        return f"{where}: {_choices(found, context['expected'])}"
    if (kind == "invalid_key" or "[key]" in path) and not isinstance(found, str):
        lone = reduce(_inside, (part for part in path if part != "[key]"), value) is None  # `lr: 0,01` is `lr: 0, 01:`
        return f"{where}: found the key {found!r}, allowed: text" + "; write a decimal with a point, e.g. 0.01" * lone
    allowed = error["msg"].removeprefix("Input should be ").replace("valid tuple", "list")
    if kind == "string_pattern_mismatch":
        allowed = f"text that matches {context['pattern']}"
    elif kind == "too_short":
        allowed = f"at least {context['min_length']}"
    return f"{where}: found {found!r}, allowed: {allowed}"


def unknown_key(key: str, allowed: Collection[str]) -> str:
    """Return the words for a key that is none of the allowed ones."""
    hint = f"{hint} " if (hint := meant(key, allowed)) else ""
    return f"unknown key; {hint}allowed: {', '.join(allowed)}"


def _choices(found: Any, expected: str) -> str:
    """Return the words for a value that is none of pydantic's list, `'a', 'b' or 'c'`."""
    hint = f"; {hint}" if (hint := meant(str(found), re.findall("'([^']*)'", expected))) else ""
    return f"found {found!r}, allowed: {expected}{hint}"


def _moved(key: str) -> str | None:
    """Return the new place of a setting that stood beside `epochs` before there were groups."""
    renamed = {"lc_bias": "model.bias", "options": "model"}
    there = [f"{group}.{key}" for group, classes in group_classes().items() for _, keys in classes if key in keys]
    return renamed.get(key) or next(iter(there), None)


_NO_KEYS = ("[key]", "constrained-int", "constrained-float", "literal['positions']")
"""What pydantic puts into a location beside keys: of a union, the branch that refused the value."""

_PLAIN = ("bool", "float", "int", "str")

_TABLES = {"exhibits": ("parameters", "batches", "accuracies")}
"""Tags of the unions that stand in every entry of a table."""


def _is_tag(loc: tuple[Any, ...], i: int) -> bool:
    """Whether part `i` names the branch of a union, and so is no key of the file."""
    return loc[i] in _tags(loc[:i])


def _tags(loc: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the tags of the union at `loc`, none where there is no union."""
    return _TABLES.get(str(("", "", *loc)[-2]), ())


OPEN = {ModelSettings: MODELS, OptimizerSettings: OPTIMIZERS, StepSettings: AUGMENTATIONS}
"""Placeholders in annotations for any kind of a table."""


def _model_at(model: type[BaseModel], value: Any, loc: tuple[Any, ...]) -> type[BaseModel] | None:
    """Return the model at `loc` of `value`, by walking the models' annotations."""
    here: Any = model
    for i, part in enumerate(loc):
        options = _models(here, value)
        if not _is_tag(loc, i):
            value = _inside(value, part)
        if len(options) > 1:  # a union: the location names the branch by its tag
            here = next((o for o in options if part in get_args(o.model_fields["kind"].annotation)), options[0])
        elif options and part in options[0].model_fields:
            here = options[0].model_fields[part].annotation
        elif get_origin(here) is dict:
            here = get_args(here)[1]
        elif get_origin(here) is tuple:
            here = get_args(here)[0]
    options = _models(here, value)
    return options[0] if options else None


def _inside(value: Any, part: Any) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _models(annotation: Any, value: Any) -> list[type[BaseModel]]:
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0], value)
    if get_origin(annotation) in (Union, types.UnionType):
        return [m for option in get_args(annotation) for m in _models(option, value)]
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    if table := OPEN.get(annotation):
        kind = _inside(value, "kind")
        known = isinstance(kind, str) and (kind in table or is_own(kind))
        return [settings_class(table, kind) if known else annotation]
    return [annotation]


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

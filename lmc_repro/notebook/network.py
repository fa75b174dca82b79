"""`--model`: a network of the registry by its settings, or a torch module that a user's own function makes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from lmc_repro.common.errors import LmcError, own_code
from lmc_repro.config.load import parse_yaml, read_yaml, validate
from lmc_repro.config.own_code import is_own, pinned
from lmc_repro.config.registry import MODELS, settings_class
from lmc_repro.config.run import ModelSettings

if TYPE_CHECKING:
    from torch import nn

ALLOWED = (
    f"a kind ({', '.join(MODELS)}) with its settings as in mlp:depth=2,width=128, the same as {{kind: mlp, ...}}, a "
    "run's config.json, or FILE.py:FUNCTION or module:FUNCTION that returns an nn.Module"
)


@dataclass(frozen=True)
class OwnModule:
    """A user's function, by the name that it was given."""

    name: str
    build: Callable[[], Any]

    def make(self) -> nn.Module:
        """Call the function; LmcError, naming the line, if it raises something or returns no module."""
        from torch import nn

        from lmc_repro.models.module import check_sized

        made = own_code(f"--model {self.name}", self.build)
        if not isinstance(made, nn.Module):
            raise LmcError(f"--model {self.name}: returned a {type(made).__name__}, expected an nn.Module")
        check_sized(made, f"--model {self.name}")
        return made


def read_network(text: str) -> ModelSettings | OwnModule:
    """Return the network that `--model` names; LmcError, one line, if there is none. Imports a user's own module."""
    kind, colon, rest = text.partition(":")
    if text.lstrip().startswith("{"):
        return _settings(parse_yaml(text, "--model"), "--model")
    if kind in MODELS:
        values: dict[str, Any] = {"kind": kind}
        for part in rest.split(",") if rest else ():
            key, equals, value = part.partition("=")
            if not equals:
                raise LmcError(f"--model {text}: found {part!r}, allowed: KEY=VALUE, e.g. {kind}:slope=0.0")
            values[key.strip()] = parse_yaml(value, f"--model {text}: {key.strip()}")
        return _settings(values, f"--model {text}")
    if text.endswith((".json", ".yaml", ".yml")):
        return _of_file(Path(text))
    module, colon, function = text.rpartition(":")
    if not colon or not module or not function:
        raise LmcError(f"--model: found {text!r}, allowed: {ALLOWED}")
    found: Any = own_code(f"--model {text}", lambda: _import(module, text))
    for name in function.split("."):
        if not hasattr(found, name):
            raise LmcError(f"--model {text}: {module} has no {name}; name a function that returns an nn.Module")
        found = getattr(found, name)
    if not callable(found):
        raise LmcError(f"--model {text}: is a {type(found).__name__}, expected a function that returns an nn.Module")
    return OwnModule(text, found)


def _import(name: str, text: str) -> ModuleType:
    """Return a module by its name or its file, whose folder is on Python's path from now on."""
    path = Path(name).resolve() if name.endswith(".py") else None
    if path is not None and not path.is_file():
        raise LmcError(f"--model {text}: {name}: no such file")
    if (folder := str(path.parent if path else Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    if path is None:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise LmcError(f"--model {text}: no module {error.name} in {folder}, nor is one installed") from None
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # of a name that ends with .py
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _of_file(path: Path) -> ModelSettings:
    """Return the network of a run's config.json, or of a file that holds a network's settings alone."""
    values = read_yaml(path)
    if isinstance(values, dict) and "model" in values:
        data = values.get("data")
        if isinstance(data, dict) and data.get("label_noise"):
            raise LmcError(f"{path}: its labels were noisy, and those of --data are not; use `lmc compare RUN_A RUN_B`")
        values = values["model"]
    return _settings(values, str(path))


def _settings(values: Any, name: str) -> ModelSettings:
    kind = values.get("kind") if isinstance(values, dict) else None
    if isinstance(kind, str) and is_own(kind):
        values = {**values, "kind": pinned(kind)}
    elif kind not in MODELS:
        raise LmcError(f"{name}: kind: found {kind!r}, allowed: {', '.join(MODELS)}, FILE.py:NAME")
    return cast(ModelSettings, validate(settings_class(MODELS, str(kind)), values, name))

"""`--set KEY=VALUE`: settings of params.yaml, given on the command line."""

from __future__ import annotations

from typing import Any

from lmc_repro.errors import LmcError
from lmc_repro.schemas.load import parse_yaml, validate
from lmc_repro.schemas.study import Settings

OPTIONS = {"dataset": "--dataset", "epochs": "--epochs", "pairs": "--pairs"}
"""Settings that have an option of their own, which does more than set them."""


def parse_settings(texts: tuple[str, ...]) -> Settings:
    """Return the settings of `KEY=VALUE` texts, the value in YAML; LmcError for what params.yaml would refuse too."""
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise LmcError(f"--set: found {text!r}, allowed: KEY=VALUE, e.g. filters=16")
        if key in OPTIONS:
            raise LmcError(f"--set {key}: use {OPTIONS[key]}")
        if key in values:
            raise LmcError(f"--set {key}: given twice; give it once")
        values[key] = parse_yaml(value, f"--set {key}")
    return validate(Settings, values, "--set")

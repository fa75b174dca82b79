"""The JSON schema of params.yaml: it takes the files that validation takes, and refuses what it knows to be wrong."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from helpers import EXAMPLE, PARAMS

from lmc_repro.config.load import load_params, params_schema, parse_yaml

TEMPLATE = (files("lmc_repro.cli") / "template" / "params.yaml.in").read_text("utf-8")
EXAMPLES = Path(__file__).parents[2] / "examples" / "extending"


def mistakes(text: str, schema: dict[str, Any] | None = None) -> set[str]:
    """Return the dotted places of what the schema refuses in a text, the innermost of each."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema or params_schema())
    validator.check_schema(validator.schema)
    found = [jsonschema.exceptions.best_match([error]) for error in validator.iter_errors(parse_yaml(text, "text"))]
    return {".".join(map(str, error.absolute_path)) for error in found}


@pytest.mark.parametrize("text", [PARAMS.read_text(), EXAMPLE.read_text(), TEMPLATE], ids=["ours", "example", "init"])
def test_a_valid_file_is_valid(text: str) -> None:
    assert mistakes(text) == set()


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("numerics: portable", "numerics: fast", "profiles.digits.numerics"),
        ("width: 64", "widht: 64", "profiles.digits.settings.model"),
        ("width: 64", "width: wide", "profiles.digits.settings.model.width"),
        ("epochs: 20", "epochs: 0", "profiles.digits.settings.epochs"),
        ("kind: sgd", "kind: sdg", "studies.depth.columns.sgd.optimizer.kind"),
        ("momentum: 0.9", "momentum: 1.5", "studies.depth.columns.sgd.optimizer.momentum"),
        ("label: 2 layers, ", "", "studies.depth.rows.2-layer"),
        ("profile: digits", "profil: digits", ""),
    ],
)
def test_a_mistake_has_its_place(right: str, wrong: str, place: str) -> None:
    assert TEMPLATE.count(right) == 1
    assert place in mistakes(TEMPLATE.replace(right, wrong))


def test_kinds_of_ones_own_have_the_keys_of_their_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "residual.py").write_text((EXAMPLES / "residual.py").read_text())
    text = TEMPLATE.replace("model: {depth: 8}", "model: {kind: residual.py:Residual, blocks: 3}")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    own = params_schema(load_params(tmp_path / "params.yaml"))
    assert mistakes(text, own) == set() != mistakes(text)
    assert mistakes(text.replace("blocks: 3", "blocks: many"), own) == {"studies.depth.rows.8-layer.model.blocks"}

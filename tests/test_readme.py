"""The tables of results in README and docs hold the numbers of the files that they are made from."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
CELLS = "results/table1/cells.json"


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scripts" / "readme.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results_of_the_lock() -> bool:
    """Return whether results/ holds what dvc.lock says: other settings are tried out there, too."""
    lock = YAML(typ="safe").load(ROOT / "dvc.lock")
    outs = {out["path"]: out["md5"] for out in lock["stages"]["compare@table1"]["outs"]}
    cells = ROOT / CELLS
    return cells.is_file() and hashlib.md5(cells.read_bytes()).hexdigest() == outs[CELLS]


@pytest.mark.parametrize("name", ["digits", "definitions", "ten-seeds", "reproduction"])
def test_a_block_holds_the_numbers_of_its_files(readme: ModuleType, name: str) -> None:
    if name in ("digits", "definitions") and not results_of_the_lock():
        pytest.skip(f"{CELLS} is not that of dvc.lock: make repro makes it")
    pages = [(ROOT / page).read_text() for page in readme.PAGES]
    assert sum(text.count(f"<!-- results: {name} -->") for text in pages) >= 1
    for text in pages:
        assert readme.filled(text, {name: readme.BLOCKS[name]}) == text, f"{name}: make readme"


def test_a_number_that_drifted_is_found(readme: ModuleType) -> None:
    text = "before\n<!-- results: x -->\n\n| 1.23 |\n\n<!-- end -->\nafter <!-- results: y -->\n<!-- end -->\n"
    assert readme.filled(text, {"x": lambda: "| 1.23 |\n"}) == text
    assert readme.filled(text, {"x": lambda: "| 1.24 |\n"}) == text.replace("1.23", "1.24")

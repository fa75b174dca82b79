"""The tables of results in README and docs hold the numbers of the files that they are made from."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
RESULTS = {"digits": ("", "table1"), "definitions": ("", "table1")}
"""Blocks whose results are DVC's: the project's folder, and the study."""
LAB = "spawn noise permutation collapse variances layers features ensemble planes optimizers architectures"
RESULTS |= {f"lab-{name}": ("examples/lab", {"variances": "collapse"}.get(name, name)) for name in LAB.split()}


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scripts" / "readme.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results_of_the_lock(project: Path, study: str) -> bool:
    """Return whether results/ holds what dvc.lock says: other settings are tried out there, too."""
    stages = YAML(typ="safe").load(project / "dvc.lock")["stages"]
    if f"compare@{study}" not in stages:
        return False
    for out in stages[f"compare@{study}"]["outs"]:  # files, or a folder of files
        path = project / out["path"]
        if not path.exists():
            return False
        if path.is_dir():
            listed = [{"md5": md5(file), "relpath": file.name} for file in sorted(path.iterdir())]
            found = hashlib.md5(json.dumps(listed).encode()).hexdigest() + ".dir"
        else:
            found = md5(path)
        if found != out["md5"]:
            return False
    return True


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", [*RESULTS, "ten-seeds", "reproduction", "permutation-mnist", "deep-adam", "matching"])
def test_a_block_holds_the_numbers_of_its_files(readme: ModuleType, name: str) -> None:
    if name in RESULTS:
        folder, study = RESULTS[name]
        if not results_of_the_lock(ROOT / folder, study):
            pytest.skip(
                f"{folder}/results/{study} is not that of dvc.lock: `make {'lab' if folder else 'repro'}` makes it"
            )
    pages = [(ROOT / page).read_text() for page in readme.PAGES]
    assert sum(text.count(f"<!-- results: {name} -->") for text in pages) >= 1
    for text in pages:
        assert readme.filled(text, {name: readme.BLOCKS[name]}) == text, f"{name}: make readme"


def test_a_number_that_drifted_is_found(readme: ModuleType) -> None:
    text = "before\n<!-- results: x -->\n\n| 1.23 |\n\n<!-- end -->\nafter <!-- results: y -->\n<!-- end -->\n"
    assert readme.filled(text, {"x": lambda: "| 1.23 |\n"}) == text
    assert readme.filled(text, {"x": lambda: "| 1.24 |\n"}) == text.replace("1.23", "1.24")

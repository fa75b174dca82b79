"""Imports point one way and never in a circle, and mlflow and ffcv each have one home: read from the text."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lmc_repro"

# From what knows nothing of the rest to what knows all of it: a module imports from its own package and those before.
ORDER = (
    "common",  # shared ground that knows nothing of networks
    "config",  # params.yaml resolved to cells and runs
    "data",
    "models",
    "training",
    "barriers",  # evaluates weights with training's forward passes
    "results",  # files of what barriers found, written and read in one place
    "tracking",  # publishes what training and barriers made
    "engine",  # executes stacks and pairs
    "report",
    "pipeline",  # the steps over a study
    "exhibits",  # made from a study's results and from its networks
    "notebook",  # trainings, pairs and weight files, for notebooks
    "verification",  # trains runs again and compares them with what was stored
    "maintenance",  # doctor and cleanup: examine an installation and its project, remove unneeded working files
    "cli",
)

TRACKED, STREAMED, VERSIONED, CLUSTERED = {"mlflow"}, {"ffcv"}, {"dvc"}, {"ray"}
BARE = ("common", "config", "data", "models", "training", "barriers", "results")
"""Packages that a GPU machine needs; of these only what streams imports ffcv, inside its functions."""
STREAMS = {"data.beton"}


def name_of(path: Path) -> str:
    """Return a module's name below the package, e.g. `data.order`; an empty one for the package's own."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, at its top and inside its functions; relative ones are refused."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = {name_of(path): set(imported(ast.parse(path.read_text()))) for path in sorted(PACKAGE.rglob("*.py"))}


def ours(name: str) -> str | None:
    """Return which module of the package an imported name lies in; None for another's, and for its version."""
    inner = name.removeprefix("lmc_repro").removeprefix(".")
    if not (name + ".").startswith("lmc_repro."):
        return None
    while inner and inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner or None


GRAPH = {module: {found for name in names if (found := ours(name))} - {module} for module, names in MODULES.items()}


def upward(graph: dict[str, set[str]], order: tuple[str, ...]) -> list[str]:
    """Return the imports that point from an earlier package to a later one."""
    rank = {package: place for place, package in enumerate(order)}
    return [
        f"{module} -> {target}"
        for module, targets in graph.items()
        for target in targets
        if module and rank[module.split(".")[0]] < rank[target.split(".")[0]]
    ]


def test_every_package_has_its_place() -> None:
    assert {module.split(".")[0] for module in MODULES if module} == set(ORDER)
    assert len(MODULES) > 100


def test_imports_point_one_way() -> None:
    assert upward(GRAPH, ORDER) == []


def test_and_would_be_found_if_one_did_not() -> None:
    tree = ast.parse("def f():\n    from lmc_repro.cli.app import app\n    import lmc_repro.report.grid\n")
    targets = {found for name in imported(tree) if (found := ours(name))}
    assert targets == {"cli.app", "report.grid"}
    assert upward({"config.run": targets}, ORDER) == [f"config.run -> {name}" for name in targets]


def test_no_circles_among_modules() -> None:
    tuple(graphlib.TopologicalSorter(GRAPH).static_order())
    with pytest.raises(graphlib.CycleError):
        tuple(graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def users(packages: set[str]) -> set[str]:
    return {module for module, names in MODULES.items() if packages & {name.split(".")[0] for name in names}}


def at_the_top(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())
    found = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return set(imported(ast.Module(found, [])))


def test_only_tracking_imports_mlflow() -> None:
    found = users(TRACKED)
    assert found and {module.split(".")[0] for module in found} == {"tracking"}


def test_only_what_streams_imports_ffcv_and_only_inside_functions() -> None:
    assert users(STREAMED) == STREAMS
    for module in STREAMS:
        assert not [name for name in at_the_top(module) if name.split(".")[0] in STREAMED]


def test_nothing_imports_dvc() -> None:
    assert users(VERSIONED) == set()


def test_ray_is_imported_by_its_engine_alone_and_that_only_inside_functions() -> None:
    engine = {"engine.ray", "engine.machines"}
    assert users(CLUSTERED) == engine
    importers = {module for module, targets in GRAPH.items() if targets & engine} - engine
    assert importers
    for module in importers:
        assert not {ours(name) for name in at_the_top(module)} & engine


@pytest.mark.slow
def test_a_bare_machine_can_import_what_trains() -> None:
    names = [f"lmc_repro.{module}" for module in MODULES if module.split(".")[0] in BARE]
    script = (
        "import importlib, sys\n"
        "for name in ('ffcv', 'numba', 'mlflow', 'dvc', 'matplotlib', 'rich', 'typer'): sys.modules[name] = None\n"
        f"for name in {names}: importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

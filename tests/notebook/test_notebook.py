"""docs/api.md and the notebook: their code runs as it stands there, and they say the same."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = json.loads((REPOSITORY / "examples" / "two_runs.ipynb").read_text())
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
PAGE = (REPOSITORY / "docs" / "api.md").read_text()
TWO_RUNS, OWN_MODELS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(code: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; return the value of its last line, if that is an expression."""
    tree = ast.parse(code)
    shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(shown.value), "cell", "eval"), names) if isinstance(shown, ast.Expr) else None


def test_the_notebook_is_the_pages_code() -> None:
    assert "\n".join(CELLS[:-1]).split() == TWO_RUNS.split()
    assert len([line for line in TWO_RUNS.splitlines() if line.strip()]) < 20
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in NOTEBOOK["cells"])
    assert not any(line.startswith(("%", "!")) for cell in CELLS for line in cell.splitlines())  # plain Python


@pytest.mark.slow
def test_the_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    shown = [run(cell, names) for cell in CELLS]
    assert shown[-2]._repr_png_().startswith(b"\x89PNG")
    assert shown[-1].barrier > 10.0  # the effect of Table 1: deep linear networks under ADAM
    first, second = map(float, capsys.readouterr().out.split()[:2])
    assert 0.0 < first < 0.2 and 0.0 < second < 0.2


@pytest.mark.slow
def test_models_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    picture = run(OWN_MODELS, {})
    printed = capsys.readouterr().out
    assert re.match(r"\((\d+, ){10}\d+\) 200 [\d.]+\n", printed), printed
    assert picture.svg.startswith(b"<?xml")


@pytest.mark.slow
def test_importing_it_is_light() -> None:
    code = "import sys, lmc_repro; assert not {'torch', 'numpy', 'pydantic', 'matplotlib'} & set(sys.modules); "
    code += "assert set(lmc_repro.__all__) <= set(dir(lmc_repro)); [getattr(lmc_repro, n) for n in lmc_repro.__all__]; "
    code += "assert not {'mlflow', 'ffcv', 'dvc', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_there_is_an_attribute_error() -> None:
    import lmc_repro

    with pytest.raises(AttributeError, match="module 'lmc_repro' has no attribute 'trian'"):
        lmc_repro.trian  # noqa: B018

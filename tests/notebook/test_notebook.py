"""docs/api.md and the notebook: their code runs as it stands there, and they say the same."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = json.loads((REPOSITORY / "examples" / "two_runs.ipynb").read_text())
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
CELLS = ["".join(cell["source"]) for cell in CODE]
PAGE = (REPOSITORY / "docs" / "api.md").read_text()
TWO_RUNS, _, OWN_MODELS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(code: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; return the value of its last line, if that is an expression."""
    tree = ast.parse(code)
    shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(shown.value), "cell", "eval"), names) if isinstance(shown, ast.Expr) else None


def test_the_notebook_is_the_pages_code() -> None:
    assert "\n".join(CELLS[:-1]).split() == TWO_RUNS.split()
    assert len([line for line in TWO_RUNS.splitlines() if line.strip()]) < 20
    assert not any(line.startswith(("%", "!")) for cell in CELLS for line in cell.splitlines())  # plain Python


@pytest.mark.slow
def test_the_notebook_runs_and_holds_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for cell, code in zip(CODE, CELLS, strict=True):
        shown, printed, found = run(code, names), capsys.readouterr().out, cell["outputs"]
        assert "".join("".join(o["text"]) for o in found if o["output_type"] == "stream") == printed, code
        values = [o["data"] for o in found if o["output_type"] in ("execute_result", "display_data")]
        assert ["".join(value["text/plain"]) for value in values] == ([] if shown is None else [repr(shown)]), code
        pictures = [value["image/png"] for value in values if "image/png" in value]
        assert len(pictures) == hasattr(shown, "_repr_png_"), code
        for picture in pictures:
            assert png_size(base64.b64decode(picture)) == png_size(shown.png)
    assert shown.barrier > 10.0  # the effect of Table 1: deep linear networks under ADAM
    assert names["a"].error() < 0.2 and names["b"].error() < 0.2


@pytest.mark.slow
def test_the_environment_chooses_portable_numerics_before_the_first_operation() -> None:
    code = "from lmc_repro import load_dataset; load_dataset('digits'); import torch; "
    code += "assert torch.backends.cpu.get_cpu_capability() == 'AVX2'"
    environment = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment | {"LMC_NUMERICS": "portable"})


def png_size(content: bytes) -> bytes:
    """Return width and height as a PNG's header has them."""
    assert content.startswith(b"\x89PNG")
    return content[16:24]


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

"""docs/extending.md as it stands there: its files put beside params.yaml, its study run."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from commands import lmc, refused
from project_run import client

from lmc_repro.tracking.ui import VIEW

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
YAML = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PINS = {name: hashlib.sha256(content.encode()).hexdigest()[:16] for name, content in FILES.items()}
RESIDUAL = f"residual.py:Residual#{PINS['residual.py']}"


def test_the_files_of_the_page_are_those_of_the_examples() -> None:
    examples = {path.name: path.read_text() for path in (REPOSITORY / "examples" / "extending").glob("*.py")}
    assert {Path(name).name: content for name, content in FILES.items()} == examples and len(FILES) == 7


@pytest.fixture
def root(begun: Path) -> Path:
    """A project with all that the page says added to it."""
    for name, content in FILES.items():
        Path(name).write_text(content)
    params = (REPOSITORY / "params.yaml").read_text()
    for after, lines in zip(("\n    optimizers:\n", "\nstudies:\n"), YAML, strict=True):  # where the page puts them
        assert after in params
        params = params.replace(after, after + lines, 1)
    Path("params.yaml").write_text(params)
    return begun


@pytest.mark.slow
def test_the_study_of_the_page_runs_and_shows_in_mlflow_and_report(root: Path) -> None:
    assert "skips" in lmc("check").out
    code, out, err = lmc("run", "skips", "--epochs", 3, "--pairs", 1, "--column", "narrow", "--jobs", 1)
    assert code == 0 and "trained 4, reused 0, resumed 0" in out + err
    cells = json.loads((root / "out/digits/skips/results/skips/cells.json").read_text())
    assert [cell["config"]["model"]["kind"] for cell in cells] == ["mlp", RESIDUAL]
    config = cells[1]["config"]
    assert config["model"] == {"kind": RESIDUAL, "init": "torch-default", "gain": None, "width": 32, "blocks": 2}
    assert config["optimizer"]["kind"] == f"lion.py:Lion#{PINS['lion.py']}"
    assert config["schedule"]["kind"] == f"linear.py:linear#{PINS['linear.py']}"
    step = {"kind": f"brightness.py:Brightness#{PINS['brightness.py']}", "by": 0.2}
    assert config["data"]["augment"]["steps"] == [step]
    assert cells[1]["pairs"][0]["test"]["error_0"] < 60.0  # 90 is chance
    assert "with skips" in (root / "out/digits/skips/report/index.html").read_text()
    store = client(root)
    experiment = store.get_experiment_by_name("lmc/skips/digits")
    assert VIEW in experiment.tags
    found = store.search_runs([experiment.experiment_id], "tags.`lmc.kind` = 'pair'")
    pairs = {run.data.params["row"]: run.data for run in found}
    assert pairs.keys() == {"plain", "skips"}
    assert pairs["skips"].params["model.kind"] == RESIDUAL and pairs["skips"].params["model.blocks"] == "2"
    for cell in cells:
        (expected,) = cell["pairs"]
        shown = pairs[cell["row"]].metrics  # the view draws what has path/test_error
        assert shown["path/alpha"] == 1.0 and shown["path/test_error"] == pytest.approx(expected["test"]["error_1"])


def test_mistakes_in_its_settings_are_one_line(root: Path) -> None:
    params, text = root / "params.yaml", (root / "params.yaml").read_text()
    where = "studies.skips, row skips, column narrow, profile digits"
    for right, wrong, found in (
        (", blocks: 2}", "}", f"{where}: model.blocks: missing"),
        ("blocks: 2}", "blcks: 2}", "rows.skips.model.blcks: unknown key; did you mean blocks? allowed: "),
        ("blocks: 2}", "blocks: two}", "rows.skips.model.blocks: found 'two', allowed: a valid integer"),
        ("residual.py:Residual", "residul", "rows.skips.model.kind: found 'residul', allowed: 'mlp', 'local', 'conv'"),
        ("residual.py:Residual", "residul.py:Residual", f"{root / 'residul.py'}: cannot be read"),
        ("residual.py:Residual", "residual.py:Residul", f"{root / 'residual.py'}: found no Residul"),
        ("lion.py:Lion", "linear.py:linear", "optimizers.lion: linear.py:linear: has no class Config"),
    ):
        params.write_text(text.replace(right, wrong))
        assert found in refused("check")

"""docs/extending.md as it stands there: its files put beside params.yaml, its study run."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from browsing import served
from three_doors import runs_behind
from tiny_project import REPOSITORY, TinyProject, make_project

PAGE = (REPOSITORY / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
YAML = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PINS = {name: hashlib.sha256(content.encode()).hexdigest()[:16] for name, content in FILES.items()}
RESIDUAL = f"residual.py:Residual#{PINS['residual.py']}"
OWN = ("brightness.py", "linear.py", "lion.py", "residual.py")


def test_the_files_of_the_page_are_those_of_the_examples() -> None:
    examples = {path.name: path.read_text() for path in (REPOSITORY / "examples" / "extending").glob("*.py")}
    assert {Path(name).name: content for name, content in FILES.items()} == examples and len(FILES) == 7


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    """A tiny project with all that the page says added to it."""
    project = make_project(tmp_path_factory.mktemp("project"))
    for name, content in FILES.items():
        (project.root / name).write_text(content)
    optimizer, study = YAML
    lines = (REPOSITORY / "params.yaml").read_text()
    assert "\n    optimizers:\n" in lines and "\nstudies:\n" in lines  # where the page puts them
    (project.root / "params.yaml").write_text(lines)
    insert(project.root / "params.yaml", r"^    optimizers:\n", optimizer)
    insert(project.root / "params.yaml", r"^studies:\n", study)
    return project


def insert(path: Path, after: str, lines: str) -> None:
    text = path.read_text()
    found = re.search(after, text, re.MULTILINE)
    assert found is not None, after
    path.write_text(text[: found.end()] + lines + text[found.end() :])


@pytest.mark.slow
@pytest.mark.server
def test_the_study_of_the_page_runs_and_shows_in_mlflow_and_report(project: TinyProject) -> None:
    assert "skips" in project.ok("lmc", "check")
    printed = project.ok("lmc", "run", "skips", "--epochs", "3", "--pairs", "1", "--column", "narrow")
    assert "trained 4, reused 0, resumed 0" in printed
    cells = json.loads((project.root / "out/digits/skips/results/skips/cells.json").read_text())
    assert [cell["config"]["model"]["kind"] for cell in cells] == ["mlp", RESIDUAL]
    config = cells[1]["config"]
    assert config["model"] == {"kind": RESIDUAL, "init": "torch-default", "gain": None, "width": 32, "blocks": 2}
    assert config["optimizer"]["kind"] == f"lion.py:Lion#{PINS['lion.py']}"
    assert config["schedule"]["kind"] == f"linear.py:linear#{PINS['linear.py']}"
    step = {"kind": f"brightness.py:Brightness#{PINS['brightness.py']}", "by": 0.2}
    assert config["data"]["augment"]["steps"] == [step]
    assert cells[1]["pairs"][0]["test"]["error_0"] < 60.0  # 90 is chance
    assert "with skips" in (project.root / "out/digits/skips/report/index.html").read_text()
    with served(project.start, "skips") as links:  # the view draws what has path/test_error
        pairs = {run["params"]["row"]: run for run in runs_behind(links["view"], "pair")}
    assert pairs.keys() == {"plain", "skips"} and "viewStateShareKey=" in links["view"]
    assert pairs["skips"]["params"]["model.kind"] == RESIDUAL and pairs["skips"]["params"]["model.blocks"] == "2"
    for cell in cells:
        (expected,) = cell["pairs"]
        shown = pairs[cell["row"]]["metrics"]
        assert shown["path/alpha"] == 1.0 and shown["path/test_error"] == pytest.approx(expected["test"]["error_1"])


@pytest.mark.slow
def test_mistakes_in_its_settings_are_one_line(project: TinyProject) -> None:
    params, text = project.root / "params.yaml", (project.root / "params.yaml").read_text()
    where = "studies.skips, row skips, column narrow, profile digits"
    for right, wrong, told in (
        (", blocks: 2}", "}", f"{where}: model.blocks: missing"),
        ("blocks: 2}", "blcks: 2}", "rows.skips.model.blcks: unknown key; did you mean blocks? allowed: "),
        ("blocks: 2}", "blocks: two}", "rows.skips.model.blocks: found 'two', allowed: a valid integer"),
        ("residual.py:Residual", "residul", "rows.skips.model.kind: found 'residul', allowed: 'mlp', 'local', 'conv'"),
        (
            "residual.py:Residual",
            "residul.py:Residual",
            f"{project.root / 'residul.py'}: cannot be read",
        ),
        (
            "residual.py:Residual",
            "residual.py:Residul",
            f"{project.root / 'residual.py'}: found no Residul",
        ),
        ("lion.py:Lion", "linear.py:linear", "optimizers.lion: linear.py:linear: has no class Config"),
    ):
        params.write_text(text.replace(right, wrong))
        printed = project.fails("lmc", "check")
        assert told in printed and printed.count("\n") == 1, printed
    params.write_text(text)


@pytest.mark.slow
def test_an_edit_of_a_file_makes_the_plans_anew_that_use_it_and_no_others(project: TinyProject) -> None:
    missing = project.fails("dvc", "repro", "check", code=255)
    assert f"dvc.yaml: stages.check.deps: missing {', '.join(OWN)}" in missing
    listed = "".join(f"      - {file}\n" for file in OWN)
    insert(project.root / "dvc.yaml", r"^    cmd: lmc check .*\n    deps:\n", listed)
    project.ok("dvc", "repro", "check")
    before = {path.name: path.read_bytes() for path in (project.root / "data/plans").iterdir()}
    (project.root / "lion.py").write_text(FILES["lion.py"] + "# changed\n")
    project.ok("dvc", "repro", "check")
    changed = [name for name, old in before.items() if (project.root / "data/plans" / name).read_bytes() != old]
    assert changed == ["skips.json"]
    (project.root / "lion.py").write_text(FILES["lion.py"])

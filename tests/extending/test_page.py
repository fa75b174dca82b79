"""docs/extending.md as it stands there: its files and lines put into a copy of the project, its study run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import served
from three_doors import runs_behind
from tiny_project import REPOSITORY, TinyProject, make_project

PAGE = (REPOSITORY / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
LINES = re.findall(r"^and in `([A-Z]+)`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
YAML = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
REGISTRY = "lmc_repro/config/registry.py"


def test_the_files_of_the_page_are_those_of_the_examples() -> None:
    examples = {path.name: path.read_text() for path in (REPOSITORY / "examples" / "extending").glob("*.py")}
    assert {Path(name).name: content for name, content in FILES.items()} == examples
    assert len(LINES) == len(FILES) - 1 == 4 and all(lines.count("\n") == 1 for _, lines in LINES)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyProject]:
    """A tiny project with all that the page says added to it, and commands that run its own copy of the package."""
    project = make_project(tmp_path_factory.mktemp("project"))
    for name, content in FILES.items():
        assert not (project.root / name).exists()
        (project.root / name).write_text(content)
    for table, line in LINES:
        insert(project.root / REGISTRY, rf"^{table}: .*\{{.*\n", line)
    optimizer, study = YAML
    lines = (REPOSITORY / "params.yaml").read_text()
    assert "\n    optimizers:\n" in lines and "\nstudies:\n" in lines  # where the page puts them
    (project.root / "params.yaml").write_text(lines)
    insert(project.root / "params.yaml", r"^    optimizers:\n", optimizer)
    insert(project.root / "params.yaml", r"^studies:\n", study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(project.root))
        yield project


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
    assert [cell["config"]["model"]["kind"] for cell in cells] == ["mlp", "residual"]
    config = cells[1]["config"]
    assert config["model"] == {"kind": "residual", "init": "torch-default", "gain": None, "width": 32, "blocks": 2}
    assert config["optimizer"]["kind"] == "lion" and config["schedule"]["kind"] == "linear"
    assert config["data"]["augment"]["steps"] == [{"kind": "brightness", "by": 0.2}]
    assert cells[1]["pairs"][0]["test"]["error_0"] < 60.0  # 90 is chance
    assert "with skips" in (project.root / "out/digits/skips/report/index.html").read_text()
    with served(project.start, "skips") as links:  # the view draws what has path/test_error
        pairs = {run["params"]["row"]: run for run in runs_behind(links["view"], "pair")}
    assert pairs.keys() == {"plain", "skips"} and "viewStateShareKey=" in links["view"]
    assert pairs["skips"]["params"]["model.kind"] == "residual" and pairs["skips"]["params"]["model.blocks"] == "2"
    for cell in cells:
        (expected,) = cell["pairs"]
        shown = pairs[cell["row"]]["metrics"]
        assert shown["path/alpha"] == 1.0 and shown["path/test_error"] == pytest.approx(expected["test"]["error_1"])


@pytest.mark.slow
def test_mistakes_in_its_settings_are_one_line(project: TinyProject) -> None:
    params, text = project.root / "params.yaml", (project.root / "params.yaml").read_text()
    where = "studies.skips, row skips, column narrow, profile digits"
    for right, wrong, told in (
        ("options: {blocks: 2}", "options: {blcks: 2}", f"{where}: options.blocks is missing"),
        ("blocks: 2}", "blocks: 2, c: 1}", f"{where}: model.c: unknown key"),
        ("model: residual", "model: residul", "rows.skips.model: found 'residul', allowed: 'residual', 'mlp'"),
    ):
        params.write_text(text.replace(right, wrong))
        printed = project.fails("lmc", "check")
        assert told in printed and printed.count("\n") == 1, printed
    params.write_text(text)
    file = project.root / "lmc_repro/training/lion.py"
    content = file.read_text()
    file.write_text(content.replace("if TYPE_CHECKING:\n    from torch", "if True:\n    from torch"))
    assert "LionConfig: its module imports torch" in project.fails("lmc", "check")
    file.write_text(content)

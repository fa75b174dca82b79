"""The code blocks of README and docs run as they stand there, page by page, in a small project that is finished."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from browsing import served
from markdown_it import MarkdownIt
from project_run import client
from safetensors.torch import load_file
from three_doors import runs_behind
from tiny_project import REPOSITORY, TinyProject, make_project
from warm_shell import Shell

from lmc_repro.common.project import Project
from lmc_repro.config.load import read_yaml
from lmc_repro.data.dataset import Dataset
from lmc_repro.tracking.moved import fix_store

NOT_RUN = {
    "make ": "installs packages; the targets behind it are typed by .ci/run",
    "pip install ": "a network",
    "PIP_EXTRA_INDEX_URL=": "a network",
    "conda ": "a network",
    'export PKG_CONFIG_PATH="$CONDA_PREFIX': "conda's",
    "docker ": "a network",
    "dvc exp run -S profile=paper": "days, and a network",
    "lmc ui ": "a server, up to Ctrl-C",
    "mlflow ui ": "a server, up to Ctrl-C",
    "mlflow server ": "a server, up to Ctrl-C",
    "MLFLOW_TRACKING_URI=http://127.0.0.1:5000 ": "needs that server",
    "lmc --install-completion": "it asks for the shell of a terminal",
    "lmc run table1 --engine ray ": "a cluster",
    "LMC_ENGINE=ray ": "a cluster",
}
"""Beginnings of shown lines that cannot run here, and why."""

EXCERPTS = {
    "FLOWERS = ": "halves.py has its imports",
    "def lead(": "examples/paths/lab.py is run by tests/extending/test_path_seams.py",
}
"""Beginnings of Python blocks that are a part of a file, and which file that is."""

ELSEWHERE = {
    "quickstart.md": "test_the_quickstart_shows_what_it_says, with its servers",
    "beyond.md": "tests/lab draws its figures again",
    "cluster.md": "tests/engine/test_ray.py and tests/server, with their clusters and servers",
}
"""Pages whose blocks another test runs."""

INSTEAD = {"make repro": "dvc repro", "source .venv/bin/activate": "true"}
SERVER = re.compile(r"^lmc ui (\w+)$", re.MULTILINE)
"""Lines of the quickstart that are not run as written: no installation, and a server is ended again."""

QUICK = r"""
lmc() {
    command lmc "$@"
    if [ "$1" = init ]; then
        sed -i 's/pairs: 3/pairs: 2/; s/epochs: 20/epochs: 2/; s/\[0, 16, 18, 20\]/[0, 2]/' "$2/params.yaml"
    fi
}
"""
"""What makes a new project's study a matter of seconds."""

MODELS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 128), nn.Linear(128, 10)])

    def forward(self, x):
        return self.layers[1](self.layers[0](x.flatten(1)))

def build():
    return Net()
"""


@dataclass(frozen=True)
class Block:
    """A code block, its language, and the name of the file that it is, if the page has one."""

    text: str
    language: str
    file: str = ""


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are for a shell, for Python and for params.yaml."""
    found, before = [], ""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence":
            if token.info == "console":  # a transcript
                continue
            assert token.info in ("sh", "python", "yaml"), f"{page.name}: {token.info!r}"
            name = re.fullmatch(r"`([\w/]+\.py)`:", before)
            found.append(Block(token.content, token.info, name[1] if name else ""))
        before = token.content or before
    return found


PAGES = {page.name: blocks(page) for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))}


def script(block: Block, names: dict[str, str]) -> str:
    """Return the bash that runs a block, lines that cannot run here left out; `names` replace words of the page."""
    text = re.sub("|".join(names), lambda found: names[found[0]], block.text)
    if block.language == "sh":
        return "\n".join(line for line in text.splitlines() if not line.startswith(tuple(NOT_RUN)))
    if block.file:
        return f"cat > {block.file} <<'END'\n{text}END"
    if block.language == "python":
        return "" if text.startswith(tuple(EXCERPTS)) else f"python -c {shlex.quote(text)}"
    below = "^studies:" if re.match(r" {2}\w", text) else "^    optimizers:"
    return f"sed -i '0,/{below}/{{/{below}/r /dev/stdin\n}}' params.yaml <<'END'\n{text}END"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("shell"))
    yield shell
    shell.end()


@pytest.fixture(scope="module")
def finished(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project after `dvc repro`, with the files that the pages take for granted; in git, as two commits."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    params = project.params()
    rows = read_yaml(REPOSITORY / "params.yaml")["studies"]["table1"]["rows"]
    params["studies"]["table1"]["rows"] = {key: rows[key] for key in ("2-layer-bs1024", "8-layer-bs1024")}
    for profile in params["profiles"].values():
        profile["overrides"] = []
    params["profiles"]["digits"]["settings"]["model"]["width"] = 128
    project.write_params(params)
    (project.root / "my_models.py").write_text(MODELS)
    (project.root / ".venv/bin").mkdir(parents=True)
    (project.root / ".venv/bin/activate").touch()
    commit = "git add -A && git commit -qm"
    code, said = shell.run(f"{commit} 'A project' && dvc repro && {commit} 'Its results'", project.root)
    assert code == 0, said
    return project.root


@pytest.fixture
def copy(finished: Path, digits: Dataset, tmp_path: Path) -> Path:
    """A copy of the project, with two networks in files of their own and the data that they were trained on."""
    root = tmp_path / "project"
    shutil.copytree(finished, root, symlinks=True)
    fix_store(Project(root))
    halves = {"train": digits.train, "test": digits.test}
    arrays = {f"x_{name}": half.images[:, 0].numpy() for name, half in halves.items()}
    np.savez(root / "my_data.npz", **arrays, **{f"y_{name}": half.labels.numpy() for name, half in halves.items()})
    for name, run in zip("AB", pair(root), strict=True):
        shutil.copy(root / f"runs/table1/{run}/checkpoints/epoch-0003.safetensors", root / f"{name}.safetensors")
    torch.save({"state_dict": load_file(root / "A.safetensors")}, root / "A.ckpt")
    return root


def pair(root: Path) -> list[str]:
    """Return the fingerprints of a pair of two layers."""
    cells = json.loads((root / "results/table1/cells.json").read_text())
    return next(cell["pairs"][0]["fingerprints"] for cell in cells if cell["row"] == "2-layer-bs1024")


def names(root: Path) -> dict[str, str]:
    """Return what words of the pages stand for here."""
    both = pair(root)
    store = client(root)
    (experiment,) = [e.experiment_id for e in store.search_experiments() if e.name == "lmc/table1/digits"]
    ids = [store.search_runs([experiment], f"tags.`lmc.fingerprint` = '{run}'")[0].info.run_id for run in both]
    runs = {"RUN_ID": ids[0], "RUN_A": ids[0], "RUN_B": ids[1], "FINGERPRINT": both[0], "FOLDER": "out/digits/table1"}
    return runs | {"epoch-0040": "epoch-0003", "epoch-0020": "epoch-0001"}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, found in PAGES.items() if found and page not in ELSEWHERE])
def test_the_blocks_of_a_page_run(page: str, copy: Path, shell: Shell) -> None:
    known = names(copy)
    code, said = shell.run("\n".join([QUICK, *(script(block, known) for block in PAGES[page])]), copy)
    assert code == 0 and "Traceback" not in said, said


@pytest.mark.slow
@pytest.mark.server
def test_the_quickstart_shows_what_it_says(copy: Path, shell: Shell) -> None:
    """Its blocks in turn; each server is asked for the pairs of its view."""
    project, report = TinyProject(copy), copy / "report" / "index.html"

    def do(block: Block) -> str:
        lines = (INSTEAD.get(line, line) for line in SERVER.sub("", block.text).splitlines())
        code, said = shell.run("\n".join(lines), copy)
        assert code == 0, said
        return said

    first, look, ui, own, change, see = PAGES["quickstart.md"]
    assert (first.text, ui.text) == ("make repro\n", "lmc ui table1\n")  # test_mlflow_ui.py opens its pages
    assert "Running stage" not in do(first)  # it has run
    assert "2-layer-bs1024--adam-high" in do(look)
    printed = do(own)
    assert "slopes, profile digits: 6 cells, 12 runs" in printed and "trained 12, reused 0, resumed 0" in printed
    assert "train@table1" not in printed.replace("'train@table1' didn't change", "")
    assert "Slopes of my own" in report.read_text() and "slope 0.5" in report.read_text()
    assert "trained 4, reused 8, resumed 0" in do(change)
    assert project.params()["studies"]["slopes"]["rows"]["leaky"]["model"]["slope"] == 0.2
    assert "leaky--adam-high" in do(see)
    assert "slope 0.2" in report.read_text() and "slope 0.5" not in report.read_text()
    assert SERVER.findall(see.text) == ["slopes"]
    with served(project.start, "slopes") as links:
        assert "viewStateShareKey=" in links["view"]
        pairs = runs_behind(links["view"], "pair")
    assert all("path/test_error" in run["metrics"] for run in pairs)  # which the view draws
    assert {run["params"]["model.slope"] for run in pairs} == {"1.0", "0.5", "0.2", "0.0"}


def test_what_is_not_run_is_shown() -> None:
    found = [block for page in PAGES.values() for block in page]
    lines = [line for block in found if block.language == "sh" for line in block.text.splitlines()]
    assert [entry for entry in NOT_RUN if not any(line.startswith(entry) for line in lines)] == []
    code = [block.text for block in found if block.language == "python"]
    assert [entry for entry in EXCERPTS if not any(text.startswith(entry) for text in code)] == []
    assert all(PAGES[page] for page in ELSEWHERE)
    assert INSTEAD.keys() <= {line for block in PAGES["quickstart.md"] for line in block.text.splitlines()}


def test_commands_are_nowhere_but_in_blocks_of_a_shell() -> None:
    """An indented block is for output and formulas."""
    command = re.compile(r"^(lmc|dvc|git|make|mlflow|pip|python)\b ", re.MULTILINE)
    for page in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")):
        for token in MarkdownIt().parse(page.read_text()):
            assert token.type != "code_block" or not command.search(token.content), page.name


def shown() -> dict[str, str]:
    """Return the command lines of `lmc` that are not run, and those within sentences, each with its page."""
    found = {}
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))):
        for token in MarkdownIt().enable("table").parse(page.read_text()):
            spans = [child.content for child in token.children or () if child.type == "code_inline"]
            lines = token.content.splitlines() if token.type == "fence" else spans
            for line in lines:
                if line.startswith("lmc ") and (token.type != "fence" or line.startswith(tuple(NOT_RUN))):
                    found[line.partition(" # ")[0].strip()] = page.name
    return found


def unknown(line: str) -> list[str]:
    """Return the words of a line of `lmc` that it does not know: a command, or options of the command."""
    from lmc_repro.cli.app import app

    group = typer.main.get_command(app)
    words = [word.partition("=")[0] for word in shlex.split(line)[1:]]
    command = group.commands.get(words[0]) if not words[0].startswith("--") else group
    if command is None:
        return words[:1]
    options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    return [word for word in words if word.startswith("--") and word not in options]


@pytest.mark.parametrize(("line", "page"), shown().items())
def test_a_command_that_is_only_named_exists(line: str, page: str) -> None:
    assert unknown(line) == [], page


def test_a_wrong_one_is_seen() -> None:
    assert unknown("lmc rnu table1") == ["rnu"]
    assert unknown("lmc run table1 --rows a --epochs 3") == ["--rows"]
    assert len(shown()) > 40

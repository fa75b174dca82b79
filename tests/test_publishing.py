"""What others read of the repository: the citation, the CI workflow, the containers. None of it can be run here."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lmc_repro import __version__

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Citation File Format 1.2.0, schema-guide.md: what a file and a reference must and may have, as far as ours go.
CFF_REQUIRED = {"authors", "cff-version", "message", "title"}
CFF_KEYS = CFF_REQUIRED | {
    *("abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license", "license-url"),
    *("preferred-citation", "references", "repository", "repository-artifact", "repository-code", "type", "url"),
    "version",
}
REFERENCE_REQUIRED = {"authors", "title", "type"}
REFERENCE_KEYS = REFERENCE_REQUIRED | {"collection-title", "doi", "identifiers", "notes", "url", "year"}
PERSON_KEYS = {"affiliation", "alias", "email", "family-names", "given-names", "name-particle", "name-suffix", "orcid"}
ENTITY_KEYS = {"name", "alias", "email", "website"}
IDENTIFIER_TYPES = {"doi", "url", "swh", "other"}


def load(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text())


def check_authors(authors: list[dict[str, str]]) -> None:
    assert authors
    for author in authors:
        assert author.keys() <= (ENTITY_KEYS if "name" in author else PERSON_KEYS), author
        assert all(isinstance(value, str) and value for value in author.values())


def test_the_citation_has_the_form_that_it_names() -> None:
    cited = load("CITATION.cff")
    assert CFF_REQUIRED <= cited.keys() <= CFF_KEYS
    assert cited["cff-version"] == "1.2.0" and cited["type"] in ("software", "dataset")
    assert cited["version"] == __version__ and cited["license"] == PROJECT["license"]
    check_authors(cited["authors"])
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_the_paper_is_its_authors() -> None:
    (paper,) = load("CITATION.cff")["references"]
    assert REFERENCE_REQUIRED <= paper.keys() <= REFERENCE_KEYS
    check_authors(paper["authors"])
    assert paper["authors"][0]["family-names"] == "Altintas" and paper["type"] == "conference-paper"
    assert all(each["type"] in IDENTIFIER_TYPES and each["value"] for each in paper["identifiers"])
    assert "arXiv:2312.09832" in [each["value"] for each in paper["identifiers"]]


def admitted(version: str) -> bool:
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()  # type: ignore[union-attr]
    major, minor = map(int, version.split("."))
    return major == 3 and int(low) <= minor < int(high)


def test_the_workflow_runs_what_passes_here() -> None:
    workflow = load(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    assert {"push", "pull_request"} <= workflow["on"].keys()
    (job,) = workflow["jobs"].values()
    assert re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"]) and job["timeout-minutes"] >= 90
    used = {step["uses"].split("@")[0]: step for step in job["steps"] if "uses" in step}
    assert "actions/checkout" in used
    assert admitted(used["actions/setup-python"]["with"]["python-version"])
    for name in used["actions/setup-python"]["with"]["cache-dependency-path"].split():
        assert (ROOT / name).is_file()
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == ".ci/run"
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run must be executable"


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile and their arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in lines]


def test_the_image_is_made_as_the_readme_says() -> None:
    steps = dockerfile()
    (image,) = [rest for word, rest in steps if word == "FROM"]
    assert re.fullmatch(r"(debian|ubuntu):[\w.]+", image) and not image.endswith(":latest")
    packages, setup = [rest for word, rest in steps if word == "RUN"]
    assert [word for word, _ in steps].index("COPY") > steps.index(("RUN", packages))  # so that it is cached
    # What the README asks for, and what downloads need; each apt-get call as linters of Dockerfiles want it.
    update, install, clean = packages.split(" && ")
    words = shlex.split(install)
    assert update == "apt-get update" and clean == "rm -rf /var/lib/apt/lists/*"
    assert words[:4] == ["apt-get", "install", "-y", "--no-install-recommends"]
    assert words[4:] == sorted(["git", "make", "python3", "ca-certificates"])
    assert "On Debian or Ubuntu with git, make\nand Python" in README
    assert setup == "make setup" and setup in README
    assert ("ENV", 'PATH="/lmc_repro/.venv/bin:$PATH"') in [(word, rest.split()[0]) for word, rest in steps]
    assert dict(steps)["WORKDIR"] == "/lmc_repro"


def test_the_image_gets_no_working_files() -> None:
    ignored = set((ROOT / ".dockerignore").read_text().splitlines())
    assert ignored >= {".venv", ".lmc", ".dvc/cache", "runs", "results", "mlartifacts", "mlflow.db*", "out", "data/*"}
    assert ".git" not in ignored  # DVC wants it, and every run notes its commit


def test_the_editors_container_is_set_up_by_the_same_command() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make setup"
    version = re.fullmatch(r"\S+/devcontainers/python:(3\.\d+)-bookworm", container["image"])
    assert version is not None and admitted(version[1])

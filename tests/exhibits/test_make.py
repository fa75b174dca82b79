"""An exhibit's files: made from params.yaml and what is there, equal bytes for equal input, no dates."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers import PARAMS

from lmc_repro.cli.exhibits import exhibit_command
from lmc_repro.data.prepare import prepare
from lmc_repro.errors import LmcError
from lmc_repro.exhibits.make import make_exhibit
from lmc_repro.project import Project
from lmc_repro.report.exhibits import exhibit_section, exhibit_sections
from lmc_repro.schemas.load import load_params
from lmc_repro.schemas.params import Params


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(PARAMS).model_copy(update={"profile": "digits"})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    found = Project(tmp_path_factory.mktemp("project"))
    prepare("digits", found.prepared, found.raw, None)
    return found


def test_equal_input_gives_equal_files(params: Params, project: Project) -> None:
    folder = make_exhibit("figure4", params, project)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"exhibit.json", "images.safetensors"}
    make_exhibit("figure4", params, project)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not re.search(r"20\d\d-\d\d", before["exhibit.json"].decode())
    found = json.loads(before["exhibit.json"])
    assert found["analogue"] is True and found["dataset"]["name"] == "digits" and found["augment"]["crop"] == 1
    section = exhibit_section(folder)
    assert "3 of 3 others are as their seeds say" in section.outcome
    assert exhibit_section(folder).figures == section.figures


def test_images_of_an_earlier_profile_do_not_stay(params: Params, project: Project) -> None:
    folder = make_exhibit("figure4", params, project)
    (project.prepared / "cifar10").mkdir()
    (project.prepared / "cifar10" / "status.json").write_text('{"state": "absent", "reason": "no such address"}')
    make_exhibit("figure4", params.model_copy(update={"profile": "paper"}), project)
    assert [path.name for path in folder.iterdir()] == ["exhibit.json"]
    section = exhibit_section(folder)
    assert section.outcome == "Not run: data set cifar10 is absent: no such address." and not section.figures


def test_an_exhibit_that_there_is_not(params: Params, project: Project) -> None:
    with pytest.raises(LmcError, match=r"^KEY: found 'table5', allowed: table3, figure4, table4 \(params\.yaml"):
        make_exhibit("table5", params, project)


def test_a_table_of_results_that_there_are_not(params: Params, project: Project) -> None:
    with pytest.raises(LmcError, match=r"runs\.json: cannot be read .*; run `lmc compare figure3`$"):
        make_exhibit("table4", params, project)
    (section,) = exhibit_sections(project.results, ["table4"])
    assert section.outcome == "Not run: no results; `lmc exhibit table4` makes them."


def test_damaged_files_are_one_line(params: Params, project: Project) -> None:
    folder = make_exhibit("figure4", params, project)
    whole = (folder / "images.safetensors").read_bytes()
    (folder / "images.safetensors").write_bytes(whole[:-1])
    with pytest.raises(LmcError, match=r"images\.safetensors: cannot be read .*; run `lmc exhibit figure4`$"):
        exhibit_section(folder)
    for text in ("[]", "{}", '{"title": "t", "question": "q", "provenance": {}, "kind": "table"}', "{"):
        (folder / "exhibit.json").write_text(text)
        with pytest.raises(LmcError, match=r"exhibit\.json: .*; run `lmc exhibit figure4`$"):
            exhibit_section(Path(folder))


def test_as_json_it_is_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / "params.yaml").write_bytes(PARAMS.read_bytes())
    monkeypatch.chdir(project.root)
    exhibit_command("table3", as_json=True)
    printed = capsys.readouterr().out
    assert printed == (project.results / "table3" / "exhibit.json").read_text() and json.loads(printed)["title"]

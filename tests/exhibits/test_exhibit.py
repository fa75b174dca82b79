"""An exhibit's files and its section: equal bytes for equal input, shown on a page, in Markdown and on a terminal."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import PARAMS
from rich.console import Console
from safetensors.numpy import save

from lmc_repro.cli.reports import exhibit
from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.config.load import load_params
from lmc_repro.config.params import Params
from lmc_repro.data.prepare import prepare
from lmc_repro.exhibits import make_exhibit, read_exhibit
from lmc_repro.report.contents import Report
from lmc_repro.report.document import report_document
from lmc_repro.report.html import html_page
from lmc_repro.report.model import Paragraph, Table
from lmc_repro.report.text import markdown, print_block
from lmc_repro.report.write import write_report

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(PARAMS).model_copy(update={"profile": "digits"})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    found = Project(tmp_path_factory.mktemp("project"))
    prepare("digits", found.prepared, found.raw, None)
    return found


def write_batches(folder: Path, **changes: Any) -> Path:
    """A first loader with red images and a second with green ones, of 4 x 4 pixels; other orders, as is expected."""
    seeds = {"a": (0, RED), "b": (1, GREEN)}
    loaders = [
        {"key": key, "label": f"loader {key}", "loader": seed, "augmentation": 0,
         "order_sha256": [key * 64], "sha256": [key * 64]}
        for key, (seed, _) in seeds.items()
    ]  # fmt: skip
    found = {
        "key": "figure4", "kind": "batches", "title": "Figure 4", "question": "Do they?", "profile": "paper",
        "analogue": False, "provenance": {"dataset": "paper: A.1"}, "augment": {"flip": True, "crop": 0, "cutout": 0},
        "batch_size": 2, "dataset": {"name": "x", "title": "X", "digest": "ab"}, "loaders": loaders,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "exhibit.json").write_text(json.dumps(found | changes))
    images = {
        key: np.tile(np.array(colour, dtype=np.uint8).reshape(1, 1, 3, 1, 1), (1, 2, 1, 4, 4))
        for key, (_, colour) in seeds.items()
    }
    (folder / "images.safetensors").write_bytes(save(images))
    return folder


@pytest.mark.slow
def test_equal_input_gives_equal_files(params: Params, project: Project) -> None:
    folder = make_exhibit("figure4", params, project)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"exhibit.json", "images.safetensors"}
    make_exhibit("figure4", params, project)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not re.search(r"20\d\d-\d\d", before["exhibit.json"].decode())
    found = json.loads(before["exhibit.json"])
    assert found["analogue"] is True and found["dataset"]["name"] == "digits" and found["augment"]["crop"] == 1
    exhibit = read_exhibit(folder)
    assert "3 of 3" in exhibit.outcome and read_exhibit(folder) == exhibit


def test_images_of_an_earlier_profile_do_not_stay(params: Params, project: Project) -> None:
    folder = make_exhibit("figure4", params, project)
    (project.prepared / "cifar10").mkdir()
    (project.prepared / "cifar10" / "status.json").write_text('{"state": "absent", "reason": "no such address"}')
    make_exhibit("figure4", params.model_copy(update={"profile": "paper"}), project)
    assert [path.name for path in folder.iterdir()] == ["exhibit.json"]
    exhibit = read_exhibit(folder)
    assert exhibit.outcome == "Not run: data set cifar10 is absent: no such address."
    assert not exhibit.section.figures() and not any(isinstance(block, Table) for block in exhibit.section.blocks)


def test_an_exhibit_that_there_is_not_and_a_table_of_results_that_there_are_not(
    params: Params, project: Project
) -> None:
    with pytest.raises(LmcError, match=r"^EXHIBIT: found 'table5', allowed: table3, figure4, table4 \(params\.yaml"):
        make_exhibit("table5", params, project)
    with pytest.raises(LmcError, match=r"runs\.json: cannot be read .*; run `lmc compare figure3`$"):
        make_exhibit("table4", params, project)
    assert read_exhibit(project.results / "table4").outcome == "Not run: no results; `lmc exhibit table4` makes them."


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    folder = write_batches(tmp_path / "figure4")
    whole = (folder / "images.safetensors").read_bytes()
    (folder / "images.safetensors").write_bytes(whole[:-1])
    with pytest.raises(LmcError, match=r"images\.safetensors: cannot be read .*; run `lmc exhibit figure4`$"):
        read_exhibit(folder)
    for text in ("[]", "{}", '{"title": "t", "question": "q", "provenance": {}, "kind": "table"}', "{"):
        (folder / "exhibit.json").write_text(text)
        with pytest.raises(LmcError, match=r"exhibit\.json: .*; run `lmc exhibit figure4`$"):
            read_exhibit(folder)


def test_as_json_it_is_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / "params.yaml").write_bytes(PARAMS.read_bytes())
    monkeypatch.chdir(project.root)
    exhibit("table3", as_json=True)
    printed = capsys.readouterr().out
    assert printed == (project.results / "table3" / "exhibit.json").read_text() and json.loads(printed)["title"]


def test_the_figure_has_every_pixel_of_every_image(tmp_path: Path) -> None:
    from PIL import Image

    (figure,) = read_exhibit(write_batches(tmp_path / "figure4")).section.figures()
    assert set(figure.files) == {"png", "svg", "pdf"} and figure.name == "figure4"
    pixels = np.asarray(Image.open(io.BytesIO(figure.files["png"])).convert("RGB")).reshape(-1, 3)
    # Two images of 4 x 4 pixels, drawn 8 points per pixel, two dots per point: none is blurred or cut off.
    for colour in (RED, GREEN):
        assert (pixels == colour).all(axis=1).sum() == 2 * (4 * 8 * 2) ** 2
    text = figure.files["svg"].decode()
    assert "loader b" in text and "bbbbbbbbbbbb" in text and "<dc:date>" not in text


def test_what_it_shows_stands_above_it(tmp_path: Path) -> None:
    exhibit = read_exhibit(write_batches(tmp_path / "figure4"))
    question, shows, outcome = (block.text for block in exhibit.section.blocks if isinstance(block, Paragraph))
    assert question == "Do they?" and outcome == exhibit.outcome and "1 of 1" in outcome
    assert "2 images of X (flip)" in shows and exhibit.data["loaders"][0]["key"] == "a"
    text = markdown(exhibit.section)
    parts = [question, shows, outcome, "| loader b | other | other | yes | bbbbbbbbbbbb |", "](figures/figure4.png)",
             "- `dataset`: paper: A.1"]  # fmt: skip
    assert [text.count(part) for part in parts] == [1] * 6
    assert sorted(parts, key=text.index) == parts


def test_the_report_holds_its_picture_escapes_what_it_says_and_fetches_nothing(tmp_path: Path) -> None:
    bad = '<script>alert(1)</script>" onload=x'
    write_batches(tmp_path / "results" / "figure4", title=bad, question=bad, provenance={bad: bad})
    exhibits = tuple(read_exhibit(tmp_path / "results" / key) for key in ("figure4", "table4"))
    written = write_report(Report((), exhibits), tmp_path / "report")
    names = {str(path.relative_to(tmp_path / "report")): path for path in written}
    drawn = {f"figures/figure4.{kind}" for kind in ("png", "svg", "pdf")}
    assert drawn | {"tables/figure4.csv", "tables/figure4.tex"} <= set(names)
    page, text = names["index.html"].read_text(), names["report.md"].read_text()
    assert "<script" not in page and '" onload' not in page and page.count("&lt;script&gt;") >= 4
    assert page.rindex(exhibits[0].outcome) < page.index("<caption>Held") < page.index("<img")
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in page
    assert (
        re.findall(r'(?:src|href)="(?!#|data:image/png;base64,|(?:figures|tables)/[^"]*" download)([^"]*)"', page) == []
    )
    (content,) = re.findall(r'src="data:image/png;base64,([^"]*)"', page)
    assert (
        base64.b64decode(content)
        == exhibits[0].section.figures()[0].files["png"]
        == names["figures/figure4.png"].read_bytes()
    )
    assert "<script" not in text and exhibits[1].outcome in text
    assert re.search(r"^## \S*script\S*alert\(1\)", text, re.MULTILINE)
    assert "img-src" not in html_page(report_document(Report((), (exhibits[1],))))


@pytest.mark.parametrize("width", [40, 80, 160])
def test_it_fits_a_terminal(tmp_path: Path, width: int) -> None:
    exhibit = read_exhibit(write_batches(tmp_path / "figure4", title="[bold]"), drawn=False)
    out = io.StringIO()
    print_block(exhibit.section, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert lines[0] == "[bold]" and max(map(len, lines)) <= width
    assert exhibit.outcome in " ".join(out.getvalue().split()) and not exhibit.section.figures()

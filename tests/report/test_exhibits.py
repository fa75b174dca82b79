"""Exhibits in the report: their words, tables and figure, on a page, in Markdown and on a terminal."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save

from lmc_repro.report.contents import read_report
from lmc_repro.report.exhibits import exhibit_section, exhibit_sections, print_exhibit
from lmc_repro.report.page import html_page
from lmc_repro.report.write import write_report

RED, GREEN = (255, 0, 0), (0, 255, 0)


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


def test_the_figure_has_every_pixel_of_every_image(tmp_path: Path) -> None:
    from PIL import Image

    section = exhibit_section(write_batches(tmp_path / "figure4"))
    assert set(section.figures) == {"figure4.png", "figure4.svg"}
    pixels = np.asarray(Image.open(io.BytesIO(section.figures["figure4.png"])).convert("RGB")).reshape(-1, 3)
    # Two images of 4 x 4 pixels, drawn 8 points a pixel, two dots a point: none is blurred or cut off.
    for colour in (RED, GREEN):
        assert (pixels == colour).all(axis=1).sum() == 2 * (4 * 8 * 2) ** 2
    text = section.figures["figure4.svg"].decode()
    assert "loader b" in text and "bbbbbbbbbbbb" in text and "<dc:date>" not in text


def test_what_it_shows_stands_above_it(tmp_path: Path) -> None:
    section = exhibit_section(write_batches(tmp_path / "figure4"))
    assert section.outcome == (
        "Held to the first loader, 1 of 1 others are as their seeds say. This agrees with the paper."
    )
    assert "The first 1 batches of 2 images of X (flip)" in section.markdown
    assert "| loader b | other | other | yes | bbbbbbbbbbbb |" in section.markdown
    assert "](figures/figure4.png)" in section.markdown and "- `dataset`: paper: A.1" in section.markdown
    assert section.html.index("This agrees") < section.html.index("<table>") < section.html.index("<img")
    assert section.data["loaders"][0]["key"] == "a"


def test_the_page_holds_its_picture_and_escapes_what_it_says(tmp_path: Path) -> None:
    bad = '<script>alert(1)</script>" onload=x'
    section = exhibit_section(write_batches(tmp_path / "figure4", title=bad, question=bad, provenance={bad: bad}))
    assert "<script" not in section.html and '" onload' not in section.html
    (address,) = re.findall(r'src="([^"]*)"', section.html)
    kind, content = address.split(",")
    assert kind == "data:image/png;base64" and base64.b64decode(content) == section.figures["figure4.png"]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_it_fits_a_terminal(tmp_path: Path, width: int) -> None:
    out = io.StringIO()
    print_exhibit(write_batches(tmp_path / "figure4", title="[bold]"), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert lines[0] == "[bold]" and max(map(len, lines)) <= width
    assert "loader" in out.getvalue() and "This agrees" in " ".join(out.getvalue().split())


def test_the_report_has_exhibits_and_fetches_nothing(tmp_path: Path) -> None:
    write_batches(tmp_path / "results" / "figure4")
    sections = exhibit_sections(tmp_path / "results", ["figure4", "table4"])
    written = write_report(read_report(tmp_path / "results", {}, sections), tmp_path / "report")
    names = [str(path.relative_to(tmp_path / "report")) for path in written]
    assert names == ["figures/figure4.png", "figures/figure4.svg", "index.html", "report.md", "metrics.json"]
    page, text = written[2].read_text(), written[3].read_text()
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in page
    assert re.findall(r'(?:src|href)="(?!#|data:image/png;base64,)([^"]*)"', page) == []
    assert page.count("<img style") == 1 and 'alt="Figure 4: The first 1 batches' in page
    assert "## Figure 4\n\nDo they?\n" in text and "Not run: no results; `lmc exhibit table4` makes them." in text
    assert "img-src" not in html_page(read_report(tmp_path / "results", {}, exhibit_sections(tmp_path, ["table4"])))

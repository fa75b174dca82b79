"""Every drawing of the report: no two texts overlap, none is cut off, and all of it stands out from its ground."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, cycle

import numpy as np
import pytest
from helpers import PARAMS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from test_figures import pair
from test_plane_figure import RUNS, a_plane

from lmc_repro.config.expand import Choice, plan_study
from lmc_repro.config.load import load_params
from lmc_repro.exhibits import batches
from lmc_repro.report import figures
from lmc_repro.report.figures import COLOURS, LINES, OWN_SCALE, QUIET, STYLES, column_figure, paths_figure
from lmc_repro.report.grid import StudyTable, study_table
from lmc_repro.report.plane_figure import plane_figure
from lmc_repro.report.value_figure import value_plot, values_figure
from lmc_repro.results.read import read_study
from lmc_repro.results.schema import Axis, StudyResults

STUDIES = load_params(PARAMS)
Boxes = list[tuple[str, Bbox]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Boxes]:
    """The texts of each drawing that is rendered, with the drawing's own box first; nothing is written."""
    found: list[Boxes] = []

    def record(drawing: Drawing, *_: object) -> dict[str, bytes]:
        canvas, boxes, draw = FigureCanvasAgg(drawing), [("", drawing.bbox)], Text.draw

        def recorded(text: Text, renderer: object) -> None:
            if text.get_visible() and text.get_text().strip():
                boxes.append((text.get_text(), text.get_window_extent(renderer)))
            draw(text, renderer)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Text, "draw", recorded)
            canvas.draw()
        found.append(boxes)
        return {"svg": b""}

    for module in (figures, batches):
        monkeypatch.setattr(module, "render", record)
    return found


def faults(drawings: Sequence[Boxes]) -> list[tuple[str, str]]:
    """Return texts that overlap, and (text, "") of one that is not all inside; rounding of a pixel is none."""
    found = []
    for (_, whole), *boxes in drawings:
        found += [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.padded(-0.5).overlaps(b)]
        found += [(one, "") for one, a in boxes if not all(whole.padded(1).contains(*corner) for corner in a.corners())]
    return found


def results_like(base: StudyResults, study: str) -> StudyResults:
    """Return results of a study of params.yaml: its grid and labels; cells flat, steep, without a verdict in turn."""
    plan = plan_study(STUDIES, study, Choice(profile="digits"))
    cells, curves = [], {}
    for cell, like in zip(plan.cells, cycle(base.cells)):
        cells.append(replace(like, key=cell.key, row=cell.row, column=cell.column))
        curves |= {(cell.key, *key[1:]): curve for key, curve in base.curves.items() if key[0] == like.key}
    rows = {cell.row: Axis(cell.row, cell.row_label) for cell in plan.cells}
    columns = {cell.column: Axis(cell.column, cell.column_label) for cell in plan.cells}
    show = plan.study_config.show
    return replace(
        base, study=study, title=plan.study_config.title, rows=tuple(rows.values()), columns=tuple(columns.values()),
        cells=tuple(cells), curves=curves, show=show,
    )  # fmt: skip


def draw_all(table: StudyTable) -> None:
    paths_figure(table)
    if plot := value_plot(table):
        values_figure(plot, table.results.title, table.results.study)


@pytest.mark.parametrize("study", STUDIES.studies)
def test_no_text_of_a_study_overlaps_another(write_study, drawn: list[Boxes], study: str) -> None:
    table = study_table(results_like(read_study(write_study()), study))
    draw_all(table)
    assert len(drawn) == 1 + (table.results.show is not None)
    assert sum(map(len, drawn)) > 10 * len(drawn) and faults(drawn) == []


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_text_of_a_columns_figure_overlaps_another(write_study, drawn: list[Boxes], count: int) -> None:
    table = study_table(read_study(write_study()))
    ran = tuple(entry for entry in table.entries if entry.cell)
    column_figure(replace(table, entries=ran[:count]))
    assert faults(drawn) == []


@pytest.mark.slow
def test_long_labels_and_epochs_make_no_overlap(write_study, drawn: list[Boxes]) -> None:
    """Labels of 60 letters, of one word too; a study of one column; epochs as the axis."""
    labels = [f"{'weights of the other network ' * 2}!", "W" * 12 + "-" + "n" * 47]
    axes = [{"key": key, "label": label} for key, label in zip(("4-layer", "8-layer"), labels, strict=True)]
    shows = [{"x": x, "x_label": "where each cell stands", "value": "barrier"} for x in ("rows", "epochs")]
    for show in shows:
        draw_all(study_table(read_study(write_study(title=labels[0] * 2, rows=axes, show=show))))
    folder = write_study(rows=axes)
    cells = json.loads((folder / "cells.json").read_text())
    (folder / "cells.json").write_text(json.dumps([cell for cell in cells if cell["column"] == "adam-high"]))
    draw_all(study_table(read_study(folder)))
    assert len(drawn) == 6 and faults(drawn) == []


def test_no_text_of_a_pair_or_of_batches_overlaps_another(drawn: list[Boxes]) -> None:
    for title in ("8-Layer, pair 0", "weights of the other network " * 4 + "pair 12"):
        pair(40, title=title), pair(40, "diverged", title)
    loaders = [{"key": key, "label": f"a loader of seed {key}", "sha256": ["ab" * 32] * 2} for key in "12"]
    images = {key: np.zeros((2, 8, 1, 8, 8), np.uint8) for key in "12"}
    batches.draw({"key": "figure4", "loaders": loaders}, images, "Batches.")
    assert len(drawn) == 5 and faults(drawn) == []


@pytest.mark.parametrize("width", [figures.COLUMN, 6.0])
def test_no_text_of_a_plane_overlaps_another(drawn: list[Boxes], width: float) -> None:
    """Small and large weights, wide and tall triangles, near runs, all levels and one, long names of runs and cells."""
    for shape in ((30.0, 3.0, 0.87), (0.004, 0.0, 0.3), (12345.0, 90.0, 1.9), (2.5, 0.2, 0.05), (6.0, 3.0, 3.4, 0.02)):
        plane = a_plane(shape[0], shape[1], 11, *shape[2:])
        plane_figure(plane, RUNS, "8-Layer", "name", width)
        long = [f"seeds {100 + i}-{200 + i}-{300 + i}" for i in range(3)]
        plane_figure(plane, long, "weights of the other network " * 4, "name", width)
    assert len(drawn) == 10 and all(len(boxes) > 12 for boxes in drawn) and faults(drawn) == []


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrasts(colours: Iterator[str]) -> dict[str, float]:
    """Return each colour's contrast with the ground from which it stands out less."""
    grounds = [luminance(ground) + 0.05 for ground in ("#ffffff", OWN_SCALE)]
    return {colour: min(max(g / c, c / g) for g in grounds for c in [luminance(colour) + 0.05]) for colour in colours}


def test_lines_and_letters_stand_out_from_their_ground() -> None:
    """4.5 to 1, WCAG 2.2, 1.4.3; 2.85 is what orange on white has."""
    drawn = {style["color"] for style in (*STYLES, *LINES.values())} | {QUIET}
    assert drawn | {"#ffffff", "#000000", OWN_SCALE} == set(COLOURS)
    found = contrasts(iter(drawn))
    assert {colour: ratio for colour, ratio in found.items() if ratio < 4.5} == {}
    assert contrasts(iter(["#e08214"]))["#e08214"] == pytest.approx(2.6, abs=0.1)

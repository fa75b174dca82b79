"""Drawings of a study and of a pair: the values behind them, what is connected, equal bytes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Drawing
from whole_report import report_of

from lmc_repro.barriers.barrier import barriers
from lmc_repro.barriers.curve import Curve, SplitName
from lmc_repro.barriers.results import EpochResult, PairResult
from lmc_repro.report import figures
from lmc_repro.report.figures import OWN_SCALE, QUIET, path_figure, paths_figure
from lmc_repro.report.grid import study_table
from lmc_repro.report.value_figure import (
    Point,
    Series,
    ValuePlot,
    epoch_ticks,
    grouped,
    shortened,
    value_plot,
    values_figure,
)
from lmc_repro.results.read import read_study


def plot_of(folder: Path) -> ValuePlot:
    plot = value_plot(report_of(folder).tables[0])
    assert plot is not None
    return plot


def values(plot: ValuePlot, split: str) -> dict[str, list[tuple[str, ...]]]:
    return {
        line.label: [(point.name, *(f"{value:.2f}" for value in point.seeds)) for point in line.points]
        for line in plot.series
        if line.split == split
    }


def test_a_line_holds_every_seed_of_its_cells(write_study) -> None:
    plot = plot_of(write_study())
    four, eight = "4-Layer, BS=1024", "8-Layer, BS=1024"
    assert values(plot, "test") == {
        "SGD high": [(four, "0.20", "0.30", "0.40"), (eight, "0.50", "0.70")],
        "ADAM high": [(four, "1.00", "3.00", "5.00"), (eight,)],  # no verdict: a place without values
        "ADAM medium": [(eight, "70.00", "72.00", "74.00")],  # 4-Layer was not run: no place
    }
    assert values(plot, "train")["ADAM high"] == [(four, "0.50", "1.00", "1.50"), (eight,)]
    assert (plot.threshold, plot.highest) == (2.0, 74.0)
    assert value_plot(report_of(write_study(show=None)).tables[0]) is None  # a study that asks for nothing


def test_points_without_a_verdict_part_a_line() -> None:
    points = [Point(float(x), seeds, "") for x, seeds in enumerate([(), (1.0,), (2.0,), (), (3.0,), ()])]
    parts = Series("test", "", "", tuple(points)).parts
    assert [[point.x for point in part] for part in parts] == [[1.0, 2.0], [4.0]]


def test_normalised_values_have_no_threshold(write_study) -> None:
    plot = plot_of(write_study(show={"x": "columns", "x_label": "optimizer", "value": "normalised"}))
    assert plot.threshold is None and plot.value == "normalised"
    four = values(plot, "test")["4-Layer, BS=1024"]
    assert four == [("SGD high", "0.21", "0.32", "0.42"), ("ADAM high", "1.05", "3.16", "5.26")]


def test_the_barrier_over_training_is_that_of_the_curves(write_study) -> None:
    """Epoch 0.5 of one pair: test errors 5, 9, 7 %, so a barrier of 3; at epoch 0 an end is not trained."""
    folder = write_study(show={"x": "epochs", "x_label": "epoch", "value": "barrier"})
    with open(folder / "curves.csv", "a", newline="") as file:
        out = csv.writer(file)
        for epoch, test, train in (("0", (900, 900, 900), (1800, 1800, 1800)), ("0.5", (50, 90, 70), (40, 100, 40))):
            for split, wrong, n in (("test", test, 1000), ("train", train, 2000)):
                for alpha, count in zip((0.0, 0.5, 1.0), wrong, strict=True):
                    out.writerow(["table1", "4-layer--sgd-high", "1", epoch, split, alpha, count, n, 0.1])
    plot = plot_of(folder)
    assert list(dict.fromkeys(line.panel for line in plot.series)) == ["SGD high", "ADAM high", "ADAM medium"]
    line, train = plot.series[0], next(line for line in plot.series if line.split == "train")
    assert [(point.name, point.seeds) for point in line.points[:2]] == [("epoch 0", ()), ("epoch 0.5", (3.0,))]
    assert line.points[2].seeds == pytest.approx((0.2, 0.3, 0.4)) and train.points[1].seeds == (3.0,)
    assert plot.over_training and [label for _, label in plot.ticks] == ["0", "0.5", "200"]
    assert values_figure(plot, "t", "table1").files["svg"].count(b"no mark: no verdict") == 3  # below each panel


def test_epochs_and_labels() -> None:
    ticks = epoch_ticks([0, 0.5, 1, 2, 5, 10, 20, 40, 50, 52, 56, 60])
    assert [label for _, label in ticks] == ["0", "0.5", "1", "2", "5", "10", "20", "60"]
    labels, groups = ["2-Layer, SGD high", "2-Layer, SGD low", "4-Layer, SGD high"], ["2-Layer", "2-Layer", "4-Layer"]
    assert grouped(labels) == (groups, ["SGD high", "SGD low", "SGD high"])
    assert grouped(["SGD high", "ADAM high"]) == (["", ""], ["SGD high", "ADAM high"])
    assert shortened(["slope 1 (linear)", "slope 0.8"]) == ["1 (linear)", "0.8"]
    assert shortened(["MNIST", "CIFAR-10"]) == ["MNIST", "CIFAR-10"]


@pytest.mark.parametrize(("highest", "bent"), [(9.0, False), (80.0, True)])
def test_the_axis_of_values_is_logarithmic_where_values_are_large(write_study, highest: float, bent: bool) -> None:
    figure = values_figure(replace(plot_of(write_study()), highest=highest), "t", "table1")
    assert ("(logarithmic above 2)" in figure.alt) == bent and (b">100<" not in figure.files["svg"])
    assert (b">50<" in figure.files["svg"]) == bent


def test_values_have_equal_bytes_and_name_their_lines(write_study) -> None:
    first = values_figure(plot_of(write_study()), "Table 1", "table1")
    assert values_figure(plot_of(write_study()), "Table 1", "table1") == first
    for part in ("SGD high", "ADAM medium", "4-Layer", "barrier, points", "x: no verdict", "test", "train"):
        assert part in first.files["svg"].decode()
    assert b"dc:date" not in first.files["svg"]


def test_equal_results_give_equal_bytes_and_other_results_others(write_study) -> None:
    results = read_study(write_study())
    first = paths_figure(study_table(results)).files
    assert paths_figure(study_table(results)).files == first
    curves = dict(results.curves)
    curves["4-layer--sgd-high", "0", 200, "test"] = curves["8-layer--adam-medium", "0", 200, "test"]
    changed = paths_figure(study_table(replace(results, curves=curves))).files
    assert changed["png"] != first["png"] and changed["svg"] != first["svg"]


def test_drawn_curves_are_those_of_the_files(write_study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every path of every pair in its place, grey where there is no verdict; panels name numbers, not the paper's."""
    from matplotlib.axes import Axes

    drawn: list[tuple[list[float], list[float], str]] = []
    plot = Axes.plot

    def recorded(axes: Axes, x: list[float], y: list[float], *rest: object, **style: str) -> object:
        drawn.append((list(x), list(y), style["color"]))
        return plot(axes, x, y, *rest, **style)

    monkeypatch.setattr(Axes, "plot", recorded)
    svg = paths_figure(study_table(read_study(write_study()))).files["svg"].decode()
    paths = [(x, y, colour) for x, y, colour in drawn if x]
    assert len(paths) == 5 * 3 * 2 and sum(colour == QUIET for _, _, colour in paths) == 2 * (1 + 3)
    assert ([0.0, 0.5, 1.0], pytest.approx([5.0, 8.0, 5.0]), "#12436d") in paths
    for part in ("3.00 / 1.00", "72.00 / 60.00", "no verdict", "not run", "SGD high", "8-Layer", "alpha"):
        assert part in svg
    assert "47.74" not in svg


def test_a_papers_panels_share_a_scale_unless_zoomed_and_bars_stand_apart(
    write_study, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawings: list[Drawing] = []
    monkeypatch.setattr(figures, "render", lambda drawing, *_: drawings.append(drawing) or {})
    table = study_table(read_study(write_study()))
    ran = replace(table, entries=tuple(entry for entry in table.entries if entry.cell))
    for zoom in (False, True):
        figures.column_figure(ran, zoom=zoom)
    one, zoomed = ([axes for axes in drawing.axes if axes.get_visible()] for drawing in drawings)
    (scale,) = {axes.get_ylim() for axes in one}
    assert scale[0] == 0.0 and scale[1] >= 79.0  # an end of 5 and a barrier of 74
    assert OWN_SCALE not in {to_hex(axes.get_facecolor()) for axes in one}
    assert len({axes.get_ylim() for axes in zoomed}) > 1
    assert {axes.get_ylim() == scale for axes in zoomed if to_hex(axes.get_facecolor()) == OWN_SCALE} == {False}
    colour = figures.LINES["test"]["color"]
    bars = [[x.get_xdata()[0] for x in axes.lines if x.get_marker() == "_" and x.get_color() == colour] for axes in one]
    assert [len(set(xs)) for xs in bars] == [3, 3, 2, 0, 3]


def pair(middle: int, status: str = "trained", title: str = "8-Layer, pair 0") -> str:
    curves: dict[SplitName, Curve] = {
        "train": Curve((2, 2 + middle // 2, 2), 200, (0.1, 0.2, 0.1)),
        "test": Curve((5, 5 + middle, 5), 100, (0.1, 0.2, 0.1)),
    }
    found = {split: barriers(curves, split, 10) for split in curves} if status == "trained" else None
    epoch = EpochResult(60, ("trained", status), curves, found)
    result = PairResult("0", 0, ("a", "b"), 10, (epoch,), 1.0, 0.9, {"train": 0.0, "test": 0.0})
    return path_figure(result, title)["path.svg"].decode()


def test_a_pair_has_equal_bytes_whatever_was_drawn_before_and_a_user_prefers(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pair(40)
    assert pair(20) != first and pair(0, "diverged") != first
    monkeypatch.setitem(matplotlib.rcParams, "svg.hashsalt", "other")
    monkeypatch.setitem(matplotlib.rcParams, "savefig.facecolor", "red")
    assert pair(40) == first
    assert matplotlib.rcParams["svg.hashsalt"] == "other"  # and nothing of the user's is changed


def test_a_pair_names_its_barriers_or_why_it_has_none() -> None:
    svg = pair(40, title="a $x$ < b")
    assert "test, barrier 40.00" in svg and "train, barrier 10.00" in svg and "a $x$ &lt; b, epoch 60" in svg
    assert "dc:date" not in svg and "Matplotlib v" not in svg
    svg = pair(0, "collapsed")
    assert "no barrier: endpoints trained and collapsed" in svg and ", barrier" not in svg

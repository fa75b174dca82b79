"""A study's drawings: the values behind them, what is connected, equal bytes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from whole_report import report_of

from lmc_repro.report.figures import paths_figure, values_figure
from lmc_repro.report.table import study_table
from lmc_repro.report.values import Point, Series, ValuePlot, epoch_ticks, grouped, shortened
from lmc_repro.results.read import read_study


def plot_of(folder: Path) -> ValuePlot:
    plot = report_of(folder).parts[0].plot
    assert plot is not None
    return plot


def values(plot: ValuePlot, split: str) -> dict[str, list[tuple[str, ...]]]:
    return {
        line.label: [(point.name, *(f"{value:.2f}" for value in point.seeds)) for point in line.points]
        for panel in plot.panels[split]
        for line in panel.series
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


def test_points_without_a_verdict_part_a_line() -> None:
    points = [Point(float(x), seeds, "") for x, seeds in enumerate([(), (1.0,), (2.0,), (), (3.0,), ()])]
    assert [[point.x for point in part] for part in Series("", tuple(points)).parts] == [[1.0, 2.0], [4.0]]


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
    assert [panel.title for panel in plot.panels["test"]] == ["SGD high", "ADAM high", "ADAM medium"]
    line = plot.panels["test"][0].series[0]
    assert [(point.name, point.seeds) for point in line.points[:2]] == [("epoch 0", ()), ("epoch 0.5", (3.0,))]
    assert line.points[2].seeds == pytest.approx((0.2, 0.3, 0.4))
    assert plot.panels["train"][0].series[0].points[1].seeds == (3.0,)
    assert plot.over_training and [label for _, label in plot.ticks] == ["0", "0.5", "200"]
    assert values_figure(plot, "t", "table1").files["svg"].count(b"no mark: no verdict") == 3  # below each panel


def test_a_study_that_asks_for_nothing_gets_nothing(write_study) -> None:
    assert report_of(write_study(show=None)).parts[0].plot is None


def test_epochs_and_labels() -> None:
    ticks = epoch_ticks([0, 0.5, 1, 2, 5, 10, 20, 40, 50, 52, 56, 60])
    assert [label for _, label in ticks] == ["0", "0.5", "1", "2", "5", "10", "20", "60"]
    assert grouped(["2-Layer, SGD high", "2-Layer, SGD medium", "4-Layer, SGD high"]) == (
        ["2-Layer", "2-Layer", "4-Layer"],
        ["SGD high", "SGD medium", "SGD high"],
    )
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
    """Every path of every pair in its place, grey where there is no verdict."""
    from matplotlib.axes import Axes

    drawn: list[tuple[list[float], list[float], str]] = []
    plot = Axes.plot

    def recorded(axes: Axes, x: list[float], y: list[float], *rest: object, **style: str) -> object:
        drawn.append((list(x), list(y), style["color"]))
        return plot(axes, x, y, *rest, **style)

    monkeypatch.setattr(Axes, "plot", recorded)
    paths_figure(study_table(read_study(write_study())))
    paths = [(x, y, colour) for x, y, colour in drawn if x]
    assert len(paths) == 5 * 3 * 2 and sum(colour == "#b0b0b0" for _, _, colour in paths) == 2 * (1 + 3)
    assert ([0.0, 0.5, 1.0], pytest.approx([5.0, 8.0, 5.0]), "#12436d") in paths


def test_panels_name_their_numbers_and_what_was_not_run(write_study) -> None:
    svg = paths_figure(study_table(read_study(write_study()))).files["svg"].decode()
    for part in ("3.00 / 1.00", "72.00 / 60.00", "no verdict", "not run", "SGD high", "8-Layer", "alpha"):
        assert part in svg
    assert "47.74" not in svg  # the paper's numbers are not curves of ours

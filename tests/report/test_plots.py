from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from whole_report import report_of

from lmc_repro.report.charts import charts
from lmc_repro.report.plot_axes import axis, epoch_ticks, epoch_x, told_apart
from lmc_repro.report.plot_lines import grouped, shortened
from lmc_repro.report.plots import ValuePlot
from lmc_repro.report.values_figure import values_figure


def _plot(folder: Path) -> ValuePlot:
    plot = report_of(folder).parts[0].plot
    assert plot is not None
    return plot


def _values(plot: ValuePlot, split: str) -> dict[str, list[tuple[str, ...]]]:
    return {
        line.label: [(point.name, *(f"{value:.2f}" for value in point.seeds)) for point in line.points]
        for panel in plot.panels[split]
        for line in panel.series
    }


def test_a_line_holds_every_seed_of_its_cells(write_study) -> None:
    plot = _plot(write_study())
    four, eight = "4-Layer, BS=1024", "8-Layer, BS=1024"
    assert _values(plot, "test") == {
        "SGD high": [(four, "0.20", "0.30", "0.40"), (eight, "0.50", "0.70")],
        "ADAM high": [(four, "1.00", "3.00", "5.00"), (eight,)],  # no verdict: a place without values
        "ADAM medium": [(eight, "70.00", "72.00", "74.00")],  # 4-Layer was not run: no place
    }
    assert _values(plot, "train")["ADAM high"] == [(four, "0.50", "1.00", "1.50"), (eight,)]
    assert plot.threshold == 2.0 and plot.scale.bent


def test_normalised_values_have_no_threshold(write_study) -> None:
    plot = _plot(write_study(show={"x": "columns", "x_label": "optimizer", "value": "normalised"}))
    assert plot.threshold is None and plot.y_label.startswith("normalised barrier, %")
    four = _values(plot, "test")["4-Layer, BS=1024"]
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
    plot = _plot(folder)
    assert [panel.title for panel in plot.panels["test"]] == ["SGD high", "ADAM high", "ADAM medium"]
    line = plot.panels["test"][0].series[0]
    assert [(point.name, point.seeds) for point in line.points[:2]] == [("epoch 0", ()), ("epoch 0.5", (3.0,))]
    assert line.points[2].seeds == pytest.approx((0.2, 0.3, 0.4))
    assert plot.panels["train"][0].series[0].points[1].seeds == (3.0,)
    assert plot.over_training and [label for _, label in plot.ticks] == ["0", "0.5", "200"]


def test_a_study_that_asks_for_nothing_gets_nothing(write_study) -> None:
    assert report_of(write_study(show=None)).parts[0].plot is None


def test_the_axis_bends_at_two_and_not_before() -> None:
    low, high = axis(5.0, 2.0), axis(80.0, 2.0)
    assert not low.bent and low.up(low.top) == 1.0 and low.up(low.top / 2) == pytest.approx(0.5)
    assert high.bent and high.up(high.top) == 1.0 and high.up(0.0) == 0.0
    assert high.up(1.0) == pytest.approx(high.up(2.0) / 2)  # straight up to 2
    assert high.up(40.0) - high.up(20.0) == pytest.approx(high.up(20.0) - high.up(10.0))  # logarithmic above
    assert all(mark <= high.top for mark in high.marks)
    assert axis(0.3, 2.0).top > 2.0  # the threshold is always there
    assert axis(0.3, None).top == pytest.approx(0.324)


def test_epochs_and_labels() -> None:
    assert epoch_x(0.0) == 0.0 and epoch_x(0.5) == pytest.approx(math.log(2))
    ticks = epoch_ticks([0, 0.5, 1, 2, 5, 10, 20, 40, 60])
    assert [label for _, label in ticks] == ["0", "0.5", "1", "2", "5", "10", "20", "60"]
    assert told_apart([0, 40, 52, 56, 60]) == [0, 40, 60]
    assert grouped(["2-Layer, SGD high", "2-Layer, SGD medium", "4-Layer, SGD high"]) == (
        ["2-Layer", "2-Layer", "4-Layer"],
        ["SGD high", "SGD medium", "SGD high"],
    )
    assert grouped(["SGD high", "ADAM high"]) == (["", ""], ["SGD high", "ADAM high"])
    assert shortened(["slope 1 (linear)", "slope 0.8"]) == ["1 (linear)", "0.8"]
    assert shortened(["MNIST", "CIFAR-10"]) == ["MNIST", "CIFAR-10"]


def test_figure_has_equal_bytes_and_names_its_lines(write_study) -> None:
    plot = _plot(write_study())
    first = values_figure(plot, "Table 1: linear networks")
    assert values_figure(_plot(write_study()), "Table 1: linear networks") == first
    svg = first["svg"].decode()
    for said in ("SGD high", "ADAM medium", "4-Layer", "barrier, points", "x: no verdict", "test", "train"):
        assert said in svg


def test_charts_draw_the_same_places(write_study) -> None:
    """The middle of a straight axis is half way between its ends, 8 at the top and 136 at the bottom."""
    plot = _plot(write_study(show={"x": "rows", "x_label": "depth", "value": "barrier"}))
    test, train = charts(plot)
    assert (test.title, train.title) == ("test", "train")
    assert test.upward[0] == ("136.0", "0")
    adam = next(line for line in test.lines if line.label == "ADAM high")
    assert len(adam.dots) == 3 and len(adam.means) == 1 and len(adam.lost) == 1
    assert float(adam.dots[0][1]) == pytest.approx(136.0 - 128.0 * plot.scale.up(1.0), abs=0.05)

"""A plane in a notebook: the stages' own numbers, its picture, and three runs that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import run_config, tiny_dataset

from lmc_repro import LmcError, measure_pair, measure_plane, plot_plane, train
from lmc_repro.config.run import RunConfig


def config(trainer: int, loader: int, **changes: Any) -> RunConfig:
    return run_config(seeds={"trainer": trainer, "loader": loader}, **changes)


def test_a_plane_of_three_runs_and_its_picture(tmp_path: Path) -> None:
    data = tiny_dataset()
    a, b, c = train([config(0, 0), config(0, 1), config(1, 2)], data)
    plane = measure_plane(a, b, c, data, points=7, margin=0.0)
    assert plane.fingerprints == (a.fingerprint, b.fingerprint, c.fingerprint)
    ends = [measure_pair(first, second, data, points=7).final.curves for first, second in ((a, b), (a, c))]
    for split, curve in ends[0].items():
        assert plane.runs[split].wrong == (curve.wrong[0], curve.wrong[-1], ends[1][split].wrong[-1])
        assert plane.rows[split][0].wrong == curve.wrong
    picture = plot_plane(plane, "three runs")
    assert b">three runs<" in picture.svg and f">2: run {b.fingerprint}<".encode() in picture.svg
    picture.save(tmp_path / "plane.png")
    assert (tmp_path / "plane.png").read_bytes() == picture.png


def test_three_runs_without_a_plane_and_grids_that_cannot_be() -> None:
    data = tiny_dataset()
    a, b, wide = train([config(0, 0), config(0, 1), config(1, 2, model={"depth": 2, "width": 5, "slope": 0.0})], data)
    with pytest.raises(LmcError, match="no SGD noise: the same training"):
        measure_plane(a, b, a, data)
    with pytest.raises(LmcError, match="other architectures"):
        measure_plane(a, b, wide, data)
    for grid in ({"points": 1}, {"margin": -1.0}):
        with pytest.raises(LmcError, match=f"measure_plane: {next(iter(grid))}"):
            measure_plane(a, b, b, data, **grid)  # type: ignore[arg-type]

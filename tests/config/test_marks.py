"""An epoch as files write it: whole epochs as ever, fractions with a point, and back to the same number."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmc_repro.config.base import epoch_text, parse_epoch
from lmc_repro.training.run_folder import METRIC_COLUMNS, MetricRow, RunFolder, checkpoint_name

TEXTS = [(0, "0"), (2, "2"), (2.0, "2"), (200, "200"), (0.5, "0.5"), (10.25, "10.25"), (1e-5, "0.00001")]


@pytest.mark.parametrize(("epoch", "text"), TEXTS)
def test_text_of_a_mark_and_back(epoch: float, text: str) -> None:
    assert epoch_text(epoch) == text
    back = parse_epoch(text)
    assert back == epoch and type(back) is (int if epoch == int(epoch) else float)


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "half", "0.5.1"])
def test_what_is_no_mark(text: str) -> None:
    with pytest.raises(ValueError):
        parse_epoch(text)


def test_names_of_checkpoints_sort_by_mark() -> None:
    evaluations = [0, 0.5, 1, 2.25, 5, 10, 10.5, 1000]
    names = [checkpoint_name(epoch) for epoch in evaluations]
    assert names[:2] == ["epoch-0000.safetensors", "epoch-0000.5.safetensors"]
    assert names[4:6] == ["epoch-0005.safetensors", "epoch-0010.safetensors"]
    stems = [name.removesuffix(".safetensors") for name in names]
    assert sorted(stems) == stems


def test_metrics_at_a_fraction_come_back(tmp_path: Path) -> None:
    rows = [MetricRow(0, "train", 3, 9, 2.5), MetricRow(0.5, "test", 2, 9, None), MetricRow(1, "batch", None, 9, 1.5)]
    folder = RunFolder(tmp_path)
    folder.write_metrics(rows)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == [",".join(METRIC_COLUMNS), "0,train,3,9,2.5", "0.5,test,2,9,", "1,batch,,9,1.5"]
    back = folder.metrics()
    assert back == rows and [type(row.epoch) for row in back] == [int, float, int]

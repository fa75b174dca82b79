"""A comparison's files, written by hand: three-point curves whose barriers can be read off."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure as Drawing
from whole_report import document_of, svg_alone

from lmc_repro.report.html import html_page
from lmc_repro.results.schema import VERSION

N = {"train": 2000, "test": 1000}
ENDS = {"train": 2.0, "test": 5.0}  # error of every trained endpoint, points

# cell -> barriers of its pairs, None for one without; verdicts, strict ones and flags of test and train; the paper's
CELLS: dict[str, dict[str, Any]] = {
    "4-layer--sgd-high": {
        "test": [0.2, 0.3, 0.4], "train": [0.1, 0.1, 0.1], "verdict": ["connected"] * 2, "strict": ["connected"] * 2,
        "flags": ([], []), "paper": {"test": 0.06, "train": 0.05},
    },
    "4-layer--adam-high": {
        "test": [1.0, 3.0, 5.0], "train": [0.5, 1.0, 1.5], "verdict": ["disconnected", "connected"],
        "strict": ["mixed", "connected"], "flags": (["borderline", "unstable"], []),
        "paper": {"test": 47.74, "train": 48.91},
    },
    "8-layer--sgd-high": {
        "test": [0.5, 0.7, None], "train": [0.2, 0.2, None], "verdict": ["connected"] * 2, "strict": ["connected"] * 2,
        "flags": (["provisional"], ["provisional"]), "paper": None,
    },
    "8-layer--adam-high": {
        "test": [None] * 3, "train": [None] * 3, "verdict": [None] * 2, "strict": [None] * 2, "flags": ([], []),
        "paper": {"test": 68.22, "train": 68.87},
    },
    "8-layer--adam-medium": {
        "test": [70.0, 72.0, 74.0], "train": [60.0, 60.0, 60.0], "verdict": ["disconnected"] * 2,
        "strict": ["disconnected"] * 2, "flags": ([], []), "paper": {"test": 73.78, "train": 74.32},
    },
}  # fmt: skip
COLLAPSED = {"8-layer--sgd-high": ["diverged"], "8-layer--adam-high": ["diverged", "diverged", "collapsed"]}
LABELS = {"4-layer": "4-Layer, BS=1024", "8-layer": "8-Layer, BS=1024"}
COLUMNS = {"sgd-high": "SGD high", "adam-high": "ADAM high", "adam-medium": "ADAM medium"}

WriteStudy = Callable[..., Path]


def write_below(
    root: Path, profile: str = "digits", study: str = "table1", epochs: int = 200, slope: float = 1.0, **changes: Any
) -> Path:
    """Write results/<study>/ below a folder under a profile; returns the study's folder."""
    dataset = "digits" if profile == "digits" else "mnist"
    folder = root / "results" / study
    folder.mkdir(parents=True, exist_ok=True)
    cells = [_cell(key, numbers, dataset, epochs, slope) for key, numbers in CELLS.items()]
    runs = {
        "version": VERSION, "study": study,
        "title": "Table 1: linear networks", "question": "Do they stay connected?",
        "profile": profile, "profile_title": f"the {profile} profile", "analogue": profile == "digits",
        "datasets": [{"name": dataset, "title": dataset.upper(), "n_train": 2000, "n_test": 1000, "classes": 10,
                      "digest": "ab" * 32}],
        "dataset": "mnist", "show": {"x": "rows", "x_label": "depth", "value": "barrier"}, "left_out": [],
        "not_run": {}, "threshold": 2.0, "points": 3, "device": "cpu", "numerics": "portable", "torch": "2.14.1",
        "training_numerics": 1, "evaluation_numerics": 1,
        "rows": [{"key": key, "label": label} for key, label in LABELS.items()],
        "columns": [{"key": key, "label": label} for key, label in COLUMNS.items()],
        "provenance": [{"key": "optimizers.sgd-high.lr", "value": 0.1, "source": "paper: Table 1, header"},
                       {"key": "settings.model.width", "value": 128, "source": "ours: small enough"}],
        "runs": [],
    }  # fmt: skip
    (folder / "runs.json").write_text(json.dumps(runs | changes))
    (folder / "cells.json").write_text(json.dumps(cells))
    with open(folder / "curves.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["study", "cell", "pair", "epoch", "split", "alpha", "wrong", "n", "loss"])
        for cell in cells:
            for pair in cell["pairs"]:
                for split, n in N.items():
                    end, barrier = pair[split]["error_0"], pair[split]["barrier"]
                    for alpha, error in ((0.0, end), (0.5, end + (barrier or 0.0)), (1.0, end)):
                        loss = "" if barrier is None else 0.1
                        wrong = round(error * n / 100)
                        out.writerow([study, cell["cell"], pair["pair"], epochs, split, alpha, wrong, n, loss])
    return folder


@pytest.fixture
def write_study(tmp_path: Path) -> WriteStudy:
    return partial(write_below, tmp_path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings are made but not rendered, which takes most of a document's time; test_figures.py holds their bytes."""
    monkeypatch.setattr(Drawing, "savefig", lambda drawing, file, **_: file.write(b"<svg></svg>"))


@pytest.fixture
def only_svg() -> Iterator[None]:
    with svg_alone():
        yield


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a study as it is written by default."""
    with svg_alone():
        return html_page(document_of(write_below(tmp_path_factory.mktemp("page"))))


def _cell(key: str, numbers: dict[str, Any], dataset: str, epochs: int, slope: float) -> dict[str, Any]:
    row, column = key.split("--")
    broken = COLLAPSED.get(key, [])
    ends = ["trained"] * (3 - len(broken)) + broken
    pairs = [
        {
            "pair": str(j), "trainer_seed": j, "fingerprints": [f"{key}-{2 * j}", f"{key}-{2 * j + 1}"],
            "largest_class": 200, "status": ["trained", ends[j]], "epoch": epochs, "distance": 1.0, "cosine": 0.9,
            "disagreement": {"train": 0.0, "test": 0.0},
            **{split: _split(split, numbers[split][j]) for split in N},
        }
        for j in range(3)
    ]  # fmt: skip
    return {
        "cell": key, "row": row, "column": column, "row_label": LABELS[row], "column_label": COLUMNS[column],
        "config": {"data": {"dataset": dataset}, "epochs": epochs,
                   "model": {"depth": int(row[0]), "width": 128, "slope": slope, "init": "torch-default", "gain": None},
                   "optimizer": {"kind": column.partition("-")[0]}},
        "pair_kind": "noise", "n_trainer_seeds": 3, "n_runs": 6, "parameters": 1234, "paper": numbers["paper"],
        "pairs": pairs,
        **{split: _summary(split, numbers, i, epochs) for i, split in enumerate(("test", "train"))},
    }  # fmt: skip


def _split(split: str, barrier: float | None) -> dict[str, Any]:
    """A pair with equal ends and its peak in the middle; a collapsed one guesses."""
    end = 90.0 if barrier is None else ENDS[split]
    share, zero, half = (None, None, None) if barrier is None else (barrier / 0.95, 0.0, 0.5)
    losses = ("loss_barrier", "loss_floor", "loss_line", "loss_midpoint_excess", "loss_argmax_alpha")
    return {
        "floor": zero, "argmax_alpha": half, "error_0": end, "error_1": end,
        **dict.fromkeys(("barrier", "line", "midpoint_excess"), barrier),
        **dict.fromkeys(("normalised", "normalised_own", "normalised_chance"), share), **dict.fromkeys(losses),
    }  # fmt: skip


def _summary(split: str, numbers: dict[str, Any], index: int, epochs: int) -> dict[str, Any]:
    values = [value for value in numbers[split] if value is not None]
    mean = statistics.fmean(values) if values else None
    verdict, flags = numbers["verdict"][index], numbers["flags"][index]
    late = [{"epoch": epochs - 5 * k, "mean": mean, "line_mean": mean, "verdict": verdict} for k in range(4, -1, -1)]
    if "unstable" in flags:
        late[0] |= {"mean": 0.6, "line_mean": 0.6, "verdict": "connected"}
    return {
        "values": values, "mean": mean, "median": statistics.median(values) if values else None,
        "min": min(values, default=None), "max": max(values, default=None),
        "sd": statistics.stdev(values) if len(values) >= 3 else None, "line_mean": mean,
        "normalised_mean": None if mean is None else mean / 0.95, "verdict": verdict,
        "verdict_strict": numbers["strict"][index], "flags": flags, "late": late,
    }  # fmt: skip

"""Mistakes in `exhibits` of params.yaml: one line each, as for the rest of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import EXAMPLE, PARAMS

from lmc_repro.errors import LmcError
from lmc_repro.exhibits.exhibit import check_exhibits
from lmc_repro.schemas.load import load_params

EXHIBITS = """
exhibits:
  table3:
    kind: parameters
    title: t
    question: q
    made_from: params.yaml
    reported: table3
    dataset: digits
    study: table1
    networks:
      cnn: {label: CNN, reported: cnn, model: {kind: conv, filters: 8, kernel: 2}}
  figure4:
    kind: batches
    title: t
    question: q
    made_from: data/prepared
    dataset: mnist
    augment: {digits: {flip: true}}
    batch_size: 4
    batches: 1
    loaders:
      a: {label: A, loader: 0, augmentation: 0}
      b: {label: B, loader: 1, augmentation: 0}
    provenance: {dataset: "paper: A.1"}
  table4:
    kind: accuracies
    title: t
    question: q
    made_from: results/table1
    study: table1
    reported: table4
    rows: {sgd-high: mnist}
    columns: {2-layer-bs1024: 2-high}
"""

MISTAKES: dict[str, tuple[str, str, list[str]]] = {
    "unknown kind": ("kind: batches", "kind: batch", ["exhibits.figure4.kind", "'batch'", "'batches'"]),
    "no kind": ("    kind: accuracies\n", "", ["exhibits.table4.kind", "missing", "'accuracies'"]),
    "misspelled key": ("batch_size: 4", "batchsize: 4", ["exhibits.figure4.batchsize", "did you mean batch_size?"]),
    "misspelled key of a network": ("filters: 8", "filter: 8", ["networks.cnn.model.filter", "did you mean filters?"]),
    "unknown model": ("kind: conv", "kind: convolution", ["networks.cnn.model.kind", "'convolution'", "'conv'"]),
    "one loader": ("      b: {label: B, loader: 1, augmentation: 0}\n", "", ["exhibits.figure4.loaders", "at least 2"]),
    "negative seed": ("loader: 1", "loader: -1", ["exhibits.figure4.loaders.b.loader", "-1"]),
    "augmentation of nothing": ("{flip: true}", "{crop: 0}", ["exhibits.figure4.augment.digits", "changes nothing"]),
    "augmentation of other data": ("{digits: {flip", "{mnist: {flip", ["exhibits.figure4.augment", "draws digits"]),
    "unknown data set": ("dataset: digits\n    study", "dataset: digit\n    study", ["exhibits.table3", "'digit'"]),
    "unknown study": (
        "study: table1\n    networks",
        "study: table9\n    networks",
        ["exhibits.table3.study", "'table9'"],
    ),
    "no column of the study": ("{sgd-high: mnist}", "{sgd: mnist}", ["exhibits.table4.rows", "'sgd'", "sgd-medium"]),
    "no row of the study": (
        "{2-layer-bs1024: 2",
        "{2-layer: 2",
        ["exhibits.table4.columns", "'2-layer'", "1-layer-bs30k"],
    ),
    "no row of the paper": (
        "sgd-high: mnist",
        "sgd-high: MNIST",
        ["exhibits.table4.rows", "'MNIST'", "mnist, cifar10"],
    ),
    "no column of the paper": (": 2-high}", ": high}", ["exhibits.table4.columns", "'high'", "2-high, 2-med"]),
    "no table of the paper": ("reported: table4", "reported: table5", ["exhibits.table4", "'table5'", "table4"]),
    "no network of the paper": ("reported: cnn", "reported: CNN", ["networks.cnn", "'CNN'", "cnn, lc_cnn, mlp"]),
    "half a comparison": ("    reported: table3\n", "", ["networks.cnn", "reported", "in neither"]),
    "made from other results": (
        "results/table1",
        "results/figure3",
        ["made_from", "'results/figure3'", "'results/table1'"],
    ),
    "source of nothing": ('{dataset: "paper', '{colour: "paper', ["exhibits.figure4", "colour", "no field"]),
    "unknown source": ("paper: A.1", "guess: A.1", ["exhibits.figure4.provenance.dataset", "guess: A.1"]),
    "dot in a key": ("  table4:\n", "  table.4:\n", ["exhibits.table.4", "A-Za-z0-9_-"]),
    "name of a study": ("  table4:\n", "  table1:\n", ["exhibits.table1", "a study has this name"]),
}


@pytest.mark.parametrize("right, wrong, told", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake(right: str, wrong: str, told: list[str], tmp_path: Path) -> None:
    assert EXHIBITS.count(right) == 1
    path = tmp_path / "params.yaml"
    path.write_text(EXAMPLE.read_text() + EXHIBITS.replace(right, wrong))
    with pytest.raises(LmcError) as caught:
        check_exhibits(load_params(path))
    line = str(caught.value)
    assert line.startswith("params.yaml: ") and "\n" not in line
    assert [part for part in told if part not in line] == [], line


def test_without_mistakes_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(EXAMPLE.read_text() + EXHIBITS)
    params = load_params(path)
    check_exhibits(params)
    assert [exhibit.kind for exhibit in params.exhibits.values()] == ["parameters", "batches", "accuracies"]
    path.write_text(EXAMPLE.read_text())
    assert load_params(path).exhibits == {}


@pytest.mark.parametrize("profile", ["digits", "paper"])
def test_the_projects_own_exhibits_resolve_under_both_profiles(profile: str) -> None:
    params = load_params(PARAMS)
    check_exhibits(params.model_copy(update={"profile": profile}))
    assert set(params.exhibits) >= {"table3", "figure4", "table4"}

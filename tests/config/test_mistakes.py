"""Every mistake in params.yaml is one line that names file and place, what was found and what is allowed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from helpers import EXAMPLE, PARAMS

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.expand import validate_all, weight_count
from lmc_repro.config.load import check_params, load_params, read_yaml, validate
from lmc_repro.config.params import Params
from lmc_repro.config.registry import MODELS, settings_class
from lmc_repro.config.run import RunConfig
from lmc_repro.exhibits import check_exhibits
from lmc_repro.models.registry import build_model

SGD = "profiles.digits.optimizers.sgd-medium"
CELL = "studies.table1, row 1-layer-bs30k, column sgd-high, profile digits"

# What stands in the file, what a user types instead, and what the line must tell.
MISTAKES: dict[str, tuple[str, str, list[str]]] = {
    "text for a number": ("lr: 0.003", "lr: fast", [f"{SGD}.lr", "'fast'", "number"]),
    "quoted number": ("lr: 0.003", 'lr: "0.003"', [f"{SGD}.lr", "'0.003'", "number"]),
    "negative rate": ("lr: 0.003", "lr: -1.0", [f"{SGD}.lr", "-1.0", "greater than or equal to 0"]),
    "rate not finite": ("lr: 0.003", "lr: .nan", [f"{SGD}.lr", "nan", "finite"]),
    "unknown optimizer name": (
        "optimizer: sgd-medium", "optimizer: sgd-medum",
        ["studies.table1", "column sgd-medium", "optimizer.use", "'sgd-medum'", "sgd-high, sgd-medium, adam-high"],
    ),
    "unknown optimizer kind": (
        "kind: sgd, lr: 0.003", "kind: lion, lr: 0.003", [f"{SGD}.kind", "'lion'", "'sgd', 'adam'"],
    ),
    "optimizer without kind": ("kind: sgd, lr: 0.003", "lr: 0.003", [f"{SGD}.kind", "missing", "'sgd', 'adam'"]),
    "misspelled key of an optimizer": (
        "lr: 0.003, momentum", "lr: 0.003, momentm",
        [f"{SGD}.momentm", "unknown key", "did you mean momentum?", "kind, lr, momentum"],
    ),
    "misspelled key of the settings": (
        "      epochs: 60", "      epoch: 60",
        ["profiles.digits.settings.epoch", "unknown key", "did you mean epochs?", "model, optimizer"],
    ),
    "misspelled key of the file": (
        "studies:\n", "studeis:\n", ["studeis", "unknown key", "did you mean studies?", "profiles"],
    ),
    "key of nothing": (
        "    points: 11", "    colour: red\n    points: 11", ["profiles.digits.colour", "unknown key", "points"],
    ),
    "missing key": ("{kind: sgd, lr: 0.003, momentum: 0.9}", "{kind: sgd, lr: 0.003}", [f"{SGD}.momentum", "missing"]),
    "missing width": ("        width: 128\n", "", ["row 2-layer-bs30k", "model", "depth 2", "width"]),
    "duplicate key": ("width: 128", "width: 128\n        width: 12", ["line ", "duplicate key", "width"]),
    "tab": ("        width: 128", "\t        width: 128", ["line ", "not valid YAML", "\\t"]),
    "open bracket": ("datasets: [digits]", "datasets: [digits", ["line", "not valid YAML"]),
    "unknown profile": ("profile: digits\n", "profile: digit\n", ["profile", "'digit'", "digits, paper"]),
    "unknown data set": (
        "replace_dataset: digits", "replace_dataset: digit",
        ["profiles.digits.replace_dataset: found 'digit'", "digits, mnist"],
    ),
    "data set of another profile": (
        "replace_dataset: digits", "replace_dataset: mnist",
        ["profiles.digits.replace_dataset: found 'mnist'", "profiles.digits.datasets"],
    ),
    "evaluations do not increase": (
        "56, 58, 60]", "56, 58, 58]", ["profiles.digits.settings.evaluate_at", "58, 58]", "increase strictly"],
    ),
    "last epoch not evaluated": (
        "56, 58, 60]", "56, 58, 59]", ["profiles.digits.settings.evaluate_at and settings.epochs:", "up to 59 in 60"],
    ),
    "warm-up too long": (
        "warmup_epochs: 0", "warmup_epochs: 61",
        ["profiles.digits.settings.schedule.warmup_epochs and settings.epochs:", "61 epochs", "up to 60"],
    ),
    "number without a source": (
        '      settings.epochs: "paper: Section 2, trained for 200 epochs"\n', "",
        ["profiles.paper", "provenance", "settings.epochs", "author-code"],
    ),
    "unknown source": (
        'settings.model.init: "inferred: trains', 'settings.model.init: "guess: trains',
        ["profiles.digits.provenance.settings.model.init", "guess: trains", "paper|author-code|cited|inferred|ours"],
    ),
    "source of nothing": (
        "settings.data.drop_last: ", "settings.data.dropout: ",
        ["profiles.digits", "settings.data.dropout", "no hyper-parameter"],
    ),
    "batch is the data set": (
        "1K: 64", "1K: 899", ["row 1-layer-bs1024", "batch of 899", "no SGD noise: same batches"],
    ),
    "batch of nothing": (
        "model: {depth: 2}, batch: 30K", "model: {depth: 2}, batch: 0",
        ["studies.table1.rows.2-layer-bs30k.batch: found 0, allowed: ", ", or greater than or equal to 1"],
    ),
    "evaluation that is no number": ("[0, 1, 2,", "[.nan, 1, 2,", ["settings.evaluate_at.0: found nan, allowed"]),
    "no evaluations": ("evaluate_at: [", "evaluate_at: []  # [", ["evaluate_at: found [], allowed: at least 1"]),
    "one data set, no list": ("datasets: [digits]", "datasets: digits", ["'digits', allowed: a list"]),
    "unknown batch": ("batch: 30K", "batch: 40K", [CELL, "batch", "'40K'", "1K, 30K"]),
    "init": (
        "init: torch-default", "init: xavier", ["profiles.digits.settings.model.init", "'xavier'", "'kaiming-normal'"],
    ),
    "kaiming without gain": (
        "init: torch-default", "init: kaiming-normal",
        ["profiles.digits.settings.model.init: ", "gain (slope or sqrt2)"],
    ),
    "kaiming of a row without gain": (
        "model: {depth: 2}, batch: 30K", "model: {depth: 2, init: kaiming-normal}, batch: 30K",
        ["studies.table1, row 2-layer-bs30k, column sgd-high, profile digits: model: gain and init: "],
    ),
    "gain without kaiming": (
        "init: torch-default", "init: torch-default\n        gain: slope",
        ["profiles.digits.settings.model.gain and settings.model.init: ", "only with it"],
    ),
    "slope": ("slope: 1.0}", "slope: 2.0}", ["studies.table1.base.model.slope", "2.0", "less than or equal to 1"]),
    "depth in words": (
        "depth: 8}", "depth: eight}", ["studies.table1.rows.8-layer-bs1024.model.depth", "'eight'", "integer"],
    ),
    "yes for a boolean": (
        "bias: true", "bias: yes", ["profiles.digits.settings.model.bias", "'yes'", "boolean, or 'unit'"],
    ),
    "key of a network misspelled": (
        "        width: 128", "        widht: 128",
        ["profiles.digits.settings.model.widht", "unknown key", "did you mean width?", "head_dim"],
    ),
    "key of an optimizer misspelled": (
        "optimizer: sgd-medium}", "optimizer: {use: sgd-medium, momentm: 0.5}}",
        ["studies.table1.columns.sgd-medium.optimizer.momentm", "did you mean momentum?"],
    ),
    "warm-up in words": (
        "warmup_epochs: 0}", "warmup_epochs: none}", ["digits.settings.schedule.warmup_epochs", "'none'", "integer"],
    ),
    "profile that is not active": ("width: 512", "width: wide", ["profiles.paper.settings.model.width", "'wide'"]),
    "override": ("set: {loader: ffcv}", "set: {data: {label_noise: 2.0}}", ["overrides.0.set.data.label_noise", "2.0"]),
    "place of a setting before": (
        "slope: 1.0}}", "slope: 1.0}, width: 64}", ["table1.base.width: unknown key; did you mean model.width?"],
    ),
    "name of a setting before": ("slope: 1.0}}", "slope: 1.0}, lc_bias: unit}", ["lc_bias: ", "mean model.bias?"]),
    "options": ("slope: 1.0}}", "slope: 1.0}, options: {blocks: 2}}", ["base.options: ", "did you mean model?"]),
    "decimal comma": ("slope: 1.0}}", "slope: 1,5}}", ["base.model.5: found the key 5, allowed: text", "e.g. 0.01"]),
    "kind without its key": (
        "model: {slope: 1.0}", "model: conv", ["studies.table1.base.model", "'conv'", "{kind: conv}"],
    ),
    "pairs counted and named": (
        "    pairs: 3", "    pairs: 3\n    trainer_seeds: [0, 7]",
        ["profiles.digits: pairs and trainer_seeds: give only one"],
    ),
    "pairs of a study counted and named": (
        "slope: 1.0}}", "slope: 1.0}, pairs: 2, trainer_seeds: [0, 7]}", ["pairs and trainer_seeds: give only one"],
    ),
    "trainer seed twice": (
        "    pairs: 3", "    trainer_seeds: [7, 7]", ["profiles.digits.trainer_seeds", "[7, 7]", "once"],
    ),
    "override of no row": (
        "row: 1-layer-bs1024, set", "row: 1-layer, set",
        ["profiles.digits.overrides.0.row", "'1-layer'", "1-layer-bs1024"],
    ),
    "both axes": (
        "label: SGD medium, ", "label: SGD medium, model: {width: 3, depth: 3}, ",
        ["studies.table1", "row 1-layer-bs30k and column sgd-medium both set model.depth:"],
    ),
    "dot in a key": (
        "      sgd-medium: {label", "      sgd.medium: {label", ["studies.table1.columns.sgd.medium", "A-Za-z0-9_-"],
    ),
    "no pairs": ("pairs: 3", "pairs: 0", ["profiles.digits.pairs", "0", "greater than or equal to 1"]),
    "threshold": ("threshold: 2.0", "threshold: 0", ["profiles.digits.judgement.threshold", "0", "greater than 0"]),
    "threshold without end": ("threshold: 2.0", "threshold: .inf", ["digits.judgement.threshold", "inf"]),
    "too many pairs": ("pairs: 3", "pairs: 10000000", ["profiles.digits.pairs", "10000"]),
    "too many runs": ("pairs: 3", "pairs: 9000", ["studies.table1", "432,000 runs", "10,000"]),
    "too many weights": (
        "model: {depth: 2}, batch: 30K", "model: {depth: 8, width: 1048576}, batch: 30K",
        ["row 2-layer-bs30k", f"{4 * (64 * 2**20 + 6 * 2**40 + 2**20 * 10):,} numbers", "2,000,000,000"],
    ),
    "too many replicas": ("replicas: 2", "replicas: 1000000", ["profiles.digits.replicas", "100"]),
    "too many pairs of replicas": ("replicas: 2", "replicas: 99", ["studies.table1", "349,272 pairs", "10,000"]),
    "too many points": ("points: 11", "points: 1000000000", ["profiles.digits.points", "10001"]),
    "rate beyond float32's use": ("lr: 0.003", "lr: 1e30", [f"{SGD}.lr", "1e+30", "1000000"]),
    "too many epochs": ("epochs: 60", "epochs: 1000000000000", ["profiles.digits.settings.epochs", "1000000"]),
    "divisor that is no number": (
        "optimizer: sgd-medium}", "optimizer: {use: sgd-medium, lr_divisor: .nan}}",
        ["studies.table1.columns.sgd-medium.optimizer.lr_divisor: found nan"],
    ),
    "long key": ("      sgd-medium: {label", f"      {'k' * 61}: {{label", ["studies.table1.columns.k", "60"]),
    "key of two lines": ("pairs: 3", 'pairs: 3\n    "a\\nb": 3', ["profiles.digits.a b", "unknown key"]),
    "label of two lines": ("label: SGD medium", 'label: "SGD\\nmedium"', ["columns.sgd-medium.label", "one line"]),
    "no date": ("pairs: 3", "pairs: 2001-99-99", ["YAML"]),
    "not in the paper": ("reported: sgd_0.01", "reported: sgd_0.02", ["reported", "table1", "'sgd_0.02'"]),
}  # fmt: skip

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

OF_EXHIBITS: dict[str, tuple[str, str, list[str]]] = {
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
        "study: table1\n    networks", "study: table9\n    networks", ["exhibits.table3.study", "'table9'"],
    ),
    "no column of the study": ("{sgd-high: mnist}", "{sgd: mnist}", ["exhibits.table4.rows", "'sgd'", "sgd-medium"]),
    "no row of the study": (
        "{2-layer-bs1024: 2", "{2-layer: 2", ["exhibits.table4.columns", "'2-layer'", "1-layer-bs30k"],
    ),
    "no row of the paper": (
        "sgd-high: mnist", "sgd-high: MNIST", ["exhibits.table4.rows", "'MNIST'", "mnist, cifar10"],
    ),
    "no column of the paper": (": 2-high}", ": high}", ["exhibits.table4.columns", "'high'", "2-high, 2-med"]),
    "no table of the paper": ("reported: table4", "reported: table5", ["exhibits.table4", "'table5'", "table4"]),
    "no network of the paper": ("reported: cnn", "reported: CNN", ["networks.cnn", "'CNN'", "cnn, lc_cnn, mlp"]),
    "half a comparison": ("    reported: table3\n", "", ["networks.cnn", "reported", "in neither"]),
    "made from other results": (
        "results/table1", "results/figure3", ["made_from", "'results/figure3'", "'results/table1'"],
    ),
    "source of nothing": ('{dataset: "paper', '{colour: "paper', ["exhibits.figure4", "colour", "no field"]),
    "unknown source": ("paper: A.1", "guess: A.1", ["exhibits.figure4.provenance.dataset", "guess: A.1"]),
    "dot in a key": ("  table4:\n", "  table.4:\n", ["exhibits.table.4", "A-Za-z0-9_-"]),
    "name of a study": ("  table4:\n", "  table1:\n", ["exhibits.table1", "a study has this name"]),
}  # fmt: skip


def read(path: Path) -> Params:
    """Return the params.yaml at `path`, all of it validated."""
    params = load_params(path)
    validate_all(params)
    check_exhibits(params)
    return params


def complaint(path: Path) -> str:
    with pytest.raises(LmcError) as caught:
        read(path)
    line = str(caught.value)
    assert "\n" not in line and "params.yaml" in line
    return line


EVERY = [("", key) for key in MISTAKES] + [(EXHIBITS, key) for key in OF_EXHIBITS]


@pytest.mark.parametrize(("exhibits", "mistake"), EVERY, ids=[key for _, key in EVERY])
def test_mistake(exhibits: str, mistake: str, tmp_path: Path) -> None:
    right, wrong, told = (OF_EXHIBITS if exhibits else MISTAKES)[mistake]
    text = EXAMPLE.read_text() + exhibits
    assert right in text and (not exhibits or exhibits.count(right) == 1)
    path = tmp_path / "params.yaml"
    head, _, tail = text.rpartition(right) if exhibits else text.partition(right)
    path.write_text(head + wrong + tail)
    line = complaint(path)
    assert line.startswith("params.yaml")
    assert [part for part in told if part not in line] == [], line


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "mlp", "depth": 1},
        {"kind": "mlp", "depth": 4, "width": 24},
        {"kind": "local", "filters": 3, "kernel": 4},
        {"kind": "conv", "filters": 3, "kernel": 4},
        {"kind": "attention", "patch": 4, "heads": 2, "head_dim": 6},
    ],
)
def test_weights_are_counted_as_they_are_built(model: dict[str, Any]) -> None:
    info = dataset_info("digits")
    config = settings_class(MODELS, model["kind"]).model_validate(model)
    built = build_model(config, info)
    matrices = [shape for name, shape in built.shapes.items() if name.endswith("weight") and len(shape) > 1]
    assert weight_count(config.model_dump(), info) == sum(map(math.prod, matrices))


def test_without_mistakes_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(EXAMPLE.read_text() + EXHIBITS)
    assert [exhibit.kind for exhibit in read(path).exhibits.values()] == ["parameters", "batches", "accuracies"]
    path.write_text(EXAMPLE.read_text())
    assert read(path).exhibits == {}


@pytest.mark.parametrize("profile", ["digits", "paper"])
def test_the_projects_own_exhibits_resolve_under_both_profiles(profile: str) -> None:
    params = load_params(PARAMS)
    check_exhibits(params.model_copy(update={"profile": profile}))
    assert set(params.exhibits) >= {"table3", "figure4", "table4"}


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"just text", b"\xff\xfe\x00", b"a: b: c"])
def test_file_that_is_no_params_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    complaint(path)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    assert "restore it" in complaint(tmp_path / "params.yaml")


CHOSEN = {"batch": "1K", "optimizer": "sgd-high"}


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"evaluate_at": [0, 59]}, "evaluate_at and settings.epochs"),
        ({"batch": "40K"}, "batch"),
        ({"optimizer": "lion"}, "optimizer.use"),
        ({"spawn_at": 3}, "spawn_at"),
        ({"schedule": {"warmup_epochs": 61}}, "schedule.warmup_epochs and settings.epochs"),
    ],
)
def test_a_mistake_in_what_studies_share_is_named_once(given: dict[str, Any], place: str) -> None:
    values = read_yaml(EXAMPLE)
    profile, study = values["profiles"]["digits"], values["studies"]["table1"]
    profile["settings"] |= given
    profile["overrides"] = []
    base = {**study["base"], **{name: of for name, of in CHOSEN.items() if name not in given}}
    axes = {"rows": {"a": {"label": "A", "model": {"depth": 2}}}, "columns": {"b": {"label": "B"}}}
    values["studies"] = {name: {"base": {**base}, **axes} for name in ("one", "two", "three")}
    with pytest.raises(LmcError) as caught:
        validate_all(check_params(values, "params.yaml"))
    (line,) = caught.value.lines
    assert line.startswith(f"params.yaml: profiles.digits.settings.{place}: ")
    values["studies"]["two"]["base"] |= given
    with pytest.raises(LmcError) as caught:
        validate_all(check_params(values, "params.yaml"))
    assert caught.value.lines[0] == line
    assert [each.split(",")[0] for each in caught.value.lines[1:]] == ["params.yaml: studies.two"]


def test_a_mistake_in_an_override_is_named_there(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(EXAMPLE.read_text().replace("set: {loader: ffcv}", "set: {epochs: 7, evaluate_at: [0, 6]}"))
    place = "overrides.0.set.evaluate_at and overrides.0.set.epochs"
    assert complaint(path).startswith(f"params.yaml: profiles.digits.{place}: ")


def test_further_mistakes_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(EXAMPLE.read_text().replace("lr: 0.003", "lr: fast", 1).replace("lr: 0.001", "lr: slow", 1))
    assert complaint(path).endswith("(and 1 more)")


def test_a_run_config_with_a_damaged_value_is_named() -> None:
    values = {
        "data": {"dataset": "digits"},
        "model": {"kind": "mlp", "depth": 1},
        "optimizer": {"kind": "sgd", "lr": "fast", "momentum": 0.9},
        "batch_size": 5,
        "epochs": 2,
        "evaluate_at": [2],
        "seeds": {"trainer": 0, "loader": 0},
    }
    with pytest.raises(LmcError, match=r"^runs/x/config\.json: optimizer\.lr: found 'fast', allowed: .*number$"):
        validate(RunConfig, values, "runs/x/config.json")

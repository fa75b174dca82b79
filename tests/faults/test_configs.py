"""Generated configs: a valid one takes its first step, an invalid one is one line; a traceback is neither."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from small import FIGURES, LONG, small_params

from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import numerics_tag
from lmc_repro.config.expand import plan_study, validate_all
from lmc_repro.config.load import load_params, validate
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset
from lmc_repro.engine.devices import require_precision
from lmc_repro.training.run_folder import Progress, RunFolder
from lmc_repro.training.trainer import StackedRun, _Training

CONFIGS = 1000 if LONG else 60
COUNT: Counter[str] = Counter()

many = settings(
    max_examples=CONFIGS // 2,
    deadline=None,
    database=None,
    derandomize=not LONG,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

junk = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 99), st.floats(-2.0, 2.0)),
    st.sampled_from([float("nan"), float("inf"), 1e300, 2**70]),
    st.sampled_from(["", "a", "1e-3", "ä\n", "../..", "${x}", "mlp", "digits"]),
    st.lists(st.integers(-1, 9), max_size=3),
    st.dictionaries(st.sampled_from(["kind", "lr", "depth", "x", ""]), st.integers(-1, 3), max_size=2),
)


def first_step(configs: list[RunConfig], dataset: Dataset, root: Path) -> None:
    """Train the configs, which may share a stack, for one step: an epoch of batches of one would take too long."""
    require_precision(configs, "cpu")
    tag, cpu = numerics_tag(), torch.device("cpu")
    stack = [(StackedRun(config, RunFolder(root / str(i))), Progress()) for i, config in enumerate(configs)]
    training = _Training(stack, dataset, root, "resident", tag, cpu, lambda event: None)
    assert next(iter(training.steps.epoch(0))) == 1


@contextmanager
def judged(kind: str) -> Iterator[None]:
    """Count a config, and look at the line where it is refused."""
    error: LmcError | None = None
    try:
        yield
    except LmcError as refusal:
        error = refusal
        line = str(refusal)
        assert line and "\n" not in line and len(line) < 2000, line
        assert "Traceback" not in line and "pydantic" not in line, line
    COUNT[f"{kind} {'refused' if error else 'stepped'}"] += 1
    FIGURES["generated configs"] = ", ".join(f"{count} {name}" for name, count in sorted(COUNT.items()))


def harmed(draw: DrawFn, values: Any) -> None:
    """Change, remove or add one key, anywhere in nested tables and lists."""
    *path, last = draw(st.sampled_from(places(values)))
    table = values
    for key in path:
        table = table[key]
    change = draw(st.sampled_from(["nudge", "nudge", "nudge", "junk", "remove", "add"]))
    if change == "nudge":
        table[last] = nudged(draw, table[last])
    elif change == "junk":
        table[last] = draw(junk)
    elif change == "remove":
        del table[last]
    elif isinstance(table, dict):
        table[draw(st.sampled_from(["slope", "width", "lr", "x", "", "ä", "a.b", "deep"]))] = draw(junk)


def nudged(draw: DrawFn, value: Any) -> Any:
    """Return another value of the same kind, which mostly fits as well."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw(st.integers(-1, 2))
    if isinstance(value, float):
        return value * draw(st.sampled_from([0.0, 0.5, 2.0, -1.0]))
    return value


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every key in nested tables and lists."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in inside for place in [(*here, key), *places(inner, (*here, key))]]


@st.composite
def run_values(draw: DrawFn) -> dict[str, Any]:
    """Draw the values of a run of any kind, half of the time with one key harmed."""
    slope = draw(st.sampled_from([0.0, 0.1, 1.0]))
    patches = {"filters": draw(st.integers(1, 5)), "kernel": draw(st.sampled_from([1, 2, 4, 8, 3])), "slope": slope}
    models = [
        {"kind": "mlp", "depth": draw(st.integers(2, 4)), "width": draw(st.integers(1, 9)), "slope": slope},
        {"kind": "mlp", "depth": 1},
        {"kind": "local", "bias": draw(st.sampled_from(["unit", "filter"])), **patches},
        {"kind": "conv", **patches},
        {"kind": "attention", "patch": draw(st.sampled_from([2, 4, 5])), "heads": 2, "head_dim": 3},
    ]
    model = draw(st.sampled_from(models))
    if draw(st.booleans()):
        model |= {"init": "kaiming-normal", "gain": draw(st.sampled_from(["slope", "sqrt2"]))}
    rate, epochs = draw(st.sampled_from([0.0, 1e-3, 0.1, 1e30])), draw(st.integers(1, 5))
    adam = {"kind": "adam", "lr": rate, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    optimizer = draw(st.sampled_from([{"kind": "sgd", "lr": rate, "momentum": 0.9, "weight_decay": 1e-4}, adam]))
    augment = draw(st.sampled_from([None, {"flip": True}, {"crop": 2, "cutout": 3}]))
    values: dict[str, Any] = {
        "data": {
            "dataset": "digits", "order": draw(st.sampled_from(["philox", "ffcv"])), "drop_last": draw(st.booleans()),
            "augment": augment, "label_noise": draw(st.sampled_from([0.0, 0.2])),
        },
        "model": model,
        "optimizer": optimizer,
        "clip": draw(st.sampled_from([None, {"norm": 1.0}, {"value": 0.1}])),
        "schedule": {
            "kind": draw(st.sampled_from(["constant", "cosine"])), "warmup_epochs": draw(st.integers(0, epochs)),
            "warmup_rule": draw(st.sampled_from(["from-zero", "from-first-step"])),
        },
        "batch_size": draw(st.sampled_from([1, 7, 64, 899, 5000])),
        "epochs": epochs,
        "evaluate_at": draw(st.sampled_from([[0, epochs], [epochs], [0, 0.5, epochs]])),
        "seeds": {"trainer": draw(st.integers(0, 3)), "loader": draw(st.integers(0, 2**31))},
    }  # fmt: skip
    if augment:
        values["seeds"]["augmentation"] = 1
    if draw(st.booleans()):
        harmed(draw, values)
    return values


@many
@given(values=run_values())
def test_runs(values: dict[str, Any], digits: Dataset, tmp_path: Path) -> None:
    with judged("runs"):
        first_step([validate(RunConfig, values, "config.json")], digits, tmp_path)


@st.composite
def files(draw: DrawFn) -> dict[str, Any]:
    """Draw a params.yaml with one or two keys harmed."""
    params = copy.deepcopy(small_params())
    for _ in range(draw(st.integers(1, 2))):
        harmed(draw, params)
    return params


@many
@given(values=files())
def test_files(values: dict[str, Any], digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(values).replace("NaN", ".nan").replace("Infinity", ".inf"))
    with judged("files"):
        params = load_params(path)
        validate_all(params)
        plans = [plan_study(params, study) for study in params.studies]
        for cell in [cell for plan in plans for cell in plan.cells][:1]:
            first_step(list(cell.pairs[0].runs)[:1], digits, tmp_path)


def test_both_kinds_came_up() -> None:
    """After the others: neither all refused nor all taken."""
    if not COUNT:
        pytest.skip("nothing was generated in this process")
    assert min(COUNT[f"{kind} {what}"] for kind in ("runs", "files") for what in ("refused", "stepped")) >= 3, COUNT

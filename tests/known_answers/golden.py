"""Measures the bits of every model and optimizer on fixed data, and keeps them in golden.json."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from helpers import ADAM, MUON, SGD, final_weights, run_config, tiny_dataset, train

from lmc_repro.barriers.pair import EVALUATION_NUMERICS
from lmc_repro.barriers.path import path_curves
from lmc_repro.common.files import sha256_bytes
from lmc_repro.common.numerics import numerics_tag, torch_version
from lmc_repro.models.registry import build_model
from lmc_repro.training.fingerprint import TRAINING_NUMERICS

FILE = Path(__file__).with_name("golden.json")

MODELS: dict[str, dict[str, Any]] = {
    "1-layer": {"depth": 1},
    "2-layer-relu": {"depth": 2, "width": 40, "slope": 0.0},
    "4-layer-leaky-no-bias": {"depth": 4, "width": 33, "slope": 0.3, "bias": False},
    "8-layer-linear": {"depth": 8, "width": 16, "slope": 1.0},
    "2-layer-relu-kaiming": {"depth": 2, "width": 40, "slope": 0.0, "init": "kaiming-normal", "gain": "slope"},
    "local": {"kind": "local", "filters": 6, "kernel": 2},
    "local-filter-from-conv": {"kind": "local", "filters": 6, "kernel": 4, "bias": "filter", "start_from_conv": True},
    "mlp-from-local": {"depth": 2, "width": 96, "slope": 0.0, "start_from_local": {"filters": 6, "kernel": 2}},
    "conv": {"kind": "conv", "filters": 6, "kernel": 2},
    "attention": {"kind": "attention", "patch": 2, "heads": 4, "head_dim": 8},
    "module": {
        "kind": "module",
        "module": f"{Path(__file__).with_name('own_module.py')}:build",
        "options": {"channels": 8},
    },
}


SCHEDULES: dict[str, dict[str, Any]] = {
    "": {"warmup_epochs": 1},
    "constant": {},
    "cosine": {"kind": "cosine", "warmup_epochs": 1, "warmup_rule": "from-first-step"},
}
"""Each is tried on every model of ours with every optimizer; the first has no name of its own."""

STRATEGIES: dict[str, dict[str, Any]] = {
    "clip-norm": {"clip": {"norm": 0.3}},
    "clip-value": {"clip": {"value": 0.01}},
    "weight-decay": {"optimizer": {"weight_decay": 0.01}},
}
"""Each is tried on the 2-layer ReLU network, with the first schedule."""


Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
"""The model, the optimizer and what else is changed of a run."""


def cases() -> dict[str, Case]:
    """Return, by name, the runs whose bits are kept."""
    found: dict[str, Case] = {}
    for optimizer in (SGD, ADAM):
        for name, values in MODELS.items():
            for schedule, change in SCHEDULES.items() if values.get("kind") != "module" else [("", SCHEDULES[""])]:
                found[f"{name} {optimizer['kind']} {schedule}".rstrip()] = (values, optimizer, {"schedule": change})
        for name, change in STRATEGIES.items():
            given = {**optimizer, **change.get("optimizer", {})}
            rest = {"schedule": SCHEDULES[""], **{key: value for key, value in change.items() if key != "optimizer"}}
            found[f"2-layer-relu {optimizer['kind']} {name}"] = (MODELS["2-layer-relu"], given, rest)
    found["8-layer-linear muon"] = (MODELS["8-layer-linear"], MUON, {"schedule": SCHEDULES[""]})
    return found


def conditions() -> dict[str, Any]:
    """Return what the bits are promised for."""
    return {
        "torch": torch_version(),
        "numerics": numerics_tag(),
        "training_numerics": TRAINING_NUMERICS,
        "evaluation_numerics": EVALUATION_NUMERICS,
    }


def kernels() -> dict[str, Case]:
    """Return short runs that reach every product: each model and optimizer, clipping, and more than a block of sums.

    Matrix libraries cut sums of some 300 numbers and more into blocks, and rows and columns into tiles.
    """
    chosen = {name: case for name, case in cases().items() if name.endswith((" sgd", " adam", " clip-norm"))}
    wide = {"depth": 3, "width": 900, "slope": 0.0}
    chosen["wide"] = wide, ADAM, {"batch_size": 200, "data": {"drop_last": True}}
    short = {"epochs": 2, "evaluate_at": [2]}
    return {name: (model, optimizer, change | short) for name, (model, optimizer, change) in chosen.items()}


def measure(chosen: dict[str, Case]) -> dict[str, dict[str, str]]:
    """Return, by case, the sha256 of a pair's final weights and of its curve."""
    dataset = tiny_dataset(n_train=203, n_test=101, shape=(1, 8, 8))
    found = {}
    for name, (values, optimizer, changes) in chosen.items():
        settings = {"batch_size": 32, "epochs": 4, "evaluate_at": [4], **changes}
        configs = [
            run_config(model=values, optimizer=optimizer, seeds={"trainer": 0, "loader": loader}, **settings)
            for loader in (0, 1)
        ]
        with tempfile.TemporaryDirectory() as root:
            folders = train(configs, dataset, Path(root))
            weights = [final_weights(folder) for folder in folders]
            finals = [folder.status()["final_sha256"] for folder in folders]
        curves = path_curves(build_model(configs[0].model, dataset.info), weights[0], weights[1], dataset, 11)
        text = repr([(split, c.wrong, c.n, c.loss) for split, c in sorted(curves.items())])
        found[name] = {"weights": finals[0], "curve": sha256_bytes(text.encode())}
    return found


def read() -> dict[str, Any]:
    """Return the kept bits: one set, for every CPU."""
    kept: dict[str, Any] = json.loads(FILE.read_text())
    return kept


def write() -> None:
    """Keep the bits that this program makes."""
    kept = {"made_with": conditions(), "sha256": measure(cases())}
    FILE.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")

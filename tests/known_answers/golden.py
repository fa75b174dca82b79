"""Measures the bits of every model and optimizer on fixed data, and keeps them in golden.json."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from helpers import ADAM, SGD, final_weights, run_config, tiny_dataset, train

from lmc_repro.barriers.curve import path_curves
from lmc_repro.files import sha256_bytes
from lmc_repro.models.registry import build_model
from lmc_repro.numerics import numerics_tag, torch_version
from lmc_repro.training.evaluate import EVALUATION_NUMERICS
from lmc_repro.training.fingerprint import TRAINING_NUMERICS

FILE = Path(__file__).with_name("golden.json")

MODELS: dict[str, dict[str, Any]] = {
    "1-layer": {"depth": 1},
    "2-layer-relu": {"depth": 2, "width": 40, "slope": 0.0},
    "4-layer-leaky-no-bias": {"depth": 4, "width": 33, "slope": 0.3, "bias": False},
    "8-layer-linear": {"depth": 8, "width": 16, "slope": 1.0},
    "2-layer-relu-kaiming": {"depth": 2, "width": 40, "slope": 0.0, "init": "kaiming-normal", "gain": "slope"},
}


def conditions() -> dict[str, Any]:
    """Return what the bits are promised for."""
    return {
        "torch": torch_version(),
        "numerics": numerics_tag(),
        "training_numerics": TRAINING_NUMERICS,
        "evaluation_numerics": EVALUATION_NUMERICS,
    }


def measure() -> dict[str, dict[str, str]]:
    """Return, by model and optimizer, the sha256 of a pair's final weights and of its curve."""
    dataset = tiny_dataset(n_train=203, n_test=101, shape=(1, 8, 8))
    found = {}
    for name, values in MODELS.items():
        for optimizer in (SGD, ADAM):
            configs = [
                run_config(
                    model=values,
                    optimizer=optimizer,
                    schedule={"warmup_epochs": 1},
                    batch_size=32,
                    epochs=4,
                    evaluate_at=[4],
                    seeds={"trainer": 0, "loader": loader},
                )
                for loader in (0, 1)
            ]
            with tempfile.TemporaryDirectory() as root:
                folders = train(configs, dataset, Path(root))
                weights = [final_weights(folder) for folder in folders]
                finals = [folder.status()["final_sha256"] for folder in folders]
            curves = path_curves(build_model(configs[0].model, dataset.info), weights[0], weights[1], dataset, 11)
            text = repr([(split, c.wrong, c.n, c.loss) for split, c in sorted(curves.items())])
            found[f"{name} {optimizer['kind']}"] = {"weights": finals[0], "curve": sha256_bytes(text.encode())}
    return found


def write() -> None:
    """Replace golden.json by what this program makes here."""
    FILE.write_text(json.dumps({"made_with": conditions(), "sha256": measure()}, indent=2, sort_keys=True) + "\n")

"""What tells two runs apart, and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import ADAM, SGD, run_config

from lmc_repro.common import numerics
from lmc_repro.config.run import RunConfig
from lmc_repro.training import fingerprint
from lmc_repro.training.fingerprint import run_fingerprint

BASE = run_config()

CHANGES: dict[str, dict[str, Any]] = {
    "trainer": {"seeds": {"trainer": 1}},
    "loader": {"seeds": {"loader": 1}},
    "augment": {"data": {"augment": {"flip": True}}, "seeds": {"augmentation": 0}},
    "augmentation": {"data": {"augment": {"flip": True}}, "seeds": {"augmentation": 1}},
    "crop": {"data": {"augment": {"crop": 1}}, "seeds": {"augmentation": 0}},
    "cutout": {"data": {"augment": {"cutout": 2}}, "seeds": {"augmentation": 0}},
    "label noise": {"data": {"label_noise": 0.1}},
    "early": {"seeds": {"early": {"until": 1, "loader": 5}}},
    "early until": {"seeds": {"early": {"until": 2, "loader": 5}}},
    "early loader": {"seeds": {"early": {"until": 1, "loader": 6}}},
    "weight decay": {"optimizer": {**SGD, "weight_decay": 1e-4}},
    "clip norm": {"clip": {"norm": 1.0}},
    "clip value": {"clip": {"value": 1.0}},
    "cosine": {"schedule": {"kind": "cosine"}},
    "warm-up rule": {"schedule": {"warmup_epochs": 1, "warmup_rule": "from-first-step"}},
    "half an epoch": {"evaluate_at": [0, 0.5, 1, 3]},
    "local": {"model": {"kind": "local", "filters": 2, "kernel": 5}},
    "filters": {"model": {"kind": "local", "filters": 3, "kernel": 5}},
    "kernel": {"model": {"kind": "local", "filters": 2, "kernel": 1}},
    "bias a filter": {"model": {"kind": "local", "filters": 2, "kernel": 5, "bias": "filter"}},
    "local from conv": {"model": {"kind": "local", "filters": 2, "kernel": 5, "start_from_conv": True}},
    "conv": {"model": {"kind": "conv", "filters": 2, "kernel": 5}},
    "mlp from local": {
        "model": {"depth": 2, "width": 9, "slope": 0.0, "start_from_local": {"filters": 9, "kernel": 5}}
    },
    "attention": {"model": {"kind": "attention", "patch": 5, "heads": 2, "head_dim": 3}},
    "lr": {"optimizer": {**SGD, "lr": 0.051}},
    "momentum": {"optimizer": {**SGD, "momentum": 0.8}},
    "kind": {"optimizer": ADAM},
    "beta2": {"optimizer": {**ADAM, "beta2": 0.99}},
    "eps": {"optimizer": {**ADAM, "eps": 1e-7}},
    "warm-up": {"schedule": {"warmup_epochs": 1}},
    "depth": {"model": {"depth": 3, "width": 9, "slope": 0.0}},
    "width": {"model": {"depth": 2, "width": 10, "slope": 0.0}},
    "slope": {"model": {"depth": 2, "width": 9, "slope": 0.1}},
    "bias": {"model": {"depth": 2, "width": 9, "slope": 0.0, "bias": False}},
    "init": {"model": {"depth": 2, "width": 9, "slope": 0.0, "init": "kaiming-normal", "gain": "slope"}},
    "gain": {"model": {"depth": 2, "width": 9, "slope": 0.0, "init": "kaiming-normal", "gain": "sqrt2"}},
    "dataset": {"data": {"dataset": "other"}},
    "order": {"data": {"order": "ffcv"}},
    "drop_last": {"data": {"drop_last": True}},
    "batch": {"batch_size": 11},
    "epochs": {"epochs": 4, "evaluate_at": [0, 1, 4]},
    "marks": {"evaluate_at": [0, 2, 3]},
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
}


def of(config: RunConfig, data: str = "d", tag: str = "portable") -> str:
    return run_fingerprint(config, data, tag)


def test_every_change_of_the_config_gives_another_fingerprint() -> None:
    found = {name: of(run_config(**change)) for name, change in CHANGES.items()}
    assert len({of(BASE), *found.values()}) == 1 + len(CHANGES)


def test_no_field_is_forgotten_above() -> None:
    tried = [run_config(**change).flat() for change in CHANGES.values()]
    for path, value in BASE.flat().items():
        filled = any(name.startswith(f"{path}.") for flat in tried for name in flat)  # null here, an object there
        moved = filled or any(flat.get(path, value) != value for flat in tried)
        assert moved, f"{path}: no change of it is tried"


def test_equal_configs_have_equal_fingerprints() -> None:
    assert of(run_config()) == of(BASE)
    written_out = BASE.model_dump(mode="json")
    shuffled = {key: written_out[key] for key in sorted(written_out, reverse=True)}
    assert of(RunConfig.model_validate(shuffled)) == of(BASE)
    assert len(of(BASE)) == 16 and int(of(BASE), 16) >= 0


def test_data_numerics_torch_and_training_numerics_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {of(BASE), of(BASE, data="e"), of(BASE, tag="native:AVX512")}
    monkeypatch.setattr(fingerprint, "TRAINING_NUMERICS", fingerprint.TRAINING_NUMERICS + 1)
    found.add(of(BASE))
    monkeypatch.setattr(fingerprint, "torch_version", lambda: "0.0.0")
    found.add(of(BASE))
    assert len(found) == 5


def test_tag_of_this_process() -> None:
    if not numerics.numerics_tag().startswith("portable:"):
        pytest.skip("this CPU has no AVX2: numerics are native")
    import torch

    assert torch.backends.cpu.get_cpu_capability() == "AVX2"
    assert "+" not in numerics.torch_version()

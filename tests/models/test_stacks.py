"""Logits and gradients of a child are the same bits alone and in any stack, at sides of one too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.run import ModelConfig
from lmc_repro.models.base import Model
from lmc_repro.models.registry import build_model
from lmc_repro.training.stack import Layout

# Libraries take other kernels for a matrix and a vector, and for sums over gradients that are not contiguous.
EDGES: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "mlp-width-1": ((1, 3, 3), {"kind": "mlp", "depth": 3, "width": 1, "slope": 0.3}),
    "conv": ((2, 6, 4), {"kind": "conv", "filters": 5, "kernel": 2}),
    "conv-linear-one-filter": ((2, 6, 4), {"kind": "conv", "filters": 1, "kernel": 2, "slope": 1.0}),
    "conv-one-value": ((1, 2, 4), {"kind": "conv", "filters": 3, "kernel": 1, "slope": 1.0}),
    "conv-one-of-each": ((2, 3, 3), {"kind": "conv", "filters": 1, "kernel": 3}),
    "local-linear": ((2, 6, 4), {"kind": "local", "filters": 5, "kernel": 2, "slope": 1.0}),
    "local-linear-filter": ((2, 6, 4), {"kind": "local", "filters": 5, "kernel": 1, "slope": 1.0, "bias": "filter"}),
    "local-one-of-each": ((2, 3, 3), {"kind": "local", "filters": 1, "kernel": 3}),
    "local-one-value": ((1, 2, 4), {"kind": "local", "filters": 2, "kernel": 1, "slope": 0.3}),
    "attention": ((2, 6, 4), {"kind": "attention", "patch": 2, "heads": 3, "head_dim": 5}),
    "attention-one-head": ((2, 6, 4), {"kind": "attention", "patch": 1, "heads": 1, "head_dim": 16}),
    "attention-heads-of-1": ((2, 6, 4), {"kind": "attention", "patch": 2, "heads": 4, "head_dim": 1}),
    "attention-one-value": ((1, 2, 4), {"kind": "attention", "patch": 1, "heads": 2, "head_dim": 3}),
    "attention-one-patch": ((1, 4, 4), {"kind": "attention", "patch": 4, "heads": 1, "head_dim": 7}),
}


def bits(model: Model, seeds: list[int], batch: int, shape: tuple[int, int, int]) -> dict[int, dict[str, Tensor]]:
    """Return each child's logits and gradients; a child's images are those of its seed."""
    layout = Layout(model)
    views = layout.views(layout.stack([model.init(torch.Generator().manual_seed(seed)) for seed in seeds]))
    for view in views.values():
        view.requires_grad_()
    images = [torch.randn(batch, *shape, generator=torch.Generator().manual_seed(100 + seed)) for seed in seeds]
    logits = model.forward(views, torch.stack(images))
    gradients = torch.autograd.grad(logits.square().sum(), tuple(views.values()))
    found = {"logits": logits.detach(), **dict(zip(views, gradients, strict=True))}
    return {seed: {name: value[i] for name, value in found.items()} for i, seed in enumerate(seeds)}


@pytest.mark.parametrize("batch", [1, 2, 9, 50])
@pytest.mark.parametrize("shape, values", EDGES.values(), ids=EDGES.keys())
def test_a_child_alone_and_in_stacks(shape: tuple[int, int, int], values: dict[str, Any], batch: int) -> None:
    channels = shape[0]
    info = replace(dataset_info("mnist"), shape=shape, classes=4, mean=(0.5,) * channels, std=(0.25,) * channels)
    config: ModelConfig = TypeAdapter(ModelConfig).validate_python(values)
    model = build_model(config, info)
    alone = bits(model, [3], batch, shape)[3]
    for stack in ([3, 5], [0, 3], [5, 3, 1], [3, 2, 4], [0, 1, 2, 3, 4, 5, 6, 7], [10, 12, 11, 9, 3, 14, 8, 13]):
        for name, value in bits(model, stack, batch, shape)[3].items():
            assert torch.equal(value, alone[name]), f"{name} in the stack {stack}"

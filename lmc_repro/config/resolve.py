"""Resolves settings, which hold names, to a run's config, which holds numbers only."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from lmc_repro.common import bounds
from lmc_repro.common.errors import LmcError, choices
from lmc_repro.config.catalog import DatasetInfo, patch_count
from lmc_repro.config.load import validate
from lmc_repro.config.registry import MODELS, settings_class
from lmc_repro.config.run import PatchShape, RunConfig
from lmc_repro.config.study import ProfileConfig, Settings

_SIDES = {"local": "kernel", "conv": "kernel", "attention": "patch"}
"""By kind of network: the setting for the side of patches that must fill an image."""


def run_template(settings: Settings, profile: ProfileConfig, info: DatasetInfo) -> dict[str, Any]:
    """Return RunConfig's fields without seeds, as plain JSON values; LmcError that begins with a setting."""
    given = settings.given()
    for name in ("batch", "epochs", "evaluate_at", *(() if "optimizer.kind" in given else ("optimizer.use",))):
        if name not in given:
            raise LmcError(f"{name}: missing; set it in the study's base, a row, a column or the profile's settings")
    batch = profile.batches.get(settings.batch) if isinstance(settings.batch, str) else settings.batch
    if batch is None:
        allowed = " or ".join(filter(None, ("a number", ", ".join(profile.batches))))
        raise LmcError(f"batch: found {settings.batch!r}, allowed: {allowed}")
    values = {
        "data": settings.data | {"dataset": info.name},
        "model": _model(settings, info),
        "optimizer": _optimizer(settings, profile),
        "clip": settings.clip,
        "schedule": settings.schedule,
        "batch_size": batch,
        "epochs": settings.epochs,
        "evaluate_at": settings.evaluate_at,
        "precision": settings.precision or "float32",
        "seeds": {"trainer": 0, "loader": 0, "augmentation": None if settings.data.get("augment") is None else 0},
    }
    template = validate(RunConfig, values).without_seeds()
    model: dict[str, Any] = template["model"]
    if (side := _SIDES.get(model["kind"])) is not None:
        patch_count(info, model[side], side)
    if (found := 4 * weight_count(model, info)) > bounds.NUMBERS:
        raise LmcError(
            f"model: found {found:,} numbers that training one network holds (four per weight), allowed: "
            f"{bounds.NUMBERS:,}; give a smaller network"
        )
    if (divisor := given.get("optimizer.lr_divisor")) is not None:
        template["optimizer"]["lr"] /= _positions(settings, info)[0] if divisor == "positions" else divisor
    return template


def weight_count(model: dict[str, Any], info: DatasetInfo) -> int:
    """Return how many weights the matrices of a network of ours have; 0 for one of the user's."""
    channels, height, width = info.shape
    match model["kind"]:
        case "mlp":
            hidden = [model["width"]] * (model["depth"] - 1)
            return sum(a * b for a, b in pairwise([channels * height * width, *hidden, info.classes]))
        case "local" | "conv" as kind:
            units = patch_count(info, model["kernel"], "kernel") * model["filters"]
            banks = units if kind == "local" else model["filters"]
            return int(banks * channels * model["kernel"] ** 2 + units * info.classes)
        case "attention":
            d = model["heads"] * model["head_dim"]
            return int(d * (4 * d + channels * model["patch"] ** 2 + info.classes))
    return 0


def _positions(settings: Settings, info: DatasetInfo) -> tuple[int, PatchShape]:
    """Return the number of positions of the settings' locally connected layer on an image, and its shape."""
    given = {name: settings.model[name] for name in PatchShape.model_fields if name in settings.model}
    shape = validate(PatchShape, given, "positions of a locally connected layer")
    return patch_count(info, shape.kernel, "kernel"), shape


def _model(settings: Settings, info: DatasetInfo) -> dict[str, Any]:
    """Return the settings for a network of their kind, without sizes of other kinds."""
    given: dict[str, Any] = {"kind": "mlp"} | settings.model
    fields = settings_class(MODELS, given["kind"]).model_fields
    made = {name: value for name, value in given.items() if name in fields}
    if given["kind"] == "local":
        if given.get("start") == "conv":
            made["start_from_conv"] = True
        if isinstance(made.get("bias"), bool):
            del made["bias"]  # an MLP's
    if given["kind"] == "mlp":
        start = given.get("start") == "local"
        if start or made.get("width") == "positions":
            count, shape = _positions(settings, info)
            units = count * shape.filters
        if start:
            made["start_from_local"] = shape
        if made.get("depth") == 1:
            return {name: value for name, value in made.items() if name not in ("width", "slope")}
        if made.get("width") == "positions":
            made["width"] = units
        if start and made.get("width") != units:
            raise LmcError(
                f"model.width: found {made.get('width')}, allowed with start: local: {units}, positions x "
                f"filters on {info.name}"
            )
    return made


def _optimizer(settings: Settings, profile: ProfileConfig) -> dict[str, Any]:
    """Return the profile's optimizer, updated by the settings."""
    given = {name: value for name, value in settings.optimizer.items() if name not in ("use", "lr_divisor")}
    use = settings.optimizer.get("use")
    if use is None:
        return given
    if use not in profile.optimizers:
        raise LmcError(f"optimizer.use: {choices(use, profile.optimizers)}")
    named = profile.optimizers[use].model_dump()
    if "beta1" in named and "momentum" in given and "momentum" not in named:
        given["beta1"] = given.pop("momentum")
    return named | given

"""From settings, which give names to things, to the config of a run, which has numbers only."""

from __future__ import annotations

from typing import Any

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo
from lmc_repro.config.load import validate
from lmc_repro.config.registry import MODELS, settings_class
from lmc_repro.config.run import OptimizerConfig, RunConfig
from lmc_repro.config.study import ProfileConfig, Settings


def run_template(settings: Settings, profile: ProfileConfig, info: DatasetInfo, where: str) -> dict[str, Any]:
    """Return RunConfig's fields without seeds, as plain JSON values; LmcError that begins with `where`."""
    fields = settings_class(MODELS, settings.model or "mlp").model_fields
    needed = [name for name, field in fields.items() if field.is_required() and name != "kind"]
    there = settings.given() | (settings.options or {})
    for name in ("optimizer", "batch", "epochs", "evaluate_at", *needed):
        if name not in there:
            name = name if name in Settings.model_fields else f"options.{name}"
            raise LmcError(
                f"{where}: {name} is missing; set it in the study's base, a row, a column or the profile's settings"
            )
    batch = profile.batches.get(settings.batch) if isinstance(settings.batch, str) else settings.batch
    if batch is None:
        raise LmcError(f"{where}: batch: found {settings.batch!r}, allowed: a number or {', '.join(profile.batches)}")
    augmented = settings.augment is not None
    values = {
        "data": {
            "dataset": info.name,
            "order": settings.order or "philox",
            "drop_last": bool(settings.drop_last),
            "augment": settings.augment,
            "label_noise": settings.label_noise or 0.0,
        },
        "model": {**_model(settings, info, where), **(settings.options or {})},
        "optimizer": _optimizer(settings, profile, info, where),
        "clip": settings.clip,
        "schedule": {
            "kind": settings.schedule or "constant",
            "warmup_epochs": settings.warmup_epochs or 0,
            "warmup_rule": settings.warmup_rule or "from-zero",
        },
        "batch_size": batch,
        "epochs": settings.epochs,
        "evaluate_at": settings.evaluate_at,
        "precision": settings.precision or "float32",
        "seeds": {"trainer": 0, "loader": 0, "augmentation": 0 if augmented else None},
    }
    config = validate(RunConfig, values, where)
    try:
        return config.model_copy(update={"model": config.model.pinned()}).without_seeds()
    except LmcError as error:
        raise LmcError(f"{where}: {error}") from None


def positions(settings: Settings, info: DatasetInfo, where: str) -> int:
    """Return the number of patches of `kernel` pixels a side in an image; LmcError where they do not fill it."""
    if settings.kernel is None or settings.filters is None:
        raise LmcError(f"{where}: positions: give filters and kernel of the locally connected layer")
    return _patches(settings.kernel, "kernel", info, where)


def _patches(side: int, key: str, info: DatasetInfo, where: str) -> int:
    _, height, width = info.shape
    if height % side or width % side:
        raise LmcError(
            f"{where}: {key}: found {side}, allowed: a divisor of {height} and {width}, the sides of an image of "
            f"{info.name}"
        )
    return (height // side) * (width // side)


def _model(settings: Settings, info: DatasetInfo, where: str) -> dict[str, Any]:
    kind = settings.model or "mlp"
    given = settings.given()
    made: dict[str, Any] = {"kind": kind, "init": settings.init or "torch-default", "gain": settings.gain}
    if kind not in ("mlp", "local", "conv", "attention"):
        fields = settings_class(MODELS, kind).model_fields
        return made | {name: value for name, value in given.items() if name in fields}
    if kind == "attention":
        _patches(settings.patch or 1, "patch", info, where)
        return {**made, "patch": settings.patch, "heads": settings.heads, "head_dim": settings.head_dim}
    slope = settings.slope if settings.slope is not None else (1.0 if kind == "mlp" else 0.0)
    if kind == "mlp":
        made |= {"depth": settings.depth, "bias": True if settings.bias is None else settings.bias}
        if settings.start == "local":
            made["start_from_local"] = {"filters": settings.filters, "kernel": settings.kernel}
        if settings.depth == 1:
            return made  # logistic regression has neither width nor slope: equal configs stay equal
        width = settings.width
        if width == "positions":
            width = positions(settings, info, where) * (settings.filters or 0)
        if settings.start == "local" and width != (units := positions(settings, info, where) * (settings.filters or 0)):
            raise LmcError(
                f"{where}: width: found {width}, allowed with start: local: {units}, positions x filters on {info.name}"
            )
        return {**made, "width": width, "slope": slope}
    positions(settings, info, where)
    made |= {"filters": settings.filters, "kernel": settings.kernel, "slope": slope}
    if kind == "local":
        made |= {"bias": settings.lc_bias or "unit", "start_from_conv": settings.start == "conv"}
    return made


def _optimizer(settings: Settings, profile: ProfileConfig, info: DatasetInfo, where: str) -> dict[str, Any]:
    named: OptimizerConfig | None = profile.optimizers.get(str(settings.optimizer))
    if named is None:
        raise LmcError(f"{where}: optimizer: found {settings.optimizer!r}, allowed: {', '.join(profile.optimizers)}")
    values = named.model_dump()
    momentum = "momentum" if "momentum" in values else "beta1"
    for name, value in ((momentum, settings.momentum), ("weight_decay", settings.weight_decay)):
        if value is not None:
            values[name] = value
    if (divisor := settings.lr_divisor) is not None:
        values["lr"] /= positions(settings, info, where) if divisor == "positions" else divisor
    return values

"""A dense network, which may begin as a locally connected one: equal functions, and from then on no mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lmc_repro.data.catalog import DatasetInfo
from lmc_repro.errors import LmcError
from lmc_repro.models.local import Local
from lmc_repro.models.mlp import Mlp
from lmc_repro.schemas.run import LocalConfig, MlpConfig

if TYPE_CHECKING:  # shapes and costs are asked for without torch
    from torch import Generator, Tensor


def build_mlp(config: MlpConfig, info: DatasetInfo) -> Mlp:
    """Return the fully connected network for a data set; LmcError if it cannot begin as it is to."""
    return Mlp(config, info.features, info.classes, local_start(config, info))


def local_start(config: MlpConfig, info: DatasetInfo) -> Callable[[Generator], dict[str, Tensor]] | None:
    """Return what draws an MLP's weights as those of a locally connected network, None without `start_from_local`.

    The network (bias: unit) is the one that the same generator would draw. LmcError if the hidden layer is not as wide.
    """
    shape = config.start_from_local
    if shape is None:
        return None
    local = Local(
        LocalConfig(
            kind="local",
            filters=shape.filters,
            kernel=shape.kernel,
            slope=config.slope,
            init=config.init,
            gain=config.gain,
        ),
        info,
    )
    if config.width != local.units:
        raise LmcError(
            f"model.width: found {config.width}, allowed with start_from_local: {local.units}, {local.positions} "
            f"positions x {shape.filters} filters on {info.name}"
        )

    def start(generator: Generator) -> dict[str, Tensor]:
        from lmc_repro.models.toeplitz import dense_bias, local_to_dense

        weights = local.init(generator)
        return {
            "layers.0.weight": local_to_dense(weights["hidden.weight"], info.shape, shape.kernel),
            "layers.0.bias": dense_bias(weights["hidden.bias"], local.positions),
            "layers.1.weight": weights["output.weight"],
            "layers.1.bias": weights["output.bias"],
        }

    return start

"""One self-attention block over image patches: a ViT without skips and without its MLP part (paper, Section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmc_repro.config.catalog import DatasetInfo, patch_count
from lmc_repro.config.run import AttentionConfig
from lmc_repro.models.base import Axes, LinearInit, Place, Weights
from lmc_repro.models.conv import patches

if TYPE_CHECKING:  # shapes and costs are asked for without torch
    from torch import Generator, Tensor

TOKEN_STD = 0.02  # of the class token and the learned positions at initialisation


class Attention:
    """Patches, LN, linear embedding, LN; class token and learned positions; LN, attention, linear; LN, linear.

    D = heads * head_dim. embed.weight [D, channels * patch * patch], class_token [D], positions [1 + patches, D],
    qkv.weight [3 D, D] (queries, keys, values; each head by head; no bias), project.weight [D, D],
    head.weight [classes, D]; every *norm has weight and bias, the other linear maps a bias.
    """

    def __init__(self, config: AttentionConfig, info: DatasetInfo) -> None:
        self.config = config
        self.patches = patch_count(info, config.patch, "patch")
        self.values = info.shape[0] * config.patch**2
        self.width = config.heads * config.head_dim
        self.classes = info.classes
        d = self.width
        self.shapes: dict[str, tuple[int, ...]] = {
            "patch_norm.weight": (self.values,),
            "patch_norm.bias": (self.values,),
            "embed.weight": (d, self.values),
            "embed.bias": (d,),
            "embed_norm.weight": (d,),
            "embed_norm.bias": (d,),
            "class_token": (d,),
            "positions": (1 + self.patches, d),
            "norm.weight": (d,),
            "norm.bias": (d,),
            "qkv.weight": (3 * d, d),
            "project.weight": (d, d),
            "project.bias": (d,),
            "head_norm.weight": (d,),
            "head_norm.bias": (d,),
            "head.weight": (info.classes, d),
            "head.bias": (info.classes,),
        }

    def init(self, generator: Generator) -> dict[str, Tensor]:
        """Return the initial weights of one run, drawn in the order of `shapes`."""
        import torch

        draw = LinearInit(self.config.init, self.config.gain, 1.0, generator)
        fan_in = {"embed.bias": self.values, "project.bias": self.width, "head.bias": self.width}
        weights = {}
        for name, shape in self.shapes.items():
            if "norm" in name:
                weights[name] = torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
            elif name in ("class_token", "positions"):
                weights[name] = torch.empty(shape).normal_(0.0, TOKEN_STD, generator=generator)
            else:
                weights[name] = draw.bias(fan_in[name], *shape) if name in fan_in else draw.weight(*shape)
        return weights

    def axes(self) -> Axes:
        """Return the token's values before and after attention, the heads, and in each head its keys and its values.

        A head's queries and keys are permuted together. The values of a patch before its embedding are pixels, and are
        no units.
        """
        heads, size, d = self.config.heads, self.config.head_dim, self.width
        qkv, project = (3, heads, size, d), (d, heads, size)
        lines = ("embed.bias", "embed_norm.weight", "embed_norm.bias", "class_token", "norm.weight", "norm.bias")
        axes: dict[str, tuple[Place, ...]] = {
            "embedding": (
                Place("embed.weight", self.shapes["embed.weight"], 0),
                *(Place(name, (d,), 0) for name in lines),
                Place("positions", self.shapes["positions"], 1),
                Place("qkv.weight", (3 * d, d), 1),
            ),
            "projection": (
                Place("project.weight", (d, d), 0),
                *(Place(name, (d,), 0) for name in ("project.bias", "head_norm.weight", "head_norm.bias")),
                Place("head.weight", (self.classes, d), 1),
            ),
            "heads": (Place("qkv.weight", qkv, 1), Place("project.weight", project, 1)),
        }
        for head in range(heads):
            query, key, value = (Place("qkv.weight", qkv, 2, ((0, part), (1, head))) for part in range(3))
            axes[f"keys.{head}"] = (query, key)
            axes[f"values.{head}"] = (value, Place("project.weight", project, 2, ((1, head),)))
        return axes

    def forward(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Return logits [C, b, classes] for inputs [C, b, channels, height, width]."""
        runs, batch = inputs.shape[:2]
        x = patches(inputs, self.config.patch).reshape(runs, batch * self.patches, self.values)
        x = _linear(_norm(x, weights, "patch_norm"), weights, "embed")
        x = _standardised(x).view(runs, batch, self.patches, self.width)
        positions = weights["positions"]
        offset = weights["embed_norm.bias"].unsqueeze(1) + positions[:, 1:]  # added once: these are the large tensors
        x = x * weights["embed_norm.weight"][:, None, None] + offset.unsqueeze(1)
        token = weights["class_token"].unsqueeze(1) + positions[:, :1]
        x = self._class_token_attends(weights, _standardised(token), _standardised(x))
        x = _norm(_linear(x, weights, "project"), weights, "head_norm")
        return _linear(x, weights, "head")

    def hidden(self, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
        """Return embeddings, keys and values of all patches, and the outputs of `project`."""
        runs, batch = inputs.shape[:2]
        x = patches(inputs, self.config.patch).reshape(runs, batch * self.patches, self.values)
        embedded = _linear(_norm(x, weights, "patch_norm"), weights, "embed")
        x = _norm(embedded, weights, "embed_norm").view(runs, batch, self.patches, self.width)
        x = x + weights["positions"][:, None, 1:]
        token = weights["class_token"].unsqueeze(1) + weights["positions"][:, :1]
        seen = self._class_token_attends(weights, _standardised(token), _standardised(x))
        x = _norm(x.flatten(1, 2), weights, "norm")
        from lmc_repro.models.products import affine

        found = {"embedding": embedded, "projection": _linear(seen, weights, "project")}
        parts = weights["qkv.weight"].view(runs, 3, self.config.heads, self.config.head_dim, self.width)
        for head in range(self.config.heads):
            found[f"keys.{head}"], found[f"values.{head}"] = (affine(x, parts[:, i, head]) for i in (1, 2))
        return found

    def _class_token_attends(self, weights: Weights, token: Tensor, x: Tensor) -> Tensor:
        """Return softmax(Q K' / sqrt(head_dim)) V at the class token, [C, b, D].

        The class token [C, 1, D] and the patches [C, b, patches, D] come without the scale w and offset o of `norm`.
        Without skips no other query reaches the logits, so none is computed. The class token has seen no image, so its
        query q is one for all samples. And all patches' keys and values are spared, a twentieth of the arithmetic:
        q . Wk (w x + o) is (w Wk' q) . x but for a number that all tokens share, which softmax does not see; means a
        of values, with sum 1, are the values of means: sum a Wv (w x + o) = Wv (w sum a x + o).
        """
        import torch

        from lmc_repro.models.products import affine, product

        runs, batch, count, width = x.shape
        heads, size = self.config.heads, self.config.head_dim
        scale, offset = weights["norm.weight"].unsqueeze(1), weights["norm.bias"].unsqueeze(1)
        to_query, to_key, to_value = weights["qkv.weight"].view(runs, 3, width, width).unbind(1)
        each = runs * heads
        query = affine(token * scale + offset, to_query).reshape(each, 1, size)
        query = affine(query, to_key.reshape(each, size, width).mT).reshape(runs, heads, width) * scale
        scores = affine(x.view(runs, batch * count, width), query).reshape(runs, batch, count, heads)
        own = affine(token, query).unsqueeze(1).expand(-1, batch, -1, -1)
        attention = (torch.cat([own, scores], 2).transpose(2, 3) / size**0.5).softmax(3)
        seen = product(attention[..., 1:].reshape(-1, heads, count), x.view(-1, count, width))
        seen = seen.view(runs, batch, heads, width) + attention[..., :1] * token.unsqueeze(1)
        seen = seen.transpose(1, 2).reshape(runs, heads * batch, width) * scale + offset
        values = affine(seen.view(each, batch, width), to_value.reshape(each, size, width))
        return values.reshape(runs, heads, batch, size).transpose(1, 2).reshape(runs, batch, width)

    def forward_flops(self) -> tuple[int, int]:
        """Return 0 (what is embedded went through a norm that learns) and 2 x all products."""
        c, d, tokens = self.config, self.width, 1 + self.patches
        attended = tokens * d * c.heads * 2 + d * d  # scores and means of all tokens, then the values of the means
        return 0, 2 * (self.patches * self.values * d + attended + d * d + d * self.classes)

    def activations(self) -> int:
        """Return the sizes of the patches and the tokens through their norms; what follows is small."""
        return 3 * self.patches * self.values + 8 * (1 + self.patches) * self.width


def _standardised(x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.layer_norm(x, x.shape[-1:])


def _norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Return LN over the last side of x [C, n, values]; each run's scale and offset apart, rounded one by one."""
    return _standardised(x) * weights[f"{name}.weight"].unsqueeze(1) + weights[f"{name}.bias"].unsqueeze(1)


def _linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    from lmc_repro.models.products import affine

    return affine(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

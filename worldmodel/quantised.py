"""The planner's engine with 8-bit integer products, for CPUs.

Weights are int8 with a scale for each output channel.  Activations are uint8 with one scale for
each product, measured in floating point on an episode's first frame (``prepare``).  Channels of
normalised tokens that are much larger than the others would cost the others their precision;
half of the difference, in logarithms, is moved into the weights (SmoothQuant, Xiao et al. 2023,
section 4).  Products are oneDNN's, with bias, GELU and conversion in the same pass: with AVX-512
VNNI twice as fast as in bf16.  Attention, residuals and both ends of the predictor stay in its
own dtype.

Letters as in ``imagination``: S samples, K + N tokens of a frame, P width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.imagination import (
    CPU_ROWS,
    Cache,
    Context,
    Imagination,
    Layer,
    after,
    merge,
    split_heads,
)
from worldmodel.predictor import Predictor

MARGIN = 1.15  # headroom: representable are values up to this times the calibrated maximum
ZERO = 128  # uint8 that stands for 0
LEAST_GELU = -0.17  # its minimum
# Below this bound exp() neither overflows nor underflows in bf16 and float32, so the maximum of a
# row of scores need not be subtracted.
SAFE_SCORE = 40.0


def multiplies_integers(device: torch.device) -> bool:
    """Whether products of uint8 and int8 are fast there, and do not saturate on the way: CPUs
    with VNNI."""
    return device.type == "cpu" and torch.cpu._is_vnni_supported()


@dataclass
class Seen:
    """Largest absolute values in one block: normalised tokens by channel [P] before attention
    and MLP, what attention returns, GELU's output; and a bound of attention's scores."""

    attention_in: Tensor
    mlp_in: Tensor
    attended: float = 0.0
    hidden: float = 0.0
    score: float = 0.0

    def note(self, name: str, value: Tensor) -> None:
        """Raise the largest absolute value of ``name``."""
        setattr(self, name, max(getattr(self, name), value.abs().max().item()))

    def note_channels(self, name: str, value: Tensor) -> None:
        """The same by channel, of ``value`` [B, N, P]."""
        setattr(self, name, torch.maximum(getattr(self, name), value.abs().amax((0, 1)).float()))


class Product:
    """weight [O, I] and bias [O] of a linear layer, for uint8 inputs of one scale and zero."""

    def __init__(self, weight: Tensor, bias: Tensor, scale: float, zero: int) -> None:
        self.scale, self.zero, self.bias = scale, zero, bias
        self.scales = weight.abs().amax(1).clamp(min=1e-12) / 127
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        whole = (weight / self.scales[:, None]).round().to(torch.int8)
        # The number of rows is a hint: without one oneDNN takes a kernel 4,000 times slower.
        self.weight = torch.ops.onednn.qlinear_prepack(whole, [CPU_ROWS, weight.shape[1]])

    def __call__(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """uint8 [S, N, I] -> [S, N, O] in ``dtype``."""
        return self._product(x, 1.0, 0, dtype, "none", "")

    def gelu(self, x: Tensor, scale: float, zero: int) -> Tensor:
        """uint8 [S, N, I] -> uint8 [S, N, O] of that scale and zero."""
        return self._product(x, scale, zero, torch.uint8, "gelu", "none")

    def _product(
        self, x: Tensor, scale: float, zero: int, dtype: torch.dtype, then: str, how: str
    ) -> Tensor:
        out = torch.ops.onednn.qlinear_pointwise(
            x.flatten(0, 1), self.scale, self.zero, self.weight, self.scales, self.zeros,
            self.bias, scale, zero, dtype, then, [], how,
        )
        return out.unflatten(0, x.shape[:2])


class IntegerLayer:
    """One block in integers: ``attention_in`` and ``mlp_in`` [P] turn normalised tokens into
    steps of uint8."""

    def __init__(self, layer: Layer, seen: Seen) -> None:
        self.attention_in, self.qkv = _smoothed(layer.norm1, layer.qkv, seen.attention_in)
        self.mlp_in, self.fc1 = _smoothed(layer.norm2, layer.fc1, seen.mlp_in)
        attended = MARGIN * seen.attended / 127
        self.proj = Product(layer.proj[0].float(), layer.proj[1].float(), attended, ZERO)
        hidden = (MARGIN * seen.hidden - LEAST_GELU) / 255
        self.fc2 = Product(
            layer.fc2[0].float(), layer.fc2[1].float(), hidden, round(-LEAST_GELU / hidden)
        )
        self.eps = layer.eps
        self.safe = seen.score <= SAFE_SCORE


def _smoothed(
    norm: tuple[Tensor, Tensor], linear: tuple[Tensor, Tensor], largest: Tensor
) -> tuple[Tensor, Product]:
    """Fold a LayerNorm's weight and bias, and factors that even out its channels, into the linear
    layer after it: steps of uint8 per unit of normalised token [P], and the layer."""
    factor = largest.clamp(min=0.1).sqrt()
    weight, bias = linear[0].float(), linear[1].float() + linear[0].float() @ norm[1].float()
    scale = MARGIN * (largest / factor).max().item() / 127
    return 1.0 / (factor * scale), Product(weight * norm[0].float() * factor, bias, scale, ZERO)


# -- elementwise parts, each fused into one pass by torch.compile ---------------------------------


def _normalise(x: Tensor, steps: Tensor, eps: float) -> Tensor:
    """LayerNorm of x [S, K + N, P] in uint8."""
    y = F.layer_norm(x.float(), x.shape[-1:], steps, None, eps)
    return _to_uint8(y)


def _add_and_normalise(
    x: Tensor, change: Tensor, steps: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    x = x + change
    return x, _normalise(x, steps, eps)


def _merge_heads(heads: Tensor, total: Tensor, step: float) -> Tensor:
    """heads / total [S, heads, K + N, width] -> uint8 [S, K + N, P]."""
    return merge(_to_uint8(heads / (total * step)))


def _split_heads(
    qkv: Tensor, table: tuple[Tensor, ...], heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = split_heads(qkv, table, heads)
    return q, k, v.contiguous()


def _to_uint8(x: Tensor) -> Tensor:
    return (x + ZERO).round().clamp(0, 255).to(torch.uint8)


class QuantisedImagination(Imagination):
    """As ``Imagination``; in floating point until ``prepare`` is called.

    Raises ``ValueError`` on devices without the instructions.
    """

    def __init__(
        self, predictor: Predictor, memory_mb: float | None = None, compiled: bool = False
    ) -> None:
        super().__init__(predictor, memory_mb)
        if not multiplies_integers(self.device):
            raise ValueError(
                f"8-bit integer products need a CPU with VNNI instructions; {self.device} here has "
                "none: int8=false"
            )
        fuse = torch.compile if compiled else (lambda part: part)
        self._normalise, self._add_and_normalise = fuse(_normalise), fuse(_add_and_normalise)
        self._split, self._merge = fuse(_split_heads), fuse(_merge_heads)
        self.layers: list[IntegerLayer] = []  # once prepared

    @torch.inference_mode()
    def prepare(self, context: Context, actions: Tensor) -> None:
        """Measure ranges in floating point while imagining ``actions`` [S, H, 7]: S a few, over
        the whole range that will be asked for."""
        width = self.config.predictor_dim
        seen = [Seen(torch.zeros(width), torch.zeros(width)) for _ in self._layers]
        self._blocks = partial(self._observe, seen)
        self._unroll(context, actions)
        self.layers = [IntegerLayer(*pair) for pair in zip(self._layers, seen, strict=True)]
        self._blocks = self._integers

    def _observe(
        self, seen: list[Seen], x: Tensor, table: tuple[Tensor, ...], cache: Cache | None
    ) -> tuple[Tensor, Cache]:
        """The blocks in floating point; their largest values go into ``seen``."""
        new: Cache = []
        for i, (layer, note) in enumerate(zip(self._layers, seen, strict=True)):
            size = x.shape[-1:]
            note.note_channels("attention_in", F.layer_norm(x, size, None, None, layer.eps))
            y = F.layer_norm(x, size, *layer.norm1, layer.eps)
            q, k, v = split_heads(F.linear(y, *layer.qkv), table, self.config.num_heads)
            new.append((k, v))
            keys, values = after(cache, i, k, v)
            note.note("score", q.norm(dim=-1).max() * keys.norm(dim=-1).max())
            y = merge((q @ keys.transpose(-1, -2)).softmax(-1) @ values)
            note.note("attended", y)
            x = x + F.linear(y, *layer.proj)
            note.note_channels("mlp_in", F.layer_norm(x, size, None, None, layer.eps))
            y = F.gelu(F.linear(F.layer_norm(x, size, *layer.norm2, layer.eps), *layer.fc1))
            note.note("hidden", y)
            x = x + F.linear(y, *layer.fc2)
        return x, new

    def _integers(
        self, x: Tensor, table: tuple[Tensor, ...], cache: Cache | None
    ) -> tuple[Tensor, Cache]:
        new: Cache = []
        change = None
        for i, layer in enumerate(self.layers):
            if change is None:
                y = self._normalise(x, layer.attention_in, layer.eps)
            else:
                x, y = self._add_and_normalise(x, change, layer.attention_in, layer.eps)
            q, k, v = self._split(layer.qkv(y, x.dtype), table, self.config.num_heads)
            new.append((k, v))
            keys, values = after(cache, i, k, v)
            scores = q @ keys.transpose(-1, -2)  # the table scales
            if not layer.safe:
                scores -= scores.amax(-1, keepdim=True)
            # Softmax, not normalised: to divide the [.., width] output is cheaper than to divide
            # the [.., tokens] weights.
            weights = scores.exp_()
            total = weights.sum(-1, keepdim=True)
            y = self._merge(weights @ values, total, layer.proj.scale)
            x, y = self._add_and_normalise(
                x, layer.proj(y, x.dtype), layer.mlp_in, layer.eps
            )
            hidden = layer.fc1.gelu(y, layer.fc2.scale, layer.fc2.zero)
            change = layer.fc2(hidden, x.dtype)
        assert change is not None
        return x + change, new

"""Imagine many action sequences from one context, doing no work twice.

Computes what ``rollout.rollout`` computes (tests compare them), for planning:

- Block-causal attention: a frame never looks at later ones.  Keys and values of past frames with
  known actions are computed once and shared by all samples; those of an imagined frame once a
  sample, and kept for the frames after it.  Each step computes the tokens of one frame only.
- Samples go through in chunks that fit the memory budget, and on a CPU its caches.
- Channels of queries and keys are sorted into the even and the odd ones, once, in the weights:
  attention does not see the order, and rotating halves needs no shuffling.

Letters: S samples, T context frames, H horizon, N patches, K conditioning tokens, P width of the
predictor, D of the encoder.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.attention import Block, attend
from worldmodel.encoder import normalise_tokens
from worldmodel.pose import compose
from worldmodel.predictor import Predictor

CPU_ROWS = 4096  # tokens in a chunk, unless memory_mb asks for less
GPU_MEMORY_MB = 8192.0
FREED = 1 << 30  # bytes that the allocator keeps instead of handing them back

Cache = list[tuple[Tensor, Tensor]]  # keys, values [S, heads, tokens, width of a head] of a layer


@dataclass(frozen=True)
class Context:
    """What is known before the first imagined action: keys and values of the frames before the
    present one, and the present frame's tokens [1, N, D] and state [1, 7]."""

    cache: Cache | None
    frames: int
    tokens: Tensor
    state: Tensor
    extrinsics: Tensor | None


class Layer:
    """One block's weights, channels of queries and keys sorted for ``_rotate``."""

    def __init__(self, block: Block, heads: int) -> None:
        width = block.attn.proj.in_features // heads
        order = torch.cat([torch.arange(0, width, 2), torch.arange(1, width, 2)])
        weight = block.attn.qkv.weight.detach().unflatten(0, (3, heads, width)).clone()
        bias = block.attn.qkv.bias.detach().unflatten(0, (3, heads, width)).clone()
        weight[:2], bias[:2] = weight[:2, :, order], bias[:2, :, order]
        self.qkv = weight.flatten(0, 2), bias.flatten()
        self.norm1 = block.norm1.weight.detach(), block.norm1.bias.detach()
        self.norm2 = block.norm2.weight.detach(), block.norm2.bias.detach()
        self.proj = block.attn.proj.weight.detach(), block.attn.proj.bias.detach()
        self.fc1 = block.mlp.fc1.weight.detach(), block.mlp.fc1.bias.detach()
        self.fc2 = block.mlp.fc2.weight.detach(), block.mlp.fc2.bias.detach()
        self.eps = block.norm1.eps


def sample_bytes(
    predictor: Predictor, frames: int, device: torch.device, dtype: torch.dtype
) -> int:
    """Most that one sample takes while the last of ``frames`` frames is computed."""
    c = predictor.config
    rows = c.grid**2 + predictor.conditioning_tokens
    cached = 2 * c.depth * frames * rows * c.predictor_dim
    working = rows * c.predictor_dim * (8 + int(2 * c.mlp_ratio))
    scores = 0 if device.type == "cuda" else 2 * c.num_heads * rows * frames * rows
    return torch.finfo(dtype).bits // 8 * (cached + working + scores)


def chunk(
    samples: int, size: int, rows: int, device: torch.device, memory_mb: float | None
) -> int:
    """Samples of ``size`` bytes and ``rows`` tokens that go through at once.  Raises
    ``ValueError`` where not even one fits into ``memory_mb``."""
    most = samples
    if device.type == "cpu":
        most = max(1, CPU_ROWS // rows)
    elif memory_mb is None:
        memory_mb = GPU_MEMORY_MB
    if memory_mb is not None:
        fit = int(memory_mb * 2**20 / size)
        if fit < 1:
            raise ValueError(
                f"memory_mb {memory_mb} is too little: one sample takes {size / 2**20:.1f} MiB"
            )
        most = min(most, fit)
    chunks = -(-samples // most)
    return -(-samples // chunks)  # of equal size, or nearly


class Imagination:
    """Holds a predictor for planning, in the predictor's device and dtype."""

    def __init__(
        self, predictor: Predictor, memory_mb: float | None = None, compiled: bool = False
    ) -> None:
        """memory_mb: most that activations and caches of a chunk may take.  compiled: let
        torch.compile fuse the blocks: seconds to a minute at the first plan of each shape."""
        if memory_mb is not None and memory_mb <= 0:
            raise ValueError(f"memory_mb {memory_mb} must be positive, or null")
        self.predictor = predictor
        self.config = predictor.config
        weight = predictor.predictor_proj.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.memory_mb = memory_mb
        heads = self.config.num_heads
        blocks = [b for b in predictor.predictor_blocks if isinstance(b, Block)]
        self._layers = [Layer(block, heads) for block in blocks]
        self._tables: dict[int, tuple[Tensor, ...]] = {}
        self._blocks = torch.compile(self._run_blocks) if compiled else self._run_blocks
        if self.device.type == "cpu":
            keep_freed_memory()

    @property
    def tokens_per_frame(self) -> int:
        """K + N: conditioning tokens and patches of one frame."""
        return self.config.grid**2 + self.predictor.conditioning_tokens

    def sample_bytes(self, frames: int) -> int:
        """Most that one sample takes while the last of ``frames`` frames is computed."""
        return sample_bytes(self.predictor, frames, self.device, self.dtype)

    def chunk(self, samples: int, frames: int) -> int:
        """Samples that go through at once.  Raises ``ValueError`` where not even one fits."""
        size = self.sample_bytes(frames)
        return chunk(samples, size, self.tokens_per_frame, self.device, self.memory_mb)

    def prepare(self, context: Context, actions: Tensor) -> None:
        """Hook, called once an episode with its first context and sample ``actions`` [S, H, 7].

        Does nothing here; ``worldmodel.quantised`` calibrates its scales in it.
        """

    # -- what is known -----------------------------------------------------------------------

    @torch.inference_mode()
    def context(
        self, tokens: Tensor, states: Tensor, actions: Tensor | None = None,
        extrinsics: Tensor | None = None,
    ) -> Context:
        """tokens [T, N, D], states [T, 7]; actions [T - 1, 7] between them; extrinsics
        [T, 6] if configured, those of the last frame hold for what is imagined.

        Raises ``ValueError`` where their numbers do not fit, or extrinsics are missing."""
        frames = len(tokens)
        known = 0 if actions is None else len(actions)
        if len(states) != frames or known != frames - 1:
            raise ValueError(
                f"{frames} context frames need {frames} states and {frames - 1} actions; got "
                f"{len(states)} and {known}"
            )
        if self.config.use_extrinsics and extrinsics is None:
            raise ValueError("this predictor is conditioned on extrinsics [T, 6]")
        tokens = tokens.to(self.device, self.dtype)
        cache = None
        for t in range(frames - 1):
            assert actions is not None
            there = None if extrinsics is None else extrinsics[t : t + 1]
            x = self._embed(tokens[t : t + 1], states[t : t + 1], actions[t : t + 1], there)
            _, new = self._blocks(x, self._table(t), cache)
            cache = _join(cache, new)
        last = None if extrinsics is None else extrinsics[-1:].to(self.device)
        return Context(cache, frames - 1, tokens[-1:], states[-1:].to(self.device), last)

    # -- what is imagined --------------------------------------------------------------------

    @torch.inference_mode()
    def score(
        self, context: Context, actions: Tensor, cost: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """``cost(tokens [s, N, D]) -> [s]`` of the last frames that ``actions`` [S, H, 7] lead
        to, chunk by chunk -> [S].  Raises ``ValueError`` for more frames than the predictor
        takes, and where not even one sample fits ``memory_mb``."""
        return torch.cat([cost(tokens) for tokens in self._chunks(context, actions)])

    @torch.inference_mode()
    def imagine(self, context: Context, actions: Tensor) -> Tensor:
        """Tokens [S, N, D], normalised, of the last frames that ``actions`` [S, H, 7] lead to;
        raises as ``score``."""
        return torch.cat(list(self._chunks(context, actions)))

    def _chunks(self, context: Context, actions: Tensor) -> Iterator[Tensor]:
        horizon = actions.shape[1]
        if context.frames + horizon > self.config.max_steps:
            raise ValueError(
                f"{context.frames + horizon} frames; this predictor takes {self.config.max_steps}"
            )
        if self.device.type == "cuda" and actions.device.type == "cpu":
            actions = actions.pin_memory()
        actions = actions.to(self.device, non_blocking=True)
        size = self.chunk(len(actions), context.frames + horizon)
        for part in actions.split(size):
            yield self._unroll(context, part)

    def _unroll(self, context: Context, actions: Tensor) -> Tensor:
        count, horizon = actions.shape[:2]
        tokens, state = context.tokens, context.state.expand(count, 7)
        cache = None
        if context.cache is not None:
            cache = [(k.expand(count, -1, -1, -1), v.expand(count, -1, -1, -1))
                     for k, v in context.cache]
        for h in range(horizon):
            x = self._embed(tokens, state, actions[:, h], context.extrinsics)
            x, new = self._blocks(x, self._table(context.frames + h), cache)
            if h < horizon - 1:
                cache = _join(cache, new)
                state = compose(state, actions[:, h])
            tokens = self._tokens(tokens, x)
        return tokens

    # -- one frame ---------------------------------------------------------------------------

    def _embed(
        self, tokens: Tensor, state: Tensor, action: Tensor, extrinsics: Tensor | None
    ) -> Tensor:
        """Input tokens [S, K + N, P]; ``tokens`` [1, N, D] are embedded once and
        broadcast to all S samples, [S, N, D] one by one."""
        p, c, count = self.predictor, self.config, len(action)
        parts = [
            p.action_encoder((action * c.action_scale).to(self.device, self.dtype))[:, None],
            p.state_encoder((state * c.state_scale).to(self.device, self.dtype))[:, None],
        ]
        if extrinsics is not None:
            embedded = p.extrinsics_encoder(extrinsics.to(self.device, self.dtype))
            parts.append(embedded[:, None].expand(count, -1, -1))
        parts.append(p.predictor_embed(tokens).expand(count, -1, -1))
        return torch.cat(parts, dim=1)

    def _tokens(self, tokens: Tensor, x: Tensor) -> Tensor:
        p = self.predictor
        out = p.predictor_proj(p.predictor_norm(x[:, p.conditioning_tokens :]))
        return normalise_tokens(tokens + out if self.config.residual else out)

    def _table(self, frame: int) -> tuple[Tensor, ...]:
        """Cosines and sines of one frame, for the even and the odd channels of queries (which
        they also scale) and keys: four times [2, 1, 1, K + N, half the width of a head]."""
        if frame not in self._tables:
            whole = self.predictor.rotary_table(frame + 1, self.device)
            whole = whole[:, -self.tokens_per_frame :]
            width = whole.shape[-1]
            scale = torch.tensor([width**-0.5, 1.0], device=self.device)  # of queries, of keys
            cos, sin = (t * scale[:, None, None, None, None] for t in whole)
            self._tables[frame] = tuple(
                t[..., first::2].to(self.dtype).contiguous() for first in (0, 1) for t in (cos, sin)
            )
        return self._tables[frame]

    def _run_blocks(
        self, x: Tensor, table: tuple[Tensor, ...], cache: Cache | None
    ) -> tuple[Tensor, Cache]:
        """x [S, K + N, P] through all blocks, and the frame's own keys and values."""
        new: Cache = []
        for i, layer in enumerate(self._layers):
            y = F.layer_norm(x, x.shape[-1:], *layer.norm1, layer.eps)
            q, k, v = split_heads(F.linear(y, *layer.qkv), table, self.config.num_heads)
            new.append((k, v))
            y = attend(q, *after(cache, i, k, v), scale=1.0)  # the table scales
            x = F.linear(merge(y), *layer.proj).add_(x)
            y = F.layer_norm(x, x.shape[-1:], *layer.norm2, layer.eps)
            x = F.linear(F.gelu(F.linear(y, *layer.fc1)), *layer.fc2).add_(x)
        return x, new


def split_heads(
    qkv: Tensor, table: tuple[Tensor, ...], heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """[S, K + N, 3 P] -> rotated queries and keys, and values: [S, heads, K + N, width]."""
    qkv = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = _rotate(qkv[:2], table)
    return q, k, qkv[2]


def after(cache: Cache | None, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of a layer: those of the frames so far, and the present frame's."""
    if cache is None:
        return k, v
    past_k, past_v = cache[layer]
    return torch.cat([past_k, k], dim=2), torch.cat([past_v, v], dim=2)


def merge(heads: Tensor) -> Tensor:
    """[S, heads, K + N, width] -> [S, K + N, P]."""
    return heads.transpose(1, 2).flatten(2)


def _rotate(x: Tensor, table: tuple[Tensor, ...]) -> Tensor:
    """Rotary embedding of x [2, S, heads, K + N, width] whose even channels come first."""
    cos_even, sin_even, cos_odd, sin_odd = table
    even, odd = x.chunk(2, dim=-1)
    return torch.cat([even * cos_even - odd * sin_even, odd * cos_odd + even * sin_odd], dim=-1)


def _join(cache: Cache | None, new: Cache) -> Cache:
    if cache is None:
        return new
    return [
        (torch.cat([k, more_k], dim=2), torch.cat([v, more_v], dim=2))
        for (k, v), (more_k, more_v) in zip(cache, new, strict=True)
    ]


def keep_freed_memory() -> bool:
    """Let glibc keep large freed blocks of this process instead of returning each to the kernel,
    which would hand them out again page by page; whether it was possible."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library
    trim_threshold, mmap_threshold = -1, -3
    return bool(mallopt(mmap_threshold, FREED) and mallopt(trim_threshold, FREED))

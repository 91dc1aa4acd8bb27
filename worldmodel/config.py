"""What can be set of models and training; free of torch, so that settings are checked at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Parallel = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class EncoderConfig:
    image_size: int = 128
    embed_dim: int = 192
    depth: int = 6
    num_heads: int = 6
    mlp_ratio: float = 4.0
    patch_size: int = 16
    tubelet_size: int = 2
    layer_norm_eps: float = 1e-6

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size

    @property
    def tokens_per_frame(self) -> int:
        return self.grid**2


ENCODERS = {
    "vit_tiny": EncoderConfig(128, 192, 6, 6),
    "vit_large": EncoderConfig(256, 1024, 24, 16),
    "vit_huge": EncoderConfig(256, 1280, 32, 16),
    "vit_giant": EncoderConfig(256, 1408, 40, 22, mlp_ratio=48 / 11),
    "vit_giant_384": EncoderConfig(384, 1408, 40, 22, mlp_ratio=48 / 11),
}


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes of the predictor.

    residual: add the output to the current frame's tokens; starts training at the copy
    baseline; off for released weights.  action_scale and
    state_scale multiply the inputs, which are small numbers in m and rad; 1 for released
    weights.
    """

    image_size: int = 128
    patch_size: int = 16
    embed_dim: int = 192
    predictor_dim: int = 256
    depth: int = 6
    num_heads: int = 8
    mlp_ratio: float = 4.0
    max_steps: int = 8
    use_extrinsics: bool = False
    residual: bool = False
    action_scale: float = 1.0
    state_scale: float = 1.0
    layer_norm_eps: float = 1e-6

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size


PREDICTORS = {
    "ac_tiny": PredictorConfig(
        128, 16, 192, 192, 5, 6, residual=True, action_scale=20.0, state_scale=2.0
    ),
    "vjepa2_ac": PredictorConfig(256, 16, 1408, 1024, 24, 16, max_steps=32),
}


@dataclass(frozen=True)
class ReadoutConfig:
    embed_dim: int = 192
    tokens: int = 64
    dim: int = 256
    depth: int = 2
    num_heads: int = 8
    queries: int = 8


@dataclass(frozen=True)
class GoalConditionedConfig:
    """image: the attentive trunk that pools each image; hidden: width of what joins the two."""

    image: ReadoutConfig = field(default_factory=ReadoutConfig)
    hidden: int = 512


@dataclass(frozen=True)
class TrainConfig:
    """What every loop shares.  The learning rate warms up linearly, then falls as a cosine.

    accumulate: batches an optimiser step adds up, in each process.  parallel: under torchrun,
    "ddp" keeps the whole model in each process, "fsdp" a share of it.  compile: let
    torch.compile fuse the model: a minute or so at the first step.
    """

    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 6e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 100
    weight_decay: float = 0.04
    clip_norm: float = 1.0
    seed: int = 0
    bf16: bool = True
    checkpoint_every: int = 250
    log_every: int = 20
    device: str = "auto"
    accumulate: int = 1
    parallel: Parallel = "ddp"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate {self.accumulate} must be at least 1")

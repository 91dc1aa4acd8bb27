"""What can be set of models and training; free of torch, so that settings are checked at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Parallel = Literal["ddp", "fsdp"]
Architecture = Literal["vjepa2", "vjepa2.1"]
Schedule = Literal["cosine", "wsd"]
PictureCrop = Literal["square", "wide"]
Spacing = Literal["even", "spread"]


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of the video encoder, a ViT of V-JEPA 2 or 2.1."""

    image_size: int = 128  # side of the square images [px]
    embed_dim: int = 192  # width of a token
    depth: int = 6  # transformer blocks
    num_heads: int = 6  # attention heads of a block
    mlp_ratio: float = 4.0  # width of a block's MLP over the width of a token
    patch_size: int = 16  # side of the square patch that becomes a token [px]
    tubelet_size: int = 2  # frames that become a token
    layer_norm_eps: float = 1e-6  # added to the variance in every LayerNorm
    # vjepa2.1 has other rotary positions, its own patch embedding of single frames, learned
    # embeddings of image and video, and a norm at each of four depths
    architecture: Architecture = "vjepa2"

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size

    @property
    def tokens_per_frame(self) -> int:
        """N, the patches of one frame."""
        return self.grid**2


ENCODERS = {
    "vit_tiny": EncoderConfig(128, 192, 6, 6),
    "vit_large": EncoderConfig(256, 1024, 24, 16),
    "vit_huge": EncoderConfig(256, 1280, 32, 16),
    "vit_giant": EncoderConfig(256, 1408, 40, 22, mlp_ratio=48 / 11),
    "vit_giant_384": EncoderConfig(384, 1408, 40, 22, mlp_ratio=48 / 11),
    "vit_base_2_1": EncoderConfig(384, 768, 12, 12, architecture="vjepa2.1"),
    "vit_large_2_1": EncoderConfig(384, 1024, 24, 16, architecture="vjepa2.1"),
    "vit_giant_2_1": EncoderConfig(384, 1408, 40, 22, 48 / 11, architecture="vjepa2.1"),
    "vit_gigantic_2_1": EncoderConfig(384, 1664, 48, 26, 64 / 13, architecture="vjepa2.1"),
}


@dataclass(frozen=True)
class PredictorConfig:
    """Shape of the action-conditioned predictor of V-JEPA 2-AC."""

    image_size: int = 128  # side of the encoder's images [px]
    patch_size: int = 16  # side of the encoder's patches [px]
    embed_dim: int = 192  # width of the encoder's tokens
    predictor_dim: int = 256  # width of a token inside the predictor
    depth: int = 6  # transformer blocks
    num_heads: int = 8  # attention heads of a block
    mlp_ratio: float = 4.0  # width of a block's MLP over predictor_dim
    max_steps: int = 8  # most frames in its context
    use_extrinsics: bool = False  # take the camera's pose as a further token
    # add the output to the present frame's tokens: training starts at the copy baseline; false for
    # released weights
    residual: bool = False
    # factor on actions, which are small numbers [m, rad]; 1 for released weights
    action_scale: float = 1.0
    state_scale: float = 1.0  # factor on states; 1 for released weights
    layer_norm_eps: float = 1e-6  # added to the variance in every LayerNorm

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size


PREDICTORS = {
    "ac_tiny": PredictorConfig(
        128, 16, 192, 192, 5, 6, residual=True, action_scale=20.0, state_scale=2.0
    ),
    "vjepa2_ac": PredictorConfig(256, 16, 1408, 1024, 24, 16, max_steps=32),
}


@dataclass(frozen=True)
class ReadoutConfig:
    """Shape of the readout of the robot state, an attentive probe."""

    embed_dim: int = 192  # width of the encoder's tokens
    tokens: int = 64  # tokens of a frame
    dim: int = 256  # width of a token inside the readout
    depth: int = 2  # transformer blocks
    num_heads: int = 8  # attention heads of a block
    queries: int = 8  # learned queries that pool the tokens
    # read where the object is as well, and how sure that and the hand's place are
    object: bool = False


@dataclass(frozen=True)
class GoalConditionedConfig:
    """Shape of a network that compares a present image with a goal image."""

    image: ReadoutConfig = field(default_factory=ReadoutConfig)
    hidden: int = 512  # width of the layers that join the two images


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of the decoder of latents into pictures."""

    image_size: int = 128  # side of the encoder's images [px]
    patch_size: int = 16  # side of the encoder's patches [px]
    embed_dim: int = 192  # width of the encoder's tokens
    dim: int = 192  # width of a token inside the decoder
    depth: int = 2  # transformer blocks
    num_heads: int = 6  # attention heads of a block
    channels: int = 48  # channels of the convolutions that join the patches

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class LossConfig:
    """What post-training of the predictor minimises: V-JEPA 2-AC's teacher forcing and rollout
    (mean absolute errors), and the recovery of states and object from the imagined frames."""

    rollout_steps: int = 4  # frames imagined one from another, from the first of a window
    # predict every frame of a window from the real ones before it as well, as V-JEPA 2-AC does
    teacher_forcing: bool = False
    # weight of the recovery loss: a frozen readout must read the commanded state from every
    # imagined frame; 0: V-JEPA 2-AC's two losses alone
    recovery_weight: float = 0.3
    object_weight: float = 0.3  # weight of the same for the place of the object

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return {} if self.recovery_weight else {"object_weight": "recovery_weight=0"}


@dataclass(frozen=True)
class LeWMConfig:
    """Shape of LeWorldModel, which makes one latent of an image and imagines the next ones."""

    image_size: int = 128  # side of the square images [px]
    patch_size: int = 16  # side of the square patch that becomes a token of the encoder [px]
    encoder_dim: int = 128  # width of a token inside the encoder
    encoder_depth: int = 4  # transformer blocks of the encoder
    encoder_heads: int = 4  # attention heads of a block of the encoder
    embed_dim: int = 128  # numbers of a latent, and width of the predictor
    projector_dim: int = 512  # width of the hidden layers of the two projectors
    predictor_depth: int = 4  # transformer blocks of the predictor
    predictor_heads: int = 4  # attention heads of a block of the predictor
    predictor_head_dim: int = 32  # width of each of these heads
    predictor_mlp: int = 512  # width of the hidden layer of a block of the predictor
    dropout: float = 0.1  # share of the predictor's activations that training drops
    history: int = 3  # frames that the predictor looks back at, the present one included
    # recorded frames from one frame of the model to the next; the actions between them, all of
    # them, are the action block that it is conditioned on
    frame_skip: int = 1
    residual: bool = False  # add the output to the present latent, as AD-WM does
    # numbers of the points whose distance counts frames, which the planner's cost is then (see
    # worldmodel.temporal); 0: none, and the cost is the distance of latents, as published
    temporal_dim: int = 0
    action_size: int = 7  # numbers of an action
    action_mean: tuple[float, ...] = ()  # of each number of an action in the training data
    action_std: tuple[float, ...] = ()  # its standard deviation there

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(
                f"patch_size {self.patch_size} must divide image_size {self.image_size}"
            )
        if self.encoder_dim % self.encoder_heads:
            raise ValueError(
                f"encoder_heads {self.encoder_heads} must divide encoder_dim {self.encoder_dim}"
            )
        if min(self.history, self.frame_skip, self.action_size) < 1:
            raise ValueError(
                f"history {self.history}, frame_skip {self.frame_skip} and action_size "
                f"{self.action_size} must be at least 1"
            )

    @property
    def block_size(self) -> int:
        """Numbers of an action block."""
        return self.frame_skip * self.action_size


@dataclass(frozen=True)
class LeWMLossConfig:
    """What LeWorldModel minimises: the squared error of the next latents, SIGReg, and, where its
    weight is not 0, the recovery of actions."""

    sigreg_weight: float = 0.09  # weight of SIGReg; 0: latents collapse
    directions: int = 1024  # random directions that SIGReg looks along, new ones in every step
    # weight of a head, used in training alone, that must tell the action block from two successive
    # latents
    recovery_weight: float = 0.0


@dataclass(frozen=True)
class PublishedMaskedConfig:
    """Masked pre-training as V-JEPA 2 does it and, for encoders of 2.1, V-JEPA 2.1."""

    # frames of a clip; 1: single frames, as I-JEPA takes them.  V-JEPA 2.1 learns from single
    # frames in every second batch
    frames: int = 16
    stride: int = 1  # recorded frames from one frame of a clip to the next
    # even: exactly so; recordings that hold no whole clip are left out.  spread: as published, the
    # frames of a clip are spread over frames * stride recorded ones, and recordings that are no
    # longer than that are taken as a whole, their last frame repeated
    spacing: Spacing = "even"
    crop_area: tuple[float, float] = (0.3, 1.0)  # area of a random crop over the picture's
    crop_aspect: tuple[float, float] = (0.75, 1.35)  # width of a random crop over its height
    flip: bool = True  # mirror every second clip
    # kinds of masks, all in every step: rectangles hidden in every frame
    blocks: tuple[int, ...] = (8, 2)
    # area of a rectangle of each kind over the frame's, from and to
    areas: tuple[tuple[float, float], ...] = ((0.15, 0.15), (0.7, 0.7))
    image_blocks: tuple[int, ...] = (10,)  # blocks of the masks of single frames
    image_areas: tuple[tuple[float, float], ...] = ((0.15, 0.15),)  # areas of these
    block_aspect: tuple[float, float] = (0.75, 1.5)  # height of a rectangle over its width
    image_batch_size: int = 72  # single frames in a batch of V-JEPA 2.1
    image_size: int | None = None  # side of these single frames [px]; null: as of clips
    momentum: float = 0.99925  # share of the teacher that stays in every step
    visible_weight: float = 0.5  # weight of V-JEPA 2.1's loss at visible tokens of clips
    visible_weight_image: float = 0.5  # the same of single frames
    # both rise in a line from 0 at the first of these steps to their weight at the second
    visible_steps: tuple[int, int] = (15000, 30000)
    # divide it by the root of the distance to the nearest hidden token, as before the cool-down
    visible_by_distance: bool = True
    predictor_dim: int = 384  # width of a token inside the predictor
    predictor_depth: int = 12  # transformer blocks of the predictor
    predictor_heads: int = 12  # attention heads of a block of the predictor

    def __post_init__(self) -> None:
        for blocks, areas in (self.blocks, self.areas), (self.image_blocks, self.image_areas):
            if len(blocks) != len(areas) or not blocks:
                raise ValueError(
                    f"blocks {list(blocks)} and areas {list(areas)} must be as many, one for each "
                    "kind of masks"
                )

    def masks(self, image: bool) -> list[tuple[int, tuple[float, float]]]:
        """Blocks and area of every kind of masks, of single frames or of clips."""
        blocks, areas = (
            (self.image_blocks, self.image_areas) if image else (self.blocks, self.areas)
        )
        return list(zip(blocks, areas, strict=True))


@dataclass(frozen=True)
class TrainConfig:
    """One training loop.  The learning rate warms up linearly, then falls as ``schedule`` says."""

    steps: int = 1000  # optimiser steps
    batch_size: int = 64  # samples in a batch, in each process
    learning_rate: float = 6e-4  # learning rate after the warm-up
    final_learning_rate: float = 1e-5  # learning rate at the last step
    start_learning_rate: float = 0.0  # learning rate that the warm-up rises from
    warmup_steps: int = 100  # steps of linear warm-up
    # after the warm-up: cosine falls until the last step; wsd (warm-up, stable, decay) stays, and
    # falls linearly in the last decay_steps
    schedule: Schedule = "cosine"
    decay_steps: int = 0  # steps of the linear decay of schedule=wsd
    weight_decay: float = 0.04  # AdamW's weight decay, of matrices only
    # AdamW's decay of the means of the gradient and of its square
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float | None = 1.0  # largest norm of the gradient; null: any
    seed: int = 0  # draws initial weights and batches
    # train under bfloat16 autocast; null: where the device multiplies faster in it
    bf16: bool | None = None
    checkpoint_every: int = 250  # steps between saved states, from which a killed run goes on
    log_every: int = 20  # steps between logged figures
    accumulate: int = 1  # batches that one optimiser step adds up, in each process
    parallel: Parallel = "ddp"  # under torchrun: the whole model in each process, or a share of it
    compile: bool = False  # fuse the model with torch.compile; the first step takes a minute more

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate {self.accumulate} must be at least 1")
        if self.schedule == "wsd" and self.warmup_steps + self.decay_steps > self.steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} and decay_steps {self.decay_steps} are more "
                f"than the {self.steps} steps; raise steps or lower one of them"
            )

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return {} if self.schedule == "wsd" else {"decay_steps": "schedule=cosine"}


@dataclass(frozen=True)
class TemporalConfig:
    """What the temporal distance of a LeWorldModel learns from: pairs of frames of one episode."""

    frames: int = 60000  # most recorded frames that are encoded for it, whole episodes
    # weight of distances that are too short, 1 less it of those that are too long; 0.5: the mean
    # number of frames between two latents, less: nearer to the least
    low: float = 0.2
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=4000, batch_size=512, learning_rate=2e-3, warmup_steps=400, weight_decay=0.01
        )
    )

    def __post_init__(self) -> None:
        if not 0.0 < self.low <= 0.5 or self.frames < 2:
            raise ValueError(
                f"low {self.low} must be in (0, 0.5] and frames {self.frames} at least 2"
            )

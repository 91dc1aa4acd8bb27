"""Runs Meta's published code on random weights, beside ours.

    git clone https://github.com/facebookresearch/vjepa2 META && git -C META checkout 204698b
    pip install timm einops
    python tools/released_code.py vectors META tests/data/vjepa2_1_small
    python tools/released_code.py compare META vit_giant_2_1 [BLOCKS]

``vectors`` writes the reference vectors of V-JEPA 2.1 that the tests read.  ``compare`` prints how
far our encoder of that name (``worldmodel.config.ENCODERS``) is from theirs, in float32 and in
bfloat16, for a video of four frames and for single frames; BLOCKS: fewer blocks than it has, where
memory does not suffice.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from worldmodel.config import ENCODERS, EncoderConfig
from worldmodel.encoder import Encoder

COMMIT = "204698b45b3712590f06245fbfba32d3be539812"
SMALL = EncoderConfig(64, 32, 12, 2, architecture="vjepa2.1")
MODULES = {
    "vjepa2": "src.models.vision_transformer", "vjepa2.1": "app.vjepa_2_1.models.vision_transformer"
}


def published(config: EncoderConfig) -> nn.Module:
    """Meta's encoder of these sizes, with the settings of their ``hubconf.py``."""
    new = {"img_temporal_dim_size": 1, "interpolate_rope": True}
    return importlib.import_module(MODULES[config.architecture]).VisionTransformer(
        img_size=(config.image_size, config.image_size), patch_size=config.patch_size,
        num_frames=64, tubelet_size=config.tubelet_size, embed_dim=config.embed_dim,
        depth=config.depth, num_heads=config.num_heads, mlp_ratio=config.mlp_ratio, qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=config.layer_norm_eps), use_rope=True, use_sdpa=True,
        uniform_power=False, **(new if config.architecture == "vjepa2.1" else {}),
    ).eval()


@torch.no_grad()
def randomise(module: nn.Module, seed: int = 0) -> None:
    """Weights under which every part counts: positions, biases, norms, modality embeddings."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.named_parameters():
        value.normal_(generator=generator)
        if value.ndim > 1 and "mod_embed" not in name:
            value.mul_(value[0].numel() ** -0.5)
        else:
            value.mul_(0.2)
            if "norm" in name and name.endswith("weight"):
                value.add_(1)


@torch.no_grad()
def vectors(prefix: str) -> None:
    """Write PREFIX_config.json, PREFIX_weights.safetensors and PREFIX_vectors.safetensors."""
    theirs = published(SMALL)
    randomise(theirs)
    video = torch.randn(1, 3, 4, 64, 96, generator=torch.Generator().manual_seed(1))
    written = {"video": video, **outputs(theirs, video)}
    weights = {f"encoder.{name}": value for name, value in theirs.state_dict().items()}
    save_file(weights, f"{prefix}_weights.safetensors")
    save_file({k: v.contiguous() for k, v in written.items()}, f"{prefix}_vectors.safetensors")
    sizes = asdict(SMALL)
    about = {key: sizes.pop(key) for key in (
        "image_size", "patch_size", "tubelet_size", "layer_norm_eps")}
    about |= {"encoder": sizes, "code": f"facebookresearch/vjepa2 {COMMIT}"}
    Path(f"{prefix}_config.json").write_text(json.dumps(about, indent=1))


def outputs(theirs: nn.Module, video: Tensor) -> dict[str, Tensor]:
    """Last tokens and levels of a video and of its first frame, an image to V-JEPA 2.1."""
    found = {}
    for name, given in (("video", video), ("image", video[:, :, :1])):
        found[f"{name}_tokens"] = theirs(given)
        found[f"{name}_levels"] = theirs(given, training=True)
    return found


@torch.no_grad()
def compare(name: str, blocks: int | None) -> None:
    """Print the largest differences of our encoder of this name from theirs."""
    config = ENCODERS[name]
    config = replace(config, depth=blocks or config.depth)
    theirs = published(config)
    randomise(theirs)
    with torch.device("meta"):
        ours = Encoder(config)
    side = config.image_size
    video = torch.randn(1, 3, 4, side, side, generator=torch.Generator().manual_seed(1))
    exact = {}
    for dtype in (torch.float32, torch.bfloat16):
        theirs.to(dtype)
        ours.load_state_dict(theirs.state_dict(), assign=True)  # one copy in memory
        still = video[:, :, :1].to(dtype)
        twice = still if config.architecture == "vjepa2.1" else still.expand(-1, -1, 2, -1, -1)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            reference = {"video": theirs(video.to(dtype)), "frame": theirs(twice)}
        mine = {"video": ours(video.to(dtype)), "frame": ours(twice)}
        for what, value in reference.items():
            value, own = value.float(), mine[what].flatten(1, 2).float()
            exact.setdefault(what, value)
            print(
                f"{name} {config.depth}/{ENCODERS[name].depth} blocks, {what} {dtype}: "
                f"{(own - value).abs().max():.2g} (from their float32: theirs "
                f"{(value - exact[what]).abs().max():.2g}, ours "
                f"{(own - exact[what]).abs().max():.2g})", flush=True,
            )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    what, checkout, argument, *rest = sys.argv[1:]
    sys.path.insert(0, checkout)
    if what == "vectors":
        vectors(argument)
    else:
        compare(argument, int(rest[0]) if rest else None)

"""Runs Meta's published code on random weights, beside ours.

    git clone https://github.com/facebookresearch/vjepa2 META && git -C META checkout 204698b
    pip install timm einops
    python tools/released_code.py vectors META tests/data/vjepa2_1_small
    python tools/released_code.py compare META vit_giant_2_1 [BLOCKS]
    git -C META checkout c2963a4
    python tools/released_code.py landscape META tests/data/released_landscape.safetensors
    python tools/released_code.py planner META tests/data/released_planner.safetensors

``vectors`` writes the reference vectors of V-JEPA 2.1 that the tests read.  ``compare`` prints how
far our network of that name (``ENCODERS`` and ``PREDICTORS`` of ``worldmodel.config``) is from
theirs, in float32 and in bfloat16: of an encoder for a video of four frames and for a single frame,
as high as its images and 128 px wide.  BLOCKS: fewer blocks than it has, where memory or time does
not suffice; of V-JEPA 2.1 12, 24, 40 or 48.  ``landscape`` runs the cells of
``notebooks/energy_landscape_example.ipynb`` that compute the energies, unchanged, with the weights
of ``vjepa2_ac_small`` on every fourth pixel of its two frames.  ``planner`` runs
``notebooks/utils/world_model_wrapper.py``, unchanged, with the same weights, and writes its plans
and the costs of all its samples.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from arm_worldmodel.parity import CEM, CEM_SEED, load_golden
from planners.config import AxisConfig, ReleasedConfig
from worldmodel.config import ENCODERS, PREDICTORS, EncoderConfig, PredictorConfig
from worldmodel.encoder import Encoder, normalise_images
from worldmodel.predictor import Predictor

COMMIT = "204698b45b3712590f06245fbfba32d3be539812"
SMALL = EncoderConfig(64, 32, 12, 2, architecture="vjepa2.1")
MODULES = {
    "vjepa2": "src.models.vision_transformer", "vjepa2.1": "app.vjepa_2_1.models.vision_transformer"
}

FRANKA = np.load("tests/data/franka_example_traj.npz")
FRAMES = torch.from_numpy(FRANKA["observations"][0][:, ::4, ::4].copy())
STATES = torch.tensor(FRANKA["states"])


def unset(weights: Tensor, **_: float) -> Tensor:
    """Instead of Meta's initialisation, which takes long and would be overwritten."""
    return weights


def published(config: EncoderConfig) -> nn.Module:
    """Meta's encoder of these sizes, with the settings of their ``hubconf.py``."""
    code = importlib.import_module(MODULES[config.architecture])
    code.trunc_normal_ = unset
    new = {"img_temporal_dim_size": 1, "interpolate_rope": True}
    return code.VisionTransformer(
        img_size=(config.image_size, config.image_size), patch_size=config.patch_size,
        num_frames=64, tubelet_size=config.tubelet_size, embed_dim=config.embed_dim,
        depth=config.depth, num_heads=config.num_heads, mlp_ratio=config.mlp_ratio, qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=config.layer_norm_eps), use_rope=True, use_sdpa=True,
        uniform_power=False, **(new if config.architecture == "vjepa2.1" else {}),
    ).eval()


def published_predictor(config: PredictorConfig) -> nn.Module:
    """Meta's action-conditioned predictor of these sizes, with the settings of ``hubconf.py``."""
    code = importlib.import_module("src.models.ac_predictor")
    code.trunc_normal_ = unset
    return code.vit_ac_predictor(
        img_size=(config.image_size, config.image_size), patch_size=config.patch_size,
        num_frames=64, tubelet_size=2, embed_dim=config.embed_dim, depth=config.depth,
        predictor_embed_dim=config.predictor_dim, num_heads=config.num_heads,
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
    """Print the largest differences of our network of this name from theirs."""
    if name in ENCODERS:
        full = ENCODERS[name]
        config = replace(full, depth=blocks or full.depth)
        theirs = published(config)
    else:
        full = PREDICTORS[name]
        config = replace(full, depth=blocks or full.depth)
        theirs = published_predictor(config)
    randomise(theirs)
    given = inputs(config)
    exact: dict[str, Tensor] = {}
    for dtype in (torch.float32, torch.bfloat16):
        with torch.device("meta"):  # made anew, so that no float32 copy is kept for bfloat16
            ours = Encoder(config) if isinstance(config, EncoderConfig) else Predictor(config)
        theirs.to(dtype)
        ours.load_state_dict(theirs.state_dict(), assign=True)  # one copy in memory
        for what, values in given.items():
            values = [value.to(dtype) for value in values]
            mine = ours(*values).float()
            if isinstance(ours, Predictor):
                values[0] = values[0].flatten(1, 2)
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                reference = theirs(*values).float().reshape(mine.shape)
            exact.setdefault(what, reference)
            print(
                f"{name}, {config.depth} of {full.depth} blocks, {what}, {dtype}: "
                f"{(mine - reference).abs().max():.2g} (from their float32: theirs "
                f"{(reference - exact[what]).abs().max():.2g}, ours "
                f"{(mine - exact[what]).abs().max():.2g})", flush=True,
            )


def inputs(config: EncoderConfig | PredictorConfig) -> dict[str, list[Tensor]]:
    """What each network is given: a video and a single frame, or tokens of two frames."""
    generator = torch.Generator().manual_seed(1)
    side = config.image_size
    if isinstance(config, EncoderConfig):
        video = torch.randn(1, 3, 4, side, 128, generator=generator)
        still = video[:, :, :1]
        twice = config.architecture == "vjepa2"
        return {"video": [video], "frame": [still.expand(-1, -1, 2, -1, -1) if twice else still]}
    tokens = torch.randn(1, 2, config.grid**2, config.embed_dim, generator=generator)
    moves = 0.1 * torch.randn(2, 1, 2, 7, generator=generator)
    return {"tokens": [tokens, *moves]}


@torch.no_grad()
def landscape(meta: Path, out: str) -> None:
    """Write the energies [125] of the notebook's grid of actions."""
    encoder, predictor, given = small()
    sys.path.insert(0, str(meta / "notebooks"))
    known = {
        "torch": torch, "np": np, "F": nn.functional, "encoder": encoder, "predictor": predictor,
        "tokens_per_frame": given["frame_tokens"].shape[2], "states": STATES,
        "clips": normalise_images(FRAMES).transpose(0, 1)[None],
        "compute_new_pose": importlib.import_module("utils.mpc_utils").compute_new_pose,
    }
    text = (meta / "notebooks/energy_landscape_example.ipynb").read_text()
    for cell in json.loads(text)["cells"]:
        lines = "".join(cell["source"])
        if lines.startswith(("def forward_target", "# Compute energy")):
            exec(lines, known)
    save_file({"energies": torch.tensor(known["loss"])}, out)


@torch.no_grad()
def planner(meta: Path, out: str) -> None:
    """Write the published planner's plans [seeds, H, 7], and the costs of all samples
    [seeds, iterations, S], with seeds 0 to 9; of ``cem_action`` with its own seed."""
    encoder, predictor, given = small()
    tokens, state = given["frame_tokens_normalized"][0], given["states"][:1, :1]
    sys.path.insert(0, str(meta / "notebooks"))
    code = importlib.import_module("utils.world_model_wrapper")
    l1 = importlib.import_module("utils.mpc_utils").l1
    costs: list[Tensor] = []

    def told(imagined: Tensor, goal: Tensor) -> Tensor:
        costs.append(l1(imagined, goal))
        return costs[-1]

    def transform(clip: NDArray[np.uint8]) -> Tensor:
        return normalise_images(torch.from_numpy(clip)).transpose(0, 1)

    def run(name: str, c: ReleasedConfig, ends: tuple[Tensor, ...], seeds: Iterable[int]) -> None:
        args = {
            "rollout": c.horizon, "samples": c.samples, "topk": c.elites,
            "cem_steps": c.iterations, "momentum_mean": c.momentum_mean,
            "momentum_mean_gripper": c.momentum_mean_grip, "momentum_std": c.momentum_std,
            "momentum_std_gripper": c.momentum_std_grip, "maxnorm": c.max_move_m,
            "axis": c.axis.given(), "objective": told,
        }
        model = code.WorldModel(encoder, predictor, tokens.shape[1], transform, args, True, "cpu")
        if name.startswith("franka"):
            now, goal = (model.encode(frame)[:, None] for frame in FRAMES.numpy())
            ends = now, STATES[:1, :1].float(), goal
        plans, every = [], []
        for seed in seeds:
            costs.clear()
            torch.manual_seed(seed)
            plans.append(model.infer_next_action(*ends, c.close_from))
            every.append(torch.stack(costs))
        written[name], written[f"{name}_costs"] = torch.stack(plans), torch.stack(every)
        print(name, tuple(written[f"{name}_costs"].shape), flush=True)

    written: dict[str, Tensor] = {}
    ends = tokens[:1, None], state, tokens[None, -1:]
    notebook = ReleasedConfig(samples=25, iterations=2, momentum_std=0.75, max_move_m=0.075)
    run("notebook", notebook, ends, range(10))
    run("franka_notebook", notebook, ends, range(10))
    run("closing", replace(notebook, close_from=1, axis=AxisConfig(z_m=-0.02)), ends, range(10))
    run("cem_action", CEM, ends, [CEM_SEED])
    run("wrapper", ReleasedConfig(), ends, range(10))
    run("paper", ReleasedConfig(samples=800, horizon=1, max_move_m=0.075), ends, range(10))
    save_file(written, out)


def small() -> tuple[nn.Module, nn.Module, dict[str, Tensor]]:
    """Meta's encoder and predictor with the weights of ``vjepa2_ac_small``, and its vectors."""
    encoder, predictor, given = load_golden("tests/data/vjepa2_ac_small")
    assert predictor is not None
    theirs = published(encoder.config), published_predictor(predictor.config)
    for module, ours in zip(theirs, (encoder, predictor), strict=True):
        module.load_state_dict(ours.state_dict())
    return *theirs, given


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    what, checkout, argument, *rest = sys.argv[1:]
    sys.path.insert(0, checkout)
    if what == "vectors":
        vectors(argument)
    elif what == "landscape":
        landscape(Path(checkout), argument)
    elif what == "planner":
        planner(Path(checkout), argument)
    else:
        compare(argument, int(rest[0]) if rest else None)

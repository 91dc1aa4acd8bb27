"""Runs the training loops that Meta published, unchanged, on small random weights, for the tests.

    git clone https://github.com/facebookresearch/vjepa2 META && git -C META checkout c2963a4
    pip install timm einops pandas h5py torchvision
    python tools/released_training.py ac META tests/data/released_training_ac.safetensors
    python tools/released_training.py masked META tests/data/released_training_masked.safetensors
    python tools/released_training.py cooldown META tests/data/released_cooldown.safetensors

``ac``: twelve optimiser steps of ``app/vjepa_droid/train.py`` with the settings of
``configs/train/vitg16/droid-256px-8f.yaml``, in float32, with smaller sizes: those of ``SMALL`` and
``SCHEDULE``.  Written are the weights before, the recorded windows (the same in every step), the
crops of the first, losses, learning rates and weight decays of every step, the gradients of the
first, and the predictor after the first and the last.

``masked``: six optimiser steps of ``app/vjepa/train.py`` with the settings of
``configs/train/vitg16/pretrain-256px-16f.yaml``, in float32, with the sizes ``SMALL`` and
``MASKED``.  Written are the weights before, the clips (the same in every step) and the masks of
every step, losses and learning rates, the gradients of the first step, the weights after it, and
the teacher after the last.

``cooldown``: four steps more, on longer clips, by ``configs/train/vitg16/cooldown-256px-64f.yaml``
from what the six of ``masked`` saved; and the frames that ``src/datasets/video_dataset.py`` takes
of recordings of ``COUNTS`` frames, from the first (``rows.COUNT``).
"""

from __future__ import annotations

import ast
import importlib
import sys
import tempfile
import types
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import yaml
from released_code import randomise
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2}
SCHEDULE = {"ipe": 1, "epochs": 12, "warmup": 3, "anneal": 4}
SIDE, PATCH, BATCH = 24, 8, 2
MASKED = {"ipe": 1, "epochs": 6, "warmup": 2}
MASKED_SIDE, MASKED_FRAMES = 32, 4
HEIGHT, WIDTH = 27, 48  # of the recorded pictures, as wide as DROID's
COOL = {"ipe": 1, "epochs": 4}
COOL_FRAMES = 8
COUNTS, CLIP, STRIDE = (1, 3, 10, 21, 40, 41, 47), 8, 5  # recordings, frames of a clip, their step


class Sampler:
    """Of a loader that gives one batch again and again."""

    def set_epoch(self, epoch: int) -> None:
        """Nothing is drawn."""


def small_encoder(
    code: types.ModuleType, sizes: dict[str, int] = SMALL, **settings: Any
) -> nn.Module:
    """Meta's encoder of these sizes."""
    norm = partial(nn.LayerNorm, eps=1e-6)
    return code.VisionTransformer(**sizes, mlp_ratio=4, qkv_bias=True, norm_layer=norm, **settings)


def watch(train: types.ModuleType, parts: tuple[str, ...], seen: dict[str, Tensor]) -> None:
    """Record in ``seen`` what ``train.main`` computes, for the modules ``parts`` that its
    ``init_video_model`` returns."""
    models: dict[str, nn.Module] = {}
    figures: list[tuple[float, ...]] = []
    decays: list[list[float]] = []
    build, timed = train.init_video_model, train.gpu_timer

    def built(**settings: Any) -> tuple[nn.Module, nn.Module]:
        encoder, predictor = build(**settings)
        models.update(encoder=encoder, predictor=predictor)
        return encoder, predictor

    def timer(step: Callable[[], tuple[float, ...]]) -> tuple[tuple[float, ...], float]:
        result, seconds = timed(step)
        figures.append(result)
        seen["figures"] = torch.tensor(figures, dtype=torch.float64)
        return result, seconds

    def named() -> dict[str, nn.Parameter]:
        return {
            f"{part}.{name.removeprefix('backbone.')}": value for part in parts
            for name, value in models[part].named_parameters()
        }

    def before(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        if not figures:
            for name, value in named().items():
                if value.grad is not None:
                    seen[f"gradient.{name}"] = value.grad.clone()

    def after(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        decays.append([float(group["weight_decay"]) for group in optimiser.param_groups])
        seen["weight_decays"] = torch.tensor(decays, dtype=torch.float64)
        for name, value in named().items():
            seen[f"{'last' if figures else 'first'}.{name}"] = value.detach().clone()

    train.init_video_model, train.gpu_timer = built, timer
    register_optimizer_step_pre_hook(before)
    register_optimizer_step_post_hook(after)


def ac(meta: Path) -> dict[str, Tensor]:
    """Vectors of the action-conditioned post-training."""
    sys.modules["decord"] = types.ModuleType("decord")  # reads videos; there are none
    sys.modules["decord"].VideoReader = sys.modules["decord"].cpu = None  # type: ignore
    train = importlib.import_module("app.vjepa_droid.train")
    code = importlib.import_module("src.models.vision_transformer")
    utils = importlib.import_module("app.vjepa_droid.utils")
    code.small = partial(small_encoder, code)
    settings = yaml.safe_load((meta / "configs/train/vitg16/droid-256px-8f.yaml").read_text())
    settings["model"] |= {
        "model_name": "small", "pred_depth": SMALL["depth"], "pred_embed_dim": SMALL["embed_dim"],
        "pred_num_heads": SMALL["num_heads"], "use_activation_checkpointing": False,
    }
    settings["data"] |= {"crop_size": SIDE, "patch_size": PATCH, "batch_size": BATCH}
    settings["meta"]["dtype"] = "float32"
    settings["meta"]["load_predictor"] = True
    settings["optimization"] |= SCHEDULE

    generator = torch.Generator().manual_seed(2)
    shape = (BATCH, 8, HEIGHT, WIDTH, 3)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    states = 0.5 * torch.randn(BATCH, 8, 7, generator=generator)
    actions = 0.1 * torch.randn(BATCH, 7, 7, generator=generator)
    found = {"images": images, "states": states, "actions": actions}

    def loader(transform: Callable[[Tensor], Tensor], **_: Any) -> tuple[list[Any], Sampler]:
        clips = torch.stack([transform(window) for window in images])  # [B, C, T, H, W]
        found["crops"] = clips[0].clone()
        return [(clips, actions, states, torch.zeros(BATCH, 8, 6))] * SCHEDULE["epochs"], Sampler()

    encoder, predictor = utils.init_video_model(
        "cpu", PATCH, 512, 2, "small", SIDE, SMALL["depth"], SMALL["num_heads"],
        SMALL["embed_dim"], uniform_power=True, use_rope=True, use_sdpa=True,
    )
    randomise(encoder, 0)
    randomise(predictor, 1)
    for part, module in (("encoder", encoder), ("predictor", predictor)):
        found |= {f"{part}.{k}": v for k, v in module.state_dict().items()}
    train.init_data = loader
    watch(train, ("predictor",), found)
    with tempfile.TemporaryDirectory() as folder:
        weights = {f"module.{k}": v for k, v in encoder.state_dict().items()}
        given = {f"module.{k}": v for k, v in predictor.state_dict().items()}
        file = f"{folder}/before.pt"
        torch.save(
            {"epoch": 0, "encoder": weights, "target_encoder": weights, "predictor": given}, file
        )
        settings["meta"]["pretrain_checkpoint"] = file
        train.main({**settings, "folder": folder})
    return found


def masked(meta: Path) -> dict[str, Tensor]:
    """Vectors of the masked pre-training."""
    settings = small_settings(meta, "pretrain-256px-16f", MASKED_FRAMES)
    settings["meta"]["load_checkpoint"] = False
    settings["optimization"] |= MASKED
    with tempfile.TemporaryDirectory() as folder:
        return without_spare(pre_trained(settings, folder, MASKED_FRAMES, MASKED["epochs"]))


def small_settings(meta: Path, name: str, frames: int) -> dict[str, Any]:
    """A published pre-training of V-JEPA 2, made small."""
    settings = yaml.safe_load((meta / f"configs/train/vitg16/{name}.yaml").read_text())
    settings["model"] |= {
        "model_name": "small", "pred_depth": SMALL["depth"], "pred_embed_dim": SMALL["embed_dim"],
        "pred_num_heads": SMALL["num_heads"], "use_activation_checkpointing": False,
    }
    settings["data"] |= {
        "crop_size": MASKED_SIDE, "patch_size": PATCH, "batch_size": BATCH,
        "dataset_fpcs": [frames] * 3,
    }
    settings["meta"]["dtype"] = "float32"
    return settings


def pre_trained(
    settings: dict[str, Any], folder: str, frames: int, steps: int
) -> dict[str, Tensor]:
    """Vectors of a run of ``app/vjepa/train.py``, which leaves ``latest.pt`` in ``folder``."""
    train = importlib.import_module("app.vjepa.train")
    code = importlib.import_module("src.models.vision_transformer")
    code.small = partial(small_encoder, code)
    shape = (BATCH, 3, frames, MASKED_SIDE, MASKED_SIDE)
    clips = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    found = {"clips": clips}
    feed(train, clips, found, steps)
    train.main({**settings, "folder": folder})
    saved = torch.load(f"{folder}/latest.pt", weights_only=True)["target_encoder"]
    return found | {f"teacher.{k.removeprefix('module.backbone.')}": v for k, v in saved.items()}


def cooldown(meta: Path) -> dict[str, Tensor]:
    """Vectors of the cool-down, and rows of recordings."""
    settings = small_settings(meta, "cooldown-256px-64f", COOL_FRAMES)
    before = small_settings(meta, "pretrain-256px-16f", MASKED_FRAMES)
    before["meta"]["load_checkpoint"] = False
    before["optimization"] |= MASKED
    with tempfile.TemporaryDirectory() as folder:
        pre_trained(before, folder, MASKED_FRAMES, MASKED["epochs"])
        settings["optimization"] |= COOL | {"anneal_ckpt": f"{folder}/latest.pt"}
        own = f"{folder}/cool"
        Path(own).mkdir()
        found = pre_trained(settings, own, COOL_FRAMES, COOL["epochs"])
    kept = ("clips", "visible", "hidden", "figures", "weight_decays", "teacher")
    rows = {f"rows.{count}": published_rows(meta, count) for count in COUNTS}
    return {k: v for k, v in found.items() if k.startswith(kept)} | rows


def published_rows(meta: Path, count: int) -> Tensor:
    """The rows that their loader takes of a recording, from its first where it is longer than a
    clip.  Their module needs decord; of its text only the method runs."""
    text = (meta / "src/datasets/video_dataset.py").read_text()
    method = next(node for node in ast.walk(ast.parse(text))
                  if isinstance(node, ast.FunctionDef) and node.name == "loadvideo_decord")

    class Reader:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __len__(self) -> int:
            return count

        def seek(self, row: int) -> None: ...

        def get_batch(self, rows: list[int]) -> Any:
            return types.SimpleNamespace(asnumpy=lambda: np.array(rows))

    class First:  # instead of their random start
        random = types.SimpleNamespace(randint=lambda low, high: low)

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    always = types.SimpleNamespace(exists=lambda path: True, getsize=lambda path: 0)
    known: dict[str, Any] = {
        "VideoReader": Reader, "cpu": int, "np": First(), "warnings": warnings,
        "os": types.SimpleNamespace(path=always),
    }
    exec(compile(ast.Module([method], []), "video_dataset.py", "exec"), known)
    loader = types.SimpleNamespace(
        frame_step=STRIDE, duration=None, fps=None, filter_long_videos=1, filter_short_videos=False,
        num_clips=1, random_clip_sampling=True, allow_clip_overlap=False,
    )
    rows, _ = known["loadvideo_decord"](loader, "recording", CLIP)
    return torch.from_numpy(rows)


def without_spare(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without mask tokens that are never used, and the weights after the last step."""
    spare = tuple(f"mask_tokens.{i}" for i in range(1, 8))
    return {k: v for k, v in found.items()
            if not k.endswith(spare) and not k.startswith("last.")}


def feed(
    train: types.ModuleType, clips: Tensor, found: dict[str, Tensor], steps: int
) -> None:
    """Give ``train.main`` random weights and the same clips in each of its ``steps``, with masks
    drawn from the seed 3; record all of it in ``found``, and what is computed."""

    def loader(collator: Callable[..., Any], **_: Any) -> tuple[list[Any], Sampler]:
        torch.manual_seed(3)
        samples = [([clip], 0, [torch.arange(clip.shape[1])]) for clip in clips]
        drawn = [collator(samples) for _ in range(steps)]
        for step, ((_, visible, hidden),) in enumerate(drawn):
            for kind, both in enumerate(zip(visible, hidden, strict=True)):
                found[f"visible.{step}.{kind}"], found[f"hidden.{step}.{kind}"] = both
        return drawn, Sampler()

    build = train.init_video_model

    def random(**given: Any) -> tuple[nn.Module, nn.Module]:
        models = build(**given)
        for seed, (part, module) in enumerate(zip(("encoder", "predictor"), models, strict=True)):
            randomise(module, seed)
            found.update({f"{part}.{k.removeprefix('backbone.')}": v.clone()
                          for k, v in module.state_dict().items()})
        return models

    train.init_video_model, train.init_data = random, loader
    watch(train, ("encoder", "predictor"), found)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    what, checkout, out = sys.argv[1:]
    sys.path.insert(0, checkout)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    vectors = {"ac": ac, "masked": masked, "cooldown": cooldown}[what](Path(checkout))
    save_file({name: value.contiguous() for name, value in vectors.items()}, out)

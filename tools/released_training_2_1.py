"""Runs what Meta published of the training of V-JEPA 2.1, on small random weights, for the tests.

    git clone https://github.com/facebookresearch/vjepa2 META && git -C META checkout 204698b
    pip install timm einops pandas h5py torchvision
    python tools/released_training_2_1.py dense META tests/data/released_training_dense.safetensors
    python tools/released_training_2_1.py distil META tests/data/released_distillation.safetensors

``dense``: as ``masked`` of ``released_training.py``, of ``app/vjepa_2_1/train.py`` with
``configs/train_2_1/vitg16``, of the sizes ``DENSE``, in two processes, of which the first learns
from single frames and the second from clips.  The loop knows the width of three encoders; that of
``vit_large`` is replaced by ours in its text.  The weight of the loss at visible tokens is constant
(``lambda_progressive: false``).

``distil``: the published networks of V-JEPA 2.1, with their predictor as ``hubconf.py`` makes that
of the distilled models.  The loop is not published; here it is four steps by the paper (section
2.3.6), with the losses of ``dense``.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import types
import warnings
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import yaml
from released_code import randomise
from released_training import BATCH, MASKED, MASKED_FRAMES, feed, small_encoder, without_spare
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.multiprocessing import start_processes

DENSE = {"embed_dim": 12, "depth": 12, "num_heads": 1}
DENSE_TEACHER = {"embed_dim": 24, "depth": 12, "num_heads": 2}
DISTIL_STEPS = 4
DENSE_SIDE, DENSE_PATCH, DENSE_PREDICTOR = 64, 16, {"pred_depth": 4, "pred_embed_dim": 12}


def dense_of(rank: int, meta: str, folder: str) -> None:
    """One of the two processes of ``dense``; its vectors go into a file of ``folder``."""
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    text = (Path(meta) / "app/vjepa_2_1/train.py").read_text()
    known = "embed_dim_encoder = 1024"
    assert text.count(known) == 1
    train = types.ModuleType("train")
    exec(text.replace(known, f"embed_dim_encoder = {DENSE['embed_dim']}"), train.__dict__)
    code = importlib.import_module("app.vjepa_2_1.models.vision_transformer")
    code.vit_large = partial(small_encoder, code, DENSE)
    file = Path(meta) / "configs/train_2_1/vitg16/pretrain-256px-16f.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["model"] |= {
        "model_name": "vit_large", **DENSE_PREDICTOR, "pred_num_heads": DENSE["num_heads"],
        "use_activation_checkpointing": False, "lambda_progressive": False,
    }
    settings["data"] |= {"crop_size": DENSE_SIDE, "batch_size": BATCH,
                         "dataset_fpcs": [MASKED_FRAMES] * 3}
    settings["img_data"] |= {"crop_size": DENSE_SIDE, "batch_size": BATCH}
    settings["meta"] |= {"dtype": "float32", "load_checkpoint": False}
    settings["optimization"] |= MASKED
    shape = (BATCH, 3, MASKED_FRAMES if rank else 1, DENSE_SIDE, DENSE_SIDE)
    values = torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(rank))
    found: dict[str, Tensor] = {"clips": values.to(torch.int8)}
    feed(train, values.float(), found, MASKED["epochs"])
    own = f"{folder}/{rank}"
    Path(own).mkdir()
    train.main({**settings, "folder": own})
    if rank == 0:
        saved = torch.load(f"{own}/latest.pth.tar", weights_only=True)["target_encoder"]
        found |= {f"teacher.{k.removeprefix('module.backbone.')}": v for k, v in saved.items()}
    kinds = ("clips", "visible", "hidden", "figures")
    vectors = {f"{k}.{rank}" if k.startswith(kinds) else k: v
               for k, v in without_spare(found).items() if rank == 0 or k.startswith(kinds)}
    save_file({k: v.contiguous() for k, v in vectors.items()}, f"{own}.safetensors")


def dense(meta: Path) -> dict[str, Tensor]:
    """Vectors of the pre-training of V-JEPA 2.1: names of what the process of single frames saw
    end in .0, of what that of clips saw in .1."""
    with tempfile.TemporaryDirectory() as folder:
        start_processes(dense_of, (str(meta), folder), nprocs=2, start_method="fork")
        return load_file(f"{folder}/0.safetensors") | load_file(f"{folder}/1.safetensors")


def distil(meta: Path) -> dict[str, Tensor]:
    """Vectors of the distillation of V-JEPA 2.1: a batch of single frames (.0) and one of clips
    (.1) make each of four steps."""
    code = importlib.import_module("app.vjepa_2_1.models.vision_transformer")
    predict = importlib.import_module("app.vjepa_2_1.models.predictor").vit_predictor
    distances = importlib.import_module("app.vjepa_2_1.models.utils.masks_dist")
    collate = importlib.import_module("src.masks.multiseq_multiblock3d").MaskCollator
    read = (meta / "configs/train_2_1/vitg16/pretrain-256px-16f.yaml").read_text()
    settings, side, patch = yaml.safe_load(read), DENSE_SIDE, DENSE_PATCH
    shared = {"img_size": (side, side), "patch_size": patch, "num_frames": MASKED_FRAMES,
              "tubelet_size": 2, "use_rope": True, "use_sdpa": True, "uniform_power": True,
              "img_temporal_dim_size": 1, "interpolate_rope": True, "modality_embedding": True}
    student = small_encoder(code, DENSE, n_output_distillation=1, **shared)
    teacher = small_encoder(code, DENSE_TEACHER, n_output_distillation=1, **shared)
    predictor = predict(
        **shared, embed_dim=DENSE["embed_dim"], teacher_embed_dim=DENSE_TEACHER["embed_dim"],
        predictor_embed_dim=DENSE_PREDICTOR["pred_embed_dim"], num_heads=DENSE["num_heads"],
        depth=DENSE_PREDICTOR["pred_depth"], use_mask_tokens=True, num_mask_tokens=8,
        n_output_distillation=1, return_all_tokens=True,
    )
    found: dict[str, Tensor] = {}
    parts = {"encoder": student, "teacher": teacher, "predictor": predictor}
    for seed, (part, module) in enumerate(parts.items()):
        randomise(module, seed)
        found |= {f"{part}.{k}": v.clone() for k, v in module.state_dict().items()}
    torch.manual_seed(3)
    batches = []
    for kind, (mask, frames) in enumerate((("img_mask", 1), ("mask", MASKED_FRAMES))):
        shape, generator = (BATCH, 3, frames, side, side), torch.Generator().manual_seed(kind)
        values = torch.randint(-3, 4, shape, generator=generator)
        found[f"clips.{kind}"] = values.to(torch.int8)
        collator = collate(
            cfgs_mask=settings[mask], dataset_fpcs=[frames], crop_size=side, patch_size=patch,
            tubelet_size=min(2, frames),
        )
        samples = [([clip], 0, [torch.arange(frames)]) for clip in values.float()]
        batches.append((values.float(), [collator(samples)[0] for _ in range(DISTIL_STEPS)]))
    named = [(f"{part}.{name}", value) for part in ("encoder", "predictor")
             for name, value in parts[part].named_parameters()]
    rates = settings["optimization"]
    optimiser = torch.optim.AdamW([
        {"params": [v for _, v in named if v.ndim > 1], "weight_decay": rates["weight_decay"]},
        {"params": [v for _, v in named if v.ndim <= 1], "weight_decay": 0.0},
    ], lr=rates["lr"])
    figures = []
    for step in range(DISTIL_STEPS):
        optimiser.zero_grad()
        for kind, (clips, drawn) in enumerate(batches):
            _, seen, covered = drawn[step]
            with torch.no_grad():
                target = nn.functional.layer_norm(teacher(clips, training=True), (24,))
            losses, number = [], len(seen)
            for i, (visible, hidden) in enumerate(zip(seen, covered, strict=True)):
                found[f"visible.{step}.{i}.{kind}"] = visible
                found[f"hidden.{step}.{i}.{kind}"] = hidden
                context = student(clips, masks=[visible], training=True)
                guess, again = predictor(
                    context, visible, hidden, mod="video" if kind else "image", mask_index=0
                )
                far = distances.compute_mask_distance(
                    [[hidden]], [[visible]], side // patch, False
                )[0][0]
                wanted = (target.gather(1, m[..., None].expand(-1, -1, 24))
                          for m in (hidden, visible))
                losses.append((guess - next(wanted)).abs().mean()
                              + 0.5 * ((again - next(wanted)).abs() / far[..., None]).mean())
            loss = torch.stack(losses).sum() / number
            (loss / 2).backward()
            figures.append(loss.item())
        if step == 0:
            found |= {f"gradient.{k}": v.grad.clone() for k, v in named if v.grad is not None}
        optimiser.step()
    found["figures"] = torch.tensor(figures, dtype=torch.float64)
    return without_spare(found)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    what, checkout, out = sys.argv[1:]
    sys.path.insert(0, checkout)
    torch.set_num_threads(1)
    vectors = {"dense": dense, "distil": distil}[what](Path(checkout))
    save_file({name: value.contiguous() for name, value in vectors.items()}, out)

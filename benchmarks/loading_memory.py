"""Memory and seconds of loading a released file and of one frame, measured with random weights.

    python benchmarks/loading_memory.py vit_large_2_1          # an encoder
    python benchmarks/loading_memory.py vit_giant vjepa2_ac    # and its predictor: plans one step
    python benchmarks/loading_memory.py huggingface vit_large  # another layout than Meta's
    python benchmarks/loading_memory.py float16 vit_large      # a folder of ours; or float32

Names are those of ``worldmodel.config``.  Weights are written into a folder that is removed
afterwards.  Anonymous memory is what a process must have; pages of the file, which is mapped, the
system takes back when it needs them.  The peak is of both together, above what the process had
before; where loading takes more than 1.3 times the file, as float16 does, which is converted to
float32, the exit status is 1.  Linux only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import arm_worldmodel as awm
from planners.config import AgentConfig
from planners.memory import planning_need
from worldmodel.checkpoint import filled
from worldmodel.config import ENCODERS, PREDICTORS
from worldmodel.device import copied
from worldmodel.encoder import Encoder
from worldmodel.models import Models
from worldmodel.predictor import Predictor

LAYOUTS = ("meta", "huggingface", "float16", "float32")
MOST = 1.3  # times the size of the file that loading it may take
CEM = awm.CEM(samples=16, iterations=1, elites=4)


def state_dicts(folder: str, encoder: str, predictor: str | None) -> dict[str, dict[str, Tensor]]:
    """Random weights of each part, in a file and not in memory."""
    with torch.device("meta"):
        parts = {"encoder": Encoder(ENCODERS[encoder]).state_dict()}
        if predictor:
            parts["predictor"] = Predictor(PREDICTORS[predictor]).state_dict()
    count = sum(value.numel() for state in parts.values() for value in state.values())
    block = 0.02 * torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    numbers = torch.from_file(f"{folder}/numbers", True, count)
    for part in numbers.split(len(block)):
        part.copy_(block[: len(part)])
    content, begin = {}, 0
    for name, state in parts.items():
        content[name] = {}
        for key, value in state.items():
            flat = numbers[begin : begin + value.numel()]
            content[name][key] = flat.reshape(value.shape)
            begin += value.numel()
    return content


def write(
    layout: str, folder: str, encoder: str, predictor: str | None
) -> tuple[Path, list[Path]]:
    """A source of weights in one of ``LAYOUTS``, and its files."""
    parts = state_dicts(folder, encoder, predictor)
    if layout == "meta":
        path = Path(folder, "384.pt" if "384" in encoder or encoder.endswith("_2_1") else "256.pt")
        torch.save({
            name: {f"module.backbone.{key}": value for key, value in state.items()}
            for name, state in parts.items()
        }, path)
        return path, [path]
    made = filled(Encoder, ENCODERS[encoder], parts["encoder"], folder)
    models = Models(folder, {"encoder": made})
    if layout == "huggingface":
        return Path(folder), [write_huggingface(Path(folder), models.encoder)]
    if predictor:
        models.parts["predictor"] = filled(
            Predictor, PREDICTORS[predictor], parts["predictor"], folder
        )
    return Path(folder), models.save(folder, getattr(torch, layout))


def write_huggingface(folder: Path, encoder: Encoder) -> Path:
    """An encoder as ``transformers`` names its tensors, and its config.json."""
    c, state = encoder.config, {}
    for key, value in encoder.state_dict().items():
        key = key.replace("blocks.", "layer.").replace("attn.", "attention.")
        key = key.replace("patch_embed.", "embeddings.patch_embeddings.")
        key = "encoder." + re.sub(r"^norm\.", "layernorm.", key)
        if ".qkv." in key:
            for role, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[key.replace("qkv", role)] = part.clone()
        else:
            state[key] = value
    about = {
        "model_type": "vjepa2", "crop_size": c.image_size, "hidden_size": c.embed_dim,
        "num_hidden_layers": c.depth, "num_attention_heads": c.num_heads,
        "mlp_ratio": c.mlp_ratio, "patch_size": c.patch_size, "tubelet_size": c.tubelet_size,
        "layer_norm_eps": c.layer_norm_eps,
    }
    (folder / "config.json").write_text(json.dumps(about))
    save_file(state, folder / "model.safetensors")
    return folder / "model.safetensors"


def resident() -> tuple[float, float]:
    """Anonymous memory and pages of files that this process has now [GB]."""
    status = Path("/proc/self/status").read_text()
    anonymous, files = (
        int(status.partition(f"{name}:")[2].split()[0]) / 1e6 for name in ("RssAnon", "RssFile")
    )
    return anonymous, files


def peak() -> float:
    """The most memory that this process ever had, both kinds together [GB]."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def drop_from_cache(path: Path) -> None:
    """Make the system forget the pages of a file, so that they are read from the disk."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def measure(path: str, files: list[Path]) -> bool:
    """Print what each step took in this process, the files being in no cache at first; whether
    loading kept to ``MOST``."""
    for file in files:
        drop_from_cache(file)
    size = sum(file.stat().st_size for file in files) / 1e9
    began, before = time.monotonic(), resident()
    highest = 0.0

    def tell(what: str) -> None:
        nonlocal began, highest
        anonymous, mapped = (now - then for now, then in zip(resident(), before, strict=True))
        highest = (peak() - sum(before)) / size
        print(f"  {what:28}{time.monotonic() - began:8.1f} s {anonymous:8.2f} GB anonymous "
              f"{mapped:8.2f} GB of files; peak {highest:.2f} times the size", flush=True)
        began = time.monotonic()

    model = awm.load(path, device="cpu")
    tell("loaded")
    kept = highest <= MOST
    picture = np.zeros((model.image_size, model.image_size, 3), np.uint8)
    model.encode(picture)
    tell("one frame in float32")
    if "predictor" in model.parts:
        need = planning_need(
            model.models.encoder, model.models.predictor, AgentConfig(cem=CEM, bf16=True)
        )
        print(f"  predicted for planning: {need}")
        agent = awm.Agent(model, CEM, distance="l1", bf16=True)
        tell("planner made, bfloat16")
        agent.reset(picture)
        agent.act({"image": picture, "state": np.array([0.4, 0, 0.3, 3.1, 0, 0, 0])})
        tell(f"goal and one step of {CEM.samples}")
    else:
        fast = copied(model.models.encoder, torch.bfloat16)
        tell("copied into bfloat16")
        fast.encode_frames(torch.from_numpy(picture)[None])
        tell("one frame in bfloat16")
    return kept


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        sys.exit(not measure(sys.argv[2], [Path(name) for name in sys.argv[3:]]))
    layout, *names = sys.argv[1:] if sys.argv[1] in LAYOUTS else ["meta", *sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        path, files = write(layout, folder, names[0], names[1] if names[1:] else None)
        size = sum(file.stat().st_size for file in files)
        print(f"{layout} {' '.join(names)}: {size / 1e9:.2f} GB")
        Path(folder, "numbers").unlink()
        measured = [sys.executable, __file__, "--measure", str(path), *map(str, files)]
        sys.exit(subprocess.run(measured).returncode)

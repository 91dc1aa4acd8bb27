"""Memory and seconds of loading a released file and of one frame, measured with random weights.

    python benchmarks/loading_memory.py vit_large_2_1          # an encoder
    python benchmarks/loading_memory.py vit_giant vjepa2_ac    # and its predictor: plans one step

Names are those of ``worldmodel.config``.  A file in Meta's layout is written into a folder that is
removed afterwards.  Anonymous memory is what a process must have; pages of the file, which is
mapped, the system takes back when it needs them.  Linux only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import arm_worldmodel as awm
from planners.config import AgentConfig
from planners.memory import planning_need
from worldmodel.config import ENCODERS, PREDICTORS
from worldmodel.device import copied
from worldmodel.encoder import Encoder
from worldmodel.predictor import Predictor

CEM = awm.CEM(samples=16, iterations=1, elites=4)


def write(folder: str, encoder: str, predictor: str | None) -> Path:
    """A file in Meta's layout, made without its size in memory."""
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
            content[name][f"module.backbone.{key}"] = flat.reshape(value.shape)
            begin += value.numel()
    path = Path(folder, "384.pt" if "384" in encoder or encoder.endswith("_2_1") else "256.pt")
    torch.save(content, path)
    return path


def resident() -> tuple[float, float]:
    """Anonymous memory and pages of files that this process has now [GB]."""
    status = Path("/proc/self/status").read_text()
    anonymous, files = (
        int(status.partition(f"{name}:")[2].split()[0]) / 1e6 for name in ("RssAnon", "RssFile")
    )
    return anonymous, files


def drop_from_cache(path: str) -> None:
    """Make the system forget the pages of a file, so that they are read from the disk."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def measure(path: str) -> None:
    """Print what each step took in this process, the file being in no cache at first."""
    drop_from_cache(path)
    began, before = time.monotonic(), resident()

    def tell(what: str) -> None:
        nonlocal began
        anonymous, files = (now - then for now, then in zip(resident(), before, strict=True))
        print(f"  {what:28}{time.monotonic() - began:8.1f} s {anonymous:8.2f} GB anonymous "
              f"{files:8.2f} GB of files", flush=True)
        began = time.monotonic()

    model = awm.load(path, device="cpu")
    tell("loaded")
    picture = np.zeros((model.image_size, model.image_size, 3), np.uint8)
    model.encode(picture)
    tell("one frame in float32")
    if "predictor" in model.parts:
        need = planning_need(
            model.models.encoder, model.models.predictor, AgentConfig(cem=CEM)
        )
        print(f"  predicted for planning: {need}")
        agent = awm.Agent(model, CEM, distance="l1")
        tell("planner made, bfloat16")
        agent.reset(picture)
        agent.act({"image": picture, "state": np.array([0.4, 0, 0.3, 3.1, 0, 0, 0])})
        tell(f"goal and one step of {CEM.samples}")
    else:
        fast = copied(model.models.encoder, torch.bfloat16)
        tell("copied into bfloat16")
        fast.encode_frames(torch.from_numpy(picture)[None])
        tell("one frame in bfloat16")


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        measure(sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = write(folder, sys.argv[1], sys.argv[2] if sys.argv[2:] else None)
            print(f"{' '.join(sys.argv[1:])}: a file of {file.stat().st_size / 1e9:.2f} GB")
            Path(folder, "numbers").unlink()
            subprocess.run([sys.executable, __file__, "--measure", str(file)], check=True)

"""Memory of post-training the predictor on cached latents: arithmetic, and a measured step.

    python benchmarks/finetune_memory.py                     # a scaled model, on this machine
    python benchmarks/finetune_memory.py --model vjepa2_ac   # the released size, where it fits

Weights, gradients and the two moments of AdamW are float32: 16 bytes a parameter.  Activations are
kept by layer, or with checkpointing only each layer's input.  On a GPU the peak is CUDA's own
count; on a CPU it is the growth of the process's peak resident size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from worldmodel.losses import post_training_losses
from worldmodel.predictor import PREDICTORS, Predictor, PredictorConfig

MODELS = {
    "scaled": PredictorConfig(256, 16, 352, 512, 12, 8),  # half the width, half the depth
    "vjepa2_ac": PREDICTORS["vjepa2_ac"],
}
GIB = 2**30


def parameters(config: PredictorConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Predictor(config).parameters())


def arithmetic(config: PredictorConfig, batch: int, frames: int, checkpointed: bool) -> dict:
    """Bytes by part of one step on ``batch`` windows of ``frames``."""
    tokens = batch * (frames - 1) * (config.grid**2 + 2)
    passes = 2  # teacher forcing, then the second step of the rollout on two frames
    rolled = batch * 2 * (config.grid**2 + 2)
    kept_tokens = tokens + (passes - 1) * rolled
    # float32 input of a layer; inside it, in bfloat16 under autocast: two norms, qkv, attention
    # out and projection, and the MLP's two hidden states of four times the width.
    layer_input = 4 * config.predictor_dim
    inside = 2 * config.predictor_dim * (2 + 3 + 2 + 2 * 4) + 2 * layer_input
    layers = config.depth * kept_tokens * layer_input
    layers += (1 if checkpointed else config.depth) * kept_tokens * inside
    return {
        "optimiser_state": 16 * parameters(config), "activations": layers,
        "latents": 2 * batch * frames * config.grid**2 * config.embed_dim,
    }


def step(name: str, batch: int, frames: int, checkpointed: bool) -> float:
    """Peak bytes of three training steps, beyond those before the model was made."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    config = MODELS[name]
    predictor = Predictor(config).to(device)
    predictor.checkpoint_activations = checkpointed
    optimiser = torch.optim.AdamW(predictor.parameters(), lr=1e-4, foreach=False)
    for _ in range(3):
        tokens = torch.randn(batch, frames, config.grid**2, config.embed_dim, device=device)
        actions = torch.randn(batch, frames - 1, 7, device=device)
        states = torch.randn(batch, frames, 7, device=device)
        with torch.autocast(device, torch.bfloat16):
            loss = sum(post_training_losses(predictor, tokens, actions, states))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def measured(name: str, batch: int, frames: int, checkpointed: bool) -> float:
    """``step`` in a process of its own, because a peak never falls."""
    wanted = json.dumps([name, batch, frames, checkpointed])
    command = [sys.executable, __file__, "--measure", wanted]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="scaled")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--measure")
    arguments = parser.parse_args()
    if arguments.measure:
        print(step(*json.loads(arguments.measure)))
        return
    for name in dict.fromkeys([arguments.model, "vjepa2_ac"]):
        config = MODELS[name]
        print(f"{name}: {parameters(config) / 1e6:.0f} M parameters, batch {arguments.batch}, "
              f"{arguments.frames} frames")
        for checkpointed in (False, True):
            parts = arithmetic(config, arguments.batch, arguments.frames, checkpointed)
            shown = ", ".join(f"{key} {value / GIB:.2f}" for key, value in parts.items())
            line = f"  checkpointed {checkpointed!s:6} {shown}: {sum(parts.values()) / GIB:.2f} GiB"
            if name == arguments.model:
                peak = measured(name, arguments.batch, arguments.frames, checkpointed)
                line += f"; measured {peak / GIB:.2f} GiB"
            print(line)


if __name__ == "__main__":
    main()

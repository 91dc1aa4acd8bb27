"""Memory of post-training the predictor on cached latents: arithmetic, and a measured step.

    python benchmarks/finetune_memory.py                     # a scaled model, on this machine
    python benchmarks/finetune_memory.py --model vjepa2_ac   # the released size, where it fits

Weights are float32 with a bfloat16 copy by autocast (6 bytes a parameter); gradients and the two
moments of AdamW are float32 (12 bytes a trained parameter).  Activations are kept by trained
layer, or with checkpointing only each layer's input.  On a GPU the peak is CUDA's own count; on a
CPU it is the growth of the process's peak resident size, less that of a tiny model's step.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from worldmodel.config import PREDICTORS, PredictorConfig
from worldmodel.losses import post_training_losses
from worldmodel.predictor import Predictor

MODELS = {
    "tiny": PredictorConfig(64, 16, 16, 16, 1, 2),
    "scaled": PredictorConfig(256, 16, 352, 512, 12, 8),  # half the width, half the depth
    "vjepa2_ac": PREDICTORS["vjepa2_ac"],
}
GIB = 2**30


@dataclass(frozen=True)
class Setup:
    """What is trained: windows in a batch, frames in a window, and how memory is saved."""

    batch: int
    frames: int
    checkpointed: bool
    frozen: int  # blocks


def parameters(config: PredictorConfig, frozen: int) -> tuple[int, int]:
    """All, and those that are trained."""
    with torch.device("meta"):
        predictor = Predictor(config)
    predictor.freeze_blocks(frozen)
    counts = [(p.numel(), p.requires_grad) for p in predictor.parameters()]
    return sum(n for n, _ in counts), sum(n for n, trained in counts if trained)


def arithmetic(config: PredictorConfig, setup: Setup) -> dict[str, float]:
    """Bytes by part of one training step."""
    every, trained = parameters(config, setup.frozen)
    width = config.grid**2 + 2
    tokens = setup.batch * width * ((setup.frames - 1) + 2)  # teacher forcing, then the rollout
    # float32 input of a layer; inside it, in bfloat16 under autocast: two norms, qkv, attention
    # out and projection, and the MLP's two hidden states of four times the width.
    layer_input = 4 * config.predictor_dim
    inside = 2 * config.predictor_dim * (2 + 3 + 2 + 2 * 4) + 2 * layer_input
    layers = config.depth - setup.frozen
    opened = 1 if setup.checkpointed else layers
    return {
        "weights": 6 * every, "gradients and moments": 12 * trained,
        "activations": tokens * (layers * layer_input + opened * inside),
        "latents": 4 * setup.batch * setup.frames * config.grid**2 * config.embed_dim,
    }


def step(name: str, setup: Setup) -> float:
    """Peak bytes of three training steps, beyond those before the model was made."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    config = MODELS[name]
    predictor = Predictor(config).to(device)
    predictor.checkpoint_activations = setup.checkpointed
    predictor.freeze_blocks(setup.frozen)
    trained = [p for p in predictor.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, foreach=False)
    for _ in range(3):
        shape = (setup.batch, setup.frames)
        tokens = torch.randn(*shape, config.grid**2, config.embed_dim, device=device)
        actions = torch.randn(setup.batch, setup.frames - 1, 7, device=device)
        states = torch.randn(*shape, 7, device=device)
        with torch.autocast(device, torch.bfloat16):
            forced, rolled = post_training_losses(predictor, tokens, actions, states)
        optimiser.zero_grad(set_to_none=True)
        (forced + rolled).backward()
        optimiser.step()
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def measured(name: str, setup: Setup) -> float:
    """``step`` in a process of its own, because a peak never falls."""
    wanted = json.dumps([name, asdict(setup)])
    command = [sys.executable, __file__, "--measure", wanted]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the table; ``--measure`` runs one setup and prints its peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["scaled", "vjepa2_ac"], default="scaled")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--measure")
    arguments = parser.parse_args()
    if arguments.measure:
        name, fields = json.loads(arguments.measure)
        print(step(name, Setup(**fields)))
        return
    for name in dict.fromkeys([arguments.model, "vjepa2_ac"]):
        config = MODELS[name]
        print(f"{name}: {parameters(config, 0)[0] / 1e6:.0f} M parameters, batch "
              f"{arguments.batch}, {arguments.frames} frames; GiB")
        for checkpointed, frozen in ((False, 0), (True, 0), (True, config.depth // 2)):
            setup = Setup(arguments.batch, arguments.frames, checkpointed, frozen)
            parts = arithmetic(config, setup)
            shown = ", ".join(f"{key} {value / GIB:.2f}" for key, value in parts.items())
            line = (f"  checkpointed {checkpointed!s:5} frozen {frozen:2}: {shown}; in all "
                    f"{sum(parts.values()) / GIB:.2f}")
            if name == arguments.model:
                overhead = 0.0 if torch.cuda.is_available() else measured(
                    "tiny", replace(setup, frozen=0)
                )
                line += f", measured {(measured(name, setup) - overhead) / GIB:.2f}"
            print(line)


if __name__ == "__main__":
    main()

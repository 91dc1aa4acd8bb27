"""How much search is worth: cost found and error of the action against evaluations and seconds.

Plans on latents alone (L1 to the recorded frame ``--horizon`` steps later) from frames of held-out
recordings, with the shipped model; a plan of 400 x 8 is what there is to find.  ``python
benchmarks/search.py --data data/val --windows 24`` prints a table; the window is the unit of the
interval.
"""

import argparse
import copy
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from planners.cem import CEM
from planners.config import CEMConfig
from planners.objective import l1
from robot_data.episodes import EpisodeStore
from worldmodel.encoder import Encoder
from worldmodel.imagination import Imagination
from worldmodel.models import Models
from worldmodel.progress import Progress

BASE = CEMConfig(samples=100, iterations=4, elites=12, warm_start=False)
VARIANTS = {
    "400 x 8": replace(BASE, samples=400, iterations=8),
    "100 x 8": replace(BASE, iterations=8),
    "100 x 4": BASE,
    "50 x 8": replace(BASE, samples=50, iterations=8),
}


@dataclass(frozen=True)
class Window:
    """Frame t of a recording, the actions taken and the frame they led to."""

    tokens: Tensor
    state: Tensor
    actions: Tensor
    goal: Tensor


def windows(data: str, count: int, horizon: int, encoder: Encoder) -> list[Window]:
    """``count`` pairs of a frame and one ``horizon`` steps later, encoded."""
    store, found = EpisodeStore(data), []
    for seed, name in enumerate(store.names()[:count]):
        episode = store.read(name)
        t = int(np.random.default_rng(seed).integers(2, len(episode.states) - horizon - 1))
        frames = torch.from_numpy(episode.images[[t, t + horizon]])
        with torch.inference_mode():
            tokens = encoder.encode_frames(frames).float()
        found.append(Window(
            tokens[:1].clone(), torch.from_numpy(episode.states[t : t + 1]).float(),
            torch.from_numpy(episode.actions[t : t + horizon]).float(), tokens[1].clone(),
        ))
    return found


class Counted:
    """A cost that counts the samples it was asked for."""

    def __init__(self, engine: Imagination, window: Window) -> None:
        self.engine, self.goal = engine, window.goal.to(engine.dtype)
        self.context = engine.context(window.tokens, window.state)
        self.samples = 0

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs [S] of actions [S, H, 7]."""
        self.samples += len(actions)
        return self.engine.score(self.context, actions, lambda z: l1(z, self.goal))


def main() -> None:
    """Compare search settings on recorded windows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--horizon", type=int, default=1)
    parser.add_argument("--out", default="outputs/bench/search.json")
    options = parser.parse_args()
    models = Models.load(parts=["predictor"], device="cpu")
    exact = Imagination(models.predictor)
    engine = Imagination(copy.deepcopy(models.predictor).bfloat16())
    found = windows(options.data, options.windows, options.horizon, models.encoder)
    results = {name: [] for name in VARIANTS}
    for window in Progress(found, unit="window"):
        for name in VARIANTS:
            cost = Counted(engine, window)
            began = time.perf_counter()
            actions = CEM(replace(VARIANTS[name], horizon=options.horizon), 0).plan(cost).actions
            seconds = time.perf_counter() - began
            results[name].append((
                Counted(exact, window)(actions[None]).item(),
                100 * (actions[0, :3] - window.actions[0, :3]).norm().item(),
                cost.samples, seconds,
            ))
    best = np.array([r[0] for r in results["400 x 8"]])
    rows = {}
    print("| search | cost above 400 x 8 | 95 % interval | error of the move, median | "
          "evaluations | s |\n| --- | --- | --- | --- | --- | --- |")
    for name, values in results.items():
        cost, error, samples, seconds = np.array(values).T
        gap = cost - best
        half_width = 1.96 * gap.std(ddof=1) / len(gap) ** 0.5
        rows[name] = {
            "gap": float(gap.mean()), "interval": float(half_width),
            "error_cm": float(np.median(error)), "samples": float(samples.mean()),
            "seconds": float(np.median(seconds)),
        }
        r = rows[name]
        print(f"| {name} | {r['gap']:+.5f} | ± {r['interval']:.5f} | {r['error_cm']:.2f} cm | "
              f"{r['samples']:.0f} | {r['seconds']:.2f} |")
    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    Path(options.out).write_text(json.dumps({"rows": rows, "options": vars(options)}, indent=2))


if __name__ == "__main__":
    main()

"""How much search is worth: cost found and error of the action against evaluations and seconds.

Plans on latents alone (L1 to the recorded frame ``--horizon`` steps later) from frames of held-out
recordings, with the shipped model; a plan of 400 x 8 is what there is to find.  ``python
benchmarks/search.py --data data/val --windows 24`` prints a table; the window is the unit of the
interval.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from planners.cem import CEM, CEMConfig
from planners.objective import l1
from robot_data.episodes import EpisodeStore
from worldmodel import checkpoint
from worldmodel.imagination import Imagination
from worldmodel.rollout import rollout

BASE = CEMConfig(warm_start=False)
VARIANTS = {
    "400 x 8": replace(BASE, samples=400, iterations=8),
    "100 x 4 (default)": BASE,
    "100 x 8": replace(BASE, iterations=8),
    "elites stay (4)": replace(BASE, keep=4),
    "elites stay (12)": replace(BASE, keep=12),
    "fewer samples later (1.25)": replace(BASE, decay=1.25),
    "stay (4) + fewer later": replace(BASE, keep=4, decay=1.25),
    "coloured noise (2)": replace(BASE, colour=2.0),
    "50 x 8, stay (4)": replace(BASE, samples=50, iterations=8, keep=4),
    "100 x 8, stop when agreed (0.15)": replace(BASE, iterations=8, agreement=0.15),
    "momentum 0": replace(BASE, momentum_mean=0.0, momentum_std=0.0),
    "stay (4), momentum 0": replace(BASE, keep=4, momentum_mean=0.0, momentum_std=0.0),
}
GRADIENT = {"100 x 2 + gradient (12 x 5)": (replace(BASE, iterations=2), 12, 5),
            "50 x 2 + gradient (12 x 10)": (replace(BASE, samples=50, iterations=2), 12, 10)}


class Window:
    """Frame t of a recording, the actions taken and the frame they led to."""

    def __init__(self, tokens: Tensor, state: Tensor, actions: Tensor, goal: Tensor) -> None:
        self.tokens, self.state, self.actions, self.goal = tokens, state, actions, goal


def windows(data: str, count: int, horizon: int, encoder: torch.nn.Module) -> list[Window]:
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
    def __init__(self, engine: Imagination, window: Window) -> None:
        self.engine, self.goal = engine, window.goal.to(engine.dtype)
        self.context = engine.context(window.tokens, window.state)
        self.samples = 0

    def __call__(self, actions: Tensor) -> Tensor:
        self.samples += len(actions)
        return self.engine.score(self.context, actions, lambda z: l1(z, self.goal))


def refine(engine: Imagination, window: Window, actions: Tensor, steps: int) -> Tensor:
    """Adam on the cost of each of ``actions`` [E, H, 7], in shares of the limits."""
    limit = torch.tensor(BASE.limit)
    shares = (actions / limit).clone().requires_grad_()
    optimiser = torch.optim.Adam([shares], lr=0.1)
    count = len(actions)
    tokens = window.tokens.to(engine.dtype).expand(count, 1, -1, -1)
    for _ in range(steps):
        imagined, _ = rollout(engine.predictor, tokens, window.state.expand(count, 1, 7),
                              shares.clamp(-1, 1) * limit)
        optimiser.zero_grad()
        (imagined[:, -1].float() - window.goal).abs().mean((1, 2)).sum().backward()
        optimiser.step()
    return (shares.detach().clamp(-1, 1) * limit)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--horizon", type=int, default=1)
    parser.add_argument("--out", default="outputs/bench/search.json")
    options = parser.parse_args()
    encoder = checkpoint.load_encoder(checkpoint.SHIPPED)
    predictor = checkpoint.load_predictor(checkpoint.SHIPPED, encoder).eval()
    predictor.requires_grad_(False)
    exact, engine = Imagination(predictor), None
    half = checkpoint.load_predictor(checkpoint.SHIPPED, encoder).bfloat16().eval()
    half.requires_grad_(False)
    engine = Imagination(half)
    found = windows(options.data, options.windows, options.horizon, encoder)
    names = [*VARIANTS, *GRADIENT]
    results = {name: [] for name in names}
    for window in tqdm(found, unit="window"):
        for name in names:
            cem, count, steps = GRADIENT.get(name, (VARIANTS.get(name), 0, 0))
            cem = replace(cem, horizon=options.horizon)
            cost = Counted(engine, window)
            began = time.perf_counter()
            search = CEM(cem, seed=0)
            actions = search.plan(cost).actions
            if steps:
                # the best, and others near it
                spread = 0.15 * torch.randn(count, options.horizon, 7, generator=search.generator)
                start = search.bounded(actions + spread * search.limit)
                start[0] = actions
                ends = torch.cat([actions[None], search.bounded(
                    refine(engine, window, start, steps)
                )])
                cost.samples += 3 * count * steps  # forward and backward
                actions = ends[cost(ends).argmin()]
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

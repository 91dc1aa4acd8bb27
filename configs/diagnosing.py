"""The command that asks whether the model listens to actions, on recorded episodes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from configs import commands
from configs.report import bootstrap_95, write_report
from configs.training import fill_cache
from planners.cem import CEMConfig
from robot_data.latents import LatentEpisode
from robot_data.pose import diff
from robot_data.schema import DataError
from worldmodel import checkpoint, diagnostics
from worldmodel.predictor import Predictor

PLANES = {"x, y": (0, 1), "x, z": (0, 2), "y, z": (1, 2)}


def run_diagnose(settings: commands.Diagnose) -> dict[str, Any]:
    folder = settings.checkpoint or checkpoint.SHIPPED
    encoder = checkpoint.load_encoder(folder)
    predictor = checkpoint.load_predictor(folder, encoder).to(torch.bfloat16)  # as it plans
    episodes = fill_cache(settings.data, encoder).episodes()[: settings.episodes]
    per_episode: list[dict[str, float]] = []
    drifts, copies, planes = [], [], []
    for number, episode in enumerate(tqdm(episodes, desc="diagnose", unit="episode")):
        found = _episode(predictor, episode, settings, number)
        if found is None:
            continue
        figures, landscape, (error, copied) = found
        per_episode.append({"episode": float(number), **figures})
        planes.append(landscape)
        drifts.append(error)
        copies.append(copied)
    if not per_episode:
        raise DataError(
            f"no window of {settings.data} moves more than {settings.least_move_m} m; lower "
            "least_move_m or give other data"
        )
    summary = {
        name: _interval([figures[name] for figures in per_episode])
        for name in per_episode[0] if name != "episode"
    }
    by_horizon = [
        {"horizon": h + 1, "imagined": _interval([d[h] for d in drifts]),
         "copy_first_frame": _interval([c[h] for c in copies])}
        for h in range(settings.horizon)
    ]
    report = {
        "episodes": len(per_episode), "windows_per_episode": settings.windows,
        "random_actions": settings.candidates, "summary": summary, "by_horizon": by_horizon,
        "settings": asdict(settings),
    }
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    _figure(out / "diagnose.png", np.mean(planes, axis=0), by_horizon, settings.reach_m)
    path = write_report(out, report)
    print(_table(summary, by_horizon, len(per_episode)))
    print(f"figure: {out / 'diagnose.png'}  report: {path}")
    return report


def _interval(values: list[float]) -> dict[str, float]:
    low, high = bootstrap_95(np.asarray(values))
    return {"mean": float(np.mean(values)), "low_95": low, "high_95": high}


def _episode(
    predictor: Predictor, episode: LatentEpisode, settings: commands.Diagnose, number: int
) -> tuple[dict[str, float], NDArray[np.float64], tuple[list[float], list[float]]] | None:
    """Figures of one episode, averaged over its windows; None where it hardly moves."""
    rng = np.random.default_rng([settings.seed, number])
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)
    states = torch.from_numpy(np.asarray(episode.states)).float()
    actions = torch.from_numpy(diff(episode.states[:-1], episode.states[1:])).float()
    moving = np.flatnonzero(
        np.linalg.norm(actions[:, :3].numpy(), axis=1) >= settings.least_move_m
    )
    starts = moving[moving + settings.horizon < len(states)]
    if len(starts) == 0:
        return None
    chosen = rng.choice(starts, min(settings.windows, len(starts)), replace=False)
    limit = torch.tensor(CEMConfig().limit)
    rows, planes, errors, copies = [], [], [], []
    for t in chosen:
        tokens = _tokens(episode, int(t), settings.horizon)
        others = actions[torch.from_numpy(rng.choice(len(actions), settings.candidates))]
        tried = torch.cat([
            actions[t][None], torch.zeros(1, 7),
            diagnostics.random_actions(limit, settings.candidates, generator), others,
        ])
        energy = diagnostics.energies(predictor, tokens[0], states[t], tried, tokens[1])
        true, zero = energy[0].item(), energy[1].item()
        random, shuffled = energy[2:].split(settings.candidates)
        rows.append({
            "energy_true_action": true,
            "energy_zero_action": zero,
            "energy_random_actions": random.mean().item(),
            "energy_shuffled_actions": shuffled.mean().item(),
            "energy_copy_last_frame": (tokens[0] - tokens[1]).abs().mean().item(),
            "rank_among_random": (random < true).float().mean().item(),
            "rank_among_shuffled": (shuffled < true).float().mean().item(),
            "true_beats_zero": float(true < zero),
        })
        planes.append(_landscape(predictor, tokens, states[t], actions[t], settings))
        error, copied = diagnostics.drift(
            predictor, tokens, states[t : t + settings.horizon + 1],
            actions[t : t + settings.horizon],
        )
        errors.append(error.numpy())
        copies.append(copied.numpy())
    figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    drift = (np.mean(errors, axis=0).tolist(), np.mean(copies, axis=0).tolist())
    return figures, np.mean(planes, axis=0), drift


def _tokens(episode: LatentEpisode, start: int, horizon: int) -> Tensor:
    return torch.from_numpy(np.array(episode.latents[start : start + horizon + 1])).float()


def _landscape(
    predictor: Predictor, tokens: Tensor, state: Tensor, action: Tensor,
    settings: commands.Diagnose,
) -> NDArray[np.float64]:
    """Energies [planes, side, side] around the true action, less that of the true action."""
    found = []
    for axes in PLANES.values():
        grid = diagnostics.landscape_actions(action, axes, settings.reach_m, settings.side)
        energy = diagnostics.energies(predictor, tokens[0], state, grid.flatten(0, 1), tokens[1])
        field = energy.view(settings.side, settings.side)
        found.append((field - field[settings.side // 2, settings.side // 2]).numpy())
    return np.stack(found)


def _table(
    summary: dict[str, dict[str, float]], by_horizon: list[dict[str, Any]], episodes: int
) -> str:
    lines = [f"{'mean over ' + str(episodes) + ' episodes':28}{'mean':>9}   95 % interval"]
    lines += [
        f"{name:28}{v['mean']:9.4f}   {v['low_95']:.4f} to {v['high_95']:.4f}"
        for name, v in summary.items()
    ]
    lines.append("latent error by horizon (imagined / copy of the first frame):")
    lines += [
        f"  {row['horizon']:2d}   {row['imagined']['mean']:.4f} / "
        f"{row['copy_first_frame']['mean']:.4f}" for row in by_horizon
    ]
    return "\n".join(lines)


def _figure(
    path: Path, planes: NDArray[np.float64], by_horizon: list[dict[str, Any]], reach_m: float
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
    extent = (-100 * reach_m, 100 * reach_m, -100 * reach_m, 100 * reach_m)
    for axis, (name, field) in zip(axes[:3], zip(PLANES, planes, strict=True), strict=True):
        shown = axis.imshow(field.T, origin="lower", extent=extent, cmap="viridis")
        axis.plot(0, 0, "r+")
        first, second = name.split(", ")
        axis.set(xlabel=f"offset in {first} [cm]", ylabel=f"offset in {second} [cm]",
                 title="energy less that of the true action")
        figure.colorbar(shown, ax=axis)
    horizon = [row["horizon"] for row in by_horizon]
    for key, label in (("imagined", "imagined"), ("copy_first_frame", "copy of the first frame")):
        mean = [row[key]["mean"] for row in by_horizon]
        low = [row[key]["low_95"] for row in by_horizon]
        high = [row[key]["high_95"] for row in by_horizon]
        axes[3].plot(horizon, mean, label=label)
        axes[3].fill_between(horizon, low, high, alpha=0.3)
    axes[3].set(xlabel="steps ahead", ylabel="L1 to the recorded latents", ylim=(0, None))
    axes[3].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)

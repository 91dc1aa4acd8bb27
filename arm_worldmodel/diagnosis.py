"""Does a model listen to actions: figures over recorded episodes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arm_worldmodel.config import DiagnosisConfig
from arm_worldmodel.motion_text import motion_lines, regret_lines
from arm_worldmodel.pictures.diagnosis import PLANES, write_diagnosis
from arm_worldmodel.pictures.motion import write_motion
from arm_worldmodel.report import bootstrap_95
from arm_worldmodel.verdict import judge
from planners.config import CEMConfig
from robot_data.latents import LatentEpisode
from robot_data.schema import DataError
from robot_data.told_actions import told_actions, told_window
from worldmodel import diagnostics
from worldmodel.predictor import Predictor


def interval(values: list[float]) -> dict[str, float]:
    """Mean and bootstrap interval; the values are of episodes, the unit of chance.  One episode
    has no interval."""
    if len(values) == 1:
        return {"mean": values[0]}
    low, high = bootstrap_95(np.asarray(values))
    return {"mean": float(np.mean(values)), "low_95": low, "high_95": high}


def range_95(value: dict[str, float]) -> str:
    """The interval of ``interval`` as text."""
    if "low_95" not in value:
        return "one episode, no interval"
    return f"{value['low_95']:.4f} to {value['high_95']:.4f}"


@dataclass(frozen=True)
class EpisodeFigures:
    """Of one episode: figures averaged over its windows, landscapes [planes, side, side] of the
    first, and drift of imagined and copied latents by horizon [horizon] (NaN beyond the
    recording)."""

    name: str
    figures: dict[str, float]
    landscape: NDArray[np.float64]
    drift: NDArray[np.float64]
    copied: NDArray[np.float64]


class Diagnosis:
    """The figures of all episodes; ``motion`` and ``regret``, the sections of
    ``arm_worldmodel.motion`` and ``arm_worldmodel.candidate_bank``, where they were measured."""

    def __init__(self, settings: DiagnosisConfig) -> None:
        self.settings = settings
        self.episodes: list[EpisodeFigures] = []
        self.motion: dict[str, Any] | None = None
        self.regret: dict[str, Any] | None = None

    def add(self, episode: EpisodeFigures | None) -> None:
        """Add one episode; None, one that hardly moves, adds nothing."""
        if episode is not None:
            self.episodes.append(episode)

    def report(self) -> dict[str, Any]:
        """Means and intervals over episodes; raises ``DataError`` if no episode moved."""
        if not self.episodes:
            raise DataError(
                f"no window of {self.settings.data} moves more than "
                f"{self.settings.least_move_m} m; lower least_move_m or give other data"
            )
        names = self.episodes[0].figures
        self.summary = {n: interval([e.figures[n] for e in self.episodes]) for n in names}
        self.by_horizon = []
        for h in range(self.settings.horizon):
            imagined = [float(e.drift[h]) for e in self.episodes if np.isfinite(e.drift[h])]
            copied = [float(e.copied[h]) for e in self.episodes if np.isfinite(e.copied[h])]
            if imagined:
                self.by_horizon.append({
                    "horizon": h + 1, "imagined": interval(imagined),
                    "copy_first_frame": interval(copied),
                })
        return {
            "episodes": len(self.episodes), "windows_per_episode": self.settings.windows,
            "random_actions": self.settings.candidates, "summary": self.summary,
            "verdict": asdict(judge(self.summary, self.motion, self.regret)),
            "by_horizon": self.by_horizon, "motion": self.motion, "regret": self.regret,
            "per_episode": [{"episode": e.name, **e.figures} for e in self.episodes],
        }

    def table(self) -> str:
        """The figures as text; after ``report``."""
        verdict = judge(self.summary, self.motion, self.regret)
        lines = [_table(self.summary, self.by_horizon, len(self.episodes))]
        if self.motion is not None:
            lines += motion_lines(self.motion)
        if self.regret is not None:
            lines += regret_lines(self.regret)
        lines.append(f"verdict: {verdict.kind}: {verdict.text}")
        lines += [f"  also: {note}" for note in verdict.notes]
        return "\n".join(lines)

    def draw(self, path: Path) -> None:
        """Write the figure, and beside it ``motion.png`` where that was measured; after
        ``report``."""
        if self.motion is not None:
            write_motion(path.with_name("motion.png"), self.motion)
        fields = np.mean([e.landscape for e in self.episodes], axis=0)
        ranks = [e.figures["rank_among_random"] for e in self.episodes]
        write_diagnosis(
            path, fields, self.settings.reach_m, self.summary, self.by_horizon, ranks
        )


def motion_windows(
    states: NDArray[np.float64], settings: DiagnosisConfig, rng: np.random.Generator
) -> NDArray[np.int64]:
    """First frames of at most ``windows`` windows whose first step moves the hand."""
    moves = np.linalg.norm(np.diff(states[:, :3], axis=0), axis=1)
    starts = np.flatnonzero(moves >= settings.least_move_m)
    if len(starts) == 0:
        return starts
    return np.sort(rng.choice(starts, min(settings.windows, len(starts)), replace=False))


def diagnose_episode(
    predictor: Predictor, episode: LatentEpisode, settings: DiagnosisConfig, number: int
) -> EpisodeFigures | None:
    """What one episode says; None where it hardly moves."""
    rng = np.random.default_rng([settings.seed, number])
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)
    states = torch.from_numpy(np.asarray(episode.states)).float()
    told = episode.commanded_closedness
    actions = torch.from_numpy(told_actions(episode.states, told)).float()
    limit = torch.tensor(CEMConfig().limit)
    rows, errors, copies = [], [], []
    planes = np.empty(0)
    for t in motion_windows(episode.states, settings, rng).tolist():
        horizon = min(settings.horizon, len(states) - 1 - t)
        tokens = _tokens(episode, t, horizon)
        elsewhere = np.delete(np.arange(len(actions)), t) if len(actions) > 1 else np.array([t])
        others = actions[torch.from_numpy(rng.choice(elsewhere, settings.candidates))]
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
            "rank_among_random": diagnostics.rank_among(true, random),
            "rank_among_shuffled": diagnostics.rank_among(true, shuffled),
            "true_beats_zero": 0.5 if true == zero else float(true < zero),
        })
        if not len(planes):  # most of the work, for a picture: one window of an episode will do
            planes = _landscape(predictor, tokens, states[t], actions[t], settings)
        frames = slice(t, t + horizon + 1)
        taken, known = map(torch.from_numpy, told_window(episode.states[frames], told[frames]))
        error, copied = diagnostics.drift(predictor, tokens, known.float(), taken.float())
        beyond = np.full(settings.horizon - horizon, np.nan)
        errors.append(np.r_[error.numpy(), beyond])
        copies.append(np.r_[copied.numpy(), beyond])
    if not rows:
        return None
    figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return EpisodeFigures(
        episode.name, figures, planes, _mean(errors), _mean(copies)
    )


def _mean(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over windows by horizon; NaN where no window reaches."""
    table = np.stack(rows)
    counts = np.isfinite(table).sum(axis=0)
    return np.where(counts > 0, np.nansum(table, axis=0) / np.maximum(counts, 1), np.nan)


def _tokens(episode: LatentEpisode, start: int, horizon: int) -> Tensor:
    return torch.from_numpy(np.array(episode.latents[start : start + horizon + 1])).float()


def _landscape(
    predictor: Predictor, tokens: Tensor, state: Tensor, action: Tensor,
    settings: DiagnosisConfig,
) -> NDArray[np.float64]:
    """Energies [planes, side, side] around the true action, less that of the true action."""
    found = []
    for first, second in PLANES:
        axes = "xyz".index(first), "xyz".index(second)
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
        f"{name:28}{v['mean']:9.4f}   {range_95(v)}"
        for name, v in summary.items()
    ]
    lines.append("latent error by horizon (imagined / copy of the first frame):")
    lines += [
        f"  {row['horizon']:2d}   {row['imagined']['mean']:.4f} / "
        f"{row['copy_first_frame']['mean']:.4f}" for row in by_horizon
    ]
    return "\n".join(lines)

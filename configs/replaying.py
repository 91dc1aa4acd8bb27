"""``worldmodel replay``: what would the agent do on recorded episodes?"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from configs import commands
from configs.diagnosing import Heard, interval, listen, motion_windows
from configs.report import write_report
from configs.training import fill_cache
from planners.agent import Agent, PlanningAgent
from planners.cem import CEMConfig
from robot_data.episodes import EpisodeStore
from robot_data.latents import LatentEpisode
from robot_data.pose import compose, diff
from robot_data.replay import ReplayEnv, action_error
from robot_data.schema import DataError
from worldmodel import checkpoint
from worldmodel.encoder import Encoder
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout
from worldmodel.rollout import rollout

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Planned:
    """One window: its first frame, what was planned and recorded, and how far they differ."""

    frame: int
    planned: Array
    recorded: Array
    errors: dict[str, float]
    cost: float
    seconds: float


def run_replay(settings: commands.Replay) -> dict[str, Any]:
    encoder, predictor, readout = load_model(settings)
    cache = fill_cache(settings.data, encoder)
    episodes = cache.episodes()[: settings.episodes]
    env = ReplayEnv(EpisodeStore(settings.data), settings.ahead)
    agent = _agent(settings, encoder, predictor, readout)
    fast = copy.deepcopy(predictor).to(torch.bfloat16)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    heard = Heard(settings)
    windows: dict[str, list[Planned]] = {}
    surprises: dict[str, Array] = {}
    short: list[str] = []
    for number, episode in enumerate(tqdm(episodes, desc="replay", unit="episode")):
        if len(episode.states) <= settings.ahead:
            short.append(episode.name)
            continue
        heard.add(listen(fast, episode, settings, number))
        surprises[episode.name] = surprise(fast, episode)
        planned = plan_windows(env, agent, episode, settings, number)
        if planned:
            windows[episode.name] = planned
        if number < settings.shown:
            _rerun(out / f"{episode.name}.rrd", env, episode, planned, surprises[episode.name])
    report: dict[str, Any] = {
        **heard.report(),
        "agent": _agreement(windows),
        "surprise": {name: row.tolist() for name, row in surprises.items()},
        "too_short": short, "settings": asdict(settings),
        "windows": {
            name: [{"frame": w.frame, "planned": w.planned.tolist(),
                    "recorded": w.recorded.tolist(), **_plain(w.errors)} for w in found]
            for name, found in windows.items()
        },
    }
    heard.draw(out / "replay.png")
    _figure(out / "agreement.png", windows, surprises)
    write_report(out, report)
    print(heard.table())
    print(_table(report["agent"]))
    print(f"figures: {out}/replay.png, {out}/agreement.png  report: {out}/report.json  "
          f"rerun: {out}/*.rrd")
    return report


def load_model(settings: commands.Replay) -> tuple[Encoder, Predictor, Readout | None]:
    """The model to replay with; a readout only where the checkpoint has one."""
    if settings.model == "vjepa2-ac":
        if not settings.weights:
            raise DataError(
                "model=vjepa2-ac needs weights=PATH of the released vjepa2-ac-vitg.pt"
            )
        return (
            checkpoint.load_meta_encoder(settings.weights, settings.meta_encoder),
            checkpoint.load_meta_predictor(settings.weights, settings.meta_predictor), None,
        )
    folder = Path(settings.model or checkpoint.SHIPPED)
    encoder = checkpoint.load_encoder(folder)
    has_readout = (folder / "readout.safetensors").exists()
    return (
        encoder, checkpoint.load_predictor(folder, encoder),
        checkpoint.load_readout(folder, encoder) if has_readout else None,
    )


def _agent(
    settings: commands.Replay, encoder: Encoder, predictor: Predictor, readout: Readout | None
) -> PlanningAgent:
    config = settings.agent
    if readout is None:  # tokens alone, as V-JEPA 2-AC plans
        tokens_only = replace(
            config.objective, position_weight=0.0, rotation_weight=0.0, grip_weight=0.0
        )
        config = replace(config, objective=tokens_only)
    return PlanningAgent(encoder, predictor, readout, config)


def plan_windows(
    env: ReplayEnv, agent: Agent, episode: LatentEpisode, settings: commands.Listening, number: int
) -> list[Planned]:
    """The agent's first action in the windows in which the recorded hand moves."""
    rng = np.random.default_rng([settings.seed, number])
    limit = np.asarray(CEMConfig().limit)
    found = []
    for start in motion_windows(episode.states, settings, rng).tolist():
        if start + env.ahead >= len(episode.states):
            continue
        observation, info = env.reset(options={"episode": episode.name, "start": start})
        agent.reset([info["goal_image"]], settings.seed)
        decision = agent.act(observation)
        recorded = np.clip(diff(observation["state"], info["goal_state"]), -limit, limit)
        found.append(Planned(
            start, decision.action, recorded, action_error(decision.action, recorded),
            decision.cost, decision.seconds,
        ))
    return found


@torch.inference_mode()
def surprise(predictor: Predictor, episode: LatentEpisode, batch: int = 32) -> Array:
    """L1 between the latents imagined from each frame and its recorded move, and the recorded
    next latents, over that of copying the frame: [T - 1]; above 1 the model is no help."""
    tokens = torch.from_numpy(np.array(episode.latents)).float()
    states = torch.from_numpy(np.asarray(episode.states)).float()
    actions = torch.from_numpy(diff(episode.states[:-1], episode.states[1:])).float()
    dtype = predictor.predictor_proj.weight.dtype
    errors: list[Tensor] = []
    for rows in torch.arange(len(actions)).split(batch):
        imagined, _ = rollout(
            predictor, tokens[rows, None].to(dtype), states[rows, None], actions[rows, None]
        )
        errors.append((imagined[:, -1].float() - tokens[rows + 1]).abs().mean((1, 2)))
    copied = (tokens[1:] - tokens[:-1]).abs().mean((1, 2))
    return (torch.cat(errors) / copied.clamp(min=1e-6)).double().numpy()


def _agreement(windows: dict[str, list[Planned]]) -> dict[str, Any]:
    """Means with intervals over episodes, and the median cosine over all windows."""
    if not windows:
        return {"windows": 0}
    every = [w for found in windows.values() for w in found]
    summary: dict[str, Any] = {"windows": len(every)}
    for key in every[0].errors:
        values = [
            float(np.nanmean([w.errors[key] for w in found]))
            for found in windows.values() if not all(np.isnan(w.errors[key]) for w in found)
        ]
        if values:
            summary[key] = interval(values)
    cosines = [w.errors["cosine"] for w in every if np.isfinite(w.errors["cosine"])]
    summary["cosine_median"] = float(np.median(cosines)) if cosines else None
    summary["plan_seconds_median"] = float(np.median([w.seconds for w in every]))
    return summary


def _plain(errors: dict[str, float]) -> dict[str, float | None]:
    return {k: None if np.isnan(v) else v for k, v in errors.items()}


def _table(agreement: dict[str, Any]) -> str:
    lines = [f"planned against recorded, {agreement['windows']} windows:"]
    for key, value in agreement.items():
        if isinstance(value, dict):
            lines.append(f"{key:28}{value['mean']:9.4f}   {value['low_95']:.4f} to "
                         f"{value['high_95']:.4f}")
        elif key != "windows" and value is not None:
            lines.append(f"{key:28}{value:9.4f}")
    return "\n".join(lines)


def _figure(path: Path, windows: dict[str, list[Planned]], surprises: dict[str, Array]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
    every = [w for found in windows.values() for w in found]
    for axis, name, i in zip(axes, "xyz", range(3), strict=False):
        recorded = [100 * w.recorded[i] for w in every]
        planned = [100 * w.planned[i] for w in every]
        axis.plot(recorded, planned, ".", alpha=0.6)
        axis.plot([-8, 8], [-8, 8], "k:", linewidth=0.8)
        axis.set(xlabel=f"recorded move in {name} [cm]", ylabel="planned [cm]")
    for row in surprises.values():
        axes[3].plot(row, color="tab:blue", alpha=0.25, linewidth=0.8)
    axes[3].axhline(1.0, color="k", linestyle=":", linewidth=0.8)
    axes[3].set(xlabel="frame", ylabel="surprise (1: no better than copying)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _rerun(
    path: Path, env: ReplayEnv, episode: LatentEpisode, planned: list[Planned], surprise: Array
) -> None:
    """Camera, recorded hand path and planned moves in 3D, imagined cost and surprise."""
    recording = env.store.read(episode.name)
    log = rr.RecordingStream("arm_worldmodel_replay")
    log.save(str(path))
    log.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    log.log("world/recorded", rr.LineStrips3D([recording.states[:, :3]]), static=True)
    by_frame = {w.frame: w for w in planned}
    for t in range(len(recording)):
        log.set_time("frame", sequence=t)
        log.log("camera", rr.Image(recording.images[t]))
        log.log("world/hand", rr.Points3D([recording.states[t, :3]], radii=0.01))
        if t < len(surprise):
            log.log("surprise", rr.Scalars(float(surprise[t])))
        if t in by_frame:
            window, here = by_frame[t], recording.states[t]
            reached = compose(here, window.planned)
            log.log("world/planned", rr.Arrows3D(
                origins=[here[:3]], vectors=[reached[:3] - here[:3]], colors=[255, 120, 0]
            ))
            log.log("goal", rr.Image(recording.images[t + env.ahead]))
            log.log("cost/imagined", rr.Scalars(window.cost))
            log.log("error_m", rr.Scalars(window.errors["error_m"]))
    log.flush()
    log.disconnect()

"""``worldmodel replay``: what would the agent do on recorded episodes?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
import torch
from numpy.typing import NDArray
from torch import Tensor

from arm_worldmodel.config import DiagnosisConfig
from arm_worldmodel.diagnosis import interval, motion_windows, range_95
from arm_worldmodel.imagining import Image, Painter
from planners.config import CEMConfig
from robot_data.grip_rule import told_changes
from robot_data.latents import LatentEpisode
from robot_data.loop import Agent
from robot_data.pose import compose, diff
from robot_data.recording import EYE_M, LOOK_AT_M, QUALITY, hand_frame
from robot_data.replay import ReplayEnv, action_error
from robot_data.told_actions import told_actions
from worldmodel.device import to_host
from worldmodel.predictor import Predictor
from worldmodel.rollout import rollout

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Planned:
    """One window: its first frame; the actions [7] planned, recorded, and rejected (the first of
    the dearest candidate; None: not told); how far planned and recorded differ."""

    frame: int
    planned: Array
    recorded: Array
    rejected: Array | None
    errors: dict[str, float]
    cost: float
    seconds: float


def plan_windows(
    env: ReplayEnv, agent: Agent, episode: LatentEpisode, settings: DiagnosisConfig, number: int
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
        tried = decision.candidates
        recorded = diff(observation["state"], info["goal_state"])
        ends = [start, start + env.ahead]
        recorded[6] = told_changes(episode.commanded_closedness[ends], episode.states[ends, 6])[0]
        recorded = np.clip(recorded, -limit, limit)
        found.append(Planned(
            start, decision.action, recorded,
            None if tried is None or tried.rejected is None else tried.rejected[0],
            action_error(decision.action, recorded), decision.cost, decision.seconds,
        ))
    return found


@torch.inference_mode()
def surprise(predictor: Predictor, episode: LatentEpisode, batch: int = 32) -> Array:
    """L1 between the latents imagined from each frame and its recorded move, and the recorded
    next latents, over that of copying the frame: [T - 1]; above 1 the model is no help."""
    tokens = torch.from_numpy(np.array(episode.latents)).float()
    states = torch.from_numpy(np.asarray(episode.states)).float()
    actions = torch.from_numpy(
        told_actions(episode.states, episode.commanded_closedness)
    ).float()
    weight = predictor.predictor_proj.weight
    tokens, states, actions = (x.to(weight.device) for x in (tokens, states, actions))
    errors: list[Tensor] = []
    for rows in torch.arange(len(actions)).split(batch):
        imagined, _ = rollout(
            predictor, tokens[rows, None].to(weight.dtype), states[rows, None], actions[rows, None]
        )
        errors.append((imagined[:, -1].float() - tokens[rows + 1]).abs().mean((1, 2)))
    copied = (tokens[1:] - tokens[:-1]).abs().mean((1, 2))
    return to_host(torch.cat(errors) / copied.clamp(min=1e-6)).double().numpy()


def agreement(windows: dict[str, list[Planned]]) -> dict[str, Any]:
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


def plain(errors: dict[str, float]) -> dict[str, float | None]:
    """NaN as None, which JSON can hold."""
    return {k: None if np.isnan(v) else v for k, v in errors.items()}


def agreement_table(agreement: dict[str, Any]) -> str:
    """The agreement as text."""
    lines = [f"planned against recorded, {agreement['windows']} windows:"]
    for key, value in agreement.items():
        if isinstance(value, dict):
            lines.append(f"{key:28}{value['mean']:9.4f}   {range_95(value)}")
        elif key != "windows" and value is not None:
            lines.append(f"{key:28}{value:9.4f}")
    return "\n".join(lines)


def rerun_file(
    path: Path, env: ReplayEnv, episode: LatentEpisode, planned: list[Planned], surprise: Array,
    painter: Painter | None = None,
) -> None:
    """An ``.rrd`` file: camera and goal image, recorded hand path and planned moves in 3D,
    imagined cost, error and surprise, and with a ``painter`` pictures of what is imagined one step
    after the actions planned, recorded and rejected; laid out for the viewer."""
    recording = env.store.read(episode.name)
    log = rr.RecordingStream("arm_worldmodel_replay")
    log.save(str(path))
    log.send_blueprint(replay_blueprint(painter is not None))
    log.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    log.log("world/recorded", rr.LineStrips3D([recording.states[:, :3]]), static=True)
    log.log("world/hand", rr.TransformAxes3D(0.06), static=True)
    by_frame = {w.frame: w for w in planned}
    for t in range(len(recording)):
        log.set_time("frame", sequence=t)
        log.log("camera", rr.Image(recording.images[t]).compress(QUALITY))
        log.log("world/hand", hand_frame(recording.states[t]))
        if t < len(surprise):
            log.log("surprise", rr.Scalars(float(surprise[t])))
        if t in by_frame:
            window, here = by_frame[t], recording.states[t]
            for name, action, colour in (("planned", window.planned, [255, 120, 0]),
                                         ("recorded_move", window.recorded, [0, 158, 115])):
                log.log(f"world/{name}", rr.Arrows3D(
                    origins=[here[:3]], vectors=[compose(here, action)[:3] - here[:3]],
                    colors=[colour],
                ))
            log.log("goal", rr.Image(recording.images[t + env.ahead]).compress(QUALITY))
            log.log("cost/imagined", rr.Scalars(window.cost))
            log.log("error_m", rr.Scalars(window.errors["error_m"]))
            for name, image in _imagined(painter, episode, window).items() if painter else ():
                log.log(f"imagined/{name}", rr.Image(image).compress(QUALITY))
    log.flush()
    log.disconnect()


def _imagined(painter: Painter, episode: LatentEpisode, window: Planned) -> dict[str, Image]:
    """Pictures of what is imagined one step after each action of a window."""
    moves = {"planned": window.planned, "recorded": window.recorded}
    if window.rejected is not None:
        moves["rejected"] = window.rejected
    after = painter.after(
        torch.from_numpy(np.array(episode.latents[window.frame])).float(),
        torch.from_numpy(episode.states[window.frame]).float(),
        torch.from_numpy(np.stack(list(moves.values()))[:, None]).float(),
    )
    return dict(zip(moves, after[:, -1], strict=True))


def replay_blueprint(imagined: bool = False) -> rrb.Blueprint:
    """What the viewer shows of a replayed episode, and where; with pictures of what is imagined."""
    pictures = [("camera", "camera"), ("goal", "goal: the frame planned for")]
    if imagined:
        pictures += [(f"imagined/{name}", f"imagined: {name} action")
                     for name in ("planned", "recorded", "rejected")]
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(
                origin="world", name="hand: planned (orange), recorded (green)",
                eye_controls=rrb.EyeControls3D(
                    position=EYE_M, look_target=LOOK_AT_M, eye_up=(0, 0, 1)
                ),
            ),
            rrb.Vertical(
                rrb.Horizontal(*(
                    rrb.Spatial2DView(origin=origin, name=name) for origin, name in pictures
                )),
                rrb.TimeSeriesView(origin="surprise", name="surprise (1: as copying the frame)"),
                rrb.TimeSeriesView(origin="error_m", name="planned to recorded move [m]"),
                rrb.TimeSeriesView(origin="cost", name="imagined cost"),
                row_shares=[3, 2, 2, 2],
            ),
        ),
        rrb.TimePanel(timeline="frame", fps=5.0, state="collapsed"),
        collapse_panels=True,
    )

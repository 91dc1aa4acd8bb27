"""Watchers of a running episode: what they are told, the episode writer, the rerun log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
from numpy.typing import NDArray

from robot_data.episodes import EpisodeStore
from robot_data.loop import Start, Step
from robot_data.schema import Episode


class EpisodeWriter:
    """Writes the episode into a store when it ends, also when it ends by an error."""

    def __init__(self, store: EpisodeStore, name: str, meta: dict[str, Any]) -> None:
        self.store, self.name, self.meta = store, name, meta
        self._frames: list[tuple[NDArray[Any], NDArray[Any], float]] = []
        self._stamps: list[float] = []
        self._actions: list[NDArray[np.float64]] = []

    def on_start(self, start: Start) -> None:
        self.meta = {**self.meta, "seed": start.seed}
        self._append(start.observation, start.info)

    def on_step(self, step: Step) -> None:
        self._actions.append(np.asarray(step.decision.action, np.float64))
        self._append(step.following, step.info)
        if "fault" in step.info:
            self.meta = {**self.meta, "fault": step.info["fault"]}

    def _append(self, observation: dict[str, NDArray[Any]], info: dict[str, Any]) -> None:
        told = float(info["commanded"][6]) if "commanded" in info else float("nan")
        if np.isnan(told):
            told = float(observation["state"][6])
        self._frames.append((observation["image"], observation["state"], told))
        if "stamp" in info:  # seconds, of a real camera
            self._stamps.append(float(info["stamp"]))

    def on_end(self) -> None:
        if len(self._frames) < 2:
            return
        images, states, told = zip(*self._frames, strict=True)
        stamps = np.round(1e9 * np.array(self._stamps)).astype(np.int64)
        stamped = len(stamps) == len(images) and bool((np.diff(stamps) > 0).all())
        self.store.write(
            self.name,
            Episode(
                images=np.stack(images), states=np.stack(states),
                actions=np.stack([*self._actions, np.zeros(7)]),
                commanded_closedness=np.asarray(told, np.float64), meta=self.meta,
                timestamps_ns=stamps if stamped else None,
            ),
        )


class RerunRecorder:
    """Camera, goal, hand path in 3D, state, action and imagined cost, as a ``.rrd`` file."""

    def __init__(self, path: str | Path, live: bool = False) -> None:
        """``live``: also in a viewer on this machine, started if there is none."""
        self._log = rr.RecordingStream("arm_worldmodel")
        if live:
            rr.spawn(connect=False, hide_welcome_screen=True)
            self._log.set_sinks(rr.GrpcSink(), rr.FileSink(str(path)))
        else:
            self._log.save(str(path))
        self._path: list[NDArray[np.float64]] = []

    def on_start(self, start: Start) -> None:
        self._goals = start.goals
        self._log.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self._show(0, start.observation)

    def on_step(self, step: Step) -> None:
        decision = step.decision
        self._log.set_time("step", sequence=step.index)
        self._log.log("goal", rr.Image(self._goals[decision.goal_index]))
        for name, value in zip(
            ("dx_m", "dy_m", "dz_m", "droll_rad", "dpitch_rad", "dyaw_rad", "dclosedness"),
            decision.action, strict=True,
        ):
            self._log.log(f"action/{name}", rr.Scalars(float(value)))
        if decision.subgoal:
            self._log.log("subgoal", rr.TextLog(decision.subgoal))
        self._log.log("cost/planned", rr.Scalars(decision.cost))
        self._log.log("cost/present", rr.Scalars(decision.present_cost))
        self._log.log("seconds", rr.Scalars(decision.seconds))
        self._log.log("distance_m", rr.Scalars(float(step.info["distance_m"])))
        self._show(step.index + 1, step.following)

    def _show(self, index: int, observation: dict[str, NDArray[Any]]) -> None:
        state = observation["state"]
        self._path.append(state[:3])
        self._log.set_time("step", sequence=index)
        self._log.log("camera", rr.Image(observation["image"]))
        self._log.log("world/hand_path", rr.LineStrips3D([np.stack(self._path)]))
        self._log.log("world/hand", rr.Points3D([state[:3]], radii=0.01))
        self._log.log("state/closedness", rr.Scalars(float(state[6])))

    def on_end(self) -> None:
        try:
            self._log.flush()
        except RuntimeError as error:
            raise OSError(f"the rerun log could not be written: {error}") from error
        self._log.disconnect()

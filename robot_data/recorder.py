"""A watcher that keeps a running episode as it is stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.loop import Start, Step
from robot_data.schema import Episode


class EpisodeRecorder:
    """Keeps the frames of an episode: images, states, actions, the closedness that was commanded.
    An action that an arm shortened or refused is kept as far as it was taken, and as it was decided
    in ``meta["not_as_decided"]``.

    meta: kept with the episode, beside its seed.  privileged: keys of the environment's ``info``
    kept as ``Episode.privileged``, of a simulator only.
    """

    def __init__(self, meta: dict[str, Any], privileged: tuple[str, ...] = ()) -> None:
        self.meta = meta
        self._frames: list[tuple[NDArray[Any], NDArray[Any], float]] = []
        self._wrist: list[NDArray[np.uint8]] = []  # where there is such a camera
        self._stamps: list[float] = []
        self._actions: list[NDArray[np.float64]] = []
        self._privileged: dict[str, list[NDArray[Any]]] = {name: [] for name in privileged}

    def on_start(self, start: Start) -> None:
        """Keep the first frame and the seed."""
        self.meta = {**self.meta, "seed": start.seed}
        self._append(start.observation, start.info)

    def on_step(self, step: Step) -> None:
        """Keep frame, state and action."""
        decided = np.asarray(step.decision.action, np.float64)
        as_decided = step.info.get("outcome", "taken") == "taken"
        self._actions.append(decided if as_decided else step.info["taken"])
        if not as_decided:
            other = {"step": step.index, "decided": decided.tolist(),
                     "outcome": step.info["outcome"]}
            self.meta = {**self.meta,
                         "not_as_decided": [*self.meta.get("not_as_decided", []), other]}
        self._append(step.following, step.info)
        if "fault" in step.info:
            self.meta = {**self.meta, "fault": step.info["fault"]}

    def keep(self, observation: dict[str, NDArray[Any]], info: dict[str, Any]) -> None:
        """Keep a frame that no action led to: the arm was driven there."""
        self._actions.append(np.zeros(7))
        self._append(observation, info)

    def _append(self, observation: dict[str, NDArray[Any]], info: dict[str, Any]) -> None:
        told = float(info["commanded"][6]) if "commanded" in info else float("nan")
        if np.isnan(told):
            told = float(observation["state"][6])
        self._frames.append((observation["image"], observation["state"], told))
        if "wrist_image" in observation:
            self._wrist.append(observation["wrist_image"])
        if "stamp" in info:  # seconds, of a real camera
            self._stamps.append(float(info["stamp"]))
        for name, kept in self._privileged.items():
            kept.append(info[name])

    def on_end(self) -> None:
        """Nothing: what was kept stays."""

    def __len__(self) -> int:
        return len(self._frames)

    def episode(self) -> Episode:
        """What was kept so far, of at least one frame."""
        images, states, told = zip(*self._frames, strict=True)
        stamps = np.round(1e9 * np.array(self._stamps)).astype(np.int64)
        stamped = len(stamps) == len(images) and bool((np.diff(stamps) > 0).all())
        return Episode(
            images=np.stack(images), states=np.stack(states),
            actions=np.stack([*self._actions, np.zeros(7)]),
            commanded_closedness=np.asarray(told, np.float64), meta=self.meta,
            timestamps_ns=stamps if stamped else None,
            cameras={"wrist": np.stack(self._wrist)} if self._wrist else {},
            privileged={name: np.stack(kept) for name, kept in self._privileged.items()},
        )

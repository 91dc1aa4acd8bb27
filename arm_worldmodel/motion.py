"""How far imagined hands and objects move, and how far they are off, by step ahead.

Letters: B roll-outs, H actions in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arm_worldmodel.motion_windows import (
    KINDS,
    Windows,
    object_windows,
    random_frames,
    random_moves,
    random_turns,
    reach,
)
from arm_worldmodel.report import bootstrap_95
from robot_data.latents import LatentEpisode
from robot_data.pose import angle_between, diff
from worldmodel.displacement import seen, seen_in_imagination
from worldmodel.predictor import Predictor
from worldmodel.progress import Progress
from worldmodel.readout import Readout

Array = NDArray[np.float64]
Figure = dict[str, float]  # mean and, over several episodes, low_95 and high_95

HAND_STEPS = (1, 3, 5, 8)
TURN_STEPS = (1, 3)
OBJECT_STEPS = (1, 3, 5)
AXES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
BATCH = 64  # roll-outs that are imagined together


def measure_motion(
    predictor: Predictor, readout: Readout, episodes: Sequence[LatentEpisode], seed: int
) -> dict[str, Any]:
    """Section ``motion`` of the report: ``hand`` and ``turn``, random actions against exact
    kinematics, by steps; ``object``, recorded actions, by kind and steps (None: the readout does
    not read it); ``readout``, its error on the real frames these start from [mm].

    Numbers of steps that the predictor does not take are left out.
    """
    rng = np.random.default_rng([seed, 1])
    most, box = predictor.config.max_steps, reach(episodes)
    windows: list[tuple[str, int, Windows]] = [
        ("hand", steps, random_moves(episodes, steps, box, rng)) for steps in HAND_STEPS
    ]
    windows += [("turn", steps, random_turns(episodes, steps, rng)) for steps in TURN_STEPS]
    if readout.config.object:
        windows += [(kind, steps, object_windows(episodes, kind, steps, rng))
                    for kind in KINDS for steps in OBJECT_STEPS]
    windows = [(kind, steps, w) for kind, steps, w in windows if steps <= most and len(w)]
    found: dict[str, list[dict[str, Any]]] = {"hand": [], "turn": [], "object": []}
    for kind, steps, part in Progress(windows, desc="imagined motion", unit="set of roll-outs"):
        rolled = Rolled(predictor, readout, episodes, part)
        if kind == "hand":
            found["hand"].append({"steps": steps, **hand_figures(rolled)})
        elif kind == "turn":
            found["turn"].append({"steps": steps, **turn_figures(rolled)})
        else:
            found["object"].append({"kind": kind, "steps": steps, **object_figures(rolled)})
    return {
        "hand": found["hand"], "turn": found["turn"],
        "object": found["object"] if readout.config.object else None,
        "readout": readout_figures(readout, episodes, rng),
        "box_m": [corner.tolist() for corner in box],
    }


class Rolled:
    """Roll-outs as the readout sees them: ``now`` [B, 7] and ``now_object`` [B, 3] in the frames
    they start from, ``hand`` [B, 7] and ``object`` [B, 3] in the last imagined ones, and
    ``object_read`` in the frames recorded then (objects are None where they are not read)."""

    def __init__(
        self, predictor: Predictor, readout: Readout, episodes: Sequence[LatentEpisode],
        windows: Windows,
    ) -> None:
        self.windows = w = windows
        steps = w.actions.shape[1]
        self.states = np.array([
            episodes[e].states[t] for e, t in zip(w.episode, w.frame, strict=True)
        ])
        recorded = np.isfinite(w.object_to).all()  # the actions are those of the recording
        parts: dict[str, list[torch.Tensor | None]] = {}

        def keep(**values: torch.Tensor | None) -> None:
            for name, value in values.items():
                parts.setdefault(name, []).append(value)

        starts = list(zip(w.episode.tolist(), w.frame.tolist(), strict=True))
        for begin in range(0, len(w), BATCH):
            rows = slice(begin, begin + BATCH)
            tokens = _tokens(episodes, starts[rows])
            state, action = (
                torch.from_numpy(x[rows]).float() for x in (self.states, w.actions)
            )
            now = seen(readout, tokens)
            then = seen_in_imagination(predictor, readout, tokens, state, action)
            keep(now=now.hand, now_object=now.place, hand=then.hand, object=then.place)
            ends = [(e, t + steps) for e, t in starts[rows]]
            keep(object_read=seen(readout, _tokens(episodes, ends)).place if recorded else None)
        self.now, self.hand = _joined(parts["now"]), _joined(parts["hand"])
        self.now_object, self.object = _joined(parts["now_object"]), _joined(parts["object"])
        self.object_read = _joined(parts["object_read"])


def _tokens(episodes: Sequence[LatentEpisode], rows: list[tuple[int, int]]) -> torch.Tensor:
    frames = [episodes[e].latents[t] for e, t in rows]
    return torch.from_numpy(np.stack(frames).astype(np.float32))


def _joined(parts: list[Any]) -> Any:
    return None if parts[0] is None else torch.cat(parts).double().numpy()


# -- figures ------------------------------------------------------------------------------------


def readout_figures(
    readout: Readout, episodes: Sequence[LatentEpisode], rng: np.random.Generator
) -> dict[str, Figure]:
    """Errors of what is read in real frames: the hand [mm, degrees], and commanded closedness."""
    rows = random_frames(episodes, rng)
    true = np.array([
        np.r_[episodes[e].states[t, :6], episodes[e].commanded_closedness[t]] for e, t in rows
    ])
    found = _joined([
        seen(readout, _tokens(episodes, rows[begin : begin + BATCH])).hand
        for begin in range(0, len(rows), BATCH)
    ])
    of = np.array([e for e, _ in rows])
    return {
        "off_mm": by_episode(1000 * np.linalg.norm((found - true)[:, :3], axis=1), of),
        "off_deg": by_episode(np.degrees(angle_between(found, true)), of),
        "gripper_off": by_episode(np.abs(found - true)[:, 6], of),
    }


def hand_figures(r: Rolled) -> dict[str, Any]:
    """Of random translations [mm]: how far the hand went, how far off it is imagined, and the
    slope of imagined over true displacement along each axis."""
    of = r.windows.episode
    off = 1000 * np.linalg.norm(r.hand[:, :3] - r.windows.hand[:, :3], axis=1)
    went = 1000 * np.linalg.norm(r.windows.hand[:, :3] - r.states[:, :3], axis=1)
    moves = r.windows.hand[:, :3] - r.states[:, :3], r.hand[:, :3] - r.now[:, :3]
    return {
        "rollouts": len(of), "moved_mm": float(went.mean()), "off_mm": by_episode(off, of),
        "off_median_mm": float(np.median(off)), "slope": slopes(*moves, r.windows, AXES[:3]),
    }


def turn_figures(r: Rolled) -> dict[str, Any]:
    """Of random rotations and gripper changes [degrees, closedness]: how far, how far off, and
    slopes; an axis of a rotation is one of the robot base."""
    of, turned = r.windows.episode, diff(r.states, r.windows.hand)[:, 3:]
    off = np.degrees(angle_between(r.hand, r.windows.hand))
    seen_turned = diff(r.now, r.hand)[:, 3:]
    grip = np.abs(r.hand[:, 6] - r.windows.hand[:, 6])
    return {
        "rollouts": len(of),
        "turned_deg": float(np.degrees(angle_between(r.states, r.windows.hand)).mean()),
        "off_deg": by_episode(off, of), "gripper_off": by_episode(grip, of),
        "slope": slopes(turned, seen_turned, r.windows, AXES[3:]),
    }


def object_figures(r: Rolled) -> dict[str, Any]:
    """Of objects, medians [mm]: how far it went; how far it is off as imagined, if it had stayed
    where it is read, and as read in the frame recorded then.

    ``follows``: share of the object's way that it is imagined to go, ``follows_read`` as read in
    the recorded frames; ``dragged``: share of the hand's way that it is imagined to go.
    """
    w = r.windows
    of, way, hand = w.episode, w.object_to - w.object_from, w.hand[:, :3] - r.states[:, :3]
    went = r.object - r.now_object

    def median(off: Array) -> float:
        return float(1000 * np.median(np.linalg.norm(off, axis=1)))

    return {
        "rollouts": len(of), "moved_mm": median(way), "off_mm": median(r.object - w.object_to),
        "stayed_off_mm": median(r.now_object - w.object_to),
        "read_off_mm": median(r.object_read - w.object_to),
        "follows": share(went, way, of),
        "follows_read": share(r.object_read - r.now_object, way, of),
        "dragged": share(went, hand, of),
    }


def slopes(true: Array, imagined: Array, w: Windows, axes: Sequence[str]) -> dict[str, Figure]:
    """Least-squares slope of ``imagined`` over ``true`` displacements [B, axes], by axis.

    The mean over the roll-outs of a frame is taken off both, so what a model imagines whatever
    the action has no part in it: after one step a deaf one has exactly 0.
    """
    _, group = np.unique(w.episode * (w.frame.max() + 1) + w.frame, return_inverse=True)
    true, imagined = _centred(true, group), _centred(imagined, group)
    return {
        axis: ratio(true[:, i] * imagined[:, i], true[:, i] ** 2, w.episode)
        for i, axis in enumerate(axes)
    }


def _centred(values: Array, group: NDArray[np.int64]) -> Array:
    counts = np.bincount(group)[:, None]
    sums = np.stack([np.bincount(group, column) for column in values.T], axis=1)
    return values - (sums / counts)[group]


def share(went: Array, way: Array, of: NDArray[np.int64]) -> Figure:
    """Share of displacements ``way`` [B, 3] that ``went`` [B, 3] goes, along them."""
    return ratio((went * way).sum(axis=1), (way**2).sum(axis=1), of)


# -- intervals over episodes --------------------------------------------------------------------


def by_episode(values: Array, of: NDArray[np.int64]) -> Figure:
    """Mean and interval of values [B] of episodes ``of`` [B]; episodes are the unit of chance."""
    return ratio(values, np.ones(len(values)), of)


def ratio(above: Array, below: Array, of: NDArray[np.int64]) -> Figure:
    """Sum of ``above`` [B] over that of ``below`` [B], with a bootstrap interval over the episodes
    ``of`` [B]; 0 of 0 is 0."""
    sums = np.stack([np.bincount(of, above), np.bincount(of, below)], axis=1)
    sums = sums[sums[:, 1] > 0]  # episodes with roll-outs
    if not len(sums):
        return {"mean": 0.0}
    total = sums.sum(axis=0)
    found = {"mean": float(total[0] / total[1])}
    if len(sums) > 1:
        found["low_95"], found["high_95"] = bootstrap_95(*sums.T)
    return found

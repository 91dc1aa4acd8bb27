"""Watchers of a running episode: the episode writer and the rerun log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from robot_data.episodes import EpisodeStore
from robot_data.live_view import open_viewer
from robot_data.loop import Decision, Start, Step, StepPictures
from robot_data.pose import compose
from robot_data.recorder import EpisodeRecorder

ACTION = ("dx_m", "dy_m", "dz_m", "droll_rad", "dpitch_rad", "dyaw_rad", "dclosedness")
QUALITY = 95  # of JPEG; the recorded store keeps every bit
EYE_M, LOOK_AT_M = (1.25, 0.95, 0.75), (0.3, 0.0, 0.25)  # of the viewer, robot base frame
AXES = ([230, 80, 80], [80, 190, 90], [90, 130, 240])  # colours of x, y, z
COSTS = {
    "cost/planned": "imagined after the planned action", "cost/present": "of the present image",
}


class EpisodeWriter(EpisodeRecorder):
    """Writes the episode into a store when it ends, also when it ends by an error."""

    def __init__(self, store: EpisodeStore, name: str, meta: dict[str, Any]) -> None:
        super().__init__(meta)
        self.store, self.name = store, name

    def on_end(self) -> None:
        """Commit the episode, whole; of fewer than two frames nothing."""
        if len(self) >= 2:
            self.store.write(self.name, self.episode())


class RerunRecorder:
    """An episode as a ``.rrd`` file, laid out for the rerun viewer.

    In 3D, robot base frame [m]: the hand's axes and path, the imagined ends of the candidates the
    planner last chose among, the pose read from the goal image, and, where a simulator tells
    them, arm and object; beside it camera and goal image, costs, distance and action by step.
    """

    def __init__(
        self, path: str | Path, live: bool = False, imagine: StepPictures | None = None
    ) -> None:
        """``live``: also in a viewer on this machine, started if there is none.  ``imagine``: makes
        pictures of what was imagined, shown at the frame that they were imagined for."""
        self._imagine = imagine
        self._log = rr.RecordingStream("arm_worldmodel")
        if live:
            open_viewer()
            self._log.set_sinks(rr.GrpcSink(), rr.FileSink(str(path)))
        else:
            self._log.save(str(path))
        self._path: list[NDArray[np.float64]] = []
        self._goal_shown = -1

    def on_start(self, start: Start) -> None:
        """Open the file; log the goals."""
        self._goals, self._names = start.goals, start.goal_names
        self._log.send_blueprint(episode_blueprint(self._imagine is not None))
        self._log.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        for axes, length in (("world/hand", 0.06), ("world/goal_hand", 0.04)):
            self._log.log(axes, rr.TransformAxes3D(length), static=True)
        for name, label in COSTS.items():
            self._log.log(name, rr.SeriesLines(names=label), static=True)
        for number, name in enumerate(ACTION):
            line = rr.SeriesLines(names=name, colors=[AXES[number % 3]])
            self._log.log(f"action/{name}", line, static=True)
        self._show(0, start.observation, start.info)

    def on_step(self, step: Step) -> None:
        """Log what was seen and decided."""
        decision = step.decision
        self._log.set_time("step", sequence=step.index)
        if decision.goal_index != self._goal_shown:
            self._goal_shown = decision.goal_index
            self._log.log("goal", rr.Image(self._goals[decision.goal_index]).compress(QUALITY))
        for name, value in zip(ACTION, decision.action, strict=True):
            self._log.log(f"action/{name}", rr.Scalars(float(value)))
        subgoal = decision.subgoal or self._names[decision.goal_index]
        self._log.log("subgoal", rr.TextDocument(subgoal))
        self._log.log("cost/planned", rr.Scalars(decision.cost))
        self._log.log("cost/present", rr.Scalars(decision.present_cost))
        self._log.log("seconds", rr.Scalars(decision.seconds))
        self._log.log("distance_m", rr.Scalars(float(step.info["distance_m"])))
        self._plan(decision, step.observation["state"])
        self._show(step.index + 1, step.following, step.info)
        for name, image in self._imagine(step).items() if self._imagine else ():
            self._log.log(f"imagined/{name}", rr.Image(image).compress(QUALITY))

    def _plan(self, decision: Decision, state: NDArray[np.float64]) -> None:
        if decision.candidates is not None:
            found = decision.candidates
            self._log.log("world/candidates", rr.Points3D(
                found.positions, radii=0.004, colors=_by_cost(found.costs)
            ))
        told = compose(state, decision.action)[:3]
        self._log.log("world/action", rr.Arrows3D(
            origins=[state[:3]], vectors=[told - state[:3]], colors=[255, 90, 54]
        ))
        if decision.goal_state is not None:
            self._log.log("world/goal_hand", hand_frame(np.asarray(decision.goal_state)))

    def _show(self, index: int, observation: dict[str, NDArray[Any]], info: dict[str, Any]) -> None:
        state = observation["state"]
        self._path.append(state[:3])
        self._log.set_time("step", sequence=index)
        self._log.log("camera", rr.Image(observation["image"]).compress(QUALITY))
        self._log.log("world/hand_path", rr.LineStrips3D(
            [np.stack(self._path)], radii=0.002, colors=[0, 114, 178]
        ))
        self._log.log("world/hand", hand_frame(state))
        self._log.log("state/closedness", rr.Scalars(float(state[6])))
        if "object_pose" in info:
            self._log.log("world/object", rr.Points3D(
                [info["object_pose"][:3]], radii=0.018, colors=[0, 158, 115]
            ))
        if "links_m" in info:
            self._log.log("world/arm", rr.LineStrips3D(
                [info["links_m"]], radii=0.008, colors=[200, 205, 212]
            ))

    def on_end(self) -> None:
        """Close the file."""
        try:
            self._log.flush()
        except RuntimeError as error:
            raise OSError(f"the rerun log could not be written: {error}") from error
        self._log.disconnect()


def hand_frame(state: NDArray[np.float64]) -> rr.Transform3D:
    """The hand's frame in the robot's, of a state [7]."""
    turn = Rotation.from_euler("xyz", state[3:6]).as_matrix()
    return rr.Transform3D(translation=state[:3], mat3x3=turn)


def _by_cost(costs: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Yellow for the cheapest candidate to dark blue for the dearest: [S] -> [S, 3]."""
    low, high = float(costs.min()), float(costs.max())
    share = (costs - low)[:, None] / max(high - low, 1e-9)
    return ((1 - share) * [255, 214, 0] + share * [40, 60, 150]).astype(np.uint8)


def episode_blueprint(imagined: bool = False) -> rrb.Blueprint:
    """What the viewer shows of an episode, and where; with pictures of what was imagined."""
    pictures = [("camera", "camera"), ("goal", "goal in force")]
    if imagined:
        pictures += [("imagined/chosen", "imagined a step ago"),
                     ("imagined/rejected", "imagined, rejected candidate")]
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(
                origin="world", name="hand, candidates, goal pose",
                eye_controls=rrb.EyeControls3D(
                    position=EYE_M, look_target=LOOK_AT_M, eye_up=(0, 0, 1)
                ),
            ),
            rrb.Vertical(
                rrb.Horizontal(*(
                    rrb.Spatial2DView(origin=origin, name=name) for origin, name in pictures
                )),
                rrb.TimeSeriesView(
                    origin="cost", name="cost to the goal image",
                    plot_legend=rrb.Corner2D.RightTop,
                ),
                rrb.TimeSeriesView(origin="distance_m", name="distance to the goal [m]"),
                rrb.Horizontal(*(
                    rrb.TimeSeriesView(
                        origin="action", name=name, contents=[f"$origin/{n}" for n in names],
                        plot_legend=rrb.Corner2D.RightTop,
                    )
                    for name, names in (("move [m]", ACTION[:3]), ("turn [rad]", ACTION[3:6]),
                                        ("gripper", ACTION[6:]))
                )),
                rrb.TextDocumentView(origin="subgoal", name="sub-goal in force"),
                row_shares=[3, 2, 2, 2, 1],
            ),
        ),
        rrb.TimePanel(timeline="step", fps=5.0, state="collapsed"),
        collapse_panels=True,
    )


def viewer(path: str | Path) -> str:
    """How to look at a ``.rrd`` file, with a display and without."""
    return f"rerun --bind 127.0.0.1 {path}  (without a display: add --serve-web)"

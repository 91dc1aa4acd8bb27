"""A Franka Panda with a Robotiq 2F-85 on a table, as a ``gymnasium.Env``: what every engine shares.

Observation, action, units and frames: ``robot_data.schema``.  One ``step`` is one control
step (0.2 s at the default 5 Hz) of 2 ms physics.  An action moves the *commanded* pose; the
arm follows it with servo errors of a few millimetres, which the measured state shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from configs.keywords import with_keywords
from robot_data import pose as pose_math
from robot_data.schema import check_action
from robot_data.spaces import action_space, observation_space
from sims import scene, tasks, waypoints
from sims.arm_control import HOME_QPOS, ArmKinematics, JointReference

Array = NDArray[np.float64]

CLOSED_DRIVER_RAD = 0.8  # driver joint angle of the closed gripper
GRIPPER_DEADBAND = 0.05  # smaller changes of closedness mean "hold"
MAX_DRAWS = 8  # of an episode whose goal the scripted way does not bring about
STALL_GAP = 0.06  # commanded minus measured closedness that shows contact


@dataclass(frozen=True)
class ArmConfig:
    """The simulated rig."""

    # side of the camera's pictures [px]; null: as the policy's model takes them, 128 where there is
    # none
    image_size: int | None = None
    wrist_camera: bool = False  # add the pictures of a camera at the wrist
    control_hz: float = 5.0  # control steps in a second [Hz]
    timestep_s: float = 0.002  # time step of the physics [s]
    fast_rendering: bool = True  # light meshes, no shadows, no reflections, no multisampling
    # lower corner of the box that the hand is kept in, base frame [m]
    workspace_low_m: tuple[float, float, float] = (0.30, -0.28, 0.015)
    # upper corner of that box [m]
    workspace_high_m: tuple[float, float, float] = (0.70, 0.28, 0.40)
    scene: scene.SceneConfig = field(default_factory=scene.SceneConfig)
    task: tasks.TaskConfig = field(default_factory=tasks.TaskConfig)

    @property
    def side(self) -> int:
        """Side of the pictures [pixels]."""
        return 128 if self.image_size is None else self.image_size


class Arm(gymnasium.Env[Any, Any]):
    """One arm, one table, one object; subclasses bring the engine.

    ``reset(seed)`` draws the look, the start, the object and the goal from the seed, really
    brings the scene to the goal to take the goal images, and goes back.  ``info`` of ``reset``
    has ``goal_image`` uint8 [H, W, 3], ``subgoal_images`` (list) and ``subgoal_names``.
    An episode whose goal the scripted way does not bring about is drawn again;
    ``goal_reached`` says whether that was in vain.  ``info`` also has, privileged,
    ``subgoal_states``: [10] of each sub-goal, commanded state and object position.

    ``info`` of every call has ``success``, ``distance_m``, ``object_pose`` [7] (x, y, z [m],
    quaternion w, x, y, z), ``commanded`` [7], ``held`` and ``links_m`` [L, 3], where the chain
    of the commanded arm runs, base to tool centre point.  Reward is ``success`` as a float.
    The same seed draws the same episode in every engine.

    Nothing ends an episode but a ``gymnasium.wrappers.TimeLimit``, which ``sims.make.make`` and
    ``gymnasium.make`` put around it.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 5}
    source: ClassVar[str]  # the environment's registered name

    def __init__(
        self, config: ArmConfig | None = None, task: str | None = None,
        render_mode: str | None = "rgb_array", **settings: Any,
    ) -> None:
        """task: of ``sims.tasks.TASKS``.  settings: fields of ``ArmConfig``, of its scene and of
        its task, by name (``image_size=256, object="cup"``).  Raises ``SettingsError`` for a name
        or a value that does not fit."""
        if task is not None:
            settings["name"] = task
        config = with_keywords(config or ArmConfig(), settings)
        if config.side % 16 or config.side < 16:
            raise ValueError(
                f"image_size {config.side} is not a multiple of the patch size 16; "
                "use 128, 224 or 256"
            )
        self.config = config
        self.render_mode = render_mode
        self.task = tasks.make_task(config.task)
        self._kinematics = ArmKinematics(scene.robot_spec(light=False))
        self._substeps = max(1, round(1.0 / (config.control_hz * config.timestep_s)))
        self._look: scene.SceneDraw | None = None
        self.subgoal_states: list[Array] = []  # see the class docstring
        self.observation_space = observation_space(config.side, config.wrist_camera)
        self.action_space = action_space()

    # -- gymnasium ---------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode.  ``options={"goal": False}`` skips making the goal images."""
        super().reset(seed=seed)
        info: dict[str, Any] = {}
        for _ in range(MAX_DRAWS):
            self._begin()
            if not (options or {}).get("goal", True):
                break
            info = self._make_goal()
            if info["goal_reached"]:
                break
        info.update(self._info())
        return self._observation(), info

    def _begin(self) -> None:
        """Draw an episode and set up its start."""
        rng = self.np_random
        self._look = scene.draw(self.config.scene, rng)
        self._apply_look(self._look)
        self.draw = tasks.draw_episode(self.config.task, rng)
        self._place(self.draw)
        if self.task.starts_holding:
            self._pick_up_before_start()

    def step(self, action: Array):
        """Advance one control step; the action [7] is clipped to ``action_space``."""
        self.advance(action)
        info = self._info()
        return self._observation(), float(info["success"]), False, False, info

    def render(self) -> NDArray[np.uint8]:
        """The exo camera image, uint8 [H, W, 3]."""
        return self.camera_image("exo")

    # -- what an engine brings ---------------------------------------------------------------

    def _apply_look(self, look: scene.SceneDraw) -> None:
        """Forget the last episode and dress the scene."""
        raise NotImplementedError

    def _put(self, q: Array, object_pose: Array, distractor_poses: list[Array]) -> None:
        """Place the arm (joints [7], rad), the object and the distractors ([7] each), at rest."""
        raise NotImplementedError

    def _settle(self, steps: int) -> None:
        """Simulate ``steps`` physics steps with the present set points."""
        raise NotImplementedError

    def _track(self, q_goal: Array, substeps: int) -> None:
        """Move the joint reference to ``q_goal`` [7] (rad) over ``substeps`` steps of physics."""
        raise NotImplementedError

    def _drive_gripper(self, closedness: float) -> None:
        """Set point of the fingers."""
        raise NotImplementedError

    @property
    def closedness(self) -> float:
        """Measured gripper closedness, 0 open to 1 closed (driver angle over its range)."""
        raise NotImplementedError

    @property
    def state(self) -> Array:
        """Measured state [7] of the tool centre point in the robot base frame."""
        raise NotImplementedError

    @property
    def object_pose(self) -> Array:
        """Object centre [m] and quaternion w, x, y, z in the base frame: [7]."""
        raise NotImplementedError

    @property
    def object_speed_m_s(self) -> float:
        """Speed of the object's centre [m/s]."""
        raise NotImplementedError

    def touching(self) -> tuple[bool, bool]:
        """Whether the object touches the table, and both finger pads."""
        raise NotImplementedError

    def camera_image(self, camera: str) -> NDArray[np.uint8]:
        """Image of the ``exo`` or ``wrist`` camera, uint8 [H, W, 3]."""
        raise NotImplementedError

    def _save_physics(self) -> Any:
        raise NotImplementedError

    def _restore_physics(self, saved: Any) -> None:
        raise NotImplementedError

    # -- control -----------------------------------------------------------------------------

    def advance(self, action: Array) -> None:
        """One control step without rendering."""
        action = check_action(action)
        action = np.clip(action, self.action_space.low, self.action_space.high)  # pyright: ignore
        measured = self.state
        self._command_gripper(action[6], measured[6])
        target = pose_math.compose(self._commanded, np.r_[action[:6], 0.0])
        low, high = self.config.workspace_low_m, self.config.workspace_high_m
        target[:3] = np.clip(target[:3], low, high)
        # Never lead the arm by more than 5 cm: pushing against the table must not wind up.
        lead = target[:3] - measured[:3]
        reach = np.linalg.norm(action[:3]) + 0.05
        if np.linalg.norm(lead) > reach:
            target[:3] = measured[:3] + lead * reach / np.linalg.norm(lead)
        self._commanded[:6] = target[:6]
        self._track(self._kinematics.solve(target, self._reference.q), self._substeps)
        self._hold_on_contact()

    def servo(self, setpoint: Array, seconds: float) -> None:
        """Follow an absolute set point [7] for ``seconds``, as an arm's own controller does:
        nothing is limited here and nothing is rendered."""
        self._commanded = setpoint.copy()
        self._drive_gripper(float(setpoint[6]))
        substeps = max(1, round(seconds / self.config.timestep_s))
        self._track(self._kinematics.solve(setpoint, self._reference.q), substeps)

    def _command_gripper(self, change: float, measured: float) -> None:
        """Closing adds to the command, opening starts from where the fingers are."""
        if abs(change) < GRIPPER_DEADBAND:
            return
        self._squeezing = False
        self._closing = change > 0
        base = max(self._commanded[6], measured) if self._closing else measured
        self._set_gripper(float(np.clip(base + change, 0.0, 1.0)))

    def _hold_on_contact(self) -> None:
        """Fingers that were told to close and stopped early are on something: keep the force."""
        gap = self._commanded[6] - self.closedness
        if self._closing and not self._squeezing and gap > STALL_GAP:
            self._squeezing = True
            self._set_gripper(1.0)

    def _set_gripper(self, closedness: float) -> None:
        self._commanded[6] = closedness
        self._drive_gripper(closedness)

    # -- measurements ------------------------------------------------------------------------

    @property
    def commanded(self) -> Array:
        """Commanded pose and closedness [7]."""
        return self._commanded.copy()

    @property
    def object_kind(self) -> str:
        """Of the object that tasks are about (``sims.scene.ObjectKind``)."""
        return self.config.scene.object

    @property
    def object_half_height_m(self) -> float:
        """Half of the object's height [m]."""
        assert self._look is not None, "reset() first"
        size = self._look.size_m
        return size[0] if self.config.scene.object == "box" else size[1] / 2

    def _observation(self) -> dict[str, NDArray[Any]]:
        observation: dict[str, NDArray[Any]] = {
            "image": self.camera_image("exo"), "state": self.state
        }
        if self.config.wrist_camera:
            observation["wrist_image"] = self.camera_image("wrist")
        return observation

    def _info(self) -> dict[str, Any]:
        judged = self.task.judge(self, self.draw)
        return {
            **judged,
            "object_pose": self.object_pose,
            "commanded": self.commanded,
            "links_m": self._kinematics.links(self._reference.q),
        }

    # -- start and goal ----------------------------------------------------------------------

    def _place(self, draw: tasks.EpisodeDraw) -> None:
        """Put object, distractors and arm at the start of the episode and let them settle."""
        assert self._look is not None
        z = self.object_half_height_m + 0.0005
        q = self._kinematics.solve(draw.start_pose, HOME_QPOS)
        self._reference = JointReference(q)
        self._put(
            q, _free_pose(*draw.object_xy_m, z, draw.object_yaw_rad),
            [_free_pose(x, y, 0.021, yaw) for x, y, yaw in self._look.distractor_xy_yaw],
        )
        self._commanded = draw.start_pose.copy()
        self._squeezing = self._closing = False
        self._set_gripper(float(draw.start_pose[6]))
        self._settle(100)

    def _pick_up_before_start(self) -> None:
        for waypoint in tasks.pick_waypoints(self, self.draw):
            self._follow(waypoint)

    def _make_goal(self) -> dict[str, Any]:
        """Drive the scene to the goal, photograph it and every sub-goal, and come back."""
        saved = self.snapshot()
        images, names, states = [], [], []
        for waypoint in self.task.waypoints(self, self.draw):
            self._follow(waypoint)
            if self.config.task.subgoals == "dense" or waypoint.paper or waypoint.final:
                images.append(self.camera_image("exo"))
                names.append(waypoint.name)
                states.append(np.r_[self.state[:6], self.commanded[6], self.object_pose[:3]])
        intended = self.task.intended(self, self.draw)
        self.draw = replace(self.draw, goal_object_m=tuple(self.object_pose[:3]))
        judged = self.task.judge(self, self.draw)
        goal_state = self.state
        self.subgoal_states = states
        self.restore(saved)
        return {
            "goal_image": images[-1],
            "subgoal_images": images,
            "subgoal_names": names,
            "goal_state": goal_state,
            "subgoal_states": states,
            "goal_reached": bool(intended and judged["success"]),
        }

    def _follow(self, waypoint: waypoints.Waypoint) -> None:
        """Drive to a waypoint with the same actions an agent has."""
        for _ in range(waypoint.max_steps):
            action = waypoints.waypoint_action(waypoint, self.state, self.commanded)
            self.advance(action)
            if waypoints.waypoint_reached(waypoint, self.state, self.commanded):
                break

    def snapshot(self) -> Any:
        """Everything ``restore`` needs to come back to this moment of the episode."""
        return (
            self._save_physics(), self._commanded.copy(), self._reference.q.copy(),
            self._squeezing, self._closing,
        )

    def restore(self, saved: Any) -> None:
        """Go back to a ``snapshot``."""
        physics, commanded, q, self._squeezing, self._closing = saved
        self._restore_physics(physics)
        self._commanded, self._reference = commanded.copy(), JointReference(q)


def _free_pose(x: float, y: float, z: float, yaw: float) -> Array:
    return np.array([x, y, z, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])

"""A Franka Panda with a Robotiq 2F-85 on a table, as a ``gymnasium.Env``: what every engine shares.

Observation, action, units and frames: ``robot_data.schema``.  One ``step`` is one control
step (0.2 s at the default 5 Hz) of 2 ms physics.  ``sims.rig`` moves the arm; this draws episodes,
makes goals and judges.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from configs.keywords import with_keywords
from configs.settings import SettingsError
from sims import scene, tasks, waypoints
from sims.arm_control import HOME_QPOS, JointReference
from sims.config import ArmConfig
from sims.rig import CLOSED_DRIVER_RAD, Rig
from sims.task import obstacle_moved_m

__all__ = ["CLOSED_DRIVER_RAD", "Arm", "ArmConfig", "Array"]

Array = NDArray[np.float64]

MAX_DRAWS = 8  # of an episode whose goal the scripted way does not bring about
CLOSING_STEPS = 500  # of physics, for open fingers to close
PARKED_QPOS = np.array([-2.2, -0.6, 0.0, -2.4, 0.0, 2.0, 0.785])  # [rad], turned away, hand up
MOST_WAITING = 10  # control steps, until a picture is taken
LOW_HAND_M = 0.20  # a lower hand may touch what stands on the table
APART_M = 0.12  # between hand and things that are not to touch
MOVED_AWAY_M = 0.06  # least way of an object that is moved, and its least distance to its goal


class Arm(Rig):
    """One arm, one table, an object and what the task needs; subclasses bring the engine.

    ``reset(seed)`` draws the look, the start, the object and the goal from the seed, really
    brings the scene to the goal to take the goal images, and goes back.  ``info`` of ``reset``
    has ``goal_image`` uint8 [H, W, 3], ``subgoal_images`` (list) and ``subgoal_names``.
    An episode whose goal the scripted way does not bring about is drawn again;
    ``goal_reached`` says whether that was in vain.  ``info`` also has, privileged,
    ``subgoal_states``: [10] of each sub-goal, commanded state and object position.

    ``info`` of every call has ``success``, ``distance_m``, ``object_pose`` [7] (x, y, z [m],
    quaternion w, x, y, z), ``commanded`` [7], ``held``, ``disturbed`` (whether the object has been
    moved unseen) and ``links_m`` [L, 3], where the chain of the commanded arm runs, base to tool
    centre point.  Reward is ``success`` as a float.
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
        if "name" in settings:
            raise SettingsError(f"name={settings['name']!r}: the task is task=")
        if task is not None:
            settings["name"] = task
        config = with_keywords(config or ArmConfig(), settings)
        if config.side % 16 or config.side < 16:
            raise ValueError(
                f"image_size {config.side} is not a multiple of the patch size 16; "
                "use 128, 224 or 256"
            )
        self.task = tasks.make_task(config.task)
        super().__init__(replace(config, scene=self.task.scene(config.scene)))
        self.render_mode = render_mode
        self._obstacle = self.task.obstacle or config.scene.obstacle
        self._fingers_stay_closed = self.task.fingers_stay_closed
        self.subgoal_states: list[Array] = []  # see the class docstring

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
        self.draw = tasks.draw_episode(
            self.config.task, rng, self.config.scene.obstacle is not None
        )
        self._steps, self._disturbed = 0, False
        self._place(self.draw)
        if self.task.starts_holding:
            self._pick_up_before_start()

    def step(self, action: Array):
        """Advance one control step; the action [7] is clipped to ``action_space``."""
        self.advance(action)
        self._steps += 1
        due = self.draw.disturbance
        if due is not None and not self._disturbed and self._steps >= due.step:
            self._disturb()
        info = self._info()
        return self._observation(), float(info["success"]), False, False, info

    def park(self) -> None:
        """Drive the arm out of the picture, by no action, and wait until all is at rest."""
        self._take_hand_away("out")
        self._wait_for_rest()

    def seen(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Observation and info of now."""
        return self._observation(), self._info()

    def render(self) -> NDArray[np.uint8]:
        """The exo camera image, uint8 [H, W, 3]."""
        return self.camera_image("exo")

    def exo_projection(self) -> Array:
        """See ``sims.scene.exo_projection``; of this episode's camera."""
        assert self._look is not None
        return scene.exo_projection(self._look, self.config.scene.camera_fovy_deg)

    def _info(self) -> dict[str, Any]:
        judged = self.task.judge(self, self.draw)
        return {
            **judged,
            **self._moved_obstacle(judged),
            "disturbed": self._disturbed,
            "object_pose": self.object_pose,
            "commanded": self.commanded,
            "links_m": self._kinematics.links(self._reference.q),
        }

    def _moved_obstacle(self, judged: dict[str, Any]) -> dict[str, float]:
        """How far an obstacle was moved that the task does not judge."""
        if self._obstacle is None or "obstacle_moved_m" in judged:
            return {}
        return {"obstacle_moved_m": obstacle_moved_m(self, self.draw)}

    # -- start -------------------------------------------------------------------------------

    def _place(self, draw: tasks.EpisodeDraw) -> None:
        """Put arm and things at the start of the episode and let them settle."""
        assert self._look is not None
        q = self._kinematics.solve(draw.start_pose, HOME_QPOS)
        self._reference = JointReference(q)
        places = {"object": (*draw.object_xy_m, draw.object_yaw_rad),
                  "second_object": draw.second_xy_yaw, "obstacle": draw.obstacle_xy_yaw}
        places |= {f"distractor{i}": p for i, p in enumerate(self._look.distractor_xy_yaw)}
        self._put(q, {name: self._standing(name, places[name]) for name in self.things})
        self._commanded = draw.start_pose.copy()
        self._squeezing = self._closing = False
        self._set_gripper(float(draw.start_pose[6]))
        self._settle(100 if draw.start_pose[6] == 0 else CLOSING_STEPS)

    def _standing(self, name: str, xy_yaw: tuple[float, float, float] | None) -> Array:
        """Pose [7] of a thing just above the table."""
        assert xy_yaw is not None, f"there is no place for {name}"
        x, y, yaw = xy_yaw
        z = self.half_height_of(name) + (0.001 if name.startswith("distractor") else 0.0005)
        return np.array([x, y, z, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])

    def _pick_up_before_start(self) -> None:
        for waypoint in tasks.pick_waypoints(self, self.draw):
            self._follow(waypoint)

    # -- disturbance -------------------------------------------------------------------------

    def _disturb(self) -> None:
        """Move the object to the first drawn place that is free; without one, in a later step."""
        assert self.draw.disturbance is not None
        clear = {"object": MOVED_AWAY_M, "second_object": APART_M, "obstacle": APART_M}
        taken = [(self.pose_of(name)[:2], clear[name]) for name in self.things if name in clear]
        taken.append((np.array(self.task.goal_xy(self.draw)), MOVED_AWAY_M))
        if self.state[2] < LOW_HAND_M:
            taken.append((self.state[:2], APART_M))
        for x, y in self.draw.disturbance.places_m:
            if all(np.linalg.norm(place - (x, y)) >= far for place, far in taken):
                pose = self._standing("object", (x, y, self.draw.object_yaw_rad))
                self._move_thing("object", pose)
                self._disturbed = True
                return

    # -- goal --------------------------------------------------------------------------------

    def _make_goal(self) -> dict[str, Any]:
        """Bring the scene to the goal, photograph it and every sub-goal, and come back."""
        saved, config = self.snapshot(), self.config.task
        images, names, states = [], [], []

        def photograph(name: str) -> None:
            images.append(self._goal_image())
            names.append(name)
            states.append(np.r_[self.state[:6], self.commanded[6], self.object_pose[:3]])

        alone, name = tasks.one_image(config), "placed"
        if config.goal_by_hand:
            self._place_by_hand()
        else:
            for waypoint in self.task.waypoints(self, self.draw):
                self._follow(waypoint)
                name = waypoint.name
                dense = config.subgoals == "dense" or waypoint.paper or waypoint.final
                if dense and not alone:
                    photograph(name)
        intended = self.task.intended(self, self.draw)
        if alone:
            self._take_hand_away(tasks.goal_hand(config))
            self._wait_for_rest()
            photograph(name)
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

    def _goal_image(self) -> NDArray[np.uint8]:
        look, drawn = self._look, self.draw.picture
        if self.config.task.goal_light == "same":
            return self.camera_image("exo")
        assert look is not None
        assert drawn is not None
        x, y, z = np.asarray(look.light_pos_m) + drawn.lamp_shift_m
        self._look = replace(
            look, light_pos_m=(x, y, z), light_level=look.light_level * drawn.lamp_factor
        )
        self._apply_light(self._look)
        image = self.camera_image("exo")
        self._look = look
        self._apply_light(look)
        return image

    def _place_by_hand(self) -> None:
        assert self.draw.picture is not None
        place = (*self.draw.goal_xy_m, self.draw.picture.placed_yaw_rad)
        self._move_thing("object", self._standing("object", place))
        self._settle(100)

    def _take_hand_away(self, where: tasks.GoalHand) -> None:
        if where == "at_goal":
            return
        up = self.commanded
        up[2] = max(up[2], LOW_HAND_M)
        self._follow(waypoints.Waypoint("up", up, 8))
        if where == "elsewhere":
            place = np.r_[self._uncovering_place(), tasks.DOWN_RPY, up[6]]
            self._follow(waypoints.Waypoint("away", place, 15))
        else:
            self._track(PARKED_QPOS, 15 * self._substeps)
            self._settle(self._substeps)

    def _wait_for_rest(self) -> None:
        """A cylinder that was pushed may stagger for a while."""
        for _ in range(MOST_WAITING):
            if self.object_speed_m_s <= tasks.REST_M_S:
                return
            self._settle(self._substeps)

    def _uncovering_place(self) -> Array:
        """Where the hand [3] neither is over a thing nor stands between it and the camera."""
        assert self._look is not None
        assert self.draw.picture is not None
        eye, _ = scene.exo_camera_pose(
            self._look.camera_lookat_m, self._look.camera_distance_m,
            self._look.camera_azimuth_deg, self._look.camera_elevation_deg,
        )
        places = np.array([self.pose_of(name)[:2] for name in self.things])
        to_eye = eye[:2] - places
        to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True)
        before = places[:, None] + np.linspace(0.0, 0.3, 7)[:, None] * to_eye[:, None]  # [T, 7, 2]
        away = self.draw.picture.away_m
        gaps = np.linalg.norm(before - away[:, None, None, :2], axis=-1).min(axis=(1, 2))
        free = gaps >= APART_M
        return away[np.argmax(free) if free.any() else np.argmax(gaps)]

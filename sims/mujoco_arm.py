"""The arm in MuJoCo."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sims import mujoco_scene, scene
from sims.arm import CLOSED_DRIVER_RAD, Arm, Array
from sims.arm_control import ARM_JOINTS, SERVO_LAG_S
from sims.config import ArmConfig
from sims.rendering import make_renderer


class MujocoArm(Arm):
    """See ``sims.arm.Arm``.

    ``copy.deepcopy`` and ``pickle`` give an environment at the same moment of the same episode.
    An OpenGL context belongs to a thread: each thread that takes pictures, and each copy, makes a
    renderer of its own.
    """

    source = "arm_worldmodel/MujocoArm-v0"

    def __init__(
        self, config: ArmConfig | None = None, task: str | None = None,
        render_mode: str | None = "rgb_array", **settings: Any,
    ) -> None:
        super().__init__(config, task, render_mode, **settings)
        config = self.config
        self.model = mujoco_scene.build(
            config.scene, config.side, config.timestep_s, config.fast_rendering, self._obstacle
        )
        self.data = mujoco.MjData(self.model)
        self._arm_q = np.array([self.model.joint(j).qposadr[0] for j in ARM_JOINTS])
        self._arm_act = np.array([self.model.actuator(j).id for j in ARM_JOINTS])
        self._fingers_act = self.model.actuator("fingers_actuator").id
        self._driver_q = np.array(
            [self.model.joint(f"{s}_driver_joint").qposadr[0] for s in ("left", "right")]
        )
        self._object_v = self.model.joint("object_free").dofadr[0]
        self._tcp = self.model.site("tcp").id
        self._of_thread = threading.local()  # renderer

    def close(self) -> None:
        """Free the renderer of this thread; those of other threads are freed when these end."""
        renderer = self._of_thread.__dict__.pop("renderer", None)
        if renderer is not None:
            renderer.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_of_thread"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._of_thread = threading.local()

    def _apply_look(self, look: scene.SceneDraw) -> None:
        mujoco_scene.apply(self.model, self.config.scene, look, self._obstacle)
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setConst(self.model, self.data)
        mujoco.mj_resetData(self.model, self.data)

    def _apply_light(self, look: scene.SceneDraw) -> None:
        mujoco_scene.apply_light(self.model, look)
        mujoco.mj_forward(self.model, self.data)

    def _put(self, q: Array, poses: Mapping[str, Array]) -> None:
        for name, pose in poses.items():
            self._set_thing(name, pose)
        self.data.qpos[self._arm_q] = q
        self.data.ctrl[self._arm_act] = q

    def _set_thing(self, name: str, pose: Array) -> None:
        joint = self.model.joint(f"{name}_free")
        self.data.qpos[joint.qposadr[0] : joint.qposadr[0] + 7] = pose
        self.data.qvel[joint.dofadr[0] : joint.dofadr[0] + 6] = 0.0

    def _move_thing(self, name: str, pose: Array) -> None:
        self._set_thing(name, pose)
        mujoco.mj_forward(self.model, self.data)

    def _settle(self, steps: int) -> None:
        mujoco.mj_step(self.model, self.data, steps)
        mujoco.mj_forward(self.model, self.data)

    def _track(self, q_goal: Array, substeps: int) -> None:
        angles, rates = self._reference.advance(q_goal, substeps, self.config.timestep_s)
        for servo in angles + SERVO_LAG_S * rates:  # velocity feed-forward
            self.data.ctrl[self._arm_act] = servo
            mujoco.mj_step(self.model, self.data)

    def _drive_gripper(self, closedness: float) -> None:
        self.data.ctrl[self._fingers_act] = 255.0 * closedness

    @property
    def closedness(self) -> float:
        """Measured gripper closedness, 0 open to 1 closed (driver angle over its range)."""
        return float(np.clip(self.data.qpos[self._driver_q].mean() / CLOSED_DRIVER_RAD, 0.0, 1.0))

    @property
    def state(self) -> Array:
        """Measured state [7] of the tool centre point in the robot base frame."""
        turn = Rotation.from_matrix(self.data.site_xmat[self._tcp].reshape(3, 3))
        return np.concatenate(
            [self.data.site_xpos[self._tcp], turn.as_euler("xyz"), [self.closedness]]
        )

    def pose_of(self, name: str) -> Array:
        """Pose [7] of a thing on the table, see ``sims.rig.Rig``."""
        address = self.model.joint(f"{name}_free").qposadr[0]
        return self.data.qpos[address : address + 7].copy()

    @property
    def object_speed_m_s(self) -> float:
        """Speed of the object's centre [m/s]."""
        return float(np.linalg.norm(self.data.qvel[self._object_v : self._object_v + 3]))

    def touching(self) -> tuple[bool, bool]:
        """Whether the object touches the table, and both finger pads."""
        body = self.model.body("object").id
        table = self.model.geom("table").id
        on_table, pads = False, set()
        for contact in self.data.contact[: self.data.ncon]:
            bodies = self.model.geom_bodyid[contact.geom]
            if body not in bodies:
                continue
            other = contact.geom[0] if bodies[1] == body else contact.geom[1]
            on_table |= other == table
            name = self.model.body(self.model.geom_bodyid[other]).name
            if name.startswith(("left_", "right_")):
                pads.add(name.split("_")[0])
        return on_table, len(pads) == 2

    def camera_image(self, camera: str) -> NDArray[np.uint8]:
        """Image of the ``exo`` or ``wrist`` camera, uint8 [H, W, 3]."""
        renderer = self._renderer
        renderer.update_scene(self.data, camera=camera)
        return renderer.render().copy()

    @property
    def _renderer(self) -> mujoco.Renderer:
        """Of the thread that asks."""
        if not hasattr(self._of_thread, "renderer"):
            self._of_thread.renderer = make_renderer(
                self.model, self.config.side, self.config.fast_rendering
            )
        return self._of_thread.renderer

    def _save_physics(self) -> NDArray[np.float64]:
        size = mujoco.mj_stateSize(self.model, int(mujoco.mjtState.mjSTATE_INTEGRATION))
        state = np.empty(size)
        mujoco.mj_getState(
            self.model, self.data, state, int(mujoco.mjtState.mjSTATE_INTEGRATION)
        )
        return state

    def _restore_physics(self, saved: Any) -> None:
        mujoco.mj_setState(
            self.model, self.data, saved, int(mujoco.mjtState.mjSTATE_INTEGRATION)
        )
        mujoco.mj_forward(self.model, self.data)

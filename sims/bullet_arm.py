"""The arm in PyBullet: the same rig, tasks and draws with another engine and another renderer.

Physics is Bullet's (the fingers are a tree driven by position motors, see
``sims.bullet_model``); pictures come from TinyRenderer, a software rasteriser with its own
lighting model, without table textures.  Needs the ``pybullet`` extra.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sims import scene, shapes
from sims.arm import CLOSED_DRIVER_RAD, Arm, Array
from sims.arm_control import ARM_JOINTS
from sims.bullet_model import FINGER_JOINTS, bullet_urdf
from sims.config import ArmConfig

try:
    import pybullet
    from pybullet_utils.bullet_client import BulletClient
except ImportError as error:
    raise ImportError(
        "PyBullet is not installed; pip install 'arm-worldmodel[pybullet]' (Python 3.11)"
    ) from error

ARM_FORCE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # [N m], the Panda's limits
SPRING_LINKS = (1, 4)  # places in FINGER_JOINTS
GRIP_TORQUE = 10.0  # [N m] of each finger
FOLLOW_TORQUE = 20.0  # [N m] that keeps the pads parallel
GRIP_RATE_RAD_S = 4.0
# The friction of two bodies is the product of theirs: 1 between pads and an object, 0.8 between it
# and the table.  Pads on the table have 0.2: more locks the linkage, and fingers that touch the
# table never close, where MuJoCo's softer arm gives way.
PAD_FRICTION, TABLE_FRICTION, THING_FRICTION = 0.5, 0.4, 2.0
HEADLIGHT = 0.25  # as in sims.mujoco_scene
NEAR_M, FAR_M = 0.01, 20.0
# TinyRenderer's lamp is the same everywhere; MuJoCo's spot leaves the floor beyond the table
# darker.  This albedo gives the floor the mean brightness it has there.
FLOOR_RGB = (0.28, 0.29, 0.30)


class BulletArm(Arm):
    """See ``sims.arm.Arm``."""

    source = "arm_worldmodel/BulletArm-v0"

    def __init__(
        self, config: ArmConfig | None = None, task: str | None = None,
        render_mode: str | None = "rgb_array", **settings: Any,
    ) -> None:
        super().__init__(config, task, render_mode, **settings)
        self._client: Any = BulletClient(pybullet.DIRECT)
        self._urdf = bullet_urdf()
        self._saved: list[int] = []

    def close(self) -> None:
        """Disconnect from the engine."""
        if self._client is not None:
            self._client.disconnect()
            self._client = None

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "an environment in PyBullet cannot be copied: its state is in the engine; make another "
            "and reset it with the same seed, or take simulator=mujoco"
        )

    # -- the scene ---------------------------------------------------------------------------

    def _apply_look(self, look: scene.SceneDraw) -> None:
        """Build the scene anew: Bullet keeps contacts and caches that a reset would not clear."""
        b, config = self._client, self.config.scene
        for state in self._saved:
            b.removeState(state)
        self._saved.clear()
        b.resetSimulation()
        b.setGravity(0, 0, -9.81)
        b.setTimeStep(self.config.timestep_s)
        b.setPhysicsEngineParameter(
            numSolverIterations=150, deterministicOverlappingPairs=1, enableFileCaching=1
        )
        self._floor = self._box_body((3.0, 3.0, 0.01), (0.0, 0.0, -0.76), FLOOR_RGB)
        self._table = self._box_body((0.45, 0.6, 0.02), (0.45, 0.0, -0.02), look.table_rgb)
        b.changeDynamics(self._table, -1, lateralFriction=TABLE_FRICTION)
        self._robot = b.loadURDF(
            str(self._urdf), useFixedBase=True,
            flags=pybullet.URDF_USE_INERTIA_FROM_FILE
            | pybullet.URDF_ENABLE_CACHED_GRAPHICS_SHAPES,
        )
        self._find_joints()
        self._bodies = {
            thing.name: self._thing_body(thing)
            for thing in scene.things_on_table(config, look, self._obstacle)
        }
        self._object = self._bodies["object"]

    def _apply_light(self, look: scene.SceneDraw) -> None:
        """Nothing to do: every picture is lit by ``self._look``."""

    def _find_joints(self) -> None:
        b, robot = self._client, self._robot
        joints = {b.getJointInfo(robot, j)[1].decode(): j for j in range(b.getNumJoints(robot))}
        links = {b.getJointInfo(robot, j)[12].decode(): j for j in range(b.getNumJoints(robot))}
        self._arm = [joints[name] for name in ARM_JOINTS]
        self._fingers = [joints[name] for name in FINGER_JOINTS]
        self._tcp, self._wrist = links["tcp"], links["wrist"]
        self._sides = {
            joint: name.split("_")[0] for name, joint in links.items()
            if name.startswith(("left_", "right_"))
        }
        for name in ("left_pad", "right_pad", "left_follower", "right_follower"):
            b.changeDynamics(
                robot, links[name], lateralFriction=PAD_FRICTION, frictionAnchor=1
            )
        for joint in range(b.getNumJoints(robot)):
            b.changeDynamics(robot, joint, linearDamping=0.0, angularDamping=0.0)
        gear = b.createConstraint(
            robot, self._fingers[1], robot, self._fingers[4], pybullet.JOINT_GEAR,
            [0, 0, 1], [0, 0, 0], [0, 0, 0],
        )
        b.changeConstraint(
            gear, gearRatio=-1, relativePositionTarget=0.0, erp=0.9, maxForce=1000
        )

    def _box_body(self, half, position, rgb) -> int:
        b = self._client
        return b.createMultiBody(
            0.0, b.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half),
            b.createVisualShape(pybullet.GEOM_BOX, halfExtents=half, rgbaColor=[*rgb, 1.0]),
            basePosition=position,
        )

    def _thing_body(self, thing: scene.Thing) -> int:
        b, kind, size_m, rgb = self._client, thing.kind, thing.size_m, thing.rgb
        if kind in ("box", "block", "wall"):
            half = [size_m[0]] * 3 if kind == "box" else size_m
            solid = b.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half)
            drawn = b.createVisualShape(
                pybullet.GEOM_BOX, halfExtents=half, rgbaColor=[*rgb, 1.0]
            )
        elif kind == "cylinder":
            radius, height = size_m[:2]
            solid = b.createCollisionShape(
                pybullet.GEOM_CYLINDER, radius=radius, height=height
            )
            drawn = b.createVisualShape(
                pybullet.GEOM_CYLINDER, radius=radius, length=height, rgbaColor=[*rgb, 1.0]
            )
        else:
            pos, quat, half = shapes.cup_parts(size_m[0], size_m[1])
            shape = {
                "shapeTypes": [pybullet.GEOM_BOX] * len(pos),
                "halfExtents": half.tolist(),
            }
            turn = quat[:, [1, 2, 3, 0]].tolist()
            solid = b.createCollisionShapeArray(
                **shape, collisionFramePositions=pos.tolist(), collisionFrameOrientations=turn
            )
            drawn = b.createVisualShapeArray(
                **shape, visualFramePositions=pos.tolist(), visualFrameOrientations=turn,
                rgbaColors=[[*rgb, 1.0]] * len(pos),
            )
        body = b.createMultiBody(thing.mass_kg, solid, drawn)
        b.changeDynamics(
            body, -1, lateralFriction=THING_FRICTION, spinningFriction=0.02, rollingFriction=0.001,
            frictionAnchor=1, linearDamping=0.0, angularDamping=0.05,
        )
        return body

    def _put(self, q: Array, poses: Mapping[str, Array]) -> None:
        b = self._client
        for joint, angle in zip(self._arm, q, strict=True):
            b.resetJointState(self._robot, joint, angle)
        for joint in self._fingers:
            b.resetJointState(self._robot, joint, 0.0)
        for name, pose in poses.items():
            self._move_thing(name, pose)
        self._arm_target = (q.copy(), np.zeros(7))

    def _move_thing(self, name: str, pose: Array) -> None:
        self._client.resetBasePositionAndOrientation(
            self._bodies[name], pose[:3], pose[[4, 5, 6, 3]]
        )

    # -- physics -----------------------------------------------------------------------------

    def _settle(self, steps: int) -> None:
        for _ in range(steps):
            self._step_physics()

    def _track(self, q_goal: Array, substeps: int) -> None:
        angles, rates = self._reference.advance(q_goal, substeps, self.config.timestep_s)
        for target in zip(angles, rates, strict=True):
            self._arm_target = target
            self._step_physics()

    def _step_physics(self) -> None:
        b = self._client
        b.setJointMotorControlArray(
            self._robot, self._arm, pybullet.POSITION_CONTROL,
            targetPositions=self._arm_target[0], targetVelocities=self._arm_target[1],
            forces=ARM_FORCE, positionGains=[0.4] * 7, velocityGains=[1.0] * 7,
        )
        goal = self._grip_target * CLOSED_DRIVER_RAD
        present = self._finger_angle()
        for i, joint in enumerate(self._fingers):
            if i in SPRING_LINKS:  # these carry the grip
                b.setJointMotorControl2(
                    self._robot, joint, pybullet.POSITION_CONTROL, goal,
                    force=GRIP_TORQUE, maxVelocity=GRIP_RATE_RAD_S,
                )
            else:  # drivers and followers go where the linkage would have them
                b.setJointMotorControl2(
                    self._robot, joint, pybullet.POSITION_CONTROL, present,
                    force=FOLLOW_TORQUE, positionGain=0.5,
                )
        b.stepSimulation()

    def _finger_angle(self) -> float:
        states = self._client.getJointStates(
            self._robot, [self._fingers[i] for i in SPRING_LINKS]
        )
        return float(np.mean([angle for angle, *_ in states]))

    def _drive_gripper(self, closedness: float) -> None:
        self._grip_target = closedness

    def _save_physics(self) -> Any:
        self._saved.append(self._client.saveState())
        return self._saved[-1], self._arm_target, self._grip_target

    def _restore_physics(self, saved: Any) -> None:
        state, self._arm_target, self._grip_target = saved
        self._client.restoreState(stateId=state)

    # -- measurements ------------------------------------------------------------------------

    @property
    def closedness(self) -> float:
        """Measured closedness, 0 open to 1 closed."""
        return float(np.clip(self._finger_angle() / CLOSED_DRIVER_RAD, 0.0, 1.0))

    @property
    def state(self) -> Array:
        """Measured state [7]."""
        link = self._client.getLinkState(self._robot, self._tcp, computeForwardKinematics=1)
        turn = Rotation.from_quat(link[5])
        return np.concatenate([link[4], turn.as_euler("xyz"), [self.closedness]])

    def pose_of(self, name: str) -> Array:
        """Pose [7] of a thing on the table, see ``sims.rig.Rig``."""
        place, (x, y, z, w) = self._client.getBasePositionAndOrientation(self._bodies[name])
        return np.array([*place, w, x, y, z])

    @property
    def object_speed_m_s(self) -> float:
        """Speed of the object's centre [m/s]."""
        return float(np.linalg.norm(self._client.getBaseVelocity(self._object)[0]))

    def touching(self) -> tuple[bool, bool]:
        """Whether the object touches the table, and whether both fingers touch it."""
        on_table = bool(self._client.getContactPoints(self._object, self._table))
        fingers = {
            self._sides[contact[4]]
            for contact in self._client.getContactPoints(self._object, self._robot)
            if contact[4] in self._sides and contact[9] > 0
        }
        return on_table, len(fingers) == 2

    def camera_image(self, camera: str) -> NDArray[np.uint8]:
        """A camera's image uint8 [H, W, 3]."""
        b, side, look = self._client, self.config.side, self._look
        assert look is not None, "reset() first"
        if camera == "exo":
            config = self.config.scene
            eye, turn = scene.exo_camera_pose(
                look.camera_lookat_m, look.camera_distance_m,
                look.camera_azimuth_deg, look.camera_elevation_deg,
            )
            fovy = config.camera_fovy_deg
        else:
            link = b.getLinkState(self._robot, self._wrist, computeForwardKinematics=1)
            eye, turn = np.asarray(link[4]), Rotation.from_quat(link[5]).as_matrix()
            fovy = scene.WRIST_FOVY_DEG
        view = b.computeViewMatrix(eye, eye - turn[:, 2], turn[:, 1])
        projection = list(b.computeProjectionMatrixFOV(fovy, 1.0, NEAR_M, FAR_M))
        projection[8] += 1.0 / side  # half a pixel: TinyRenderer samples at pixel corners,
        projection[9] += 1.0 / side  # OpenGL at pixel centres

        def shaded(towards: Array, ambient: float, diffuse: float):
            _, _, rgba, _, bodies = b.getCameraImage(
                side, side, view, projection, lightDirection=towards.tolist(),
                lightColor=[1.0, 1.0, 1.0], lightDistance=2.0, shadow=0,
                lightAmbientCoeff=ambient, lightDiffuseCoeff=diffuse, lightSpecularCoeff=0.0,
                renderer=pybullet.ER_TINY_RENDERER,
            )
            rgb = np.asarray(rgba, np.uint8).reshape(side, side, 4)[:, :, :3]
            return rgb.astype(np.uint16), np.asarray(bodies).reshape(side, side) >= 0

        # TinyRenderer has one lamp; the scene has two, and light adds up.
        lamp = np.asarray(look.light_pos_m) - [0.5, 0.0, 0.0]
        image, drawn = shaded(lamp, look.ambient_level, float(look.light_level))
        image = image + shaded(turn[:, 2], 0.0, HEADLIGHT)[0]
        return np.where(drawn[:, :, None], image.clip(max=255), 0).astype(np.uint8)

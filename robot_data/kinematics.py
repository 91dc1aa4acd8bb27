"""Where the hand is, from joint angles: forward kinematics of a URDF or MJCF, by MuJoCo.

Only bodies, joints and frames of the model count: meshes are neither needed nor read.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import difflib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_data.schema import DataError

OVER_RAD = 0.2  # a measured angle may exceed the model's range by
NEEDLESS = (
    "keys", "sensors", "actuators", "equalities", "tendons", "pairs", "excludes", "geoms", "skins",
    "flexes", "meshes", "hfields", "materials", "textures",
)


@dataclass(frozen=True)
class KinematicsConfig:
    """The arm whose joint angles the source holds."""

    model: str = ""  # URDF or MJCF file of the arm; '': the source holds poses
    tool: str = ""  # site or body of the model that is the hand, e.g. attachment_site, tool0
    base: str = ""  # site or body that poses are given in; '': the model's world
    # the model's joints in the order of the columns; (): the columns' own names say which
    joints: tuple[str, ...] = ()
    unit: Literal["rad", "deg"] = "rad"  # of the source's angles

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        names = ("tool", "base", "joints", "unit")
        return {} if self.model else dict.fromkeys(names, "name the arm: kinematics.model")


class Kinematics:
    """``joints``: names of the joints that move the tool, from the base on.

    Raises DataError for a model that cannot be read, and for a tool, base or joint that it does
    not have.
    """

    def __init__(self, config: KinematicsConfig) -> None:
        self.config = config
        self.model = _compiled(Path(config.model))
        self._tool = self._frame(config.tool, "kinematics.tool")
        self._base = self._frame(config.base, "kinematics.base") if config.base else None
        fixed = set() if self._base is None else set(self._ancestors(self._base))
        chain = [body for body in reversed(self._ancestors(self._tool)) if body not in fixed]
        moving = [j for j in range(self.model.njnt) if self.model.jnt_bodyid[j] in chain]
        self.joints = tuple(self.model.joint(j).name for j in moving)
        if not moving:
            raise DataError(f"no joint of {config.model} moves '{config.tool}'")
        scalar = {2, 3}  # mjtJoint: slide, hinge
        for joint in moving:
            if int(self.model.jnt_type[joint]) not in scalar:
                raise DataError(f"joint '{self.model.joint(joint).name}' is no hinge or slide")
        strange = [name for name in config.joints if name not in self.joints]
        missing = [name for name in self.joints if name not in config.joints]
        if config.joints and (strange or missing):
            raise DataError(
                f"kinematics.joints names {', '.join(config.joints)}; the joints between base and "
                f"{config.tool} are {', '.join(self.joints)}"
            )

    def _frame(self, name: str, setting: str) -> tuple[str, int]:
        for kind, count in (("site", self.model.nsite), ("body", self.model.nbody)):
            for i in range(count):
                if getattr(self.model, kind)(i).name == name:
                    return kind, i
        names = [self.model.site(i).name for i in range(self.model.nsite)]
        names += [self.model.body(i).name for i in range(1, self.model.nbody)]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise DataError(
            f"{setting}='{name}': {self.config.model} has no such site or body.{hint} "
            f"It has {', '.join(n for n in names if n)}"
        )

    def _ancestors(self, frame: tuple[str, int]) -> list[int]:
        """Bodies from the frame's own up to the world, without the world."""
        kind, index = frame
        body = int(self.model.site_bodyid[index]) if kind == "site" else index
        found = []
        while body:
            found.append(body)
            body = int(self.model.body_parentid[body])
        return found

    def poses(self, angles: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Joint values [T] by name (rad or deg as ``config.unit``; m for slides) -> position [m]
        and quaternion xyzw of the tool in the base frame, [T, 7].

        Raises DataError for a joint that is missing, and for angles beyond the model's range.
        """
        import mujoco

        missing = [name for name in self.joints if name not in angles]
        if missing:
            raise DataError(
                f"no column for the joints {', '.join(missing)}; there are "
                f"{', '.join(angles)}: kinematics.joints=[...] says which column is which joint"
            )
        data = mujoco.MjData(self.model)
        values = [self._checked(name, angles[name]) for name in self.joints]
        addresses = [int(self.model.joint(name).qposadr[0]) for name in self.joints]
        poses = np.zeros((len(values[0]), 7))
        for row, joints in enumerate(np.stack(values, axis=1)):
            data.qpos[addresses] = joints
            mujoco.mj_kinematics(self.model, data)
            place, turn = self._read(data, self._tool)
            if self._base is not None:
                origin, frame = self._read(data, self._base)
                place, turn = frame.T @ (place - origin), frame.T @ turn
            poses[row, :3] = place
            mujoco.mju_mat2Quat(poses[row, 3:], turn.ravel())
        poses[:, 3:] = poses[:, [4, 5, 6, 3]]
        return poses

    @staticmethod
    def _read(data: Any, frame: tuple[str, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        kind, index = frame
        prefix = "site_" if kind == "site" else ""
        place, turn = getattr(data, f"{prefix}xpos")[index], getattr(data, f"{prefix}xmat")[index]
        return place.copy(), turn.reshape(3, 3).copy()

    def _checked(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        joint = self.model.joint(name)
        hinge = int(joint.type[0]) == 3
        values = np.asarray(values, np.float64)
        strange = np.flatnonzero(~np.isfinite(values))
        if len(strange):
            raise DataError(f"joint '{name}' is not finite at row {strange[0]}")
        if hinge and self.config.unit == "deg":
            values = np.radians(values)
        low, high = joint.range if joint.limited[0] else (-4 * np.pi, 4 * np.pi)
        over = max(low - values.min(), values.max() - high)
        if over > (OVER_RAD if hinge else 0.02):
            unit = "rad" if hinge else "m"
            raise DataError(
                f"joint '{name}' goes from {values.min():.3g} to {values.max():.3g} {unit}, the "
                f"model's from {low:.3g} to {high:.3g}; check kinematics.unit (rad, deg) and which "
                "column is which joint"
            )
        return values


def _compiled(path: Path) -> Any:
    """The model without its shapes, so that meshes need not be there."""
    import mujoco

    if not path.is_file():
        raise DataError(f"kinematics.model={path} does not exist; name a URDF or MJCF file")
    try:
        tree = ET.parse(path)
        if tree.getroot().tag == "robot":
            return _urdf(tree, mujoco)
        spec = mujoco.MjSpec.from_file(str(path))
        for kind in NEEDLESS:
            for item in list(getattr(spec, kind, ())):
                spec.delete(item)
        spec.compiler.boundmass = spec.compiler.boundinertia = 1e-3
        spec.compiler.balanceinertia = True
        return spec.compile()
    except (ValueError, ET.ParseError) as error:
        raise DataError(f"{path} is no URDF or MJCF that MuJoCo reads: {error}") from error


def _urdf(tree: ET.ElementTree[Any], mujoco: Any) -> Any:
    root = tree.getroot()
    for link in root.iter("link"):
        for kind in ("visual", "collision"):
            for shape in link.findall(kind):
                link.remove(shape)
    for extension in root.findall("mujoco"):
        root.remove(extension)
    ours = ET.SubElement(root, "mujoco")
    ET.SubElement(
        ours, "compiler", fusestatic="false", boundmass="1e-3", boundinertia="1e-3",
        balanceinertia="true",
    )
    return mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))

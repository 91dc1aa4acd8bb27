"""The DROID rig as a URDF for PyBullet, made once from the MuJoCo model and cached on disk.

URDF has no closed kinematic loops: the four-bar fingers become a tree (spring link, follower,
pad; driver, coupler).  The linkage is a parallelogram, so all its joints turn by the same angle.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import contextlib
import hashlib
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from robot_data.files import staging
from sims.meshes import cache_dir
from sims.mujoco_scene import robot_file, robot_spec

VERSION = "v2"  # part of the cache key: raise it when the code below changes
FINGER_JOINTS = tuple(
    f"{side}_{part}"
    for side in ("left", "right")
    for part in ("driver_joint", "spring_link_joint", "follower_joint")
)
SOLID_BODIES = ("link5", "link6", "link7", "base")  # and the pads


def bullet_urdf() -> Path:
    """Path of the URDF, written on first use."""
    digest = hashlib.sha256(robot_file().read_bytes() + VERSION.encode()).hexdigest()[:16]
    folder = cache_dir().parent / "bullet" / digest
    if not folder.exists():
        with staging(folder.parent) as staged:
            _write_urdf(robot_spec(light=True).compile(), staged)
            with contextlib.suppress(OSError):  # another process was first
                os.rename(staged, folder)
    return folder / "robot.urdf"


def _joint_name(model: mujoco.MjModel, joint: int) -> str:
    name = model.joint(joint).name
    return f"{name}_joint" if name == "left_follower" else name  # so named in the model


def _write_urdf(model: mujoco.MjModel, folder: Path) -> None:
    for i in range(model.nmesh):
        _write_obj(folder / f"mesh{i}.obj", model, i)
    robot = ET.Element("robot", name="droid")
    for body in range(1, model.nbody):
        _add_link(robot, model, body)
        if model.body_parentid[body] > 0:
            _add_joint(robot, model, body)
    for name in ("tcp", "wrist"):
        site = model.site(name) if name == "tcp" else model.camera(name)
        link = ET.SubElement(robot, "link", name=name)
        inertial = ET.SubElement(link, "inertial")
        ET.SubElement(inertial, "mass", value="1e-4")
        ET.SubElement(
            inertial, "inertia", ixx="1e-7", iyy="1e-7", izz="1e-7", ixy="0", ixz="0", iyz="0"
        )
        joint = ET.SubElement(robot, "joint", name=f"{name}_fixed", type="fixed")
        ET.SubElement(joint, "parent", link="base")
        ET.SubElement(joint, "child", link=name)
        _origin(joint, site.pos, site.quat)
    ET.indent(robot)  # Bullet's parser does not take long lines
    ET.ElementTree(robot).write(folder / "robot.urdf")


def _write_obj(path: Path, model: mujoco.MjModel, mesh: int) -> None:
    """Flat-shaded: every triangle has its own vertices, as the light meshes are drawn."""
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    vert = model.mesh_vert[first : first + count]
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    corners = vert[model.mesh_face[first : first + count]]  # [F, 3, 3]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    lines = ["v {:.6f} {:.6f} {:.6f}".format(*v) for v in corners.reshape(-1, 3)]
    lines += ["vn {:.5f} {:.5f} {:.5f}".format(*n) for n in normal]
    for f in range(len(corners)):
        lines.append("f " + " ".join(f"{3 * f + k}//{f + 1}" for k in (1, 2, 3)))
    path.write_text("\n".join(lines) + "\n")


def _add_link(robot: ET.Element, model: mujoco.MjModel, body: int) -> None:
    name = model.body(body).name
    link = ET.SubElement(robot, "link", name=name)
    inertial = ET.SubElement(link, "inertial")
    _origin(inertial, model.body_ipos[body], model.body_iquat[body])
    ET.SubElement(inertial, "mass", value=f"{max(model.body_mass[body], 1e-3):.8f}")
    xx, yy, zz = np.maximum(model.body_inertia[body], 1e-7)
    ET.SubElement(
        inertial, "inertia", ixx=f"{xx:.3e}", iyy=f"{yy:.3e}", izz=f"{zz:.3e}",
        ixy="0", ixz="0", iyz="0",
    )
    first = model.body_geomadr[body]
    for geom in range(first, first + model.body_geomnum[body]):
        drawn = model.geom_group[geom] != 3
        pad = name.endswith("_pad")
        if drawn:
            visual = _shape(link, "visual", model, geom)
            rgba = model.geom_rgba[geom].copy()
            if model.geom_matid[geom] >= 0:
                rgba = model.mat_rgba[model.geom_matid[geom]]
            material = ET.SubElement(visual, "material", name=f"colour{geom}")
            ET.SubElement(material, "color", rgba=_numbers(rgba))
        if pad or (not drawn and name.endswith(SOLID_BODIES)):
            _shape(link, "collision", model, geom)


def _shape(link: ET.Element, kind: str, model: mujoco.MjModel, geom: int) -> ET.Element:
    shape = ET.SubElement(link, kind)
    _origin(shape, model.geom_pos[geom], model.geom_quat[geom])
    outer = ET.SubElement(shape, "geometry")
    size = model.geom_size[geom]
    types = mujoco.mjtGeom
    if model.geom_type[geom] == int(types.mjGEOM_MESH):
        ET.SubElement(outer, "mesh", filename=f"mesh{model.geom_dataid[geom]}.obj")
    elif model.geom_type[geom] == int(types.mjGEOM_BOX):
        ET.SubElement(outer, "box", size=_numbers(2 * size))
    else:
        ET.SubElement(outer, "cylinder", radius=f"{size[0]:.6f}", length=f"{2 * size[1]:.6f}")
    return shape


def _add_joint(robot: ET.Element, model: mujoco.MjModel, body: int) -> None:
    moving = model.body_jntnum[body] == 1
    number = model.body_jntadr[body]
    name = _joint_name(model, number) if moving else f"{model.body(body).name}_fixed"
    joint = ET.SubElement(robot, "joint", name=name, type="revolute" if moving else "fixed")
    ET.SubElement(joint, "parent", link=model.body(model.body_parentid[body]).name)
    ET.SubElement(joint, "child", link=model.body(body).name)
    _origin(joint, model.body_pos[body], model.body_quat[body])
    if moving:
        ET.SubElement(joint, "axis", xyz=_numbers(model.jnt_axis[number]))
        low, high = model.jnt_range[number]
        ET.SubElement(
            joint, "limit", lower=f"{low:.6f}", upper=f"{high:.6f}", effort="200", velocity="10"
        )


def _origin(parent: ET.Element, pos: np.ndarray, quat_wxyz: np.ndarray) -> None:
    rpy = Rotation.from_quat(quat_wxyz, scalar_first=True).as_euler("xyz")
    ET.SubElement(parent, "origin", xyz=_numbers(pos), rpy=_numbers(rpy))


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{v:.8f}" for v in np.asarray(values, dtype=float))

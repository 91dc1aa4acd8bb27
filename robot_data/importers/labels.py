"""What the names that a source gives its columns say: pose, joints or gripper.

Conventions of names: LeRobot's ``meta/info.json`` (``shoulder_pan.pos``, ``joint_1``, ``x``,
``gripper``), ROS joints (``fr3_joint1``), replay buffers (``robot0_joint_pos``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from robot_data.conventions import StateConvention
from robot_data.kinematics import Kinematics
from robot_data.schema import DataError

GRIPPER = re.compile(r"gripper|finger|claw|jaw|grasp", re.IGNORECASE)
JOINT = re.compile(
    r"joint|qpos|shoulder|elbow|forearm|upper_?arm|waist|wrist_?(\d|flex|roll|rot|angle|yaw|pitch)"
    r"|(^|[^a-z])[qja]_?\d+($|[^a-z0-9])", re.IGNORECASE
)
ROTATIONS = {
    "quaternion_xyzw": ("qx", "qy", "qz", "qw"), "quaternion_wxyz": ("qw", "qx", "qy", "qz"),
    "axis_angle": ("rx", "ry", "rz"),
}
EULER = ("roll", "pitch", "yaw")
SAME = (("rx", "roll"), ("ry", "pitch"), ("rz", "yaw"))  # names of Euler angles, too


def is_gripper(name: str) -> bool:
    """Whether a column's name is that of a gripper or of its fingers."""
    return GRIPPER.search(name) is not None


def is_joint(name: str) -> bool:
    """Whether a column's name is that of a joint of the arm."""
    return JOINT.search(name) is not None and not is_gripper(name)


def check_pose_labels(names: Sequence[str], convention: StateConvention) -> None:
    """Raises DataError where the names of a state's columns ('' where there is none) say that
    they are no pose of the convention: joints, or another order."""
    joints = [name for name in names if is_joint(name)]
    if any(map(is_joint, names[:3])):
        raise DataError(
            f"the columns are named {', '.join(filter(None, names))}: {len(joints)} joint angles, "
            "not a pose; give the arm, kinematics.model=arm.xml kinematics.tool=..., or the "
            "columns of the hand's pose, columns.state=[...]"
        )
    expected = ["x", "y", "z", *ROTATIONS.get(convention.rotation, EULER)]
    if convention.rotation in ("rotation_6d", "matrix"):
        expected = ["x", "y", "z"]
    elif convention.gripper != "none":
        expected.append("gripper")
    for name, wanted in zip(names, expected, strict=False):
        said = role(name)
        same = said == wanted or (said, wanted) in SAME
        if said and not same:
            raise DataError(
                f"the columns are named {', '.join(names)}; '{name}' is read as {wanted} with "
                f"convention.rotation={convention.rotation}: choose and order them by name, "
                "columns.state=[observation.state[x,y,z,...]]"
            )


def role(name: str) -> str:
    """``x``, ``qw``, ``roll``, ``rx``, ``gripper``, ... as a column's name says; '' if it does
    not."""
    if is_gripper(name):
        return "gripper"
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    for word in words:
        if word in (*EULER, "rx", "ry", "rz", "qx", "qy", "qz", "qw"):
            return word
    axes = [word for word in words if word in ("x", "y", "z", "w")]
    if len(axes) != 1:
        return ""
    if any(word.startswith(("quat", "orient")) for word in words):
        return f"q{axes[0]}"
    if any(word.startswith(("rot", "ang", "axis", "euler", "ori")) for word in words):
        return f"r{axes[0]}"
    return axes[0]


def joints_of(
    names: Sequence[str], kinematics: Kinematics, has_gripper: bool
) -> tuple[dict[str, int], list[int]]:
    """Place of each joint of the model among columns of these names, and of the gripper ([] where
    there is none).

    By name where the source names them, and in the order of ``kinematics.joints`` otherwise.
    Raises DataError for a column that is neither a joint of the arm nor the gripper.
    """
    places = list(range(len(names)))
    gripper = [i for i in places if is_gripper(names[i])] if has_gripper else []
    if has_gripper and not gripper and not any(names):
        gripper = places[-1:]
    if has_gripper and len(gripper) != 1:
        raise DataError(
            f"{len(gripper)} columns are named as a gripper ({_told(names)}); add the "
            "gripper's column to columns.state=[...], or say convention.gripper=none"
        )
    rest = [i for i in places if i not in gripper]
    order = kinematics.config.joints
    if order:
        if len(order) != len(rest):
            raise DataError(
                f"kinematics.joints names {len(order)} joints for {len(rest)} columns "
                f"({_told(names)}); choose the columns: columns.state=[...]"
            )
        return dict(zip(order, rest, strict=True)), gripper
    plain = {i: re.sub(r"\.(pos|position|q|rad|deg)$", "", names[i]) for i in rest}
    found = {joint: i for i, joint in plain.items() if joint in kinematics.joints}
    strange = [plain[i] for i in rest if plain[i] not in kinematics.joints]
    if strange or len(found) != len(kinematics.joints):
        raise DataError(
            f"the columns are named {_told(names)} and the joints of the model "
            f"{', '.join(kinematics.joints)}; say which is which, in the order of the columns: "
            "kinematics.joints=[...]"
        )
    return found, gripper


def _told(names: Sequence[str]) -> str:
    return ", ".join(names) if any(names) else f"{len(names)} columns without names"

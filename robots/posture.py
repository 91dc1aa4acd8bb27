"""Where an FR3's links are, and how near its posture is to a limit, a singularity, an obstacle."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from robots.fr3 import near_limit
from robots.limits import Limits

Array = NDArray[np.float64]

# Franka's Denavit-Hartenberg parameters in Craig's convention (frankarobotics.github.io, robot and
# interface specifications): joints 1 to 7, then the flange
A_M = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088, 0.0)
D_M = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0, 0.107)
ALPHA_RAD = np.array([0, -1, 1, 1, -1, 1, 1, 0]) * np.pi / 2
# Of the Jacobian [m, rad].  An arm whose elbow is where it usually is has 8 in the middle of the
# default workspace and up to 100 in its corners; folded away there are postures with 700.
MOST_CONDITION = 200.0
# Franka's volumes of links and hand against self-collision (franka_description, franka_arm.xacro
# and franka_hand.xacro): capsules, each of a link (8 is the flange), in whose frame it has its
# middle [m] and lies along an axis (0 to 2); length between the centres of its ends, radius [m]
CAPSULES = (
    (0, (-0.075, 0, 0.06), 0, 0.03, 0.06),
    (1, (0, 0, -0.1915), 2, 0.283, 0.06),
    (2, (0, 0, 0), 2, 0.12, 0.06),
    (3, (0, 0, -0.145), 2, 0.15, 0.06),
    (4, (0, 0, 0), 2, 0.12, 0.06),
    (5, (0, 0, -0.26), 2, 0.10, 0.06),
    (5, (0, 0.08, -0.13), 2, 0.14, 0.025),
    (6, (0, 0, -0.03), 2, 0.08, 0.05),
    (7, (0, 0, 0.01), 2, 0.14, 0.04),
    (7, (0.06, 0, 0.082), 0, 0.01, 0.03),
    (8, (0, 0, 0.04), 1, 0.1, 0.04),
    (8, (0, 0, 0.10), 1, 0.1, 0.02),
)
TURNED_RAD = {7: np.pi / 4, 8: -np.pi / 4}  # about z, of the frames of those capsules
APART_M = 0.02  # most between the spheres that stand for a capsule
SPARE_M = 0.015  # the links' meshes reach that much beyond the capsules
# Between the base with the shoulder and forearm, wrist or hand.  All other parts that are not
# neighbours stay apart whatever the angles.
SELF_M = 0.05
MOVING, FOREARM, FLANGE = 3, 5, 8  # the first link that moves about, and the first of the forearm


def _spheres() -> tuple[NDArray[np.intp], Array, Array]:
    """Links [N], middles in their frames [N, 3] and radii [N] of spheres that fill the capsules."""
    links, middles, radii = [], [], []
    for link, middle, axis, length, radius in CAPSULES:
        turn = Rotation.from_euler("z", TURNED_RAD.get(link, 0.0))
        for along in np.linspace(-length / 2, length / 2, int(np.ceil(length / APART_M)) + 1):
            links.append(link)
            middles.append(turn.apply(np.add(middle, along * np.eye(3)[axis])))
            radii.append(radius)
    return np.array(links), np.array(middles), np.array(radii)


LINKS, MIDDLES, RADII = _spheres()


def frames(joints: ArrayLike) -> Array:
    """Joint angles [7] (rad) -> poses of the frames of joints 1 to 7 and of the flange in the base
    frame, [8, 4, 4] (m)."""
    found, pose = [], np.eye(4)
    for a, d, alpha, turn in zip(A_M, D_M, ALPHA_RAD, np.r_[joints, 0.0], strict=True):
        ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(turn), np.sin(turn)
        pose = pose @ np.array([
            [ct, -st, 0, a], [st * ca, ct * ca, -sa, -d * sa], [st * sa, ct * sa, ca, d * ca],
            [0, 0, 0, 1],
        ])
        found.append(pose)
    return np.stack(found)


def volumes(poses: Array) -> Array:
    """Middles in the base frame [N, 3] (m) of the spheres of ``LINKS`` and ``RADII`` [N], which
    stand for links and hand; of ``frames``."""
    links = np.concatenate([np.eye(4)[None], poses])[LINKS]
    return np.einsum("nij,nj->ni", links[:, :3, :3], MIDDLES) + links[:, :3, 3]


def condition(poses: Array, tip: Array) -> float:
    """Condition number of the Jacobian of the point ``tip`` [3] (m), of ``frames``."""
    axes, places = poses[:7, :3, 2], poses[:7, :3, 3]
    return float(np.linalg.cond(np.concatenate([np.cross(axes, tip - places), axes], 1).T))


def trouble(joints: ArrayLike, flange_to_tip: ArrayLike, limits: Limits) -> str:
    """Why an FR3 must not be moved on in this posture, or "": joint angles [7] (rad), and the tool
    centre point in the flange's frame [3] (m)."""
    if joint := near_limit(joints):
        return joint
    poses = frames(joints)
    tip = (poses[7] @ np.r_[np.asarray(flange_to_tip, np.float64), 1.0])[:3]
    found = condition(poses, tip)
    if found > MOST_CONDITION:
        return (
            f"the arm is near a singularity (condition {found:.0f}, at most "
            f"{MOST_CONDITION:.0f}): guide its elbow up and to the middle"
        )
    middles = volumes(poses)
    return _folded(middles) or _touching(middles, tip, limits)


def _folded(middles: Array) -> str:
    """Whether forearm, wrist or hand are at the base or the shoulder."""
    still, near = LINKS < MOVING, LINKS >= FOREARM
    between = np.linalg.norm(middles[still, None] - middles[None, near], axis=-1)
    gap = between - RADII[still, None] - RADII[near]
    if gap.min() >= SELF_M:
        return ""
    what = _called(int(LINKS[near][gap.min(0).argmin()]))
    return (
        f"{what} is {max(gap.min(), 0.0):.3f} m from the arm's own base or shoulder, less "
        f"than {SELF_M}: guide the hand away from the base"
    )


def _touching(middles: Array, tip: Array, limits: Limits) -> str:
    """Which part is at the table or in a keep-out box.  The fingers' own height is judged by where
    the hand is measured."""
    lowest = (middles[:, 2] - RADII)[(LINKS >= MOVING) & (LINKS < FLANGE)].min()
    floor = limits.workspace_low_m[2]
    if lowest - SPARE_M < floor:
        return f"the arm is at the height of the table ({floor} m, limits.workspace_low_m)"
    moves = LINKS >= MOVING
    places, radii = np.vstack([middles[moves], tip]), np.r_[RADII[moves], 0.0]
    for box in limits.keep_out:
        nearest = np.clip(places, box.low_m, box.high_m)
        gap = np.linalg.norm(places - nearest, axis=1) - radii
        inside = np.r_[LINKS[moves], FLANGE][gap <= SPARE_M]
        if inside.size:
            what = _called(int(inside.max()))
            return f"{what} is in the keep-out box {box.low_m} to {box.high_m}"
    return ""


def _called(link: int) -> str:
    return "the hand" if link == FLANGE else "the arm"

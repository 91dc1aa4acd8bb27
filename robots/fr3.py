"""What an FR3 is: its joints' limits, and the tool that its control believes is mounted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robots.limits import SafetyError, Vector3

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

# Franka's position limits of the FR3's joints [rad] (frankarobotics.github.io, robot and interface
# specifications)
JOINT_LOW_RAD = np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])
JOINT_HIGH_RAD = np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])
MARGIN_RAD = 0.05  # nearer to a limit the arm is held, before its own reflex
TIP_M, TURN_RAD, MASS_KG = 0.003, 0.05, 0.15  # differences of a tool that are none


@dataclass(frozen=True)
class Tool:
    """What is mounted on the flange, as it must be set in Desk; compared before the first motion.
    The defaults are the Franka hand's."""

    tip_m: Vector3 = (0.0, 0.0, 0.1034)  # tool centre point, in the flange's frame [m]
    turn_rad: float = -np.pi / 4  # of the tool's frame about the flange's axis [rad]
    mass_kg: float = 0.73  # of the tool [kg]
    load_kg: float = 0.0  # of what it carries all the time [kg]


def check_tool(
    flange_to_tip: NDArray[np.float64], turn: Rotation, mass_kg: float, load_kg: float, tool: Tool
) -> None:
    """The tool that the arm's control believes in is ``tool``: where its tip is in the flange's
    frame [3], how it is turned, and the masses.  Raises ``SafetyError``: with another one the hand
    is centimetres from where workspace and floor are judged, and weight is taken for contact."""
    from scipy.spatial.transform import Rotation  # slow to load, and settings alone need none

    off = float(np.linalg.norm(flange_to_tip - tool.tip_m))
    turned = float((turn * Rotation.from_euler("z", tool.turn_rad).inv()).magnitude())
    if not (off <= TIP_M and turned <= TURN_RAD):  # or not a number
        raise SafetyError(
            "wrong_tool",
            f"the arm's control has its tool centre point at {np.round(flange_to_tip, 4)} m from "
            f"the flange, turned by {np.round(turn.as_euler('xyz'), 3)} rad; expected {tool.tip_m} "
            f"m and {tool.turn_rad:.3f} rad about z: set the end effector in Desk (Settings, End "
            "Effector), or tool.tip_m and tool.turn_rad",
        )
    for name, found, wanted in (
        ("tool", mass_kg, tool.mass_kg), ("load", load_kg, tool.load_kg)
    ):
        if not abs(found - wanted) <= MASS_KG:
            raise SafetyError(
                "wrong_tool",
                f"the arm's control believes in a {name} of {found:.2f} kg; expected {wanted:.2f} "
                "kg: set it in Desk, or tool.mass_kg and tool.load_kg",
            )


def near_limit(joints: ArrayLike) -> str:
    """Which joint of the seven [rad] is within ``MARGIN_RAD`` of its limit, or ""."""
    q = np.asarray(joints, np.float64)
    room = np.minimum(q - JOINT_LOW_RAD, JOINT_HIGH_RAD - q)
    worst = int(room.argmin())
    if room[worst] >= MARGIN_RAD:
        return ""
    return (
        f"joint {worst + 1} at {q[worst]:.3f} rad is {room[worst]:.3f} rad from its limit, less "
        f"than {MARGIN_RAD}: guide the arm to a posture in the middle"
    )

"""The figures of ``motion`` and ``candidate_bank`` as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Figure = Mapping[str, float]


def motion_lines(motion: Mapping[str, Any]) -> list[str]:
    """Hand, turns and objects by step; "stayed": if they had not moved."""
    real = motion["readout"]
    lines = [
        f"read in real frames: hand {_told(real['off_mm'], 'mm')} off, "
        f"{_told(real['off_deg'], 'deg')}, gripper {_told(real['gripper_off'])}",
        "imagined hand, random moves (slope of imagined over true displacement):",
        f"  {'steps':>5} {'moved':>7} {'off by [95 %]':>22}   slopes",
    ]
    lines += [
        f"  {row['steps']:5d} {row['moved_mm']:4.0f} mm {_told(row['off_mm'], 'mm'):>22}   "
        f"{_slopes(row)}" for row in motion["hand"]
    ]
    if motion["turn"]:
        lines.append("imagined hand, random turns and gripper changes:")
    lines += [
        f"  {row['steps']:5d} {row['turned_deg']:3.0f} deg {_told(row['off_deg'], 'deg'):>22}   "
        f"{_slopes(row)}" for row in motion["turn"]
    ]
    if motion["object"]:
        lines += [
            "imagined objects, recorded actions (medians; share of the way they are imagined to go "
            "[95 %]):",
            f"  {'':9}{'steps':>5} {'n':>5} {'moved':>8} {'off by':>8} {'stayed':>8} "
            f"{'real frame':>11}   share",
        ]
    lines += [_object(row) for row in motion["object"] or ()]
    return lines


def _object(row: Mapping[str, Any]) -> str:
    if row["kind"] == "released":
        way = f"{_told(row['dragged'])} of the hand's way"
    else:
        way = f"{_told(row['follows'])}; {row['follows_read']['mean']:.2f} in real frames"
    return (
        f"  {row['kind']:9}{row['steps']:5d} {row['rollouts']:5d} {row['moved_mm']:5.0f} mm "
        f"{row['off_mm']:5.0f} mm {row['stayed_off_mm']:5.0f} mm {row['read_off_mm']:8.0f} mm   "
        f"{way}"
    )


def regret_lines(regret: Mapping[str, Any]) -> list[str]:
    """Regret of choice and best elite, as imagined and by the images that really follow."""
    lines = [
        f"regret of {regret['banks']} banks of {regret['candidates']} candidates in the simulator, "
        f"by {regret['distance']} (share of a random choice's: 1 is chance):"
    ]
    titles = {"choice": "cheapest candidate", "elite": f"best of {regret['elites']} elites"}
    for name, by in (("imagined", "imagined"), ("rendered", "true images")):
        for title, told in titles.items():
            row = regret[f"{name}_{title}"]
            lines.append(
                f"  {told + ', ' + by:34}{_told(row['regret_mm'], 'mm'):>22}   share "
                f"{_told(row['relative'])}"
            )
    by_goal = regret["imagined_choice"]["by_goal"]
    told = ", ".join(f"{goal} {share['mean']:.2f}" for goal, share in by_goal.items())
    return [*lines, f"  share of the cheapest candidate, imagined, by goal image: {told}"]


def _slopes(row: Mapping[str, Any]) -> str:
    return "  ".join(f"{axis} {figure['mean']:.2f}" for axis, figure in row["slope"].items())


def _told(figure: Figure, unit: str = "") -> str:
    digits = 1 if unit else 2
    told = f"{figure['mean']:.{digits}f}"
    if "low_95" in figure:
        told += f" [{figure['low_95']:.{digits}f}, {figure['high_95']:.{digits}f}]"
    return f"{told} {unit}" if unit else told

"""Sizes of the objects on the table: geometry and inertia of box, cup and cylinder."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import mujoco
import numpy as np

CUP_WALLS = 12


def resize_object(
    model: mujoco.MjModel, name: str, kind: str, size_m: tuple[float, ...]
) -> None:
    """Set the size of what stands on the table, ``sims.scene.Thing.size_m``.

    The body origin is the centre of the object.
    """
    body = model.body(name).id
    start, count = model.body_geomadr[body], model.body_geomnum[body]
    pos, quat, half = cup_parts(size_m[0], size_m[1]) if kind == "cup" else _single_part()
    if kind == "box":
        half = half * size_m[0]
    elif kind == "cylinder":
        half = np.array([[size_m[0], size_m[1] / 2, 0.0]])
    elif kind in ("block", "wall"):
        half = np.array([size_m])
    model.geom_pos[start : start + count] = pos
    model.geom_quat[start : start + count] = quat
    model.geom_size[start : start + count] = half
    if kind == "cylinder":
        half = np.array([[size_m[0], size_m[0], size_m[1] / 2]])  # its bounding box
    model.geom_rbound[start : start + count] = np.linalg.norm(half, axis=1)
    model.geom_aabb[start : start + count, :3] = 0.0
    model.geom_aabb[start : start + count, 3:] = half
    extent = (np.abs(pos) + np.linalg.norm(half, axis=1, keepdims=True)).max(axis=0)
    bvh = model.body_bvhadr[body]
    if bvh >= 0:  # generous bounds: only the broad phase reads them
        for node in range(bvh, bvh + model.body_bvhnum[body]):
            model.bvh_aabb[node, :3] = 0.0
            model.bvh_aabb[node, 3:] = extent
    mass = model.body_mass[body]
    if kind == "box":
        inertia = np.full(3, mass * (2 * size_m[0]) ** 2 / 6.0)
    elif kind in ("block", "wall"):
        square = np.square(size_m)
        inertia = mass * (square.sum() - square) / 3.0
    else:
        radius, height = size_m[:2]
        side = mass * (radius**2 / 2 + height**2 / 12)
        inertia = np.array([side, side, mass * radius**2])
    model.body_inertia[body] = inertia
    model.body_ipos[body] = 0.0
    model.body_iquat[body] = [1.0, 0.0, 0.0, 0.0]


def _single_part():
    return np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0, 0.0]]), np.ones((1, 3))


def cup_parts(radius_m: float, height_m: float):
    """Centres [G, 3], quaternions [G, 4] and half sizes [G, 3] of a ring of walls and a floor."""
    wall = 0.0025
    angle = 2 * np.pi * np.arange(CUP_WALLS) / CUP_WALLS
    middle = radius_m - wall
    pos = np.stack([middle * np.cos(angle), middle * np.sin(angle), 0 * angle], axis=1)
    quat = np.stack([np.cos(angle / 2), 0 * angle, 0 * angle, np.sin(angle / 2)], axis=1)
    chord = radius_m * np.tan(np.pi / CUP_WALLS)
    half = np.tile([wall, chord, height_m / 2], (CUP_WALLS, 1))
    inner = radius_m * 0.72
    pos = np.vstack([pos, [0.0, 0.0, -height_m / 2 + wall]])
    quat = np.vstack([quat, [1.0, 0.0, 0.0, 0.0]])
    half = np.vstack([half, [inner, inner, wall]])
    return pos, quat, half

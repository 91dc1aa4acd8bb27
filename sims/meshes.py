"""Lighter visual meshes: decimated once, cached on disk, used for drawing only."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import fast_simplification
import mujoco
import numpy as np

from robot_data.files import replacing

KEEP = 0.1  # share of the triangles that is kept
SMALL = 200  # meshes with fewer triangles are left alone


def cache_dir() -> Path:
    """The folder of decimated meshes, of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "arm-worldmodel" / "meshes"


def decimate_visuals(spec: mujoco.MjSpec, model_file: Path, keep: float = KEEP) -> None:
    """Point the visual geoms of ``spec`` at lighter meshes, in place, before ``compile``.

    Collision geoms keep the original meshes.  ``spec`` must be freshly read from
    ``model_file`` and not compiled yet.
    """
    light = _decimated(model_file, keep)
    for name in {key.rpartition(".")[0] for key in light}:
        spec.add_mesh(
            name=f"{name}_light",
            uservert=light[f"{name}.vert"].ravel(),
            userface=light[f"{name}.face"].ravel(),
        )
    used = set()
    for geom in spec.geoms:
        if geom.meshname and not geom.contype:
            geom.meshname = f"{geom.meshname}_light"
        used.add(geom.meshname)
    for mesh in list(spec.meshes):
        if (mesh.name or Path(mesh.file).stem) not in used:
            spec.delete(mesh)


def _decimated(model_file: Path, keep: float) -> dict[str, np.ndarray]:
    """Vertices [V, 3] and faces [F, 3] by ``<mesh>.vert`` and ``<mesh>.face``."""
    digest = hashlib.sha256(model_file.read_bytes() + f"{keep} v2".encode()).hexdigest()[:16]
    cached = cache_dir() / f"{digest}.npz"
    if cached.exists():
        with np.load(cached) as data:
            return dict(data)
    model = mujoco.MjSpec.from_file(str(model_file)).compile()
    light: dict[str, np.ndarray] = {}
    for i in range(model.nmesh):
        faces = slice(model.mesh_faceadr[i], model.mesh_faceadr[i] + model.mesh_facenum[i])
        verts = slice(model.mesh_vertadr[i], model.mesh_vertadr[i] + model.mesh_vertnum[i])
        vert, face = model.mesh_vert[verts], model.mesh_face[faces]
        # The compiler moves a mesh to its inertial frame; move it back.
        turn = np.empty(9)
        mujoco.mju_quat2Mat(turn, model.mesh_quat[i])
        vert = vert @ turn.reshape(3, 3).T + model.mesh_pos[i]
        vert, merged = np.unique(vert.round(6), axis=0, return_inverse=True)
        face = merged.reshape(-1)[face]
        if len(face) > SMALL:
            vert, face = fast_simplification.simplify(
                np.ascontiguousarray(vert, np.float64),
                np.ascontiguousarray(face, np.int32),
                target_reduction=1.0 - keep,
            )[:2]
        name = model.mesh(i).name
        light[f"{name}.vert"] = np.asarray(vert, np.float32)
        light[f"{name}.face"] = np.asarray(face, np.int32)
    with replacing(cached) as staged:
        np.savez(staged, **light)  # pyright: ignore[reportArgumentType]
    return light

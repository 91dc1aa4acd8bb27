"""The DROID rig on a table as a MuJoCo model: compiled once, given one episode's look in place."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import importlib.util
from copy import copy
from functools import lru_cache
from pathlib import Path

import mujoco
import numpy as np

from sims.meshes import decimate_visuals
from sims.scene import (
    AMBIENT_LEVEL,
    CONTRAST,
    FLOOR_RGB,
    TEXTURES,
    VARIED,
    Obstacle,
    SceneConfig,
    SceneDraw,
    draw,
    exo_camera_pose,
    things_on_table,
)
from sims.shapes import CUP_WALLS, resize_object
from sims.textures import table_textures


def robot_file() -> Path:
    """The DROID rig (Panda + Robotiq 2F-85) that the ``tabletask`` package ships."""
    spec = importlib.util.find_spec("tabletask")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the package tabletask, which ships the robot model, is missing; run `make setup`"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    return root / "mujoco" / "robots" / "assets" / "droid" / "model.xml"


def robot_spec(light: bool = True) -> mujoco.MjSpec:
    """The arm alone; mesh paths are absolute.  ``light``: visual meshes decimated."""
    spec = mujoco.MjSpec.from_file(str(robot_file()))
    spec.meshdir = str(robot_file().parent)
    if light:
        decimate_visuals(spec, robot_file())
    # Robot geoms collide with the world, not with the robot; the finger pads also with each
    # other, so that an empty gripper closes on itself.
    for geom in spec.geoms:
        if geom.contype:
            pad = geom.name.endswith(("_pad1", "_pad2"))
            geom.contype, geom.conaffinity = 1, 1 if pad else 0
    return spec


def build(
    config: SceneConfig, image_size: int, timestep_s: float, light: bool = True,
    obstacle: Obstacle | None = None,
):
    """The scene with default sizes; ``apply`` gives it one episode's look."""
    things = things_on_table(config, draw(config, np.random.default_rng(0)), obstacle)
    return copy(_compiled(
        tuple((thing.kind, thing.name, thing.mass_kg) for thing in things),
        config.camera_fovy_deg, image_size, timestep_s, light,
    ))


@lru_cache(maxsize=4)
def _compiled(
    things: tuple[tuple[str, str, float], ...], fovy_deg: float, image_size: int,
    timestep_s: float, light: bool,
) -> mujoco.MjModel:
    """Most of the second that a new environment takes; never to be changed."""
    spec = robot_spec(light)
    spec.option.timestep = timestep_s
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.visual.quality.offsamples = 0 if light else 4
    spec.visual.global_.offwidth = spec.visual.global_.offheight = max(640, image_size)
    spec.visual.headlight.ambient = [AMBIENT_LEVEL] * 3
    spec.visual.headlight.diffuse = [0.25, 0.25, 0.25]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.visual.map.znear = 0.01
    world = spec.worldbody

    for name in (*TEXTURES, CONTRAST):
        texture = spec.add_texture(
            name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=256, height=256,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER if name in ("checker", CONTRAST)
            else mujoco.mjtBuiltin.mjBUILTIN_FLAT,
            rgb1=[1.0, 1.0, 1.0], rgb2=[0.35] * 3 if name == CONTRAST else [0.82] * 3,
        )
        if name == "speckle":
            texture.mark = mujoco.mjtMark.mjMARK_RANDOM
            texture.random = 0.04
            texture.markrgb = [0.6, 0.6, 0.6]
        _add_table_material(spec, name, 6.0)
    for i, image in enumerate(table_textures()):
        texture = spec.add_texture(
            name=VARIED[i], type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3,
            width=image.shape[1], height=image.shape[0],
        )
        texture.data = image.tobytes()
        _add_table_material(spec, VARIED[i], 1.0 + i % 4)

    world.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.45, 0.6, 0.02],
        pos=[0.45, 0.0, -0.02], material="table_plain", contype=2, conaffinity=3,
        friction=[0.8, 0.02, 0.001],
    )
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[3.0, 3.0, 0.1],
        pos=[0.0, 0.0, -0.75], rgba=[*FLOOR_RGB, 1.0], contype=2, conaffinity=3,
    )
    world.add_light(
        name="lamp", type=mujoco.mjtLightType.mjLIGHT_SPOT, pos=[0.8, -0.6, 1.6],
        dir=[-0.2, 0.4, -1.0], cutoff=80.0, exponent=1.0, castshadow=not light,
        diffuse=[0.6, 0.6, 0.6], specular=[0.1, 0.1, 0.1],
    )
    world.add_camera(name="exo", fovy=fovy_deg)
    for kind, name, mass_kg in things:
        _add_thing(spec, kind, name, mass_kg)
    return spec.compile()


def _add_table_material(spec: mujoco.MjSpec, texture: str, repeat: float) -> None:
    material = spec.add_material(name=f"table_{texture}", texrepeat=[repeat] * 2, specular=0.0)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture


def _add_thing(spec: mujoco.MjSpec, kind: str, name: str, mass_kg: float) -> None:
    body = spec.worldbody.add_body(name=name, pos=[0.5, 0.0, 0.05])
    body.add_freejoint(name=f"{name}_free")
    count = CUP_WALLS + 1 if kind == "cup" else 1
    types = mujoco.mjtGeom
    for i in range(count):
        body.add_geom(
            name=f"{name}_{i}",
            type=types.mjGEOM_CYLINDER if kind == "cylinder" else types.mjGEOM_BOX,
            size=[0.025, 0.025, 0.025], rgba=[0.8, 0.1, 0.1, 1.0], mass=mass_kg / count,
            contype=2, conaffinity=3, friction=[1.0, 0.02, 0.001], condim=4, solref=[0.006, 1.0],
            solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
        )


def apply(
    model: mujoco.MjModel, config: SceneConfig, look: SceneDraw, obstacle: Obstacle | None = None
) -> None:
    """Give a compiled model one episode's sizes, colours, light and camera, in place."""
    for thing in things_on_table(config, look, obstacle):
        resize_object(model, thing.name, thing.kind, thing.size_m)
        body = model.body(thing.name).id
        start, count = model.body_geomadr[body], model.body_geomnum[body]
        model.geom_rgba[start : start + count, :3] = thing.rgb
    table = model.geom("table")
    table.matid = model.material(f"table_{look.texture}").id
    model.mat_rgba[table.matid, :3] = look.table_rgb
    model.geom("floor").rgba[:3] = look.floor_rgb
    apply_light(model, look)
    place_camera(
        model, look.camera_lookat_m, look.camera_distance_m,
        look.camera_azimuth_deg, look.camera_elevation_deg,
    )


def apply_light(model: mujoco.MjModel, look: SceneDraw) -> None:
    """Put the lamp where it is in ``look``, at its level."""
    lamp = model.light("lamp")
    lamp.pos = look.light_pos_m
    aim = np.array([0.5, 0.0, 0.0]) - look.light_pos_m
    lamp.dir = aim / np.linalg.norm(aim)
    lamp.diffuse = look.light_level
    kinds = mujoco.mjtLightType
    lamp.type = kinds.mjLIGHT_DIRECTIONAL if look.light_distant else kinds.mjLIGHT_SPOT
    model.vis.headlight.ambient[:] = look.ambient_level


def place_camera(model: mujoco.MjModel, lookat_m, distance_m, azimuth_deg, elevation_deg) -> None:
    """Put the exo camera on a sphere around ``lookat_m``, with MuJoCo's free-camera angles."""
    place, turn = exo_camera_pose(lookat_m, distance_m, azimuth_deg, elevation_deg)
    camera = model.camera("exo")
    camera.pos = place
    mujoco.mju_mat2Quat(camera.quat, turn.ravel())

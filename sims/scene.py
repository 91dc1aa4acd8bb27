"""The DROID rig on a table: what it looks like, and how one episode's look is drawn.

Frames: the world frame is the robot base frame (link0); x forward, y left, z up; the table
top is z = 0.  Lengths in m, angles in rad unless a name says ``_deg``.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mujoco
import numpy as np

from sims.meshes import decimate_visuals
from sims.shapes import CUP_WALLS, resize_object
from sims.textures import COUNT, table_textures

ObjectKind = Literal["box", "cup", "cylinder"]
Look = Literal["train", "unseen"]
WRIST_FOVY_DEG = 56.74  # of the rig's wrist camera
TEXTURES = ("plain", "checker", "speckle")
CONTRAST = "contrast"  # a checker that is never in training data
VARIED = tuple(f"varied{i}" for i in range(COUNT))
FLOOR_RGB = (0.45, 0.46, 0.48)
PALETTE = (
    (0.85, 0.12, 0.10),
    (0.10, 0.30, 0.85),
    (0.95, 0.75, 0.05),
    (0.10, 0.60, 0.20),
    (0.55, 0.15, 0.65),
    (0.95, 0.45, 0.05),
)
UNSEEN_PALETTE = (
    (0.10, 0.80, 0.85),
    (0.95, 0.50, 0.75),
    (0.40, 0.22, 0.10),
    (0.92, 0.92, 0.92),
    (0.60, 0.90, 0.10),
    (0.05, 0.08, 0.30),
)


@dataclass(frozen=True)
class SceneConfig:
    """What is on the table, and how much of it is drawn anew for every episode.

    "unseen" draws from colours, a texture, and lamp positions and levels that training data never
    have.
    """

    object: ObjectKind = "box"  # the object of the task
    # half edge of the box, drawn between these [m]
    box_half_m: tuple[float, float] = (0.021, 0.027)
    cup_radius_m: tuple[float, float] = (0.026, 0.031)  # radius of the cup, drawn between these [m]
    cup_height_m: tuple[float, float] = (0.07, 0.09)  # height of the cup, drawn between these [m]
    # radius of the cylinder, drawn between these [m]
    cylinder_radius_m: tuple[float, float] = (0.021, 0.027)
    # height of the cylinder, drawn between these [m]
    cylinder_height_m: tuple[float, float] = (0.042, 0.054)
    palette: Look = "train"  # colours of the object
    # texture and colour of the table; varied: of many, with as many floor colours
    table: Literal["train", "varied", "unseen"] = "train"
    light: Look = "train"  # position and level of the lamp
    randomise_colour: bool = True  # draw the object's colour; false: red
    randomise_table: bool = True  # draw the table's texture and colour; false: plain grey
    randomise_light: bool = True  # draw the lamp's position and level; false: the middle ones
    distractors: int = 0  # further boxes, beside the workspace
    # point that the camera looks at, base frame [m]
    camera_lookat_m: tuple[float, float, float] = (0.50, 0.0, 0.14)
    camera_distance_m: float = 0.84  # distance from the camera to that point [m]
    # direction of view: 90 looks along +y, 180 back at the robot [deg]
    camera_azimuth_deg: float = 145.0
    camera_elevation_deg: float = -28.0  # direction of view: negative looks down [deg]
    camera_fovy_deg: float = 35.0  # vertical field of view [deg]
    # azimuth and elevation change by up to this, once an episode [deg]
    camera_jitter_deg: float = 0.0
    # look-at point and distance change by up to this, once an episode [m]
    camera_jitter_m: float = 0.0

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {}
        if not self.randomise_colour:
            found["palette"] = "randomise_colour=false"
        if not self.randomise_light:
            found["light"] = "randomise_light=false"
        if not self.randomise_table and self.table != "varied":  # which has floors too
            found["table"] = "randomise_table=false"
        return found

    def other_objects(self) -> dict[str, str]:
        """Sizes of objects that are not there, and why."""
        sizes = ("box_half_m", "cup_radius_m", "cup_height_m", "cylinder_radius_m",
                 "cylinder_height_m")
        return {
            name: f"the object is {self.object}" for name in sizes
            if not name.startswith(self.object)
        }


@dataclass(frozen=True)
class SceneDraw:
    """One episode's look; drawn from a seed, applied to a compiled model."""

    size_m: tuple[float, float]  # box: half edge twice; cup: radius, height
    object_rgb: tuple[float, float, float]
    table_rgb: tuple[float, float, float]
    texture: str
    floor_rgb: tuple[float, float, float]
    light_pos_m: tuple[float, float, float]
    light_level: float
    camera_lookat_m: tuple[float, float, float]
    camera_distance_m: float
    camera_azimuth_deg: float
    camera_elevation_deg: float
    distractor_xy_yaw: tuple[tuple[float, float, float], ...]


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


def build(config: SceneConfig, image_size: int, timestep_s: float, light: bool = True):
    """Compile the scene with default sizes; ``apply`` gives it one episode's look."""
    spec = robot_spec(light)
    spec.option.timestep = timestep_s
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.visual.quality.offsamples = 0 if light else 4
    spec.visual.global_.offwidth = spec.visual.global_.offheight = max(640, image_size)
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
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
    world.add_camera(name="exo", fovy=config.camera_fovy_deg)
    _add_object(spec, config.object, "object", mass_kg=0.08)
    for i in range(config.distractors):
        _add_object(spec, "box", f"distractor{i}", mass_kg=0.08)
    return spec.compile()


def _add_table_material(spec: mujoco.MjSpec, texture: str, repeat: float) -> None:
    material = spec.add_material(name=f"table_{texture}", texrepeat=[repeat] * 2, specular=0.0)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture


def _add_object(spec: mujoco.MjSpec, kind: str, name: str, mass_kg: float) -> None:
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


def draw(config: SceneConfig, rng: np.random.Generator) -> SceneDraw:
    """Draw one episode's look; always consumes the same amount of randomness."""
    # A second stream for options added after the weights were trained: draws of the first stream,
    # hence old seeds, stay reproducible.
    extra = rng.spawn(1)[0]
    if config.object == "box":
        half = float(rng.uniform(*config.box_half_m))
        size = (half, half)
    else:
        cup = config.object == "cup"
        radius = config.cup_radius_m if cup else config.cylinder_radius_m
        height = config.cup_height_m if cup else config.cylinder_height_m
        size = (float(rng.uniform(*radius)), float(rng.uniform(*height)))
    palette = PALETTE if config.palette == "train" else UNSEEN_PALETTE
    colour = palette[int(rng.integers(len(palette)))]
    tint = rng.uniform(-0.08, 0.08, 3)
    table = rng.uniform(0.35, 0.85) + rng.uniform(-0.06, 0.06, 3)
    texture = TEXTURES[int(rng.integers(len(TEXTURES)))]
    light_xy = rng.uniform(-0.8, 0.8, 2)
    light_z, level = rng.uniform(1.3, 2.0), rng.uniform(0.35, 0.75)
    jitter = rng.uniform(-1.0, 1.0, 2) * config.camera_jitter_deg
    places = []
    for _ in range(config.distractors):
        side = rng.choice([-1.0, 1.0])
        places.append((rng.uniform(0.35, 0.65), side * rng.uniform(0.22, 0.3), rng.uniform(-3, 3)))
    # -- what training never shows; drawn last, so that the draws before it stay reproducible
    if config.table == "unseen":
        table, texture = rng.uniform(0.1, 0.95, 3), CONTRAST
    if config.light == "unseen":
        light_xy = rng.uniform(0.9, 1.4, 2) * rng.choice([-1.0, 1.0], 2)
        level = rng.choice([rng.uniform(0.1, 0.25), rng.uniform(0.9, 1.1)])
    shift = extra.uniform(-1.0, 1.0, 4) * config.camera_jitter_m
    floor = FLOOR_RGB
    if config.table == "varied":
        table, texture = extra.uniform(0.7, 1.0, 3), VARIED[int(extra.integers(len(VARIED)))]
        floor = _three(np.clip(extra.uniform(0.1, 0.8) + extra.uniform(-0.1, 0.1, 3), 0, 1))
    return SceneDraw(
        size_m=size,
        object_rgb=_three(np.clip(colour + tint, 0, 1) if config.randomise_colour else PALETTE[0]),
        table_rgb=_three(np.clip(table, 0, 1) if config.randomise_table else (0.6, 0.6, 0.6)),
        texture=texture if config.randomise_table else TEXTURES[0],
        floor_rgb=floor,
        light_pos_m=(0.5 + light_xy[0], light_xy[1], light_z)
        if config.randomise_light else (0.8, -0.6, 1.6),
        light_level=float(level) if config.randomise_light else 0.6,
        camera_lookat_m=_three(np.asarray(config.camera_lookat_m) + shift[:3]),
        camera_distance_m=config.camera_distance_m + float(shift[3]),
        camera_azimuth_deg=config.camera_azimuth_deg + float(jitter[0]),
        camera_elevation_deg=config.camera_elevation_deg + float(jitter[1]),
        distractor_xy_yaw=tuple((float(x), float(y), float(a)) for x, y, a in places),
    )


def _three(values) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


def apply(model: mujoco.MjModel, config: SceneConfig, look: SceneDraw) -> None:
    """Give a compiled model one episode's sizes, colours, light and camera, in place."""
    resize_object(model, "object", config.object, look.size_m)
    for i in range(config.distractors):
        resize_object(model, f"distractor{i}", "box", (0.02, 0.02))
        model.geom(f"distractor{i}_0").rgba[:3] = PALETTE[-1 - i % len(PALETTE)]
    for i in range(model.nbody):
        if model.body(i).name == "object":
            start, count = model.body_geomadr[i], model.body_geomnum[i]
            model.geom_rgba[start : start + count, :3] = look.object_rgb
    table = model.geom("table")
    table.matid = model.material(f"table_{look.texture}").id
    model.mat_rgba[table.matid, :3] = look.table_rgb
    model.geom("floor").rgba[:3] = look.floor_rgb
    lamp = model.light("lamp")
    lamp.pos = look.light_pos_m
    aim = np.array([0.5, 0.0, 0.0]) - look.light_pos_m
    lamp.dir = aim / np.linalg.norm(aim)
    lamp.diffuse = look.light_level
    place_camera(
        model, look.camera_lookat_m, look.camera_distance_m,
        look.camera_azimuth_deg, look.camera_elevation_deg,
    )


def place_camera(model: mujoco.MjModel, lookat_m, distance_m, azimuth_deg, elevation_deg) -> None:
    """Put the exo camera on a sphere around ``lookat_m``, with MuJoCo's free-camera angles."""
    place, turn = exo_camera_pose(lookat_m, distance_m, azimuth_deg, elevation_deg)
    camera = model.camera("exo")
    camera.pos = place
    mujoco.mju_mat2Quat(camera.quat, turn.ravel())


def exo_camera_pose(
    lookat_m, distance_m: float, azimuth_deg: float, elevation_deg: float
) -> tuple[np.ndarray, np.ndarray]:
    """Position [3] (m) and rotation [3, 3] of the camera in the base frame; it looks along -z."""
    az, el = np.radians([azimuth_deg, elevation_deg])
    forward = np.array([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)])
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(right, forward), -forward], axis=1)
    return np.asarray(lookat_m) - distance_m * forward, turn

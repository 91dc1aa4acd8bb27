"""The DROID rig on a table: what it looks like, and how one episode's look is drawn.

Frames: the world frame is the robot base frame (link0); x forward, y left, z up; the table
top is z = 0.  Lengths in m, angles in rad unless a name says ``_deg``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

ObjectKind = Literal["box", "cup", "cylinder"]
Obstacle = Literal["block", "wall"]
Look = Literal["train", "unseen"]
WRIST_FOVY_DEG = 56.74  # of the rig's wrist camera
TEXTURES = ("plain", "checker", "speckle")
CONTRAST = "contrast"  # a checker that is never in training data
VARIED = tuple(f"varied{i}" for i in range(72))  # their pictures: sims.textures
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
AMBIENT_LEVEL = 0.35  # of the light that comes from everywhere
OBJECT_KG = 0.08
OBSTACLE_HALF_M = {"block": (0.016, 0.016, 0.018), "wall": (0.07, 0.018, 0.08)}
OBSTACLE_KG = {"block": 0.1, "wall": 0.4}
OBSTACLE_RGB = (0.25, 0.25, 0.28)


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
    # position and level of the lamp; varied: also how much light comes from everywhere, and every
    # other lamp is as far off as the sun, so that it lights the table evenly
    light: Literal["train", "varied", "unseen"] = "train"
    randomise_colour: bool = True  # draw the object's colour; false: red
    randomise_table: bool = True  # draw the table's texture and colour; false: plain grey
    randomise_light: bool = True  # draw the lamp's position and level; false: the middle ones
    distractors: int = 0  # further boxes, beside the workspace
    # a further object among the places of the task's, in another colour; null: none
    second_object: ObjectKind | None = None
    # a small grey block somewhere on the table, also in the way; a task with an obstacle of its own
    # has that; null: none
    obstacle: Literal["block"] | None = None
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
        others = sizes_without({self.object, self.second_object})
        return dict.fromkeys(others, f"the object is {self.object}")


def sizes_without(kinds: Collection[str | None]) -> list[str]:
    """Settings of a ``SceneConfig`` that are sizes of other objects than of ``kinds``."""
    sizes = ("box_half_m", "cup_radius_m", "cup_height_m", "cylinder_radius_m",
             "cylinder_height_m")
    return [name for name in sizes if name.partition("_")[0] not in kinds]


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
    light_distant: bool  # its rays are parallel, and no place is nearer to it than another
    ambient_level: float  # of the light that comes from everywhere
    camera_lookat_m: tuple[float, float, float]
    camera_distance_m: float
    camera_azimuth_deg: float
    camera_elevation_deg: float
    distractor_xy_yaw: tuple[tuple[float, float, float], ...]
    second_size_m: tuple[float, float]  # as ``size_m``
    second_rgb: tuple[float, float, float]
    obstacle_scale: float  # of ``OBSTACLE_HALF_M``
    obstacle_rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """Something that stands on the table and can be moved."""

    name: str
    kind: ObjectKind | Obstacle
    size_m: tuple[float, ...]  # box: half edge; cup, cylinder: radius, height; obstacle: half edges
    rgb: tuple[float, float, float]
    mass_kg: float = OBJECT_KG

    @property
    def half_height_m(self) -> float:
        """Half of its height when it stands [m]."""
        if self.kind == "box":
            return self.size_m[0]
        return self.size_m[1] / 2 if len(self.size_m) == 2 else self.size_m[2]


def things_on_table(
    config: SceneConfig, look: SceneDraw, obstacle: Obstacle | None = None
) -> list[Thing]:
    """The task's object, which comes first, and whatever else stands on the table."""
    things = [Thing("object", config.object, look.size_m, look.object_rgb)]
    things += [
        Thing(f"distractor{i}", "box", (0.02, 0.02), PALETTE[-1 - i % len(PALETTE)])
        for i in range(config.distractors)
    ]
    if config.second_object is not None:
        things.append(
            Thing("second_object", config.second_object, look.second_size_m, look.second_rgb)
        )
    if obstacle is not None:
        half = tuple(look.obstacle_scale * edge for edge in OBSTACLE_HALF_M[obstacle])
        things.append(Thing("obstacle", obstacle, half, look.obstacle_rgb, OBSTACLE_KG[obstacle]))
    return things


def draw(config: SceneConfig, rng: np.random.Generator) -> SceneDraw:
    """Draw one episode's look; always consumes the same amount of randomness.  Options that were
    added after the weights were trained are drawn from separate streams, so old seeds keep their
    looks."""
    own = np.random.Generator(rng.bit_generator.jumped())  # pyright: ignore
    extra = rng.spawn(1)[0]
    size = _size(config, config.object, rng)
    palette = PALETTE if config.palette == "train" else UNSEEN_PALETTE
    number = int(rng.integers(len(palette)))
    colour = palette[number]
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
    second_size = _size(config, config.second_object or config.object, own)
    second = palette[(number + 1 + int(own.integers(len(palette) - 1))) % len(palette)]
    second_tint = own.uniform(-0.08, 0.08, 3)
    scale, obstacle_tint = float(own.uniform(0.9, 1.1)), own.uniform(-0.08, 0.08, 3)
    distant, ambient = False, AMBIENT_LEVEL
    if config.light == "varied":
        distant, ambient = bool(own.random() < 0.5), float(own.uniform(0.25, 0.5))
        level = own.uniform(0.3, 0.85)
    return SceneDraw(
        size_m=size,
        object_rgb=_three(np.clip(colour + tint, 0, 1) if config.randomise_colour else PALETTE[0]),
        table_rgb=_three(np.clip(table, 0, 1) if config.randomise_table else (0.6, 0.6, 0.6)),
        second_size_m=second_size,
        second_rgb=_three(np.clip(second + second_tint, 0, 1)) if config.randomise_colour
        else PALETTE[1],
        obstacle_scale=scale,
        obstacle_rgb=_three(np.clip(np.array(OBSTACLE_RGB) + obstacle_tint, 0, 1)),
        texture=texture if config.randomise_table else TEXTURES[0],
        floor_rgb=floor,
        light_pos_m=(0.5 + light_xy[0], light_xy[1], light_z)
        if config.randomise_light else (0.8, -0.6, 1.6),
        light_level=float(level) if config.randomise_light else 0.6,
        light_distant=distant and config.randomise_light,
        ambient_level=ambient if config.randomise_light else AMBIENT_LEVEL,
        camera_lookat_m=_three(np.asarray(config.camera_lookat_m) + shift[:3]),
        camera_distance_m=config.camera_distance_m + float(shift[3]),
        camera_azimuth_deg=config.camera_azimuth_deg + float(jitter[0]),
        camera_elevation_deg=config.camera_elevation_deg + float(jitter[1]),
        distractor_xy_yaw=tuple((float(x), float(y), float(a)) for x, y, a in places),
    )


def _size(
    config: SceneConfig, kind: ObjectKind, rng: np.random.Generator
) -> tuple[float, float]:
    if kind == "box":
        half = float(rng.uniform(*config.box_half_m))
        return half, half
    cup = kind == "cup"
    radius = config.cup_radius_m if cup else config.cylinder_radius_m
    height = config.cup_height_m if cup else config.cylinder_height_m
    return float(rng.uniform(*radius)), float(rng.uniform(*height))


def _three(values) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


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


def exo_projection(look: SceneDraw, fovy_deg: float) -> np.ndarray:
    """Projection [3, 4] of the camera: x, y, z, 1 [m, base frame] to homogeneous places in its
    square picture, as shares of its width and height from the upper left."""
    eye, turn = exo_camera_pose(
        look.camera_lookat_m, look.camera_distance_m,
        look.camera_azimuth_deg, look.camera_elevation_deg,
    )
    focal = 0.5 / np.tan(np.radians(fovy_deg) / 2)
    inside = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    axes = turn.T * [[1], [-1], [-1]]  # to the right, down, ahead
    return inside @ np.c_[axes, -axes @ eye]

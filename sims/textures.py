"""Table tops for training data: procedural textures, the same on every machine."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sims.scene import VARIED

COUNT = len(VARIED)
SIDE = 128


def table_textures() -> list[NDArray[np.uint8]]:
    """``COUNT`` tileable images [SIDE, SIDE, 3] in two colours each, from faint to strong contrast:
    stripes, grain, clouds and blotches; of two thirds also plaids, mosaics, bricks and dots, whose
    edges are hard.  No checkers: those test generalisation."""
    rng = np.random.default_rng(20261122)
    soft, hard = (_stripes, _grain, _clouds, _blotches), (_plaid, _mosaic, _bricks, _dots)
    images = []
    for number in range(COUNT):
        patterns, least = (soft, 0.2) if number < COUNT // 3 else (hard, 0.4)
        share = patterns[number % len(patterns)](rng)[:, :, None]  # [SIDE, SIDE, 1] in [0, 1]
        one, other = _colour(rng), _colour(rng)
        share = 0.5 + (share - 0.5) * rng.uniform(least, 1.0)
        images.append((255 * (share * one + (1 - share) * other)).astype(np.uint8))
    return images


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    saturation = rng.uniform(0.0, 0.7) ** 1.5
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.25, 0.95)))


def _wave(rng: np.random.Generator, cycles: int) -> NDArray[np.float64]:
    """A plane wave with whole numbers of cycles along both axes, so that it tiles."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    along, across = rng.integers(-cycles, cycles + 1), rng.integers(1, cycles + 1)
    return np.sin(2 * np.pi * (along * x + across * y + rng.random()))


def _spread(field: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.percentile(field, [2, 98])
    return np.clip((field - low) / (high - low), 0, 1)


def _stripes(rng: np.random.Generator) -> NDArray[np.float64]:
    wave = _wave(rng, 5)
    return _spread(np.tanh(rng.uniform(0.5, 6.0) * (wave + rng.uniform(-0.5, 0.5))))


def _grain(rng: np.random.Generator) -> NDArray[np.float64]:
    """Wood: noise drawn out along one axis."""
    sigma = (rng.uniform(8, 30), rng.uniform(0.8, 3.0))
    noise = rng.normal(size=(SIDE, SIDE))
    return _spread(gaussian_filter(noise, sigma[:: rng.choice([-1, 1])], mode="wrap"))


def _clouds(rng: np.random.Generator) -> NDArray[np.float64]:
    noise = sum(
        scale * _spread(gaussian_filter(rng.normal(size=(SIDE, SIDE)), scale, mode="wrap"))
        for scale in (1.0, 3.0, 9.0)
    )
    return _spread(np.asarray(noise))


def _blotches(rng: np.random.Generator) -> NDArray[np.float64]:
    noise = gaussian_filter(rng.normal(size=(SIDE, SIDE)), rng.uniform(3.0, 9.0), mode="wrap")
    return _spread(np.tanh(8 * noise / noise.std()))


def _plaid(rng: np.random.Generator) -> NDArray[np.float64]:
    """Bands of even colour along both axes; where two cross, their mean."""
    bands = []
    for _ in range(2):
        edges = np.sort(rng.choice(np.arange(1, SIDE), rng.integers(3, 10), replace=False))
        levels = rng.random(len(edges))
        # The band before the first edge goes on after the last, so that it tiles.
        bands.append(levels[np.searchsorted(edges, np.arange(SIDE), "right") % len(edges)])
    return _spread(bands[0][:, None] + bands[1])


def _mosaic(rng: np.random.Generator) -> NDArray[np.float64]:
    """Cells of even colour around scattered points."""
    points = rng.uniform(0, SIDE, (rng.integers(8, 60), 2))
    away = np.abs(np.arange(SIDE)[:, None, None] - points)
    y, x = np.moveaxis(np.square(np.minimum(away, SIDE - away)), -1, 0)  # [SIDE, points] each
    nearest = (y[:, None] + x).argmin(-1)  # [SIDE, SIDE]
    return _spread(rng.random(len(points))[nearest])


def _bricks(rng: np.random.Generator) -> NDArray[np.float64]:
    """Rows of bricks with joints between them, each row shifted against the one before."""
    rows, columns = 2 * int(rng.integers(1, 6)), int(rng.integers(1, 6))
    joint, shift = rng.uniform(0.03, 0.25), rng.uniform(0.2, 0.8)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    row = np.floor(y * rows)
    column = x * columns + shift * (row % 2)
    level = 0.5 + 0.5 * rng.random((rows, columns))
    brick = level[row.astype(int), np.floor(column).astype(int) % columns]
    inside = (y * rows % 1 > joint) & (column % 1 > joint * columns / rows)
    return _spread(np.where(inside, brick, 0.0))


def _dots(rng: np.random.Generator) -> NDArray[np.float64]:
    """Discs on a grid, every other row shifted by half."""
    across, radius = int(rng.integers(1, 7)), rng.uniform(0.15, 0.42)
    y, x = np.mgrid[:SIDE, :SIDE] * (2 * across / SIDE)
    x = (x + np.floor(y) % 2) / 2
    away = np.hypot((x % 1 - 0.5) * 2, y % 1 - 0.5)
    return _spread((away < radius * 1.2).astype(np.float64))

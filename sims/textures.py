"""Table tops for training data: procedural textures, the same on every machine."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

COUNT = 24
SIDE = 128


def table_textures() -> list[NDArray[np.uint8]]:
    """``COUNT`` tileable images [SIDE, SIDE, 3]: stripes, grain, clouds and blotches in two
    colours each, from faint to strong contrast.  No checkers: those test generalisation."""
    rng = np.random.default_rng(20261122)
    patterns = (_stripes, _grain, _clouds, _blotches)
    images = []
    for number in range(COUNT):
        share = patterns[number % len(patterns)](rng)[:, :, None]  # [SIDE, SIDE, 1] in [0, 1]
        one, other = _colour(rng), _colour(rng)
        share = 0.5 + (share - 0.5) * rng.uniform(0.2, 1.0)
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

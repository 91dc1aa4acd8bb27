"""How an episode lies in a zarr group: which arrays, which chunks, and the way back.

Images are raw chunks of 8 frames (``codec`` "raw", for simulation) or JPEG bytes with offsets
("jpeg", for real cameras; see ``robot_data.images``).  The attributes hold the frame count, the
codec, a CRC-32 of every array and the episode's meta; they are written last.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from robot_data.images import decode_jpeg, encode_jpeg, jpeg_size
from robot_data.schema import SCHEMA_VERSION, DataError, Episode

Codec = Literal["raw", "jpeg"]
CHUNK_FRAMES = 8
CHUNK_BYTES = 2**17  # of JPEG data
READABLE_VERSIONS = (1, 2)  # 1: without timestamps, cameras, raw and JPEG


class DamagedEpisode(DataError):
    """An episode whose bytes, schema or files are not what was committed."""


def checksum(array: NDArray[Any]) -> int:
    """CRC-32 of an array's bytes."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def write_group(
    group: zarr.Group, episode: Episode, codec: Codec, one_by_one: bool = False
) -> None:
    """Fill an empty group with a valid episode.

    ``one_by_one``: each chunk is written before the next, so that an error leaves nothing that
    still writes; for disks.  Without it many are on their way at once, for object storage.
    """
    arrays: dict[str, NDArray[Any]] = {
        "states": episode.states,
        "actions": episode.actions,
        "commanded_closedness": episode.commanded_closedness,
        **{f"privileged/{k}": v for k, v in episode.privileged.items()},
        **{f"raw/{k}": v for k, v in episode.raw.items()},
    }
    if episode.timestamps_ns is not None:
        arrays["timestamps_ns"] = episode.timestamps_ns
    chunks: dict[str, tuple[int, ...]] = {}
    views = {"images": episode.images, **{f"cameras/{k}": v for k, v in episode.cameras.items()}}
    for key, images in views.items():
        if codec == "jpeg":
            arrays[key], arrays[f"offsets/{key}"] = encode_jpeg(images)
            chunks[key] = (CHUNK_BYTES,)
        else:
            arrays[key] = images
            chunks[key] = (CHUNK_FRAMES, *images.shape[1:])
    for key, array in arrays.items():
        data = np.asarray(array, order="C")
        shape = chunks.get(key, tuple(max(1, side) for side in data.shape))
        if not one_by_one or data.ndim == 0:
            group.create_array(key, data=data, chunks=shape, compressors=None)
            continue
        made = group.create_array(
            key, shape=data.shape, dtype=data.dtype, chunks=shape, compressors=None
        )
        for start in range(0, len(data), shape[0]):
            made[start : start + shape[0]] = data[start : start + shape[0]]
    group.attrs.update(
        {
            "schema_version": SCHEMA_VERSION,
            "frames": len(episode),
            "codec": codec,
            "crc32": {key: checksum(array) for key, array in arrays.items()},
            "meta": episode.meta,
        }
    )


@dataclass(frozen=True)
class Outline:
    """An episode without its pictures: states [T, 7], times [T] where it has them, height and width
    of the model's view, names of the further cameras, and the meta."""

    states: NDArray[np.float64]
    timestamps_ns: NDArray[np.int64] | None
    height: int
    width: int
    cameras: tuple[str, ...]
    meta: dict[str, Any]

    @classmethod
    def of(cls, episode: Episode) -> Outline:
        """That of a whole one."""
        height, width = episode.images.shape[1:3]
        return cls(episode.states, episode.timestamps_ns, height, width, tuple(episode.cameras),
                   episode.meta)


def read_outline(group: zarr.Group, where: str) -> Outline:
    """The verified states and times of the episode at ``where``, and what it says of the rest;
    :class:`DamagedEpisode` says what is wrong with these."""
    version, sums = _described(group, where)
    try:
        arrays: dict[str, Any] = {
            k: np.asarray(group[k][...])  # pyright: ignore
            for k in ("states", "timestamps_ns") if k in sums
        }
        height, width = _size(group)
        cameras = [key.removeprefix("cameras/") for key in sums if key.startswith("cameras/")]
        meta: dict[str, Any] = dict(group.attrs["meta"])  # pyright: ignore
    except Exception as error:  # zarr raises many types on torn data
        raise DamagedEpisode(f"{where} is incomplete: {error}") from error
    _require_sound(where, version, arrays, sums)
    return Outline(
        arrays["states"], arrays.get("timestamps_ns"), height, width, tuple(cameras), meta
    )


def read_group(group: zarr.Group, where: str) -> Episode:
    """The verified episode at ``where``; :class:`DamagedEpisode` says what is wrong with it."""
    version, sums = _described(group, where)
    try:
        arrays: dict[str, Any] = {k: np.asarray(group[k][...]) for k in sums}  # pyright: ignore
    except Exception as error:  # zarr raises many types on torn data
        raise DamagedEpisode(f"{where} is incomplete: {error}") from error
    _require_sound(where, version, arrays, sums)
    try:
        if group.attrs.get("codec", "raw") == "jpeg":
            for key in [k for k in arrays if f"offsets/{k}" in arrays]:
                arrays[key] = decode_jpeg(arrays[key], arrays.pop(f"offsets/{key}"))
        episode = Episode(
            images=arrays["images"],
            states=arrays["states"],
            actions=arrays["actions"],
            commanded_closedness=arrays["commanded_closedness"],
            privileged=_under(arrays, "privileged/"),
            meta=dict(group.attrs["meta"]),  # pyright: ignore
            timestamps_ns=arrays.get("timestamps_ns"),
            cameras=_under(arrays, "cameras/"),
            raw=_under(arrays, "raw/"),
        )
        episode.validate()
    except (KeyError, ValueError) as error:
        raise DamagedEpisode(f"{where} breaks the schema: {error}") from error
    return episode


def _size(group: zarr.Group) -> tuple[int, int]:
    images: Any = group["images"]
    if group.attrs.get("codec", "raw") != "jpeg":
        return images.shape[1:3]
    offsets: Any = group["offsets/images"]
    return jpeg_size(np.asarray(images[: int(offsets[1])]))


def _described(group: zarr.Group, where: str) -> tuple[Any, dict[str, int]]:
    try:
        return group.attrs["schema_version"], dict(group.attrs["crc32"])  # pyright: ignore
    except Exception as error:  # zarr raises many types on torn data
        raise DamagedEpisode(f"{where} is incomplete: {error}") from error


def _require_sound(
    where: str, version: Any, arrays: dict[str, Any], sums: dict[str, int]
) -> None:
    if version not in READABLE_VERSIONS:
        raise DamagedEpisode(
            f"{where} has schema {version}; this version reads {READABLE_VERSIONS}"
        )
    for key, array in arrays.items():
        if checksum(array) != sums[key]:
            raise DamagedEpisode(f"{where}: array '{key}' does not match its checksum")


def _under(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


class FrameReader:
    """Random access to the images and states of one committed episode, without verifying it.

    ``array``: ``images``, or ``cameras/NAME`` of a further camera.
    """

    def __init__(self, group: zarr.Group, array: str = "images") -> None:
        self._images: Any = group[array]
        self._offsets: NDArray[np.int64] | None = None
        if group.attrs.get("codec", "raw") == "jpeg":
            self._offsets = np.asarray(group[f"offsets/{array}"][...])  # pyright: ignore
        self.states: NDArray[np.float64] = np.asarray(group["states"][...])  # pyright: ignore

    def images(self, start: int, stop: int, stride: int = 1) -> NDArray[np.uint8]:
        """Frames ``start:stop:stride`` as uint8 [T, H, W, 3]."""
        if self._offsets is None:
            return np.asarray(self._images[start:stop])[::stride]
        rows = range(start, stop, stride)
        first = self._offsets[start]
        data = np.asarray(self._images[int(first) : int(self._offsets[rows[-1] + 1])])
        if stride == 1:
            return decode_jpeg(data, self._offsets[start : stop + 1])
        return np.concatenate([
            decode_jpeg(data[self._offsets[t] - first :], self._offsets[t : t + 2]) for t in rows
        ])

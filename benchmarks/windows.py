"""How fast random 16-frame windows are read from each storage, and how DataLoader workers scale.

    python benchmarks/windows.py --side 128 --seconds 3

Ours raw and JPEG beside HDF5 with gzip, MP4 through PyAV and zarr with lz4 a frame; the same
episodes, windows drawn the same way, one process, one thread; the page cache is warm for all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import h5py
import numpy as np
import torch
import zarr
from av.video.reformatter import VideoReformatter
from numcodecs import LZ4

sys.path.insert(0, str(Path(__file__).parents[1]))

from robot_data.episodes import EpisodeStore
from robot_data.pose import diff
from robot_data.schema import Episode
from robot_data.windows import WindowDataset, WindowSampler
from tests.conftest import smooth_images

LENGTH, EPISODES, FRAMES = 16, 24, 64
Read = Callable[[int, int], np.ndarray]


def episodes(side: int) -> list[Episode]:
    made = []
    for seed in range(EPISODES):
        states = np.zeros((FRAMES, 7))
        states[:, 0] = np.linspace(0, 0.5, FRAMES)
        images = smooth_images(FRAMES, side, seed)
        noise = np.random.default_rng(seed).integers(0, 6, images.shape, dtype=np.uint8)
        made.append(Episode(
            images=images // 2 + 60 + noise, states=states, actions=np.zeros((FRAMES, 7)),
            commanded_closedness=states[:, 6].copy(),
        ))
    return made


def ours(root: Path, made: list[Episode], codec) -> WindowSampler:
    store = EpisodeStore(root, codec=codec)
    for i, episode in enumerate(made):
        store.write(f"e{i}", episode)
    return WindowSampler(store, LENGTH)


def hdf5(root: Path, made: list[Episode]) -> Read:
    files = []
    for i, episode in enumerate(made):
        with h5py.File(root / f"e{i}.h5", "w") as file:
            file.create_dataset(
                "images", data=episode.images, chunks=(1, *episode.images.shape[1:]),
                compression="gzip",
            )
        files.append(h5py.File(root / f"e{i}.h5", "r"))
    return lambda i, start: files[i]["images"][start : start + LENGTH]


def mp4(root: Path, made: list[Episode]) -> Read:
    for i, episode in enumerate(made):
        with av.open(str(root / f"e{i}.mp4"), "w") as container:
            stream = container.add_stream("libx264", 30)
            stream.height, stream.width = episode.images.shape[1:3]
            stream.pix_fmt, stream.options = "yuv420p", {"crf": "18", "g": "8"}
            for image in episode.images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())

    colours = VideoReformatter()  # one for all frames: ten times as fast as one for each

    def read(i: int, start: int) -> np.ndarray:
        with av.open(str(root / f"e{i}.mp4")) as container:
            stream = container.streams.video[0]
            container.seek(int(start / 30 / stream.time_base), stream=stream)
            found = []
            for frame in container.decode(stream):
                if round(frame.time * 30) >= start:
                    found.append(colours.reformat(frame, format="rgb24").to_ndarray())
                if len(found) == LENGTH:
                    break
            return np.stack(found)

    return read


def zarr_lz4(root: Path, made: list[Episode]) -> Read:
    arrays = []
    for i, episode in enumerate(made):
        array = zarr.create_array(
            str(root / f"e{i}"), shape=episode.images.shape, dtype="uint8", zarr_format=2,
            chunks=(1, *episode.images.shape[1:]), compressors=LZ4(),
        )
        array[...] = episode.images
        arrays.append(array)
    return lambda i, start: np.asarray(arrays[i][start : start + LENGTH])


def rate(draw: Callable[[np.random.Generator], object], seconds: float) -> float:
    rng = np.random.default_rng(0)
    for _ in range(EPISODES):
        draw(rng)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        draw(rng)
        count += 1
    return count / (time.perf_counter() - began)


def random_window(read: Read) -> Callable[[np.random.Generator], object]:
    return lambda rng: read(int(rng.integers(EPISODES)), int(rng.integers(FRAMES - LENGTH + 1)))


def loader_rate(sampler: WindowSampler, workers: int, seconds: float) -> float:
    """Windows per second through a DataLoader that is forked after the sampler was used."""
    sampler.sample(np.random.default_rng(0))
    loader = torch.utils.data.DataLoader(
        WindowDataset(sampler, 10**9), batch_size=16, num_workers=workers, prefetch_factor=4,
        multiprocessing_context="fork",
    )
    batches = iter(loader)
    for _ in range(4 * workers):
        next(batches)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += len(next(batches)["images"])
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    made = episodes(arguments.side)
    assert diff(made[0].states[0], made[0].states[1])[0] > 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("hdf5", "mp4", "lz4"):
            (root / name).mkdir()
        samplers = {codec: ours(root / codec, made, codec) for codec in ("raw", "jpeg")}
        rows = {
            "ours, raw chunks of 8": rate(samplers["raw"].sample, arguments.seconds),
            "ours, JPEG 95": rate(samplers["jpeg"].sample, arguments.seconds),
            "HDF5, gzip": rate(random_window(hdf5(root / "hdf5", made)), arguments.seconds),
            "MP4, PyAV": rate(random_window(mp4(root / "mp4", made)), arguments.seconds),
            "zarr, lz4 a frame": rate(random_window(zarr_lz4(root / "lz4", made)),
                                      arguments.seconds),
        }
        print(f"random windows of {LENGTH} frames of {arguments.side}x{arguments.side}, one core:")
        for name, value in rows.items():
            print(f"  {name:24}{value:8.0f} windows/s")
        for codec, sampler in samplers.items():
            one, two = (loader_rate(sampler, n, arguments.seconds) for n in (1, 2))
            print(f"DataLoader, {codec}: {one:.0f} with one worker, {two:.0f} with two "
                  f"({two / one:.2f} x)")


if __name__ == "__main__":
    main()

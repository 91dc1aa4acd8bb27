"""The ways to read training windows that ``bench data`` times."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import torch
import zarr
from av.video.reformatter import VideoReformatter
from numcodecs import LZ4
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from arm_worldmodel.report import write_report
from benchmarks.settings import DataSettings as Settings
from robot_data.episodes import EpisodeStore
from robot_data.layout import Codec
from robot_data.schema import Episode
from robot_data.windows import WindowDataset, WindowSampler
from worldmodel.progress import Progress

EPISODES, FRAMES = 24, 64
CODECS: tuple[Codec, ...] = ("raw", "jpeg")
Images = NDArray[np.uint8]
Draw = Callable[[np.random.Generator], object]


def measure(settings: Settings) -> dict[str, Any]:
    """Windows per second of every way to store the same episodes."""
    torch.set_num_threads(1)
    made = episodes(settings.side)
    rows: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        samplers = {codec: ours(root / codec, made, codec, settings.length) for codec in CODECS}
        ways: dict[str, Callable[[], Draw]] = {
            **{f"ours, {codec}": (lambda s=s: s.sample) for codec, s in samplers.items()},
            "HDF5, gzip": lambda: hdf5(root, made, settings.length),
            "MP4, PyAV": lambda: mp4(root, made, settings.length),
            "zarr, lz4 a frame": lambda: zarr_lz4(root, made, settings.length),
        }
        for name, prepare in Progress(ways.items(), unit="way"):
            rows[name] = rate(prepare(), settings.seconds)
        loaders: dict[str, dict[int, float]] = {
            codec: {n: loader_rate(sampler, n, settings.seconds) for n in settings.workers}
            for codec, sampler in samplers.items()
        }
    report = {"windows_per_s": rows, "loaders": loaders, "settings": asdict(settings)}
    write_report(settings.out, report)
    text = _table(rows, loaders)
    (Path(settings.out) / "table.md").write_text(text)
    print(text)
    return report


def episodes(side: int) -> list[Episode]:
    """With pictures as smooth and as noisy as a camera's."""
    made = []
    for seed in range(EPISODES):
        rng = np.random.default_rng(seed)
        field = gaussian_filter(rng.normal(0, 1, (FRAMES, side, side, 3)), (1, 4, 4, 0))
        field = (field - field.min()) / (field.max() - field.min())
        images = (127 * field + 60 + rng.integers(0, 6, field.shape)).astype(np.uint8)
        states = np.zeros((FRAMES, 7))
        states[:, 0] = np.linspace(0, 0.5, FRAMES)
        made.append(Episode(
            images=images, states=states, actions=np.zeros((FRAMES, 7)),
            commanded_closedness=states[:, 6].copy(),
        ))
    return made


def ours(root: Path, made: list[Episode], codec: Codec, length: int) -> WindowSampler:
    """Our store."""
    store = EpisodeStore(root, codec=codec)
    for i, episode in enumerate(made):
        store.write(f"e{i}", episode)
    return WindowSampler(store, length)


def _window(read: Callable[[int, int], object], length: int) -> Draw:
    return lambda rng: read(int(rng.integers(EPISODES)), int(rng.integers(FRAMES - length + 1)))


def hdf5(root: Path, made: list[Episode], length: int) -> Draw:
    """One compressed HDF5 file per episode."""
    found = []
    for i, episode in enumerate(made):
        path = root / f"e{i}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset(
                "images", data=episode.images, chunks=(1, *episode.images.shape[1:]),
                compression="gzip",
            )
        found.append(h5py.File(path, "r", rdcc_nbytes=0)["images"])  # real data outgrow that cache
    return _window(lambda i, start: found[i][start : start + length], length)


def mp4(root: Path, made: list[Episode], length: int) -> Draw:
    """One H.264 file per episode, read by PyAV."""
    for i, episode in enumerate(made):
        with av.open(str(root / f"e{i}.mp4"), "w") as container:
            stream = container.add_stream("libx264", 30)
            stream.height, stream.width = episode.images.shape[1:3]
            stream.pix_fmt, stream.options = "yuv420p", {"crf": "18", "g": "8"}
            for image in episode.images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    colours = VideoReformatter()  # one for all frames: ten times as fast as one for each

    def read(i: int, start: int) -> Images:
        with av.open(str(root / f"e{i}.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            container.seek(int(start / 30 / stream.time_base), stream=stream)
            found = []
            for frame in container.decode(stream):
                if round((frame.time or 0.0) * 30) >= start:
                    found.append(colours.reformat(frame, format="rgb24").to_ndarray())
                if len(found) == length:
                    break
            return np.stack(found)

    return _window(read, length)


def zarr_lz4(root: Path, made: list[Episode], length: int) -> Draw:
    """One zarr array per episode, each frame compressed by itself."""
    arrays = []
    for i, episode in enumerate(made):
        array = zarr.create_array(
            str(root / f"lz4-{i}"), shape=episode.images.shape, dtype="uint8", zarr_format=2,
            chunks=(1, *episode.images.shape[1:]), compressors=LZ4(),
        )
        array[...] = episode.images
        arrays.append(array)
    return _window(lambda i, start: np.asarray(arrays[i][start : start + length]), length)


def rate(draw: Draw, seconds: float) -> float:
    """Windows per second, after a first draw of each episode."""
    rng = np.random.default_rng(0)
    for _ in range(EPISODES):
        draw(rng)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        draw(rng)
        count += 1
    return count / (time.perf_counter() - began)


def loader_rate(sampler: WindowSampler, workers: int, seconds: float) -> float:
    """Windows per second through a DataLoader that is forked after the sampler was used."""
    sampler.sample(np.random.default_rng(0))
    loader = torch.utils.data.DataLoader(
        WindowDataset(sampler, 10**9),  # pyright: ignore[reportArgumentType]: knows no torch
        batch_size=16, num_workers=workers, prefetch_factor=4,
        multiprocessing_context="fork",
    )
    batches = iter(loader)
    for _ in range(4 * workers):
        next(batches)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += len(next(batches)["images"])
    return count / (time.perf_counter() - began)


def _table(rows: dict[str, float], loaders: dict[str, dict[int, float]]) -> str:
    lines = ["| storage | windows/s |", "| --- | --- |"]
    lines += [f"| {name} | {value:.0f} |" for name, value in rows.items()]
    lines += [
        f"| ours, {codec}, DataLoader, workers: {workers} | {value:.0f} |"
        for codec, by_workers in loaders.items() for workers, value in by_workers.items()
    ]
    return "\n".join(lines) + "\n"

"""What every command leaves in ``out=``: report.json, tables, pictures, video."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def write_report(out: str | Path, report: dict[str, Any]) -> str:
    """Write ``report.json`` into ``out``, a folder or an fsspec URL, in one step; adds the
    command and the machine.  Returns where it is."""
    path = f"{out}/report.json"
    report = {
        **report,
        "command": ["worldmodel", *sys.argv[1:]],
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "torch": version("torch"),
        },
    }
    text = json.dumps(report, indent=2, allow_nan=False, default=_plain)
    if "://" in path:
        files, where = fsspec.url_to_fs(path)
        files.pipe(where, text.encode())
        return path
    Path(out).mkdir(parents=True, exist_ok=True)
    staged = Path(out) / "report.tmp"
    staged.write_text(text)
    os.replace(staged, path)
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value)} in a report")


def report_folder(out: str, name: str) -> str:
    """Beside the episodes, in a folder that is not taken for one."""
    return f"{name}-report" if "://" in out else f"{out}/.{name}"


def wilson_95(successes: int, trials: int) -> tuple[float, float]:
    """Wilson score interval of a success rate, 95 % (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(
        rate * (1 - rate) / trials + z * z / (4 * trials**2)
    )
    # The ends hold the rate itself, which at 0 and 1 rounding may miss.
    return min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half))


def bootstrap_95(values: NDArray[np.float64], resamples: int = 4000) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, 95 %; ``values`` [K] are the units."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def write_video(path: Path, frames: list[Image], fps: int = 5, zoom: int = 3) -> None:
    """H.264 video of uint8 [H, W, 3] frames, enlarged ``zoom`` times."""
    height, width = (zoom * side for side in frames[0].shape[:2])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"  # pyright: ignore
        for frame in frames:
            large = frame.repeat(zoom, axis=0).repeat(zoom, axis=1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(large, "rgb24")):  # pyright: ignore
                container.mux(packet)
        for packet in stream.encode():  # pyright: ignore
            container.mux(packet)


def contact_sheet(
    path: Path, title: str, frames: list[Image], goals: list[Image], names: list[str],
    planned_cost: list[float], present_cost: list[float],
    distance_m: list[float], subgoals: list[str],
) -> None:
    """Goal images, evenly chosen frames, and cost and distance over the episode."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = max(8, len(goals))
    figure = plt.figure(figsize=(1.5 * columns, 7.2), layout="constrained")
    grid = figure.add_gridspec(4, columns, height_ratios=[1, 1, 1, 1.1])
    for i, (goal, name) in enumerate(zip(goals, names, strict=True)):
        axis = figure.add_subplot(grid[0, i])
        axis.imshow(goal)
        axis.set_title(f"goal {i + 1}: {name}", fontsize=7)
        axis.axis("off")
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), 2 * columns)).round().astype(int)
    for place, t in enumerate(chosen):
        axis = figure.add_subplot(grid[1 + place // columns, place % columns])
        axis.imshow(frames[t])
        after = f"\n{subgoals[t]}" if t < len(subgoals) else ""
        axis.set_title(f"step {t}{after}", fontsize=6)
        axis.axis("off")
    cost = figure.add_subplot(grid[3, : columns // 2])
    steps = np.arange(len(planned_cost))
    cost.plot(steps, present_cost, label="present")
    cost.plot(steps, planned_cost, label="imagined after the planned action")
    for t in range(1, len(subgoals)):
        if subgoals[t] != subgoals[t - 1]:
            cost.axvline(t, color="0.8", linewidth=0.8)
    cost.set(xlabel="control step", ylabel="cost to the goal image")
    cost.legend(fontsize=7)
    far = figure.add_subplot(grid[3, columns // 2 :])
    far.plot(np.arange(len(distance_m)), np.asarray(distance_m) * 100)
    far.set(xlabel="control step", ylabel="distance to goal, simulator [cm]", ylim=(0, None))
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)

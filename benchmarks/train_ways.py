"""The ways to post-train that ``bench train`` times."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from arm_worldmodel.report import write_report
from benchmarks.measure import matmul_rate, wait
from benchmarks.settings import TrainSettings as Settings
from worldmodel import distributed
from worldmodel.config import ENCODERS, TrainConfig
from worldmodel.device import device_named
from worldmodel.encoder import Encoder
from worldmodel.losses import PostTraining
from worldmodel.predictor import Predictor
from worldmodel.progress import Progress

FRAMES = 64  # of the recording that windows are drawn from


def measure(settings: Settings) -> dict[str, Any]:
    """Windows per second of every way; raises ``ValueError`` for no such encoder or predictor."""
    if settings.encoder not in ENCODERS:
        raise ValueError(f"unknown encoder '{settings.encoder}'; valid: {', '.join(ENCODERS)}")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    shape = ENCODERS[settings.encoder]
    device = device_named(settings.device)
    encoder = Encoder(shape).to(device, torch.bfloat16).eval()
    model = _model(settings).to(device)
    optimiser = _optimiser(model)
    rng = np.random.default_rng(settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        images = np.memmap(f"{folder}/images", np.uint8, "w+",
                           shape=(FRAMES, shape.image_size, shape.image_size, 3))
        images[:] = rng.integers(0, 256, images.shape, np.uint8)
        latents = np.memmap(f"{folder}/latents", np.float16, "w+",
                            shape=(FRAMES, shape.tokens_per_frame, shape.embed_dim))
        latents[:] = rng.normal(0, 1, latents.shape)

        def draw(source: np.ndarray) -> Tensor:
            starts = rng.integers(0, FRAMES - settings.window, settings.batch_size)
            rows = np.stack([source[s : s + settings.window] for s in starts])
            return torch.from_numpy(rows).to(device)

        def encode(frames: Tensor) -> Tensor:
            with torch.inference_mode():
                tokens = encoder.encode_frames(frames.flatten(0, 1))
            return tokens.unflatten(0, frames.shape[:2]).float().clone()

        ways: dict[str, tuple[np.ndarray, Callable[[Tensor], Tensor]]] = {
            "cached latents": (latents, lambda x: x.float()), "with encoder": (images, encode),
        }
        rows = {name: _Row() for name in ways}
        for step in Progress(range(settings.steps + 1), desc="train", unit="step"):
            for name, (source, tokens_of) in ways.items():
                _step(settings, rows[name] if step else _Row(), model, optimiser,
                      lambda source=source: draw(source), tokens_of)
    report: dict[str, Any] = {
        "rows": {name: row.report(settings.batch_size) for name, row in rows.items()},
        "matmul_gflop_s": matmul_rate(torch.bfloat16, device) / 1e9,
        "predictor_parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(), "settings": asdict(settings),
    }
    report["speedup_of_cached_latents"] = (
        report["rows"]["cached latents"]["windows_per_s"]
        / report["rows"]["with encoder"]["windows_per_s"]
    )
    report["processes"] = {count: _scaling(settings, count) for count in settings.processes}
    write_report(settings.out, report)
    text = _table(report)
    (Path(settings.out) / "table.md").write_text(text)
    print(text)
    return report


def _model(settings: Settings) -> PostTraining:
    shape = ENCODERS[settings.encoder]
    model = PostTraining(Predictor(replace(
        settings.predictor, image_size=shape.image_size, patch_size=shape.patch_size,
        embed_dim=shape.embed_dim,
    )))
    if settings.compile:
        model.compile()
    return model


def _optimiser(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])


def _scaling(settings: Settings, count: int) -> float:
    """Windows per second of ``count`` processes together."""
    launched = elastic_launch(
        LaunchConfig(1, 1, count, run_id="bench", rdzv_backend="c10d",
                     rdzv_endpoint="localhost:0", start_method="spawn"), _seconds_of_rank,
    )(settings)
    return count * settings.batch_size / max(launched.values())


def _seconds_of_rank(settings: Settings) -> float:
    """Median seconds of a step, in one of the processes."""
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    model = distributed.wrap(_model(settings), "ddp", torch.device("cpu"))
    optimiser, row = _optimiser(model), _Row()
    shape = ENCODERS[settings.encoder]
    latents = torch.randn(settings.batch_size, settings.window, shape.tokens_per_frame,
                          shape.embed_dim)
    for step in range(settings.steps + 1):
        _step(replace(settings, device="cpu"), row if step else _Row(), model, optimiser,
              lambda: latents, lambda x: x)
    return sum(float(np.median(times)) for times in row.parts.values())


class _Row:
    """Seconds of the parts of the steps of one way."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = {"data": [], "encode": [], "step": []}

    def report(self, windows: int) -> dict[str, float]:
        median = {name: float(np.median(times)) for name, times in self.parts.items()}
        total = sum(median.values())
        shares = {f"{name}_share": seconds / total for name, seconds in median.items()}
        return {"seconds": total, "windows_per_s": windows / total, **shares}


def _step(
    settings: Settings, row: _Row, model: torch.nn.Module, optimiser: torch.optim.Optimizer,
    draw: Callable[[], Tensor], tokens_of: Callable[[Tensor], Tensor],
) -> None:
    def mark(name: str) -> None:
        nonlocal began
        wait(device_named(settings.device))
        row.parts[name].append(time.perf_counter() - began)
        began = time.perf_counter()

    began = time.perf_counter()
    batch = draw()
    mark("data")
    tokens = tokens_of(batch)
    mark("encode")
    size, frames = tokens.shape[:2]
    device = tokens.device
    actions, states = torch.zeros(size, frames - 1, 7), torch.zeros(size, frames, 7)
    with torch.autocast(device.type, torch.bfloat16):
        loss, _ = model(tokens, actions.to(device), states.to(device))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), TrainConfig().clip_norm or math.inf)
    optimiser.step()
    mark("step")


def _table(report: dict[str, Any]) -> str:
    lines = ["| post-training | windows/s | s per step | data | encode | step |",
             "| --- | --- | --- | --- | --- | --- |"]
    for name, row in report["rows"].items():
        lines.append(
            f"| {name} | {row['windows_per_s']:.2f} | {row['seconds']:.2f} | "
            f"{row['data_share']:.1%} | {row['encode_share']:.1%} | {row['step_share']:.1%} |"
        )
    for count, rate in report["processes"].items():
        lines.append(f"| cached, {count} process(es) of one thread | {rate:.2f} | | | | |")
    return "\n".join(lines) + "\n"

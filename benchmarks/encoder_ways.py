"""The ways to encode frames that ``bench encoder`` times."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arm_worldmodel.report import write_report
from benchmarks.measure import device_of, matmul_rate, wait
from benchmarks.settings import EncoderSettings as Settings
from worldmodel.config import ENCODERS, EncoderConfig
from worldmodel.encoder import Encoder, normalise_images
from worldmodel.models import Models
from worldmodel.progress import Progress


def encoder_of(settings: Settings) -> Encoder:
    """The shipped encoder, or random weights of the named size; raises ``ValueError`` for no such
    size."""
    if settings.model == "shipped":
        return Models.load(parts=(), device="cpu").encoder
    if settings.model not in ENCODERS:
        raise ValueError(f"unknown model '{settings.model}'; valid: shipped, {', '.join(ENCODERS)}")
    config = ENCODERS[settings.model]
    torch.manual_seed(settings.seed)
    return Encoder(replace(config, depth=settings.depth or config.depth)).eval()


def flops(config: EncoderConfig) -> float:
    """Floating-point operations of the matrix products of one frame."""
    tokens, width = config.tokens_per_frame, config.embed_dim
    linear = config.depth * (4 + 2 * config.mlp_ratio) * width**2 * tokens
    attention = config.depth * 2 * tokens**2 * width
    return 2 * (linear + attention + 3 * config.patch_size**2 * width * tokens)


def peer_encoder(config: EncoderConfig, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """transformers' encoder of the same shape, for uint8 frames [B, H, W, 3]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import VJEPA2Config, VJEPA2Model  # pyright: ignore

        model = VJEPA2Model(VJEPA2Config(
            crop_size=config.image_size, frames_per_clip=2, hidden_size=config.embed_dim,
            num_attention_heads=config.num_heads, num_hidden_layers=config.depth,
            mlp_ratio=config.mlp_ratio, pred_num_hidden_layers=1,
        )).eval()
        torch.nn.Module.to(model, dtype)

    def encode(frames: Tensor) -> Tensor:
        video = normalise_images(frames, dtype)[:, None].expand(-1, 2, -1, -1, -1)
        found = model(pixel_values_videos=video, skip_predictor=True)
        return found.last_hidden_state

    return encode


def measure(settings: Settings) -> dict[str, Any]:
    """Frames per second of every way, by batch size."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device, dtype = device_of(settings.device), torch.bfloat16 if settings.bf16 else torch.float32
    plain = encoder_of(settings).to(device)
    config = plain.config
    fast = encoder_of(settings).to(device, dtype)
    encode = torch.compile(fast.encode_frames) if settings.compile else fast.encode_frames

    def one_by_one(frames: Tensor) -> Tensor:
        clips = normalise_images(frames)[:, :, None].expand(-1, -1, 2, -1, -1)  # [B, 3, 2, H, W]
        return torch.cat([plain(clip[None]) for clip in clips])

    ways: dict[str, Callable[[Tensor], Tensor]] = {"ours": encode, "plain": one_by_one}
    if settings.peer:
        try:
            ways["transformers"] = peer_encoder(config, dtype)
        except ImportError:
            print("transformers is not installed: left out")
    side, rows = config.image_size, []
    rates = [matmul_rate(dtype, device)]
    for batch in Progress(settings.batches, desc="encoder", unit="batch size"):
        frames = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, device=device)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        with torch.inference_mode():
            for run in ways.values():  # once for the caches
                run(frames)
                wait(device)
            for _ in range(settings.repeats):
                for way, run in ways.items():
                    began = time.perf_counter()
                    run(frames)
                    wait(device)
                    seconds[way].append(time.perf_counter() - began)
        rates.append(matmul_rate(dtype, device))
        for way, times in seconds.items():
            median = float(np.median(times))
            rows.append({
                "way": way, "batch": batch, "frames_per_s": batch / median,
                "share_of_peak": batch * flops(config) / median / float(np.median(rates)),
            })
    report: dict[str, Any] = {
        "rows": rows, "gflop_per_frame": flops(config) / 1e9,
        "matmul_gflop_s": float(np.median(rates)) / 1e9, "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "settings": asdict(settings),
    }
    best = {way: max(r["frames_per_s"] for r in rows if r["way"] == way) for way in ways}
    report["speedup_over_reference"] = best["ours"] / best["plain"]
    write_report(settings.out, report)
    text = _table(report)
    (Path(settings.out) / "table.md").write_text(text)
    print(text)
    return report


def _table(report: dict[str, Any]) -> str:
    lines = ["| encoder | batch | frames/s | share of peak |",
             "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['way']} | {row['batch']} | {row['frames_per_s']:.1f} | "
        f"{row['share_of_peak']:.0%} |"
        for row in report["rows"]
    ]
    floor = report["matmul_gflop_s"] / report["gflop_per_frame"]
    lines.append(f"| floor: {report['gflop_per_frame']:.1f} GFLOP a frame at "
                 f"{report['matmul_gflop_s']:.0f} GFLOP/s | | {floor:.1f} | 100% |")
    return "\n".join(lines) + "\n"

"""What the model sees of the camera, and whether it finds the hand there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from robot_data.images import fit_square
from robots.checkup import Finding, judge_view
from robots.safety import check_pose
from worldmodel import checkpoint


def draw_preview(path: Path, image: np.ndarray, side: int) -> None:
    """The camera's picture with the crop drawn in, and what the model sees beside it."""
    height, width = image.shape[:2]
    edge = min(height, width)
    whole = Image.fromarray(image)
    left, top = (width - edge) // 2, (height - edge) // 2
    ImageDraw.Draw(whole).rectangle(
        (left, top, left + edge - 1, top + edge - 1), outline=(255, 0, 0), width=2
    )
    seen = Image.fromarray(fit_square(image, side)).resize((height, height))
    both = Image.new("RGB", (width + height, height))
    both.paste(whole, (0, 0))
    both.paste(seen, (width, 0))
    both.save(path)


def find_hand(
    image: np.ndarray, pose: Any, closedness: float, folder: str | Path, readout_folder: str | Path,
    side: int,
) -> Finding:
    """Judge the state [7] that a readout reads from ``image`` against the arm's own."""
    encoder = checkpoint.load_encoder(folder)
    readout = checkpoint.load_readout(readout_folder, encoder)
    frame = torch.from_numpy(fit_square(image, side)[None])
    with torch.inference_mode():
        read = readout.state(encoder.encode_frames(frame).float())[0].double().numpy()
    return judge_view(read, np.r_[check_pose(*pose), closedness])

"""What the model sees of the camera, and whether it finds the hand there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from arm_worldmodel.camera_watch import read_hands
from robot_data.images import fit_picture, fit_square
from robots.checkup import Check, judge_view
from robots.safety import check_pose
from worldmodel.models import Models


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


def find_hand(image: np.ndarray, pose: Any, models: Models) -> Check:
    """Judge where the readout reads the hand in ``image``, as it is and as it would be mirrored,
    turned or of other colours, against the arm's own ``pose`` (position, quaternion)."""
    reads = read_hands(models, fit_picture(image, models.image_size)[None])
    return judge_view({view: read[0] for view, read in reads.items()}, check_pose(*pose)[:3])

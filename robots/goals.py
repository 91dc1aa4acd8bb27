"""Goal images as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_data.images import fit_square


def save_goals(folder: Path, images: list[NDArray[np.uint8]], names: list[str]) -> list[Path]:
    """Goal images as numbered PNG files; those of an earlier sequence are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]-*.png"):
        old.unlink()
    paths = []
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        paths.append(folder / f"{i:02d}-{name.replace(' ', '_')}.png")
        Image.fromarray(image).save(paths[-1])
    return paths


def load_goals(path: str, side: int) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Goal images [side, side, 3] and their names."""
    where = Path(path)
    if not path or not where.exists():
        raise ValueError(
            f"goals='{path}' does not exist; give a picture or a folder of them, as "
            "`worldmodel robot goal` writes"
        )
    files = [where] if where.is_file() else sorted(
        f for f in where.iterdir() if f.suffix.lower() in (".png", ".jpg", ".jpeg")
    )
    if not files:
        raise ValueError(f"no .png or .jpg in {where}")
    images = []
    for file in files:
        with Image.open(file) as image:
            images.append(fit_square(np.asarray(image.convert("RGB")), side))
    return images, [file.stem for file in files]

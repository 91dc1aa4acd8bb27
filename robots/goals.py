"""Goal images as files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_data.images import fit_square
from robot_data.pictures import read_picture

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
UNREAD = (".heic", ".heif", ".dng", ".raw")  # of phones and cameras


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
    """Goal images [side, side, 3] and their names, of a picture or of all pictures of a folder.

    Numbers in names count as numbers (goal2 comes before goal10); hidden files are left out.
    Raises ValueError for what is missing, DataError for a picture that cannot be read.
    """
    where = Path(path)
    if not path or not where.exists():
        raise ValueError(
            f"goals='{path}' does not exist; give a picture or a folder of them, as "
            "`worldmodel robot goal` writes"
        )
    files = [where] if where.is_file() else _pictures(where)
    images = [fit_square(read_picture(file), side) for file in files]
    return images, [file.stem for file in files]


def _pictures(folder: Path) -> list[Path]:
    shown = [f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".")]
    unread = sorted(f.name for f in shown if f.suffix.lower() in UNREAD)
    if unread:
        raise ValueError(f"{unread[0]} cannot be read; save it as PNG or JPEG, or take it away")
    files = [f for f in shown if f.suffix.lower() in PICTURES]
    if not files:
        raise ValueError(f"no picture in {folder}; expected {', '.join(PICTURES)}")
    return sorted(files, key=lambda f: natural(f.name))


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Key that sorts numbers within names by their value."""
    parts = re.split(r"(\d+)", name.lower())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]

"""Goal images: taken with the arm's camera, kept as files."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_data.images import fit_square
from robot_data.pictures import is_transparent, read_picture
from robots.link import Link

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
UNREAD = (".heic", ".heif", ".dng", ".raw")  # of phones and cameras
STATES = "goals.json"  # names of the goals, and the arm's state at each
WAIT_S = 5.0  # for a picture

State = NDArray[np.float64] | None


def take_goal(link: Link) -> tuple[NDArray[np.uint8], State]:
    """A new picture of the arm's camera, uint8 [H, W, 3], and the arm's state [7] at its time,
    where there is one.  Raises ``SafetyError`` on a fault and where no picture comes."""
    stamp, image = link.inbox.picture(link.now(), WAIT_S)
    known = link.inbox.latest is not None
    return image, link.inbox.state_at(stamp, WAIT_S) if known else None


def save_taken(
    folder: Path, images: list[NDArray[np.uint8]], names: list[str], states: list[State]
) -> list[Path]:
    """``save_goals``, with names and states in goals.json beside them."""
    paths = save_goals(folder, images, names)
    told = {"names": names, "states": [None if s is None else s.tolist() for s in states]}
    (folder / STATES).write_text(json.dumps(told, indent=2))
    return paths


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


def load_taken(folder: Path) -> list[tuple[str, NDArray[np.uint8], State]]:
    """Name, picture and state of each goal in a folder that ``save_taken`` wrote; none where there
    is no folder.  Raises ValueError for a folder with pictures of another origin, which would be
    goals, too."""
    if not folder.exists() or not any(f.suffix.lower() in PICTURES for f in folder.iterdir()):
        return []
    images, stems = load_goals(str(folder), None)
    strange = [stem for i, stem in enumerate(stems) if not stem.startswith(f"{i:02d}-")]
    if strange:
        raise ValueError(
            f"{folder} holds '{strange[0]}', which was not taken with `worldmodel robot goal`; "
            "choose another folder of goals"
        )
    states: list[State] = [None] * len(images)
    told = folder / STATES
    if told.exists():
        known = json.loads(told.read_text())["states"]
        if len(known) == len(images):
            states = [None if s is None else np.array(s, np.float64) for s in known]
    names = [stem[3:] for stem in stems]
    return list(zip(names, images, states, strict=True))


def load_goals(path: str, side: int | None) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Goal images [side, side, 3] and their names, of a picture or of all pictures of a folder;
    as large as they are where ``side`` is None.

    Numbers in names count as numbers (goal2 comes before goal10); hidden files are left out.  That
    a picture is transparent in places, where its hidden colours are taken, is said on stderr.
    Raises ValueError for what is missing, DataError for a picture that cannot be read.
    """
    where = Path(path)
    if not path or not where.exists():
        raise ValueError(
            f"goals='{path}' does not exist; give a picture or a folder of them, as "
            "`worldmodel robot goal` writes"
        )
    files = [where] if where.is_file() else _pictures(where)
    images = [fit_square(_goal(file), side) for file in files]
    return images, [file.stem for file in files]


def _goal(file: Path) -> NDArray[np.uint8]:
    image = read_picture(file)
    if is_transparent(file):
        print(f"{file.name} is transparent in places; the colours hidden there are taken: a goal "
              "is what the camera would see", file=sys.stderr)
    return image


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

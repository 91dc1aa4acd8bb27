"""Tutorial pages as their reader runs them: the commands of a page, with fewer steps."""

from __future__ import annotations

import re
import shlex
import zlib
from collections.abc import Sequence
from pathlib import Path

from arm_worldmodel.cli import main
from robot_data.episodes import EpisodeStore

DOCS = Path(__file__).parents[1] / "docs"
QUICK = {"readout_train.steps": "2", "train.steps": "2"}  # in place of the page's
FEW = {  # beside what the page says, of what takes long and is the same for more
    "train": ("train.batch_size=4", "readout_train.batch_size=8", "validation_batches=1"),
    "replay": ("windows=1", "candidates=50", "side=3", "shown=1", "episodes=1"),
}


def half(names: Sequence[str]) -> float:
    """A share that leaves half of the episodes on either side of a split."""
    places = sorted(zlib.crc32(f"0/{name}".encode()) / 2**32 for name in names)
    return sum(places[len(places) // 2 - 1 :][:2]) / 2


def run_page(name: str, store: EpisodeStore) -> list[str]:
    """Run the commands of the one block of a page, in the present folder; which they were.
    ``store``: what they import into."""
    (block,) = re.findall(r"```bash\n(.*?)```", (DOCS / name).read_text(), re.S)
    lines = block.replace("\\\n", " ").strip().splitlines()
    for line in lines:
        quick = {**QUICK, "share": str(half(store.names()))} if len(store) else QUICK
        words = [
            f"{key}={quick[key]}" if (key := word.partition("=")[0]) in quick else word
            for word in shlex.split(line)[1:]
        ]
        assert main([*words, *FEW.get(words[0], ())]) == 0, line
    return [" ".join(shlex.split(line)[1:3]).partition(" data=")[0] for line in lines]

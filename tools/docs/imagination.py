"""Ten roll-outs of the shipped weights as pictures, for the site: something is carried, five steps.

    python tools/docs/imagination.py data/validation    # writes docs/imagined.webp
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch

from arm_worldmodel.encoding import fill_cache
from arm_worldmodel.imagining import painter_of, roll_outs
from arm_worldmodel.pictures.imagination import block_of_roll_out, write_sheet
from robot_data.events import holding
from worldmodel.models import SHIPPED, Models

STEPS, COUNT, ACROSS = 5, 10, 2
DOCS = Path(__file__).parents[2] / "docs"


def main(data: str) -> None:
    """Roll the predictor out over recorded actions of the store ``data`` and write the sheet;
    raises ``SystemExit`` where too few of its episodes carry something."""
    models = Models.load(SHIPPED, ["predictor"])
    painter = painter_of(copy.deepcopy(models.predictor).to(torch.bfloat16), SHIPPED)
    if painter is None:
        raise SystemExit(1)
    cache = fill_cache(data, models.encoder)
    carry = [
        episode for episode in cache.episodes()
        if holding(episode.states, episode.commanded_closedness).sum() > 2 * STEPS
    ]
    found = roll_outs(painter, cache.store, carry, STEPS, COUNT)
    if len(found) < COUNT:
        raise SystemExit(f"{len(found)} episodes of {data} carry something; {COUNT} are needed")
    path = DOCS / "imagined.webp"
    write_sheet(path, [block_of_roll_out(rolled) for rolled in found], ACROSS)
    print(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])

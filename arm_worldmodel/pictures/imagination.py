"""What was imagined beside what happened: a sheet and a film of rows of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from PIL import Image as Pictures
from PIL import ImageDraw

from arm_worldmodel.pictures import style
from arm_worldmodel.pictures.trace import Trace
from arm_worldmodel.pictures.video import PAPER, Shot, draw_text, fit_pane
from robot_data.recording import QUALITY

PANE_PX, GAP_PX, EDGE_PX, LABEL_PX = 128, 6, 16, 150
HEADING_PX, CAPTION_PX, FILM_PANE_PX = 40, 20, 256
STEP_S, PAUSE_S = 0.5, 1.5
MOST_COLUMNS = 8
STEPS = {  # of an agent: rows of their sheet, beside what the camera saw
    "chosen": "imagined: the action taken", "rejected": "imagined: rejected candidate",
}


@dataclass(frozen=True)
class RollOut:
    """Images uint8 [H + 1, h, w, 3] each, of an episode from frame ``start``: as recorded; decoded
    from the latents of the recorded frames; decoded from the latents imagined after the first by
    the recorded actions, and by the same with every move across the table reversed."""

    episode: str
    start: int
    recorded: style.Image
    decoded: style.Image
    imagined: style.Image
    reversed: style.Image


ROLL_OUT = {  # rows of a roll-out's sheet
    "recorded": "recorded", "decoded": "decoded: recorded frames",
    "imagined": "imagined: recorded actions", "reversed": "imagined: moves reversed",
}


@dataclass(frozen=True)
class Block:
    """A heading; named rows of images uint8 [h, w, 3], as many as there are ``captions``, the
    names of the columns."""

    heading: str
    rows: Mapping[str, Sequence[style.Image]]
    captions: Sequence[str]


def block_of_steps(trace: Trace) -> Block:
    """At most ``MOST_COLUMNS`` steps of an agent's episode: the frame after the step, and what was
    imagined for it, blank where the agent stood still and searched for nothing.  Raises
    ``ValueError`` where nothing was imagined."""
    if not trace.imagined:
        raise ValueError("this episode has no pictures of what was imagined")
    count = min(trace.steps, MOST_COLUMNS)
    shown = np.unique(np.linspace(0, trace.steps - 1, count).round().astype(int)).tolist()
    rows = {"camera, after the step": [trace.frames[t + 1] for t in shown]}
    blank = np.full_like(trace.frames[0], 255)
    for key, name in STEPS.items():
        if any(key in trace.imagined[t] for t in shown):
            rows[name] = [trace.imagined[t].get(key, blank) for t in shown]
    return Block(f"{trace.heading}: {trace.verdict}", rows, [f"step {t + 1}" for t in shown])


def block_of_roll_out(rolled: RollOut) -> Block:
    """Every step of a roll-out, the first frame included."""
    steps = len(rolled.recorded) - 1
    return Block(
        f"{rolled.episode}, from frame {rolled.start}",
        {name: list(getattr(rolled, key)) for key, name in ROLL_OUT.items()},
        ["now", *(f"+{step}" for step in range(1, steps + 1))],
    )


def sheet(blocks: Sequence[Block], across: int = 1) -> style.Image:
    """All blocks on one page, ``across`` beside each other: uint8 [H, W, 3]."""
    columns = max(len(block.captions) for block in blocks)
    lines = max(len(block.rows) for block in blocks)
    width = EDGE_PX + LABEL_PX + columns * (PANE_PX + GAP_PX)
    height = HEADING_PX + CAPTION_PX + lines * (PANE_PX + GAP_PX)
    down = -(-len(blocks) // across)
    page = Pictures.new(
        "RGB", (min(across, len(blocks)) * width + EDGE_PX, down * height + EDGE_PX), PAPER
    )
    for number, block in enumerate(blocks):
        _draw(page, block, number % across * width + EDGE_PX, number // across * height)
    return np.asarray(page)


def _draw(page: Pictures.Image, block: Block, left: int, top: int) -> None:
    draw, first = ImageDraw.Draw(page), left + LABEL_PX
    room = LABEL_PX + len(block.captions) * (PANE_PX + GAP_PX)
    draw_text(draw, (left, top + HEADING_PX // 2 + 4), block.heading, 17, bold=True, width=room)
    top += HEADING_PX
    for column, caption in enumerate(block.captions):
        place = (first + column * (PANE_PX + GAP_PX), top + CAPTION_PX // 2)
        draw_text(draw, place, caption, 13, width=PANE_PX)
    top += CAPTION_PX
    for line, (name, images) in enumerate(block.rows.items()):
        y = top + line * (PANE_PX + GAP_PX)
        for part, words in enumerate(name.split(": ")):  # "imagined: by whom" on two lines
            middle = y + PANE_PX // 2 + 18 * part - 9 * name.count(": ")
            draw_text(draw, (left, middle), words, 13, width=LABEL_PX - 8)
        for column, image in enumerate(images):
            page.paste(fit_pane(image, PANE_PX), (first + column * (PANE_PX + GAP_PX), y))


def write_sheet(path: Path, blocks: Sequence[Block], across: int = 1) -> None:
    """``sheet`` into a file."""
    Pictures.fromarray(sheet(blocks, across)).save(path)


def film(blocks: Sequence[Block]) -> Iterator[Shot]:
    """One block after the other, column by column, its rows beside each other."""
    most = max(len(block.rows) for block in blocks)
    width = EDGE_PX + most * (FILM_PANE_PX + EDGE_PX)
    size = (width, HEADING_PX + CAPTION_PX + FILM_PANE_PX + EDGE_PX)
    for block in blocks:
        for column, caption in enumerate(block.captions):
            page = Pictures.new("RGB", size, PAPER)
            draw = ImageDraw.Draw(page)
            draw_text(draw, (EDGE_PX, HEADING_PX // 2), f"{block.heading}, {caption}", 17,
                      bold=True, width=width - 2 * EDGE_PX)
            for place, (name, images) in enumerate(block.rows.items()):
                x = EDGE_PX + place * (FILM_PANE_PX + EDGE_PX)
                draw_text(draw, (x, HEADING_PX + CAPTION_PX // 2), name, 13, width=FILM_PANE_PX)
                pane = fit_pane(images[column], FILM_PANE_PX)
                page.paste(pane, (x, HEADING_PX + CAPTION_PX))
            last = column == len(block.captions) - 1
            yield Shot(np.asarray(page), PAUSE_S if last else STEP_S)


def write_rerun(path: Path, rolled: Sequence[RollOut]) -> None:
    """Roll-outs as a ``.rrd`` file: a tab for each, steps along the time line."""
    log = rr.RecordingStream("arm_worldmodel_imagined")
    log.save(str(path))
    tabs = [
        rrb.Grid(*(
            rrb.Spatial2DView(origin=f"{number}/{key}", name=name)
            for key, name in ROLL_OUT.items()
        ), name=block_of_roll_out(one).heading)
        for number, one in enumerate(rolled)
    ]
    log.send_blueprint(rrb.Blueprint(
        rrb.Tabs(*tabs), rrb.TimePanel(timeline="step", fps=2.0, state="collapsed"),
        collapse_panels=True,
    ))
    for number, one in enumerate(rolled):
        for key in ROLL_OUT:
            for step, image in enumerate(getattr(one, key)):
                log.set_time("step", sequence=step)
                log.log(f"{number}/{key}", rr.Image(image).compress(QUALITY))
    log.flush()
    log.disconnect()

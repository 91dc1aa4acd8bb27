"""An episode as a film: what the camera saw beside the goal in force and, where there are pictures
of it, what was imagined; captioned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw

from arm_worldmodel.pictures import style
from arm_worldmodel.pictures.trace import Trace

PANE_PX, EDGE_PX, TOP_PX, CAPTION_PX, TIMELINE_PX, BOTTOM_PX = 384, 16, 44, 28, 18, 68
HEIGHT_PX = TOP_PX + CAPTION_PX + PANE_PX + BOTTOM_PX
STEP_S, LAST_S, FPS = 0.4, 2.0, 10
PAPER = "#ffffff"
IMAGINED = {  # pictures that a trace may have (``pictures.trace``), and their captions
    "chosen": "imagined a step ago", "rejected": "imagined, rejected candidate",
}


@dataclass(frozen=True)
class Shot:
    """One picture uint8 [H, W, 3] of the film and how long it is shown [s]."""

    picture: style.Image
    seconds: float


def shots(trace: Trace) -> Iterator[Shot]:
    """The film of an episode: a shot for each of the T + 1 frames, the last with the verdict."""
    for t in range(len(trace.frames)):
        last = t == trace.steps
        yield Shot(np.asarray(_compose(trace, t, last)), LAST_S if last else STEP_S)


def _compose(trace: Trace, t: int, last: bool) -> Pictures.Image:
    panes = _panes(trace, t)
    width = len(panes) * (PANE_PX + EDGE_PX) + EDGE_PX
    page = Pictures.new("RGB", (width, HEIGHT_PX), PAPER)
    draw = ImageDraw.Draw(page)
    middle = TOP_PX // 2
    verdict_left = _verdict(draw, trace, width - EDGE_PX, middle) if last else width
    draw_text(draw, (EDGE_PX, middle), trace.heading, 19, bold=True,
              width=verdict_left - 2 * EDGE_PX)
    top = TOP_PX + CAPTION_PX
    for place, (caption, image) in enumerate(panes):
        left = EDGE_PX + place * (PANE_PX + EDGE_PX)
        draw_text(draw, (left, TOP_PX + CAPTION_PX // 2), caption, 15, width=PANE_PX)
        if image is not None:
            page.paste(fit_pane(image), (left, top))
    _timeline(draw, trace, t, width - 2 * EDGE_PX, top + PANE_PX + 10)
    room = (width - 2 * EDGE_PX) // 4
    for place, fact in enumerate(facts(trace, t)):
        draw_text(draw, (EDGE_PX + place * room, HEIGHT_PX - 18), fact, 15, width=room - 8)
    return page


def _panes(trace: Trace, t: int) -> list[tuple[str, style.Image | None]]:
    """Caption and image of each pane: camera, goal in force, and what was imagined one step ago for
    this frame (nothing for the first)."""
    index = trace.goal_index[min(t, trace.steps - 1)] if trace.steps else 0
    panes: list[tuple[str, style.Image | None]] = [
        ("camera", trace.frames[t]), (trace.goal_label(t), trace.goals[index]),
    ]
    if trace.imagined:
        found = trace.imagined[t - 1] if t else {}
        panes += [(caption, found.get(key)) for key, caption in IMAGINED.items()]
    return panes


def fit_pane(image: style.Image, side: int = PANE_PX) -> Pictures.Image:
    """The whole image, smoothly enlarged or reduced, centred on a square pane, ``side`` [px]."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = Pictures.fromarray(image).resize(size, Pictures.Resampling.LANCZOS)
    pane = Pictures.new("RGB", (side, side), style.RULE)
    pane.paste(resized, ((side - size[0]) // 2, (side - size[1]) // 2))
    return pane


def facts(trace: Trace, t: int) -> tuple[str, str, str, str]:
    """Step, imagined cost, distance and the agent's own sub-goal; "" for what there is not."""
    cost = subgoal = distance = ""
    if t < trace.steps:
        if math.isfinite(trace.imagined_cost[t]):
            cost = f"imagined cost {trace.imagined_cost[t]:.2f}"
        if trace.subgoals[t] != trace.goal_names[trace.goal_index[t]]:
            subgoal = trace.subgoals[t]
    if math.isfinite(trace.distance_m[t]):
        distance = f"distance {100 * trace.distance_m[t]:.1f} cm"
    return f"step {t} of {trace.steps}", cost, distance, subgoal


def draw_text(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int,
    bold: bool = False, width: int | None = None, colour: str = style.INK,
) -> None:
    """Text whose left middle is at ``place``, smaller where it is wider than ``width``."""
    font = style.font(size, bold)
    while width is not None and size > 8 and font.getlength(text) > width:
        size -= 1
        font = style.font(size, bold)
    draw.text(place, text, fill=colour, font=font, anchor="lm")


def _verdict(draw: ImageDraw.ImageDraw, trace: Trace, right: int, middle: int) -> int:
    """The verdict on a coloured ground that ends at ``right``; its left edge."""
    words = trace.verdict.split(" from the goal")[0]
    font = style.font(17, bold=True)
    left = right - round(font.getlength(words)) - 20
    draw.rounded_rectangle(
        (left, middle - 15, right, middle + 15), 7, fill=trace.colour
    )
    draw.text((left + 10, middle), words, fill=PAPER, font=font, anchor="lm")
    return left


def _timeline(draw: ImageDraw.ImageDraw, trace: Trace, t: int, span: int, top: int) -> None:
    """A bar over the episode, ``span`` pixels wide, coloured by sub-goal; what is past is solid."""
    steps = max(1, trace.steps)
    bottom = top + TIMELINE_PX - 6
    numbers = trace.numbers()

    def x(step: float) -> int:
        return EDGE_PX + round(span * step / steps)

    for begin, end, name in trace.phases():
        colour = style.colour_of(numbers[name])
        draw.rectangle((x(begin), top, x(end) - 2, bottom), fill=_pale(colour))
        if t > begin:
            draw.rectangle((x(begin), top, x(min(t, end)) - 2, bottom), fill=colour)
    draw.rectangle((x(t) - 2, top - 3, x(t) + 1, bottom + 3), fill=style.INK)


def _pale(colour: str) -> tuple[int, int, int]:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return tuple(round(255 - 0.28 * (255 - c)) for c in (r, g, b))  # pyright: ignore


# -- files ------------------------------------------------------------------------------------


def write_video(path: Path, film: Sequence[Shot] | Iterator[Shot]) -> None:
    """H.264, yuv420p, ``FPS`` frames a second, as browsers and notebooks play it.  All shots are of
    the first one's size."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"  # pyright: ignore
        for number, shot in enumerate(film):
            if number == 0:
                stream.height, stream.width = shot.picture.shape[:2]  # pyright: ignore
            for _ in range(round(shot.seconds * FPS)):
                frame = av.VideoFrame.from_ndarray(shot.picture, "rgb24")
                container.mux(stream.encode(frame))  # pyright: ignore
        container.mux(stream.encode())  # pyright: ignore


def write_animation(path: Path, film: Sequence[Shot] | Iterator[Shot], width: int = 640) -> None:
    """An endless animated WebP or GIF, as the suffix says, ``width`` pixels wide."""
    if path.suffix not in (".webp", ".gif"):
        raise ValueError(f"{path}: an animation is written as .webp or .gif")
    pictures, durations = [], []
    for shot in film:
        large = Pictures.fromarray(shot.picture)
        height = round(large.height * width / large.width)
        pictures.append(large.resize((width, height), Pictures.Resampling.LANCZOS))
        durations.append(round(1000 * shot.seconds))
    kind = {"quality": 80, "method": 6} if path.suffix == ".webp" else {"optimize": True}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations,
                     loop=0, **kind)

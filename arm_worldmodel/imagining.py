"""Pictures of what a model imagines, beside what happened: of recorded episodes, and of the steps
of an agent.

Letters: S action sequences, H actions in each, N tokens, D width.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arm_worldmodel.pictures.imagination import (
    RollOut,
    block_of_roll_out,
    film,
    write_rerun,
    write_sheet,
)
from arm_worldmodel.pictures.video import write_video
from planners.agent import PlanningAgent
from planners.hierarchy import HierarchicalAgent
from planners.perception import Perception
from planners.search import ImaginedOutcomes
from robot_data.episodes import EpisodeStore
from robot_data.events import holding
from robot_data.images import fit_pictures
from robot_data.latents import LatentEpisode
from robot_data.loop import Agent, Step
from robot_data.told_actions import told_window
from worldmodel.decoder import Decoder
from worldmodel.device import device_of, to_host
from worldmodel.models import MissingPart, Models, parts_in
from worldmodel.predictor import Predictor
from worldmodel.rollout import rollout

Image = NDArray[np.uint8]
REVERSED = np.array([-1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # the other way across the table
SHOWN = 6  # episodes in the pictures of recorded roll-outs


class Painter:
    """Imagines with a predictor and makes pictures of it."""

    def __init__(self, predictor: Predictor, decoder: Decoder) -> None:
        self.predictor, self.decoder = predictor, decoder

    @torch.inference_mode()
    def paint(self, latents: Tensor) -> Image:
        """Latents [..., N, D] -> pictures uint8 [..., h, w, 3]."""
        rows = latents.flatten(0, -3).to(device_of(self.decoder))
        painted = to_host(self.decoder.images(rows)).numpy()
        return painted.reshape(*latents.shape[:-2], *painted.shape[1:])

    @torch.inference_mode()
    def after(self, latents: Tensor, state: Tensor, actions: Tensor) -> Image:
        """What actions [S, H, 7] lead to from latents [N, D] and state [7], the present included:
        pictures uint8 [S, H + 1, h, w, 3]."""
        weight, count = self.predictor.predictor_proj.weight, len(actions)
        latents, state, actions = (x.to(weight.device) for x in (latents, state, actions))
        imagined, _ = rollout(
            self.predictor, latents.to(weight.dtype).expand(count, 1, -1, -1),
            state.expand(count, 1, 7), actions,
        )
        return self.paint(imagined.float())


def painter_of(predictor: Predictor, checkpoint: str) -> Painter | None:
    """Pictures of what ``predictor`` imagines, by the decoder of ``checkpoint``; None, and how to
    train one said on stderr, where it has none."""
    has = parts_in(checkpoint)
    if "decoder" not in has:
        missing = MissingPart(checkpoint, "decoder", has)
        print(f"no pictures of what is imagined: {missing}", file=sys.stderr)
        return None
    return Painter(
        predictor, Models.load(checkpoint, ["decoder"], device_of(predictor)).decoder
    )


# -- recorded episodes --------------------------------------------------------------------------


def telling_start(episode: LatentEpisode, horizon: int) -> int:
    """The frame from which the hand moves farthest in ``horizon`` steps; of frames from which it
    holds something all the while, if there are such."""
    hands = episode.states[:, :3]
    moved = np.linalg.norm(hands[horizon:] - hands[:-horizon], axis=1)
    held = holding(episode.states, episode.commanded_closedness)
    carries = np.lib.stride_tricks.sliding_window_view(held, horizon + 1).all(axis=1)
    return int(np.where(carries, moved, -1.0).argmax() if carries.any() else moved.argmax())


def roll_out(
    painter: Painter, store: EpisodeStore, episode: LatentEpisode, start: int, horizon: int
) -> RollOut:
    """What the model imagines of ``horizon`` steps of an episode of ``store``.

    Raises ``ValueError`` where the episode or the predictor's context is too short.
    """
    most = min(len(episode.states) - 1 - start, painter.predictor.config.max_steps)
    if not 1 <= horizon <= most:
        raise ValueError(f"horizon={horizon} from frame {start} of {episode.name}; 1 to {most} fit")
    frames = slice(start, start + horizon + 1)
    actions, states = told_window(episode.states[frames], episode.commanded_closedness[frames])
    latents = torch.from_numpy(np.array(episode.latents[frames])).float()
    imagined = painter.after(
        latents[0], torch.from_numpy(states[0]).float(),
        torch.from_numpy(np.stack([actions, actions * REVERSED])).float(),
    )
    images = fit_pictures(
        store.read(episode.name).images[frames], painter.decoder.config.image_size
    )
    return RollOut(episode.name, start, images, painter.paint(latents), *imagined)


def roll_outs(
    painter: Painter, store: EpisodeStore, episodes: Sequence[LatentEpisode], horizon: int,
    count: int,
) -> list[RollOut]:
    """Of the first ``count`` episodes that are long enough, each from its ``telling_start``."""
    horizon = min(horizon, painter.predictor.config.max_steps)
    long = [episode for episode in episodes if len(episode.states) > horizon]
    return [
        roll_out(painter, store, episode, telling_start(episode, horizon), horizon)
        for episode in long[:count]
    ]


def write_roll_outs(
    out: Path, painter: Painter, data: str, episodes: Sequence[LatentEpisode], horizon: int
) -> list[Path]:
    """A sheet, a film and a rerun file of the first ``SHOWN`` episodes of the store ``data``, in
    the folder ``imagined`` of ``out``; returns the files.  None, and the reason said on stderr,
    where no episode is long enough."""
    found = roll_outs(painter, EpisodeStore(data), episodes, horizon, SHOWN)
    if not found:
        print(f"no pictures of what is imagined: no episode of {data} has more than {horizon} "
              "frames; lower horizon", file=sys.stderr)
        return []
    blocks, folder = [block_of_roll_out(rolled) for rolled in found], out / "imagined"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"roll_outs.{kind}" for kind in ("png", "mp4", "rrd")]
    write_sheet(files[0], blocks)
    write_video(files[1], film(blocks))
    write_rerun(files[2], found)
    print(f"imagined beside recorded: {', '.join(map(str, files))}")
    return files


# -- steps of an agent --------------------------------------------------------------------------


class StepPainter:
    """Pictures of what a planning agent imagined one step ahead, as rerun and film show them."""

    def __init__(self, perception: Perception, painter: Painter) -> None:
        self.perception, self.painter = perception, painter
        self._last: tuple[Step, dict[str, Image]] | None = None

    def __call__(self, step: Step) -> dict[str, Image]:
        """``chosen``: imagined after the action that was taken; ``rejected``: after the first
        action of the dearest candidate that the search tried, where it tells one."""
        if self._last is None or self._last[0] is not step:
            self._last = step, self._imagine(step)
        return self._last[1]

    @torch.inference_mode()
    def _imagine(self, step: Step) -> dict[str, Image]:
        decision, perception = step.decision, self.perception
        moves = {"chosen": decision.action}
        if decision.candidates is not None and decision.candidates.rejected is not None:
            moves["rejected"] = decision.candidates.rejected[0]
        view = perception.view(step.observation)
        state = perception.predictor_states(view.state[None])[0]
        actions = torch.from_numpy(np.stack(list(moves.values()))).to(state)
        after = self.painter.after(
            view.tokens[0], state, perception.predictor_actions(actions)[:, None]
        )
        return dict(zip(moves, after[:, -1], strict=True))


def step_painter(agent: Agent, checkpoint: str) -> StepPainter | None:
    """A painter of ``agent``'s steps; None for one that imagines nothing, and, said on stderr,
    where ``checkpoint`` has no decoder."""
    if not isinstance(agent, PlanningAgent | HierarchicalAgent):
        return None
    outcomes = agent.search.outcomes
    if not isinstance(outcomes, ImaginedOutcomes):
        return None
    painter = painter_of(outcomes.imagination.predictor, checkpoint)
    return None if painter is None else StepPainter(agent.perception, painter)

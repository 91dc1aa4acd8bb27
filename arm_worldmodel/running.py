"""Episodes of any agent in any environment, and what came of them."""

from __future__ import annotations

import math
import os
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from arm_worldmodel.notebook import display
from arm_worldmodel.pictures.trace import Trace
from arm_worldmodel.pictures.video import shots, write_animation, write_video
from arm_worldmodel.report import wilson_95
from robot_data.loop import Agent, EpisodeResult, StepPictures, Subscriber, run_episode
from robot_data.pictures import read_picture
from sims.seeds import DEVELOPMENT
from worldmodel.progress import Progress

FIRST_SEED = DEVELOPMENT.start
MOST_FILMS = 10  # episodes whose pictures are kept


def run(
    env: gymnasium.Env[Any, Any], agent: Agent, episodes: int = 5, seed: int = FIRST_SEED,
    goals: str | os.PathLike[str] | Sequence[Any] = "subgoals", max_steps: int | None = None,
    watch: Callable[[int], Sequence[Subscriber]] | None = None,
    imagine: StepPictures | None = None,
) -> Result:
    """Run ``episodes`` episodes with the seeds ``seed``, ``seed + 1``, ...

    env: any ``gymnasium.Env`` with observations {"image": uint8 [H, W, 3], "state": float64 [7]},
    actions float64 [7] (``robot_data.schema``) and an ``info`` as ``robot_data.loop.run_episode``
    says.  agent: anything with ``reset(goals, seed)`` and ``act(observation) -> Decision``.
    goals: "subgoals" are all goal images of the environment in their order, "single" only the
    last; or the goal images themselves, the same in every episode: arrays uint8 [h, w, 3] or names
    of PNG or JPEG files, or one such file.  The environment still judges by its own goal.
    max_steps: most control
    steps of an episode; None: the environment's own time limit.  watch: called with an episode's
    seed, makes further subscribers (``robot_data.recording``).  imagine: makes pictures of what was
    imagined in a step, which the film then shows too; ``agent.pictures`` of an ``awm.Agent``.

    Raises ``ValueError`` where something the loop needs is missing.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; expected at least 1")
    spec = env.spec
    limit = spec.max_episode_steps if max_steps is None and spec is not None else max_steps
    if limit is None:
        raise ValueError("this environment has no time limit of its own; give max_steps=")
    title = type(env.unwrapped).__name__
    if spec is not None:
        title = str(spec.kwargs.get("task", spec.id))
    given = _goal_images(goals)
    results, traces = [], []
    for number in Progress(range(seed, seed + episodes), desc="run", unit="episode"):
        trace = Trace(title, imagine=imagine if len(traces) < MOST_FILMS else None)
        watchers = [trace, *(watch(number) if watch else ())]
        results.append(run_episode(env, agent, number, limit, given, watchers))
        if len(traces) < MOST_FILMS:
            traces.append(trace)
    return Result(title, tuple(results), tuple(traces))


def _goal_images(
    goals: str | os.PathLike[str] | Sequence[Any]
) -> str | list[NDArray[np.uint8]]:
    if isinstance(goals, str) and goals in ("subgoals", "single", "none"):
        return goals
    if isinstance(goals, str | os.PathLike):
        goals = [goals]
    return [read_picture(Path(g)) if isinstance(g, str | os.PathLike) else g for g in goals]


@dataclass(frozen=True, repr=False)
class Result:
    """Outcomes of the episodes of a ``run``; ``traces`` are the pictures and costs of the first
    ten of them.  A notebook shows the table and the video."""

    title: str
    episodes: tuple[EpisodeResult, ...]
    traces: tuple[Trace, ...]

    @property
    def judged(self) -> bool:
        """Whether the environment judges success; nobody does on a real arm."""
        return all(math.isfinite(e.distance_m) for e in self.episodes)

    @property
    def successes(self) -> int:
        """How many episodes reached the goal by the environment's judgement."""
        return sum(e.success for e in self.episodes)

    @property
    def success_rate(self) -> float:
        """0 to 1; NaN where nobody judges."""
        return self.successes / len(self.episodes) if self.judged else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson score interval of the success rate, 95 %; 0 to 1 where nobody judges."""
        return wilson_95(self.successes, len(self.episodes)) if self.judged else (0.0, 1.0)

    def video(self, path: str | Path) -> Path:
        """Write the film of the episodes in ``traces``, one after the other: camera, goal image,
        cost, distance, verdict.  ``path`` ends in .mp4, .webp or .gif, else ``ValueError``."""
        path = Path(path)
        if path.suffix not in (".mp4", ".webp", ".gif"):
            raise ValueError(f"{path}: a video is written as .mp4, .webp or .gif")
        path.parent.mkdir(parents=True, exist_ok=True)
        film = (shot for trace in self.traces for shot in shots(trace))
        (write_video if path.suffix == ".mp4" else write_animation)(path, film)
        return path

    def show(self) -> None:
        """Show table and video in a notebook; print the table elsewhere."""
        display(self)

    def __repr__(self) -> str:
        rows = [
            f"  seed {e.seed}: {_verdict(e)} after {e.steps} steps, "
            f"{np.median(e.plan_seconds):.2f} s an action"
            for e in self.episodes
        ]
        return "\n".join([self._headline(), *rows])

    def _headline(self) -> str:
        count = len(self.episodes)
        if not self.judged:
            return f"{self.title}: {count} episode{'' if count == 1 else 's'}, not judged"
        low, high = self.interval
        return (f"{self.title}: {self.successes} of {count} episodes reached the goal "
                f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)")

    @cached_property
    def _film(self) -> bytes:
        with TemporaryDirectory() as folder:
            return self.video(Path(folder) / "film.mp4").read_bytes()

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{e.seed}</td><td>{escape(_verdict(e))}</td><td>{e.steps}</td>"
            f"<td>{np.median(e.plan_seconds):.2f}</td></tr>" for e in self.episodes
        )
        film = b64encode(self._film).decode()
        return (
            f"<p><b>{escape(self._headline())}</b></p>"
            "<table><tr><th>seed</th><th>outcome</th><th>steps</th><th>s an action</th></tr>"
            f"{rows}</table>"
            f'<video controls loop muted width="640" src="data:video/mp4;base64,{film}"></video>'
        )


def _verdict(episode: EpisodeResult) -> str:
    if not math.isfinite(episode.distance_m):
        return "not judged"
    word = "success" if episode.success else "no success"
    return f"{word}, {100 * episode.distance_m:.1f} cm from the goal"

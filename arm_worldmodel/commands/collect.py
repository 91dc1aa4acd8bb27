"""Record episodes in the simulator."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from sims.config import ArmConfig
from sims.experts import CollectConfig
from sims.make import GOAL_SETTINGS
from sims.parallel import Pool, idle_workers
from sims.scene import sizes_without
from sims.seeds import require_recordable
from worldmodel.progress import Progress


@dataclass(frozen=True)
class Settings:
    """Record simulated episodes, by random play and noisy scripts.  A killed run goes on where it
    stopped when started again."""

    out: str  # store to record into: a folder, or an fsspec URL of object storage
    episodes: int = 3200  # episodes that the store shall hold, one a seed
    first_seed: int = 0  # seed of the first episode
    workers: int | None = None  # processes; null: one a core
    pool: Pool = "processes"  # processes of this machine, or the Ray cluster that RAY_ADDRESS names
    arm: ArmConfig = field(default_factory=ArmConfig)
    collect: CollectConfig = field(default_factory=CollectConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {
            **idle_workers(self.pool),
            "arm.task.name": "collect records its own motions",
            **dict.fromkeys(GOAL_SETTINGS, "there is no goal image"),
            "arm.scene.object": "set collect.cup_fraction; an episode has a cup or a box",
        }
        cups = self.collect.cup_fraction
        kinds = {"cup": cups > 0, "box": cups < 1}
        there = {kind for kind, some in kinds.items() if some} | {self.arm.scene.second_object}
        for size in sizes_without(there):
            found[f"arm.scene.{size}"] = f"an episode has a cup or a box; cup_fraction={cups:g}"
        if self.collect.wall:
            found["arm.scene.obstacle"] = "collect.wall=true puts up a wall"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; raises ``ValueError`` for fewer than one episode, and for seeds that are
    kept for judging what is trained."""
    from arm_worldmodel.report import write_report
    from robot_data.episodes import EpisodeStore
    from sims.collect import collect, episode_name

    if settings.episodes < 1:
        raise ValueError(f"episodes={settings.episodes}; record at least 1")
    began, frames = time.monotonic(), 0
    seeds = range(settings.first_seed, settings.first_seed + settings.episodes)
    require_recordable(seeds)
    names = set(EpisodeStore(settings.out).names())
    held, there = len(names), sum(episode_name(seed) in names for seed in seeds)
    recorded = 0
    with Progress(
        total=settings.episodes, initial=there, desc="collect", unit="episode"
    ) as bar:
        for count in collect(
            settings.arm, settings.collect, settings.out, seeds, settings.workers, settings.pool
        ):
            frames, recorded = frames + count, recorded + 1
            bar.update()
    seconds = time.monotonic() - began
    report = {
        "episodes_recorded": recorded, "episodes_held_before": held, "frames": frames,
        "seconds": seconds, "frames_per_second": frames / seconds,
        "settings": asdict(settings),
    }
    path = write_report(settings.out, report)
    done = (
        f"{recorded} episodes recorded, {there} were there: {frames} frames, "
        f"{frames / seconds:.0f} a second" if recorded
        else f"all {settings.episodes} episodes were there already"
    )
    print(f"{done}: {settings.out}; report: {path}")
    return report

"""What is tried with stable-worldmodel itself, in a process of its own: it brings Lance, which does
not go with processes that fork.  ``python tests/their_world.py record FOLDER``, or ``play``."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def record(folder: Path) -> None:
    """Random episodes of our arm, recorded by their World in both forms, and imported."""
    from benchmarks.peer import stable_worldmodel
    from robot_data.conventions import StateConvention
    from robot_data.episodes import EpisodeStore
    from robot_data.importers.assemble import FitConfig
    from robot_data.importers.run import import_episodes
    from robot_data.importers.swm import SwmImporter
    from tests.recordings import IN_STATE

    swm = stable_worldmodel()
    world = swm.World(
        "sims:arm_worldmodel/WorldArm-v0", num_envs=1, image_shape=(64, 64), max_episode_steps=4,
        task="reach", image_size=64,
    )
    for form, name in (("hdf5", "arm.h5"), ("lance", "arm.lance")):
        world.set_policy(swm.policy.RandomPolicy(seed=0))
        world.collect(
            folder / name, episodes=2, seed=50_000_000, format=form, progress=False
        )
        importer = SwmImporter(folder / name, StateConvention(), IN_STATE)
        store = EpisodeStore(folder / form, codec="raw")
        for outcome in import_episodes(importer, "swm", store, FitConfig(image_size=None)):
            assert outcome.status == "imported", outcome
    world.close()


def play() -> None:
    """Three episodes of our arm in their World, planned by our planner; tells what came of it."""
    from benchmarks.peer import stable_worldmodel
    from planners.world_policy import WorldPolicy
    from tests.test_swm import QUICK, untrained

    world = stable_worldmodel().World(
        "sims:arm_worldmodel/WorldArm-v0", num_envs=2, image_shape=(32, 32), max_episode_steps=4,
        task="reach", image_size=32,
    )
    policy = WorldPolicy(untrained(7, skip=2), QUICK)
    world.set_policy(policy)
    found = world.evaluate(episodes=3, seed=50_000_000)
    world.close()
    told = {"episodes": len(found["episode_successes"]), "plans": len(policy.plan_seconds)}
    print(json.dumps(told))


if __name__ == "__main__":
    record(Path(sys.argv[2])) if sys.argv[1] == "record" else play()

"""What is tried with stable-worldmodel itself, in a process of its own: it brings Lance, which does
not go with processes that fork.  ``python tests/their_world.py FOLDER record play ...`` tells what
came of each as a line of JSON."""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def record(folder: Path) -> dict:
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
    return {}


def play(folder: Path) -> dict:
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
    return {"episodes": len(found["episode_successes"]), "plans": len(policy.plan_seconds)}


class Upwards:
    """Goes up in Two-Room, whatever it sees."""

    def set_env(self, env) -> None:
        """A World's."""
        self.env = env

    def get_action(self, infos):
        """Up, which is where y is small."""
        return np.tile(np.float32([0.0, -1.0]), (self.env.num_envs, 1))


def strict(folder: Path) -> dict:
    """How the scripted policy and one who passes by are scored."""
    from benchmarks.field_environments import ENVIRONMENTS
    from benchmarks.field_world import play

    world = ENVIRONMENTS["two_room"]
    passed = [((60.0, 150.0), (60.0, 100.0))]
    told = {}
    for name, policy in (("scripted", world.scripted(0)), ("passes by", Upwards())):
        (played,), _ = play(world, policy, passed, 32)
        told[name] = {"success": played.success, "reached": played.reached}
    return told


class Shown:
    """Rests, and keeps what it is shown."""

    def set_env(self, env) -> None:
        """A World's."""
        self.env, self.seen = env, []

    def get_action(self, infos):
        """No motion."""
        self.seen.append({"goal": infos["goal"][:, 0].copy()})
        return np.zeros((self.env.num_envs, *self.env.single_action_space.shape), np.float32)


def push(folder: Path) -> dict:
    """Push-T: one who rests at the goal, and one for whom the block is to be turned; and what they
    are shown."""
    from benchmarks.field_environments import ENVIRONMENTS
    from benchmarks.field_world import play
    from robot_data.swm import open_swm

    world, policy = ENVIRONMENTS["push_t"], Shown()
    start = (100.0, 100.0, 300.0, 300.0, 0.2, 0.0, 0.0)
    turned = (*start[:4], 1.0, 0.0, 0.0)
    played, _ = play(world, policy, [(start, start), (start, turned)], 64)
    world.record(folder / "push.h5", 2, 32, 0)
    recorded = open_swm(folder / "push.h5")
    states = recorded.column("state", 0, recorded.episodes[-1][1])
    goals = np.array([seen["goal"] for seen in policy.seen])
    return {
        "success": [p.success for p in played], "distances": [p.distance for p in played],
        "the same goals throughout": bool((goals == goals[0]).all()),
        "two goals": bool((goals[0, 0] != goals[0, 1]).any()),
        "episodes": len(recorded.episodes), "state": states.shape[1],
        "moved": float(np.abs(np.diff(states[:, :2], axis=0)).max()),
    }


def swing(folder: Path) -> dict:
    """Reacher: one who rests where it is to be, a whole turn away or not, and one who is not."""
    from benchmarks.field_environments import ENVIRONMENTS
    from benchmarks.field_world import play
    from robot_data.swm import open_swm

    world, policy = ENVIRONMENTS["reacher"], Shown()
    start = (0.1, 0.5, 0.0, 0.0)
    goals = (start, (0.1 + 2 * np.pi, 0.5, 0.0, 0.0), (0.1, 0.6, 0.0, 0.0))
    played, _ = play(world, policy, [(start, goal) for goal in goals], 32)
    world.record(folder / "swing.h5", 1, 32, 0)
    recorded = open_swm(folder / "swing.h5")
    angles = recorded.column("qpos", 0, recorded.episodes[-1][1])
    shown = [np.array(seen["goal"]).astype(int) for seen in policy.seen]
    return {
        "success": [p.success for p in played], "distances": [p.distance for p in played],
        "the same goals throughout": all((found == shown[0]).all() for found in shown),
        "two goals": bool((shown[0][0] != shown[0][2]).any()),
        "frames": len(angles), "moved": float(np.abs(np.diff(angles, axis=0)).max()),
    }


def arm(folder: Path) -> dict:
    """Our arm: one who rests, in two episodes, and a recording."""
    from benchmarks.field_environments import ENVIRONMENTS
    from benchmarks.field_world import play
    from robot_data.episodes import EpisodeStore

    world = ENVIRONMENTS["arm_reach"]
    world.record(folder / "arm", 2, 32, 50_000_000)  # before the other package is there: it forks
    policy = Shown()
    played, _ = play(world, policy, [50_000_000, 50_000_001], 32)
    goals = [seen["goal"] for seen in policy.seen]
    return {
        "success": [p.success for p in played], "distances": [p.distance for p in played],
        "the same goals throughout": all((found == goals[0]).all() for found in goals),
        "two goals": bool((goals[0][0] != goals[0][1]).any()), "steps": len(goals),
        "recorded": len(EpisodeStore(folder / "arm")),
    }


def bench(folder: Path) -> dict:
    """``worldmodel bench field`` of one row, then of all tried ones; whether the first is kept."""
    from arm_worldmodel.cli import main
    from tests.test_field import ALL, SMALL

    words = ["bench", "field", f"out={folder}", *SMALL]
    kept = [folder / "recorded.h5", folder / "episodes/scripted-0-hard.json"]
    assert main([*words, "rows=[scripted]"]) == 0
    before = [path.stat().st_mtime_ns for path in kept]
    assert main([*words, ALL]) == 0
    return {"kept": before == [path.stat().st_mtime_ns for path in kept]}


if __name__ == "__main__":
    tries = {
        "record": record, "play": play, "strict": strict, "push": push, "swing": swing,
        "arm": arm, "bench": bench,
    }
    told = {name: tries[name](Path(sys.argv[1])) for name in sys.argv[2:]}
    print(json.dumps(told))

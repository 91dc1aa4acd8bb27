from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from rerun.chunk import RrdReader

from robot_data.episodes import EpisodeStore
from robot_data.loop import Candidates, Decision, run_episode
from robot_data.recording import EpisodeWriter, RerunRecorder, viewer
from sims.config import ArmConfig
from sims.experts import CollectConfig, make_recorder, record_episode
from sims.mujoco_arm import MujocoArm


class Scripted:
    """Moves by fixed actions."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at

    def reset(self, goals, seed):
        self.step, self.goals = 0, goals

    def act(self, observation):
        if self.step == self.fail_at:
            raise RuntimeError("camera lost")
        self.step += 1
        return Decision(action=np.array([0.01, 0, 0, 0, 0, 0.02, 0.3]), cost=1.0)


def test_what_was_run_is_in_the_store(env, tmp_path):
    store = EpisodeStore(tmp_path)
    agent = Scripted()
    result = run_episode(
        env, agent, 5, 4, "single", [EpisodeWriter(store, "run", {"task": "x"})]
    )
    episode = store.read("run")
    assert len(agent.goals) == 1
    assert result.steps == 4
    assert len(episode) == 5
    assert episode.meta == {"task": "x", "seed": 5}
    np.testing.assert_array_equal(episode.actions[0], [0.01, 0, 0, 0, 0, 0.02, 0.3])
    np.testing.assert_array_equal(episode.images[-1], env.camera_image("exo"))
    assert episode.commanded_closedness[-1] == 1.0


def test_the_wrist_camera_is_recorded_beside_the_other(tmp_path):
    arm = ArmConfig(image_size=32, wrist_camera=True)
    episode = record_episode(make_recorder(arm, "box"), CollectConfig(frames=6), 0)
    store, env = EpisodeStore(tmp_path), MujocoArm(arm)
    run_episode(env, Scripted(), 5, 2, "single", [EpisodeWriter(store, "run", {})])
    for found in (episode, store.read("run")):
        assert found.cameras["wrist"].shape == found.images.shape
        assert (found.cameras["wrist"] != found.images).any()
    np.testing.assert_array_equal(
        store.read("run").cameras["wrist"][-1], env.camera_image("wrist")
    )
    env.close()


def test_what_was_recorded_survives_an_error(env, tmp_path):
    store = EpisodeStore(tmp_path)
    watchers = [EpisodeWriter(store, "run", {}), RerunRecorder(tmp_path / "run.rrd")]
    with pytest.raises(RuntimeError, match="camera lost"):
        run_episode(env, Scripted(fail_at=3), 5, 10, "subgoals", watchers)
    assert len(store.read("run")) == 4
    assert (tmp_path / "run.rrd").stat().st_size > 1000


class Bare(gymnasium.Env):
    """An environment that tells no more than it is asked to."""

    def __init__(self, told):
        self.told = told

    def _seen(self):
        return {"image": np.zeros((16, 16, 3), np.uint8), "state": np.zeros(7)}

    def reset(self, *, seed=None, options=None):
        return self._seen(), dict(self.told)

    def step(self, action):
        return self._seen(), 0.0, False, True, dict(self.told)


def test_goals_may_be_given_and_an_episode_the_environment_ends_is_not_the_agents_done():
    agent, goal = Scripted(), np.full((16, 16, 3), 7, np.uint8)
    env = Bare({"success": True, "distance_m": 0.5})
    result = run_episode(env, agent, 0, 10, [goal, goal])
    assert len(agent.goals) == 2
    assert (result.steps, result.success, result.finished) == (1, True, False)
    run_episode(Bare({**env.told, "goal_image": goal}), agent, 0, 10)
    np.testing.assert_array_equal(agent.goals, [goal])


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({"distance_m": 0.0}, "no 'success'"), ({"success": False}, "no 'distance_m'"),
        ({"success": False, "distance_m": 0.0}, r"no goal image; give goals=\[image\]"),
    ],
)
def test_what_an_environment_must_tell_is_named(told, missing):
    with pytest.raises(ValueError, match=missing):
        run_episode(Bare(told), Scripted(), 0, 1)


def test_unknown_goal_kind_is_refused(env):
    with pytest.raises(ValueError, match="subgoals, single"):
        run_episode(env, Scripted(), 0, 1, "both")


class Imagining(Scripted):
    """Carries what a planner with a readout carries."""

    def act(self, observation):
        decided = super().act(observation)
        ends = observation["state"] + np.linspace(0, 0.01, 5)[:, None]
        costs = np.arange(5.0)
        found = Candidates(np.zeros((5, 1, 7)), costs, ends[:, :3])
        return replace(decided, goal_state=observation["state"] + 0.1, candidates=found)


def read_back(path):
    reader = RrdReader(path)
    chunks = list(reader.stream())
    rows = {}
    for chunk in chunks:
        if not chunk.is_static:
            rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
    return reader, chunks, rows


def test_the_viewer_shows_arm_hand_goal_pose_and_candidates(env, tmp_path):
    path = tmp_path / "run.rrd"
    run_episode(env, Imagining(), 5, 4, "single", [RerunRecorder(path)])
    reader, chunks, rows = read_back(path)
    assert len(reader.blueprints()) == 1
    assert len(reader.recordings()) == 1
    for entity in ("/world/hand", "/world/hand_path", "/world/arm", "/world/object", "/camera"):
        assert rows[entity] == 5, entity  # of four steps
    for entity in ("/world/candidates", "/world/goal_hand", "/world/action", "/cost/planned",
                   "/action/dx_m", "/distance_m", "/subgoal"):
        assert rows[entity] == 4, entity
    assert rows["/goal"] == 1  # the same goal image is not written again
    points = next(c for c in chunks if c.entity_path == "/world/candidates").to_record_batch()
    column = next(n for n in points.schema.names if "positions" in n)
    assert len(points.column(column)[0]) == 5


def test_an_agent_without_pose_or_candidates_is_recorded_too(env, tmp_path):
    path = tmp_path / "run.rrd"
    run_episode(env, Scripted(), 5, 2, "single", [RerunRecorder(path)])
    rows = read_back(path)[2]
    assert rows["/world/action"] == 2
    assert not {"/world/candidates", "/world/goal_hand"} & rows.keys()


def test_pictures_of_what_was_imagined_stand_at_the_frame_they_were_imagined_for(env, tmp_path):
    path, asked = tmp_path / "run.rrd", []

    def imagine(step):
        asked.append(step.index)
        return {"chosen": step.following["image"], "rejected": step.observation["image"]}

    run_episode(env, Scripted(), 5, 3, "single", [RerunRecorder(path, imagine=imagine)])
    _, chunks, rows = read_back(path)
    assert asked == [0, 1, 2]
    assert rows["/imagined/chosen"] == rows["/imagined/rejected"] == 3
    steps = [
        step for chunk in chunks if chunk.entity_path == "/imagined/chosen"
        for step in chunk.to_record_batch().column("step").to_pylist()
    ]
    assert sorted(steps) == [1, 2, 3]


def test_the_arm_ends_where_the_hand_is(env):
    _, info = env.reset(seed=3)
    links = info["links_m"]
    assert links.shape == (10, 3)
    np.testing.assert_allclose(links[0], 0, atol=1e-9)
    np.testing.assert_allclose(links[-1], env.state[:3], atol=0.005)


def test_the_hint_stays_on_this_machine():
    assert viewer("a.rrd").startswith("rerun --bind 127.0.0.1 a.rrd")

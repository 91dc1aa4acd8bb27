import gymnasium
import numpy as np
import pytest

from robot_data.episodes import EpisodeStore
from robot_data.loop import Decision, run_episode
from robot_data.recording import EpisodeWriter, RerunRecorder


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

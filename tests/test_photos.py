"""Ordinary picture files as goals, in Python and on the command line."""

import json

import numpy as np
import pytest
import torch
from conftest import smooth_images
from PIL import Image

import arm_worldmodel as awm
from arm_worldmodel.cli import main
from planners.goals import GoalImages
from robot_data.pictures import read_picture
from robot_data.schema import DataError
from robots.goals import load_goals

ORIENTATION, QUARTER_TURN = 0x0112, 6  # EXIF: shown turned clockwise


@pytest.fixture
def photo(tmp_path):
    """A wide photo that a phone took upright: stored lying, with a note in the file."""
    image = Image.fromarray(smooth_images(1, 160)[0][:120])  # 160 wide, 120 high
    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    image.rotate(90, expand=True).save(tmp_path / "photo.jpg", quality=95, exif=exif)
    return tmp_path / "photo.jpg", np.asarray(image)


def test_a_photo_is_read_as_its_phone_was_held(photo):
    path, upright = photo
    found = read_picture(path)
    assert found.shape == (120, 160, 3)
    assert np.abs(found.astype(int) - upright).mean() < 3
    (goal,), names = load_goals(str(path), 64)
    assert goal.shape == (64, 64, 3)
    assert names == ["photo"]


class Still:
    """Never moves; remembers its goals."""

    def reset(self, goals, seed):
        self.goals = goals

    def act(self, observation):
        return awm.Decision(action=np.zeros(7))


def test_a_run_takes_photos_by_name(photo):
    path, _ = photo
    env, agent = awm.make("reach", image_size=32, max_episode_steps=1), Still()
    for goals, count in ((path, 1), (str(path), 1), ([path, read_picture(path)], 2)):
        awm.run(env, agent, episodes=1, goals=goals)
        assert [goal.shape for goal in agent.goals] == [(120, 160, 3)] * count
    with pytest.raises(DataError, match=r"subgoal cannot be decoded: .*No such file"):
        awm.run(env, agent, episodes=1, goals="subgoal")
    env.close()


def test_the_planner_sees_a_photo_as_it_sees_its_pixels(photo):
    path, _ = photo
    agent = awm.Agent(awm.load("shipped", device="cpu"), goal="subgoals")
    goals, seen = agent._images.goals, []
    assert isinstance(goals, GoalImages)
    for goal in (str(path), read_picture(path), [path]):
        agent.reset(goal)
        seen.append(goals[0].tokens)
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(seen[0], seen[2])


def test_plan_takes_a_photo_and_judges_nothing(photo, tmp_path, capsys):
    path, _ = photo
    out = tmp_path / "out"
    words = ["plan", "policy=stand_still", "task=push", "arm.image_size=64", "max_steps=2",
             f"goals={path}", f"out={out}"]
    assert main(words) == 0
    assert "not judged, after 2 steps" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert report["success"] is None
    assert report["distance_m"] is None
    assert report["goal_names"] == ["photo"]
    assert main([*words, "goals=nowhere.jpg"]) == 2  # given twice
    assert main([*words[:-2], "goals=nowhere.jpg"]) == 2
    assert "nowhere.jpg" in capsys.readouterr().err
    assert main([*words, "arm.task.goal_light=changed"]) == 2
    assert "goals= has the goal images" in capsys.readouterr().err

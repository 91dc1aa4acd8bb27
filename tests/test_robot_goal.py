"""``worldmodel robot goal``: pictures of the arm's camera, in a folder that ``robot run`` reads."""

import json

import numpy as np
import pytest
from arms import open_link

from arm_worldmodel.cli import main
from arm_worldmodel.commands.robot import goal
from robots.goals import load_goals, load_taken

pytestmark = [pytest.mark.slow, pytest.mark.realtime]


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    link = open_link(tmp_path_factory.mktemp("arm"))
    close, link.close = link.close, lambda: None  # each command closes it
    yield link
    close()


@pytest.fixture
def command(arm, monkeypatch, tmp_path):
    """The command, on a simulated arm in a process of its own."""
    monkeypatch.setattr(goal, "open_link", lambda *_: arm)
    return lambda *settings: main(["robot", "goal", f"out={tmp_path}", *settings])


def test_one_picture_is_taken_at_once_with_the_arms_state(command, arm, tmp_path):
    assert command("now=true") == 0
    images, names = load_goals(str(tmp_path), None)
    assert names == ["00-goal"]
    _, seen = arm.inbox.picture(arm.now(), 5.0)
    assert images[0].shape == seen.shape
    assert (images[0] == seen).mean() > 0.8  # a film runs before this camera
    told = json.loads((tmp_path / "goals.json").read_text())
    assert told["names"] == ["goal"]
    np.testing.assert_allclose(told["states"][0], arm.inbox.latest.state, atol=1e-3)


def test_each_name_waits_for_enter_and_an_earlier_sequence_is_replaced(
    command, monkeypatch, tmp_path
):
    asked = []
    monkeypatch.setattr("builtins.input", asked.append)
    assert command("names=[a,b,c]") == 0
    assert command("names=[at object,lifted]") == 0
    assert [line.split("'")[1] for line in asked] == ["a", "b", "c", "at object", "lifted"]
    assert [name for name, _, _ in load_taken(tmp_path)] == ["at_object", "lifted"]


def test_what_was_taken_is_kept_when_the_person_gives_up(command, monkeypatch, tmp_path):
    answers = iter(["", KeyboardInterrupt()])

    def enter(_):
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr("builtins.input", enter)
    with pytest.raises(KeyboardInterrupt):
        command("names=[a,b]")
    assert [name for name, _, _ in load_taken(tmp_path)] == ["a"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [(["names=[]"], "names= is empty"), (["now=true", "names=[a,b]"], "takes one picture")],
)
def test_no_goal_and_several_at_once_are_refused(command, capsys, settings, told):
    assert command(*settings) == 2
    assert told in capsys.readouterr().err

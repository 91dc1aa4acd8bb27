"""Which of two places the next event is at, where predictions change from step to step."""

from types import SimpleNamespace

import pytest
import torch

from planners.config import HierarchyConfig
from planners.stages import AVERAGED, EventStages

HERE, THERE = torch.tensor([0.4, 0.1, 0.02]), torch.tensor([0.6, -0.1, 0.02])


VIEW = SimpleNamespace(closedness=0.0)


@pytest.fixture
def stages():
    sees, predicts = SimpleNamespace(readout=None), SimpleNamespace(features=lambda tokens: tokens)
    made = EventStages(sees, predicts, HierarchyConfig(), 12)  # pyright: ignore[reportArgumentType]
    made.reset(torch.zeros(4, 8))
    return made


@pytest.fixture
def aimed_at(stages, monkeypatch):
    """Where the hand is sent, after predictions of an event at each of some places."""

    def ask(*places, kind="grasp"):
        for place in places:
            pose = torch.cat([place, torch.zeros(4)])
            monkeypatch.setattr(stages, "_next_event", lambda view, goal, p=pose: (kind, p))
            stages.decide(VIEW)
        return stages.stage.place

    return ask


def test_predictions_of_one_place_are_averaged(aimed_at):
    off = torch.tensor([0.009, 0.0, 0.0])
    torch.testing.assert_close(aimed_at(HERE, HERE + off, HERE + 2 * off), HERE + off)


def test_another_place_is_not_believed_at_once(aimed_at):
    torch.testing.assert_close(aimed_at(HERE, THERE), HERE)
    torch.testing.assert_close(aimed_at(HERE, THERE, HERE), HERE)
    torch.testing.assert_close(aimed_at(*[THERE] * (AVERAGED - 1)), HERE)


def test_another_place_that_is_predicted_again_and_again_is_gone_to(aimed_at):
    torch.testing.assert_close(aimed_at(HERE, *[THERE] * AVERAGED), THERE)


def test_other_places_that_differ_from_each_other_are_not_believed(aimed_at):
    far = torch.tensor([0.5, 0.2, 0.02])
    torch.testing.assert_close(aimed_at(HERE, THERE, far, THERE, far, THERE, far), HERE)


def test_the_place_of_another_event_is_taken_at_once(aimed_at):
    aimed_at(HERE)
    torch.testing.assert_close(aimed_at(THERE, kind="release")[:2], THERE[:2])


def test_the_way_to_another_place_is_judged_anew(aimed_at, stages):
    aimed_at(HERE)
    stages.steps = 5
    aimed_at(*[THERE] * (AVERAGED - 1))
    assert stages.steps == 5
    aimed_at(THERE)
    assert stages.steps == 0


def test_an_object_is_put_down_once_the_hand_is_up_again_and_until_the_next_grasp(
    aimed_at, stages, monkeypatch
):
    aimed_at(HERE, kind="release")
    later = iter(["grasp", "none"])
    monkeypatch.setattr(
        stages, "_next_event", lambda view, goal: (next(later), torch.cat([HERE, torch.zeros(4)]))
    )
    down = []
    for _ in range(8):
        down.append((stages.stage.name, stages.put_down))
        stages.go_on(VIEW)
    assert dict(down) == {
        **{f"release: {part}": False for part in ("above", "down", "open", "up")},
        **{f"grasp: {part}": True for part in ("above", "down", "close", "up")},
    }
    assert (stages.stage.name, stages.put_down) == ("goal image", False)


@pytest.mark.parametrize(
    ("held", "holding", "closedness", "odds", "kind"),
    [
        (True, True, 0.5, (0.1, 0.2, 0.7), "none"),  # it has what the picture shows
        (True, False, 0.5, (0.35, 0.2, 0.45), "none"),
        (True, False, 0.02, (0.9, 0.05, 0.05), "grasp"),  # an open hand holds nothing
        (True, False, 0.4, (0.3, 0.6, 0.1), "grasp"),  # fingers half closed on nothing
        (False, True, 0.5, (0.1, 0.2, 0.7), "release"),
        (False, False, 0.02, (0.9, 0.05, 0.05), "none"),
    ],
)
def test_what_the_goal_image_shows_in_the_hand_is_grasped_once_and_not_put_down(
    stages, monkeypatch, held, holding, closedness, odds, kind
):
    apart = 0.01 if held else 0.2
    hand = torch.cat([HERE, torch.tensor([3.14, 0.0, 0.0, 1.0])])
    place = HERE + torch.tensor([apart, 0.0, 0.0])
    monkeypatch.setattr(stages, "_seen", lambda tokens: (hand, place))
    monkeypatch.setattr(stages, "_surely_read", lambda tokens: True)
    stages.subgoals.predict = lambda *_: (torch.tensor([odds]), hand[None])
    stages.reset(torch.zeros(4, 8))
    stages._holding = holding
    view = SimpleNamespace(closedness=closedness, tokens=torch.zeros(1, 4, 8), state=hand)
    assert stages._next_event(view, stages._goal)[0] == kind


def test_a_hand_that_is_not_in_the_picture_holds_nothing_there(stages, monkeypatch):
    hand = torch.cat([HERE, torch.tensor([3.14, 0.0, 0.0, 1.0])])
    monkeypatch.setattr(stages, "_seen", lambda tokens: (hand, HERE))
    for shown in (True, False):
        monkeypatch.setattr(stages, "_surely_read", lambda tokens, shown=shown: shown)
        stages.reset(torch.zeros(4, 8))
        assert stages._held is shown


def test_fingers_that_closed_on_something_hold_it_until_they_are_open_or_empty(stages):
    pose = torch.cat([HERE, torch.tensor([3.14, 0.0, 0.0, 0.0])])
    stages.subgoals.predict = lambda *_: (torch.tensor([[0.0, 1.0, 0.0]]), pose[None])

    def seen(closedness):
        return SimpleNamespace(closedness=closedness, tokens=torch.zeros(1, 4, 8), state=pose)

    def grasp(closed_to):
        stages.reset(torch.zeros(4, 8))
        stages.decide(seen(0.0))
        for _ in range(2):
            stages.go_on(seen(0.0))
        assert stages.stage.name == "grasp: close"
        stages.go_on(seen(closed_to))
        return stages._holding

    assert not grasp(1.0)
    assert grasp(0.5)
    stages._next_event(seen(0.5), stages._goal)
    assert stages._holding
    for gone in (0.02, 0.99):
        assert grasp(0.5)
        stages._next_event(seen(gone), stages._goal)
        assert not stages._holding
    assert grasp(0.5)
    stages.start()
    assert not stages._holding

"""The arm's state and its faults in the words of the operator's page."""

import re
from pathlib import Path

import numpy as np
import pytest

from arm_worldmodel.page.words import DO, LATE_S, state_of
from robots.link import Inbox, Reading

ROBOTS = Path(__file__).parents[1] / "robots"
NOW = 100.0


def inbox(age=0.0, picture_age=0.0, moving=False):
    made = Inbox()
    made.reading(Reading(NOW - age, np.zeros(7), np.zeros(7), np.zeros(7), moving, 0, 0, 0))
    made.image(NOW - picture_age, lambda: np.zeros((2, 2, 3), np.uint8))
    return made


def test_each_state_has_its_sentence():
    assert state_of(Inbox(), NOW).kind == "waiting"
    assert "robot serve" in state_of(Inbox(), NOW).do
    assert state_of(inbox(), NOW).text == "The arm is at rest and ready."
    assert state_of(inbox(moving=True), NOW).text == "The arm moves."
    assert state_of(inbox(age=LATE_S + 2), NOW).text == "No news from the arm for 3 s."
    assert state_of(inbox(picture_age=LATE_S + 2), NOW).text == "No picture for 3 s."


def test_what_is_worst_is_said_first():
    box = inbox(age=60.0)
    box.status("arm_stopped", "fault: arm: collision", True)
    told = state_of(box, NOW)
    assert (told.kind, told.code) == ("fault", "arm_stopped")
    assert told.text == "The arm holds: arm: collision"
    assert told.do == DO["arm_stopped"]
    box.lose("the arm's process ended")
    assert state_of(box, NOW).kind == "lost"
    assert "process ended" in state_of(box, NOW).text


def test_a_fault_without_advice_of_its_own_is_recovered_in_two_steps():
    box = inbox()
    box.status("unheard_of", "fault: what?", True)
    assert "Recover and Resume" in state_of(box, NOW).do
    box.status("", "ready", False)
    assert state_of(box, NOW).kind == "rest"


@pytest.mark.parametrize("code", DO)
def test_advice_is_given_for_faults_that_exist(code):
    source = "".join(path.read_text() for path in ROBOTS.rglob("*.py"))
    name = code.removeprefix("stale_")  # of what is stale, by its name
    assert re.search(rf'"{code}"', source) or (name != code and f'"{name}"' in source)

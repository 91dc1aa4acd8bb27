"""What `worldmodel robot check` says of a cell."""

import numpy as np
import pytest

from robots import checkup
from robots.limits import Limits
from robots.ros.topics import GripperConfig, Topics

LIMITS = Limits()


def heard(**changes) -> checkup.StreamReport:
    stamps = (100 + np.arange(90) / 30).tolist()
    values = {
        "topic": "/current_pose", "seconds": 3.0, "stamps": stamps,
        "arrivals": [s + 0.01 for s in stamps], "publishers": ["driver"],
        "reliability": ["best effort"], **changes,
    }
    return checkup.StreamReport(**values)


def test_a_healthy_stream_is_fine_and_its_numbers_are_told():
    found = checkup.judge_stream(heard(), 20.0, LIMITS)
    assert found.ok
    assert "30 Hz" in found.text
    assert "10 ms" in found.text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"publishers": []}, "nobody publishes"),
        ({"stamps": [], "arrivals": []}, "nothing arrives"),
        ({"seconds": 30.0}, "expected at least 20 Hz"),
        ({"arrivals": [99 + i / 30 for i in range(90)]}, "in the future"),
        ({"arrivals": [101 + i / 30 for i in range(90)]}, "older than"),
        ({"publishers": ["a", "b"], "reliability": ["reliable"] * 2}, "2 publishers: a, b"),
    ],
)
def test_a_sick_stream_is_named_with_its_reason(changes, told):
    found = checkup.judge_stream(heard(**changes), 20.0, LIMITS)
    assert not found.ok
    assert told in found.text


def test_a_command_topic_needs_one_publisher_and_a_listener():
    assert checkup.judge_command("/t", ["worldmodel_bridge"], ["arm"]).ok
    assert not checkup.judge_command("/t", ["worldmodel_bridge", "teleop"], ["arm"]).ok
    assert not checkup.judge_command("/t", [], []).ok


def test_pose_gripper_and_limits_are_judged():
    assert checkup.judge_pose([0.5, 0, 0.3], [1, 0, 0, 0], "fr3_link0", LIMITS).ok
    assert "frame" in checkup.judge_pose([0.5, 0, 0.3], [1, 0, 0, 0], "world", LIMITS).text
    assert "outside" in checkup.judge_pose([0.9, 0, 0.3], [1, 0, 0, 0], "fr3_link0", LIMITS).text
    assert checkup.judge_gripper(0.3).ok
    assert "open_value" in checkup.judge_gripper(-3.0).text
    assert "LOOSER" in checkup.judge_limits(Limits(speed_m_s=1.0)).text


def test_pictures_that_show_nothing_or_too_little_are_refused():
    scene = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    assert checkup.judge_pictures([scene], 256).ok
    assert "shows nothing" in checkup.judge_pictures([np.zeros_like(scene)], 256).text
    assert "smaller" in checkup.judge_pictures([scene[:200]], 256).text


def test_the_model_must_find_the_hand():
    there = np.array([0.5, 0.0, 0.3])
    plain = checkup.AS_IT_COMES
    assert checkup.judge_view({plain: there + 0.01, "mirrored": there}, there).ok
    assert not checkup.judge_view({plain: there + 0.2, "mirrored": there + 0.2}, there).ok
    turned = checkup.judge_view({plain: there + 0.04, "mirrored": there + 0.01}, there)
    assert not turned.ok
    assert "were the picture mirrored, 1.7 cm" in turned.text


def test_gripper_values_and_closedness_are_inverse():
    config = GripperConfig(open_value=0.04, closed_value=0.0)
    assert config.closedness(0.04) == 0.0
    assert config.closedness(config.value(0.3)) == pytest.approx(0.3)
    assert GripperConfig(open_value=0.0, closed_value=0.8).closedness(0.8) == 1.0
    with pytest.raises(ValueError, match="measure both"):
        GripperConfig(open_value=0.0, closed_value=0.0)
    with pytest.raises(ValueError, match="valid"):
        GripperConfig(kind="telepathy")
    assert Topics(compressed=True).camera.endswith("/compressed")


@pytest.mark.parametrize("host", ["192.168.1.5", "robot.lab", "8.8.8.8", "::ffff:10.0.0.1"])
def test_rosbridge_on_another_machine_is_refused_unless_it_is_allowed(host):
    pytest.importorskip("roslibpy")
    from robots.ros.rosbridge import check_host

    with pytest.raises(ValueError, match="ssh -L"):
        check_host(host, allow_remote=False)
    check_host(host, allow_remote=True)
    for here in ("localhost", "127.0.0.1", "127.0.0.5", "::1"):
        check_host(here, allow_remote=False)

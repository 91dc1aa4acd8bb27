"""The sentence under the figures: a model that ignores actions is called deaf."""

import pytest

from arm_worldmodel.diagnosis import interval
from arm_worldmodel.verdict import judge


def figures(rank, true, none=0.30, copy=0.32):
    return {
        "rank_among_random": interval(rank), "energy_true_action": interval(true),
        "energy_zero_action": {"mean": none}, "energy_copy_last_frame": {"mean": copy},
    }


@pytest.mark.parametrize(
    ("rank", "true", "kind"),
    [
        ([0.5, 0.5, 0.5], [0.2746] * 3, "deaf"),  # every energy equal
        ([0.3, 0.7, 0.45], [0.2, 0.2, 0.2], "deaf"),  # chance, whatever the energies
        ([0.01, 0.02, 0.01], [0.187, 0.19, 0.18], "usable"),
        ([0.1, 0.2, 0.1], [0.31, 0.31, 0.32], "unknown arm"),  # worse than no action
        ([0.02], [0.187], "usable"),  # one episode
    ],
)
def test_the_verdict_follows_the_figures(rank, true, kind):
    assert judge(figures(rank, true)).kind == kind


def test_a_last_frame_that_is_nearer_than_the_imagined_one_is_named():
    assert "the last frame" in judge(figures([0.1, 0.1], [0.25, 0.25], 0.3, 0.2)).text


def test_one_episode_has_no_interval():
    assert interval([0.1865]) == {"mean": 0.1865}
    assert set(interval([0.1, 0.2])) == {"mean", "low_95", "high_95"}

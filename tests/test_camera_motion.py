"""What `worldmodel robot camera` makes of pictures taken while the hand moved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robots.camera_motion import AS_IT_COMES, changes, fit_delay, judge_motion

TIMES = 100.0 + np.arange(0, 8, 0.02)


def path(times):
    """Left and right, up, forward: 5 cm at up to 0.2 m/s, at rest between [T, 3] m."""
    def there_and_back(begin):
        return 0.025 * (1 - np.cos(2 * np.pi * np.clip((times - 100 - begin) / 1.6, 0, 1)))
    return np.stack([
        0.5 + there_and_back(5.5), there_and_back(0.5) - there_and_back(2.2),
        0.2 + there_and_back(3.9),
    ], axis=1)


def seen(delay_s, noise_m=0.007, slopes=(1.0, 1.0, 1.0), offset=(0.0, 0.0, 0.0), rate=15):
    """Stamps and positions read from pictures that are stamped so late."""
    stamps = np.arange(100.2, 107.8, 1 / rate)
    where = path(stamps - delay_s)
    read = where.mean(0) + (where - where.mean(0)) * slopes + offset
    return stamps, read + np.random.default_rng(0).normal(0, noise_m, read.shape)


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.1, 0.5), st.floats(0.6, 1.2), st.floats(-0.03, 0.03))
def test_the_delay_is_found_whatever_offset_and_slope_the_reading_has(delay_s, slope, offset):
    stamps, read = seen(delay_s, slopes=(slope,) * 3, offset=(offset,) * 3)
    fit = fit_delay(TIMES, path(TIMES), stamps, read)
    assert abs(fit.delay_s - delay_s) < max(0.02, 4 * fit.error_s)
    assert fit.error_s < 0.03
    np.testing.assert_allclose(fit.slopes, slope, atol=0.2)


def test_a_late_camera_is_told_with_the_setting_that_makes_up_for_it():
    stamps, read = seen(0.18)
    findings, fit = judge_motion(TIMES, path(TIMES), stamps, {AS_IT_COMES: read}, 40)
    assert [found.ok for found in findings] == [True, True]
    assert f"env.camera_delay_s={fit.delay_s:.3f}" in findings[1].text
    stamps, read = seen(0.0)
    findings, _ = judge_motion(TIMES, path(TIMES), stamps, {AS_IT_COMES: read}, 40)
    assert "env.camera_delay_s" not in findings[1].text


def test_a_clock_that_is_behind_is_not_a_delay():
    stamps, read = seen(-0.1)
    findings, _ = judge_motion(TIMES, path(TIMES), stamps, {AS_IT_COMES: read}, 40)
    assert not findings[1].ok
    assert "synchronise the clocks" in findings[1].text


def test_injection_pictures_that_are_read_better_when_mirrored_are_told():
    stamps, wrong = seen(0.05, slopes=(0.3, -0.8, 0.9), offset=(0.05, 0.04, 0))
    _, right = seen(0.05)
    reads = {AS_IT_COMES: wrong, "mirrored left to right": right}
    findings, fit = judge_motion(TIMES, path(TIMES), stamps, reads, 40)
    assert not findings[0].ok
    assert "mirrored left to right" in findings[0].text
    assert abs(fit.delay_s - 0.05) < 0.02


def test_injection_a_frozen_camera_is_told_though_its_stamps_go_on():
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert changes([picture, picture.copy(), picture.copy()]) == 0
    assert changes([picture, picture + 1, picture + 1]) == 1
    stamps, read = seen(0.0)
    findings, fit = judge_motion(TIMES, path(TIMES), stamps, {AS_IT_COMES: read}, 0)
    assert fit is None
    assert "frozen" in findings[0].text
    assert not findings[0].ok


def test_a_hand_that_is_not_found_in_the_pictures_is_told_by_the_axis():
    stamps, read = seen(0.0, slopes=(1.0, 0.1, 1.0))
    findings, _ = judge_motion(TIMES, path(TIMES), stamps, {AS_IT_COMES: read}, 40)
    assert not findings[0].ok
    assert " 9 % along y" in findings[0].text


def test_pictures_that_are_read_nearer_but_move_the_other_way_are_not_called_mirrored():
    stamps, wrong = seen(0.0, offset=(0.15, 0.0, 0.0))
    _, other = seen(0.0, slopes=(1.0, -1.0, 1.0))
    reads = {AS_IT_COMES: wrong, "mirrored left to right": other}
    findings, fit = judge_motion(TIMES, path(TIMES), stamps, reads, 40)
    assert "mirrored" not in findings[0].text
    assert fit.miss_m > 0.1


def test_a_camera_that_is_too_late_is_not_made_up_for():
    for delay_s, told in ((0.6, "at most 500 ms"), (1.2, "at no delay that was tried")):
        stamps, read = seen(delay_s)
        findings, _ = judge_motion(TIMES, path(TIMES), stamps, {AS_IT_COMES: read}, 40)
        assert not findings[1].ok
        assert told in findings[1].text


def test_nothing_is_said_of_an_arm_that_stood_still_or_of_few_pictures():
    stamps, read = seen(0.0)
    still = np.tile([0.5, 0, 0.2], (len(TIMES), 1))
    with pytest.raises(ValueError, match=r"moved 0\.0 cm"):
        judge_motion(TIMES, still, stamps, {AS_IT_COMES: read}, 40)
    with pytest.raises(ValueError, match="9 pictures"):
        judge_motion(TIMES, path(TIMES), stamps[:9], {AS_IT_COMES: read[:9]}, 8)

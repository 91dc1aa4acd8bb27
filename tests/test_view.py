"""Where the camera sees what."""

import numpy as np
import pytest

from robots.view import CameraView, ViewError, fit_view, load_view
from sims.config import ArmConfig
from sims.make import arm_for, make_env
from sims.scene import SceneConfig

PLACES = np.array([
    [0.35, -0.2, 0.05], [0.6, -0.1, 0.1], [0.5, 0.2, 0.3], [0.4, 0.1, 0.2], [0.55, 0.0, 0.02],
    [0.45, -0.15, 0.35], [0.62, 0.22, 0.15],
])


@pytest.fixture(scope="module", params=["mujoco", "pybullet"])
def env(request):
    if request.param == "pybullet":
        pytest.importorskip("pybullet")
    scene = SceneConfig(randomise_colour=False, camera_azimuth_deg=120.0, camera_jitter_m=0.02)
    arm = make_env(request.param, arm_for(ArmConfig(scene=scene, image_size=128), "grasp"))
    yield arm
    arm.close()


def test_the_simulators_view_says_where_the_object_is_in_the_picture(env):
    for seed in (50_000_000, 50_000_001):
        env.reset(seed=seed)
        (place,) = CameraView(env.exo_projection()).project(env.object_pose[:3])
        image = env.camera_image("exo").astype(int)
        red = (image[..., 0] > 1.8 * image[..., 1]) & (image[..., 0] > 1.8 * image[..., 2])
        rows, columns = np.nonzero(red)
        seen = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / 128
        assert np.abs(place - seen).max() < 0.02


def test_a_view_is_learned_from_marks(env):
    env.reset(seed=50_000_000)
    true = CameraView(env.exo_projection())
    rng = np.random.default_rng(0)
    exact, off = fit_view(PLACES, true.project(PLACES))
    others = rng.uniform([0.3, -0.3, 0.01], [0.65, 0.3, 0.4], (50, 3))
    assert off < 1e-6
    assert np.abs(exact.project(others) - true.project(others)).max() < 1e-6
    marks = true.project(PLACES) + rng.normal(0, 0.003, (len(PLACES), 2))  # of a careful hand
    near, off = fit_view(PLACES, marks)
    assert off < 0.01
    assert np.abs(near.project(others) - true.project(others)).max() < 0.1


def test_marks_that_tell_nothing_are_refused():
    places = np.random.default_rng(0).uniform(0, 1, (7, 2))
    with pytest.raises(ViewError, match="5 of 6 marks"):
        fit_view(PLACES[:5], places[:5])
    with pytest.raises(ViewError, match="one plane"):
        fit_view(np.c_[PLACES[:, :2], np.full(7, 0.1)], places)


def test_what_is_behind_the_camera_is_nowhere():
    ahead = CameraView(np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]))
    seen = ahead.project([[0.1, 0.2, 1.0], [0.1, 0.2, -1.0]])
    np.testing.assert_allclose(seen[0], [0.1, 0.2])
    assert np.isnan(seen[1]).all()


def test_a_view_comes_back_from_its_file(tmp_path):
    assert load_view(tmp_path / "view.json") is None
    view = CameraView(np.arange(12.0).reshape(3, 4))
    view.save(tmp_path / "far" / "view.json")
    found = load_view(tmp_path / "far" / "view.json")
    assert found is not None
    np.testing.assert_array_equal(found.projection, view.projection)


@pytest.mark.parametrize("text", ["", "[]", '{"projection": [[1, 2]]}', '{"projection": "x"}'])
def test_a_file_that_holds_no_view_is_refused(tmp_path, text):
    (tmp_path / "view.json").write_text(text)
    with pytest.raises(ViewError, match=r"view\.json"):
        load_view(tmp_path / "view.json")

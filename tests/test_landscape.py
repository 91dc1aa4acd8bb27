"""``worldmodel replay`` draws the energy landscape of V-JEPA 2-AC's notebook, number by number."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from arm_worldmodel.cli import main
from arm_worldmodel.parity import load_golden
from arm_worldmodel.pictures.landscape import landscape_figure
from robot_data.episodes import EpisodeStore
from robot_data.schema import Episode
from tests.conftest import DATA
from worldmodel.diagnostics import translation_grid
from worldmodel.models import Models


def test_replay_reproduces_the_energies_of_the_notebook(tmp_path):
    encoder, predictor, _ = load_golden(str(DATA / "vjepa2_ac_small"))
    Models("golden", {"encoder": encoder, "predictor": predictor}).save(
        tmp_path / "weights", torch.float32
    )
    franka = np.load(DATA / "franka_example_traj.npz")
    images = np.ascontiguousarray(franka["observations"][0][:, ::4, ::4])
    states = franka["states"][0].astype(float)
    EpisodeStore(tmp_path / "franka").write("one", Episode(images, states, states, states[:, 6]))
    replay = [
        "replay", f"data={tmp_path}/franka", f"checkpoint={tmp_path}/weights",
        f"out={tmp_path}/out", "agent.objective.distance=l1", "candidates=2", "side=3", "shown=0",
    ]
    assert main([*replay, "notebook_side=1"]) == 2
    assert main([*replay, "notebook_side=5"]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["notebook"]
    assert (found["episode"], found["frame"]) == ("one", 0)
    published = load_file(DATA / "released_landscape.safetensors")["energies"].numpy()
    energies = np.array(found["energies"])
    close = 2e-6
    assert np.ptp(published) > 100 * close  # random weights hardly listen
    np.testing.assert_allclose(energies.ravel(), published, rtol=0, atol=close)
    assert (tmp_path / "out" / "energy_landscape.png").stat().st_size > 5000


def test_translations_are_those_of_the_notebook():
    grid = translation_grid(0.075, 5)
    assert grid.shape == (125, 7)
    assert not grid[:, 3:].any()
    assert grid[1].tolist() == pytest.approx([-0.075, -0.075, -0.0375, 0, 0, 0, 0])
    assert grid[25].tolist() == pytest.approx([-0.0375, -0.075, -0.075, 0, 0, 0, 0])


def test_the_landscape_shows_x_and_z_and_the_recorded_move():
    energies = np.ones((5, 5, 5))
    energies[4, :, 0] = 0.0  # far in x, low in z
    figure = landscape_figure(energies, 0.08, np.array([0.02, 0.05, -0.04, 0, 0, 0, 0]), "frame 0")
    axis, _ = figure.axes
    image = axis.images[0].get_array()
    assert np.argwhere(image == 0).tolist() == [[0, 4]]  # row z, column x
    (cross,) = axis.lines
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == pytest.approx((2, -4))

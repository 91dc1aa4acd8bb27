"""What is read is what the source's names and metadata say, not what lies at its place.

``data/cases`` holds inputs of public bug reports, made or collected for this test; the values are
what would have been right there.
"""

import io
import json
import struct
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rosbags.highlevel import AnyReader

from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.images import fit_picture
from robot_data.importers.assemble import FitConfig, assemble
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.lerobot import LeRobotImporter
from robot_data.importers.rlds import RldsImporter
from robot_data.importers.rosbag import RosbagImporter, TopicConfig
from robot_data.importers.source import SourceEpisode, View, array_view, camera_names
from robot_data.importers.tfrecord import read_example, record_offsets
from robot_data.importers.video import frame_times, frames_by_number, frames_by_time
from robot_data.pictures import picture, read_picture
from robot_data.schema import DataError
from robots.goals import load_goals
from tests import recordings
from tests.conftest import DATA, smooth_images
from tests.recordings import FRANKA_HAND, OPEN_IS_ONE, OURS

CASES = DATA / "cases"


def read(importer, key=None, camera="", size=None):
    source = importer.read(key or importer.keys()[0])
    return assemble(source, FitConfig(camera=camera, image_size=size)), source.notes


# -- topics and joints -----------------------------------------------------------------------


@pytest.mark.parametrize("bag", [
    "a_two_publishers_arm_first", "b_two_publishers_hand_first", "c_order_changes",
    "e_first_message_empty",
])
def test_fingers_are_read_by_name_whoever_publishes_them_in_whatever_order(bag):
    episode, _ = read(RosbagImporter(CASES / "04-joint-order-changes/bags" / bag, FRANKA_HAND))
    assert len(episode) == 20
    np.testing.assert_allclose(episode.states[:, 6], np.linspace(0, 1, 20), atol=1e-6)


def test_raw_joint_states_are_kept_by_the_names_of_their_joints():
    bag = CASES / "04-joint-order-changes/bags/c_order_changes"
    episode, _ = read(RosbagImporter(bag, FRANKA_HAND))
    names = episode.meta["rosbag"]["fields"]["/joint_states"]
    column = names.index("position.fr3_finger_joint1")
    np.testing.assert_allclose(
        episode.raw["joint_states/values"][:, column], 0.04 * np.linspace(1, 0, 20), atol=1e-9
    )


@pytest.mark.parametrize(("bag", "left_out"), [
    ("a_service_events", ["/gripper/enable/_service_event", "cannot be parsed"]),
    ("b_humble_custom_type", ["/lab/arm_state", "lab_msgs/msg/ArmState is not defined"]),
    ("control", []),
])
def test_a_topic_that_nobody_needs_does_not_stop_a_bag(bag, left_out):
    folder = CASES / "10-unrelated-topic-unreadable/bags" / bag
    episode, notes = read(RosbagImporter(folder, FRANKA_HAND))
    assert len(episode) == 20
    assert len(notes) == bool(left_out)
    assert all(text in notes[0] for text in left_out)


@pytest.mark.parametrize(
    "name", ["only_services.mcap", "topics_and_services.mcap", "topics_and_services.db3"]
)
def test_real_bags_with_service_events_are_opened_and_their_topics_named(name):
    root = CASES / "10-unrelated-topic-unreadable/rosbag2_cpp_bags"
    with pytest.raises(DataError, match=r"no image topic; the bag has .*AddTwoInts_Event"):
        RosbagImporter(root / name, FRANKA_HAND).read(name)


def test_channels_of_other_kinds_than_ros_do_not_stop_a_file(tmp_path):
    bag = next(recordings.write_bag(tmp_path / "bag").glob("*.mcap"))
    length = (7).to_bytes(4, "little")
    schema = b"std_msgs/msg/String" + length
    data = bag.read_bytes()
    assert schema + b"ros2msg" in data
    foreign = data.replace(schema + b"ros2msg", b"foxglove/msg/String" + length + b"jsonsch")
    (tmp_path / "foreign.mcap").write_bytes(foreign)
    episode, notes = read(RosbagImporter(tmp_path / "foreign.mcap", FRANKA_HAND))
    assert len(episode) >= 15
    assert any("/note left out: its type foxglove/msg/String is not defined" in n for n in notes)


def test_a_needed_topic_that_cannot_be_read_is_named(tmp_path):
    bag = CASES / "10-unrelated-topic-unreadable/bags/b_humble_custom_type"
    importer = RosbagImporter(bag, FRANKA_HAND, TopicConfig(pose="/lab/arm_state"))
    with pytest.raises(DataError, match=r"/lab/arm_state is not a .*PoseStamped topic"):
        importer.read(importer.keys()[0])


def test_point_clouds_and_arrays_of_bytes_cost_neither_memory_nor_space(tmp_path):
    peaks, kept = [], []
    for clouds in (0, 20):
        bag = recordings.write_bag(tmp_path / str(clouds), clouds=clouds)
        importer = RosbagImporter(bag, FRANKA_HAND)
        tracemalloc.start()
        source = importer.read(importer.keys()[0])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        store = EpisodeStore(tmp_path / f"store{clouds}")
        store.write("e", assemble(source, FitConfig(image_size=64)))
        kept.append(bytes_in(store.root))
    for topic in ("/points", "/blob"):
        assert any(f"{topic} left out" in note and "320" in note for note in source.notes)
    assert kept[0] <= 2 * bytes_in(tmp_path / "0")
    assert kept[1] < kept[0] + 4096  # a note more
    assert peaks[1] - peaks[0] < 20 * 320_000


def bytes_in(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# -- cameras ---------------------------------------------------------------------------------


def messages(bag, topic):
    """Every message of a topic, read by the library alone."""
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        return [
            reader.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages(connections=connections)
        ]


def test_views_whose_names_end_alike_stay_two():
    root = CASES / "19-rlds-same-name/same_last_name"
    importer = RldsImporter(root, OPEN_IS_ONE)
    example = importer.read(importer.keys()[0])
    assert set(example.views) == {"image", "wrist_image"}
    episode, _ = read(importer, camera="image")
    wrist, _ = read(importer, camera="wrist_image")
    path = next(root.iterdir())
    written = read_example(path, record_offsets(path)[0])
    for column, images in (("image", episode.images), ("wrist/image", wrist.images)):
        cells = written[f"steps/observation/{column}"]
        np.testing.assert_array_equal(images, [read_picture(cell) for cell in cells])
    assert np.abs(episode.images.astype(float) - wrist.images).mean() > 50
    np.testing.assert_array_equal(episode.cameras["wrist_image"], wrist.images)
    np.testing.assert_array_equal(wrist.cameras["image"], episode.images)
    with pytest.raises(DataError, match=r"fit\.camera=\.\.\. \(image, wrist_image\)"):
        read(importer)


@pytest.mark.parametrize("first", ["front", "wrist"])
def test_two_cameras_of_a_bag_keep_their_names_in_every_order(first):
    root = CASES / "19-rlds-same-name/bag_two_cameras"
    topics = [f"/{name}/camera/image_raw" for name in ("front", "wrist")]
    order = tuple(sorted(topics, key=lambda topic: first not in topic))
    episode, _ = read(RosbagImporter(root, FRANKA_HAND, TopicConfig(images=order)))
    other = "wrist" if first == "front" else "front"
    assert episode.meta["camera"] == f"{first}_camera"
    assert set(episode.cameras) == {f"{other}_camera"}
    named, _ = read(RosbagImporter(root, FRANKA_HAND, camera=f"{first}_camera"),
                    camera=f"{first}_camera")
    np.testing.assert_array_equal(named.images, episode.images)
    np.testing.assert_array_equal(
        named.cameras[f"{other}_camera"], episode.cameras[f"{other}_camera"]
    )
    for name, images in ((first, named.images), (other, named.cameras[f"{other}_camera"])):
        begun = messages(root, f"/{name}/camera/image_raw")[0]
        np.testing.assert_array_equal(images[0], begun.data.reshape(64, 64, 3))
    assert np.abs(named.images.astype(float) - named.cameras[f"{other}_camera"]).mean() > 5
    only, notes = read(RosbagImporter(root, FRANKA_HAND, TopicConfig(images=order[:1])))
    assert not only.cameras
    assert any(f"/{other}/camera/image_raw" in note for note in notes)
    with pytest.raises(DataError, match=r"front_camera.*wrist_camera"):
        read(RosbagImporter(root, FRANKA_HAND))


def test_camera_names_are_short_and_never_the_same():
    assert camera_names({"a/image": ["image", "a_image"]}) == {"a/image": "image"}
    found = camera_names({
        topic: ["camera", f"{topic}_camera", f"{topic}_camera_raw"] for topic in ("l", "r")
    })
    assert found == {"l": "l_camera", "r": "r_camera"}


def source_of(views, frames=10):
    states = recordings.hand_path(frames)
    return SourceEpisode(states, views)


def test_a_view_that_is_not_the_models_is_left_out_by_name_where_it_is_damaged():
    images = smooth_images(10, 32)

    def torn(rows):
        yield images[0]
        raise OSError("truncated")

    views = {"top": array_view(images), "few": array_view(images[:4])}
    source = source_of(views | {"torn": View(10, torn)})
    episode = assemble(source, FitConfig(camera="top", image_size=None))
    assert not episode.cameras
    assert any("'few' left out: camera 'few' has 4 frames" in note for note in source.notes)
    assert any("'torn' left out: OSError: truncated" in note for note in source.notes)
    with pytest.raises(OSError, match="truncated"):
        assemble(source, FitConfig(camera="torn", image_size=None))


def test_a_second_camera_that_starts_late_does_not_cost_the_first_its_frames():
    pick = np.where(np.arange(10) < 5, -1, np.arange(10))
    images = smooth_images(10, 32)
    late = View(10, lambda rows: (images[i] for i in rows), of_state=pick)
    source = source_of({"top": array_view(images), "late": late})
    assert len(assemble(source, FitConfig(camera="top", image_size=None))) == 10
    assert source.notes == ["camera 'late' left out: no frame for 5 of 10 states"]


def test_what_is_cropped_is_noted():
    wide = np.zeros((10, 48, 64, 3), np.uint8)
    source = source_of({"top": array_view(wide)})
    assert assemble(source, FitConfig(image_size=32)).images.shape == (10, 32, 32, 3)
    assert source.notes == ["camera 'top': 64x48 cropped to the centre square"]


# -- frames ----------------------------------------------------------------------------------


def test_the_frame_of_a_state_is_the_nearest_in_time():
    root = CASES / "18-not-the-nearest-frame/lr3_60"  # 60 fps, states at 10 Hz
    episode, _ = read(LeRobotImporter(root, OPEN_IS_ONE))
    video = next(root.rglob("*.mp4"))
    shown = [frame.mean() for frame in frames_by_time(video, frame_times(video).tolist(), 0.01)]
    levels = episode.images.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, [shown[6 * i] for i in range(20)], atol=1)
    assert abs(shown[1] - shown[0]) > 1.5  # a neighbour would be seen


@pytest.mark.parametrize(("fps", "kept"), [(30, 20), (60, 20), (5, 10)])
def test_v2_videos_of_another_rate_are_matched_by_time(tmp_path, fps, kept):
    root = recordings.write_lerobot_v2(tmp_path / "data", episodes=1)
    levels = np.linspace(20, 230, 2 * fps)
    frames = np.repeat(levels.astype(np.uint8), 64 * 64 * 3).reshape(-1, 64, 64, 3)
    recordings.write_mp4(next(root.rglob("*.mp4")), frames, fps)
    episode, notes = read(LeRobotImporter(root, OPEN_IS_ONE))
    seconds = episode.timestamps_ns / 1e9
    assert len(episode) == kept
    assert any("no frame for 10 of 20" in note for note in notes) == (kept < 20)
    expected = np.interp(seconds, np.arange(2 * fps) / fps, levels)
    off = np.abs(episode.images.mean(axis=(1, 2, 3)) - expected)
    assert off.max() < (levels[1] - levels[0]) / 2 + 2.5


def test_a_video_with_one_frame_a_state_and_a_wrong_rate_is_matched_by_number(tmp_path):
    root = recordings.write_lerobot_v2(tmp_path / "data", episodes=1)
    frames = np.repeat(np.arange(20, 220, 10, np.uint8), 64 * 64 * 3).reshape(20, 64, 64, 3)
    recordings.write_mp4(next(root.rglob("*.mp4")), frames, fps=50)
    episode, notes = read(LeRobotImporter(root, OPEN_IS_ONE))
    np.testing.assert_allclose(episode.images.mean(axis=(1, 2, 3)), np.arange(20, 220, 10), atol=3)
    assert any("frames by number" in note for note in notes)


@pytest.mark.parametrize(("quarters", "matrix"), [
    (0, (1, 0, 0, 1)), (-1, (0, 1, -1, 0)), (1, (0, -1, 1, 0)), (2, (-1, 0, 0, -1)),
])
def test_videos_are_turned_as_they_are_displayed(tmp_path, quarters, matrix):
    image = np.full((64, 64, 3), 40, np.uint8)
    image[:24, :40] = 200
    path = tmp_path / "turned.mp4"
    recordings.write_mp4(path, np.stack([image] * 4), 10)
    data, one = path.read_bytes(), 65536
    a, b, c, d = (value * one for value in matrix)
    plain, turned = (
        struct.pack(">9i", e, f, 0, g, h, 0, 0, 0, 1 << 30)
        for e, f, g, h in ((one, 0, 0, one), (a, b, c, d))
    )
    place = data.index(plain, data.index(b"tkhd"))
    path.write_bytes(data[:place] + turned + data[place + len(turned):])
    for frames in (frames_by_number(path, [2]), frames_by_time(path, [0.2], 0.05)):
        (shown,) = frames
        assert np.abs(shown.astype(int) - np.rot90(image, quarters)).mean() < 3


# -- pictures --------------------------------------------------------------------------------


def coded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_sixteen_bits_are_scaled_and_not_clipped():
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    seen = read_picture(coded(Image.fromarray(values)))
    np.testing.assert_array_equal(seen[:, :, 0], np.round(values / 257).astype(np.uint8))
    np.testing.assert_array_equal(fit_picture(Image.fromarray(values), 64), seen)
    wide = Image.fromarray(values.astype(np.int32))
    np.testing.assert_array_equal(fit_picture(wide, 64), seen)
    with pytest.raises(DataError, match="beyond 16 bits"):
        fit_picture(Image.fromarray(values.astype(np.int32) * 3), 64)
    with pytest.raises(DataError, match="floating-point"):
        fit_picture(Image.fromarray(values.astype(np.float32)), 64)


def test_sixteen_bit_recordings_keep_their_shades():
    folder = CASES / "15-sixteen-bit"
    images, _ = load_goals(str(folder / "grey16.png"), 128)
    deep = np.asarray(Image.open(folder / "grey16.png")).astype(float)
    assert np.abs(images[0][:, :, 0] - deep / 257).max() <= 1
    bag, _ = read(RosbagImporter(folder / "png_16bit_grey", FRANKA_HAND))
    shown = messages(folder / "png_16bit_grey", "/camera/color/image_raw/compressed")
    for image, message in zip(bag.images, shown, strict=True):
        deep = np.asarray(Image.open(io.BytesIO(message.data.tobytes()))).astype(float)
        assert np.abs(image - deep[:, :, None] / 257).mean() <= 1
    assert bag.images.std() > 5
    depth, notes = read(LeRobotImporter(folder / "lerobot_depth16", OPEN_IS_ONE))
    table = pq.read_table(next(folder.rglob("*.parquet")))
    first = table["observation.images.depth"][0].as_py()["bytes"]
    values = np.asarray(Image.open(io.BytesIO(first))).astype(float) / 257
    assert np.abs(depth.images[0, :, :, 0] - values).mean() <= 1
    assert any("16 bits are scaled to 8" in note for note in notes)


@pytest.mark.parametrize("camera", ["", "image"])
def test_a_depth_camera_beside_the_colour_one_is_left_out_with_a_note(camera):
    folder = CASES / "15-sixteen-bit/rlds_depth_png16"
    episode, notes = read(RldsImporter(folder, OPEN_IS_ONE), camera=camera)
    assert episode.meta["camera"] == "image"
    assert not episode.cameras
    assert notes == ["camera 'depth' shows depth, not colour; left out"]


def test_sixteen_bit_messages_are_scaled_in_both_byte_orders():
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE).types
    values = np.array([[0, 257], [2570, 65535]], np.uint16)
    head = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 0), "")
    for big in (0, 1):
        data = values.astype(">u2" if big else "<u2").view(np.uint8).ravel()
        message = types["sensor_msgs/msg/Image"](head, 2, 2, "mono16", big, 4, data)
        np.testing.assert_array_equal(picture(message)[:, :, 0], [[0, 1], [10, 255]])
    short = types["sensor_msgs/msg/Image"](head, 2, 2, "mono16", 0, 4, data[:5])
    with pytest.raises(DataError, match="5 bytes"):
        picture(short)
    depth = types["sensor_msgs/msg/Image"](head, 2, 2, "16UC1", 0, 4, data)
    with pytest.raises(DataError, match="16UC1"):
        picture(depth)


@pytest.mark.parametrize("name", ["exif3.jpg", "exif6.jpg", "exif8.jpg", "really_webp.png"])
def test_goal_photographs_are_turned_as_they_are_displayed(name):
    folder = CASES / "16-goal-orientation/goals"
    with Image.open(folder / "rgb.png") as shown:
        (image,), _ = load_goals(str(folder / name), 128)
        assert np.abs(image.astype(float) - np.asarray(shown)).mean() < 1


@pytest.mark.parametrize(("name", "off"), [
    ("palette.png", 1), ("cmyk.jpg", 0.01), ("half_transparent.png", 0),
])
def test_goals_of_other_modes_have_their_colours_and_hidden_ones_are_told_of(name, off, capsys):
    folder = CASES / "16-goal-orientation/goals"
    (image,), _ = load_goals(str(folder / name), 128)
    with Image.open(folder / "rgb.png") as shown:
        assert np.abs(image.astype(float) - np.asarray(shown)).mean() <= off
    told = capsys.readouterr().err
    assert ("half_transparent.png is transparent in places" in told) == (off == 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied_to_files_bytes_and_pil_images(tmp_path, orientation):
    pixels = smooth_images(1, 32)[0]
    back = {1: [], 2: [1], 3: [0, 1], 4: [0]}
    stored = Image.fromarray(pixels)
    exif = stored.getexif()
    exif[0x0112] = orientation
    turned = read_picture(coded(stored, exif=exif))
    if orientation in back:
        np.testing.assert_array_equal(turned, np.flip(pixels, back[orientation]))
    else:
        expected = {5: pixels.transpose(1, 0, 2), 6: np.rot90(pixels, -1),
                    7: np.rot90(pixels, 2).transpose(1, 0, 2), 8: np.rot90(pixels)}
        np.testing.assert_array_equal(turned, expected[orientation])
    (tmp_path / "goal.png").write_bytes(coded(stored, exif=exif))
    np.testing.assert_array_equal(load_goals(str(tmp_path), 32)[0][0], turned)
    with Image.open(tmp_path / "goal.png") as image:
        np.testing.assert_array_equal(fit_picture(image, 32), turned)


def test_goals_come_in_the_order_of_their_numbers_without_hidden_files(tmp_path):
    folder = CASES / "16-goal-orientation/goals/many"
    assert load_goals(str(folder), 64)[1] == ["goal1", "goal2", "goal10", "goal11"]
    for name in ("b2.PNG", "b10.png", "a.jpg"):
        (tmp_path / name).write_bytes(coded(Image.new("RGB", (8, 8))))
    (tmp_path / "._b2.PNG").write_bytes(b"not a picture")
    (tmp_path / "notes.txt").write_text("not a picture")
    assert load_goals(str(tmp_path), 8)[1] == ["a", "b2", "b10"]
    (tmp_path / "c.HEIC").write_bytes(b"")
    with pytest.raises(ValueError, match=r"c\.HEIC cannot be read"):
        load_goals(str(tmp_path), 8)


@pytest.mark.parametrize("name", ["empty.jpg", "text.png"])
def test_a_goal_that_is_no_picture_is_named(name):
    with pytest.raises(DataError, match=name):
        load_goals(str(CASES / "16-goal-orientation/goals" / name), 64)


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    with pytest.raises(DataError, match="too large"):
        read_picture(coded(Image.new("1", (20000, 20000))))


# -- columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a_joints7", "a2_six_joints_and_gripper"])
def test_joint_angles_are_not_read_as_a_pose(name):
    root = CASES / "13-joint-angles-as-pose" / name
    names = json.loads((root / "meta/info.json").read_text())["features"]["observation.state"]
    importer = LeRobotImporter(root, OPEN_IS_ONE)
    with pytest.raises(DataError, match="joint angles, not a pose") as refused:
        importer.read("episode_000000")
    assert all(text in str(refused.value) for text in names["names"])


def lerobot_named(root, names):
    """A v2.1 dataset whose info.json names the state's entries."""
    return recordings.write_lerobot_v2(root, episodes=1, names=names)


@pytest.mark.parametrize("names", [
    {"motors": [f"joint_{i}" for i in range(6)] + ["gripper"]},
    [*(f"j{i}" for i in range(1, 7)), "gripper.pos"],
    {"axes": [["left_waist", "left_shoulder", "left_elbow"],
              ["left_forearm_roll", "left_wrist_angle", "left_wrist_rotate", "left_gripper"]]},
    {f"fr3_joint{i + 1}": i for i in range(7)},
    ["gripper", *(f"panda_joint{i}" for i in range(1, 7))],
])
def test_joints_are_known_by_every_form_of_names(tmp_path, names):
    with pytest.raises(DataError, match="joint angles, not a pose"):
        LeRobotImporter(lerobot_named(tmp_path / "d", names), OPEN_IS_ONE).read("episode_000000")


@pytest.mark.parametrize("names", [
    None, ["x", "y", "z", "roll", "pitch", "yaw", "gripper"],
    {"motors": [f"motor_{i}" for i in range(7)]},
    ["ee.x", "ee.y", "ee.z", "ee.rx", "ee.ry", "ee.rz", "gripper_openness"],
])
def test_columns_named_as_a_pose_or_not_at_all_are_one(tmp_path, names):
    episode, _ = read(LeRobotImporter(lerobot_named(tmp_path / "d", names), OPEN_IS_ONE))
    np.testing.assert_allclose(episode.states, recordings.hand_path(20), atol=1e-6)


def test_columns_in_another_order_are_refused_and_taken_by_name(tmp_path):
    names = ["gripper", "x", "y", "z", "roll", "pitch", "yaw"]
    root = lerobot_named(tmp_path / "d", names)
    with pytest.raises(DataError, match=r"'gripper' is read as x"):
        LeRobotImporter(root, OPEN_IS_ONE).read("episode_000000")
    columns = ColumnConfig(
        state=("observation.state[x,y,z]", "observation.state[roll,pitch,yaw]",
               "observation.state[gripper]"), command="observation.state[gripper]",
    )
    source = LeRobotImporter(root, StateConvention(), columns).read("episode_000000")
    path = recordings.hand_path(20)
    stored = np.c_[path[:, :6], 1 - path[:, 6]]
    np.testing.assert_allclose(source.states[:, :6], stored[:, 1:], atol=1e-6)
    np.testing.assert_allclose(source.commanded_closedness, stored[:, 0].clip(0), atol=1e-6)
    wrong = ColumnConfig(state=("observation.state",), command="observation.state[roll]")
    with pytest.raises(DataError, match="is 'roll', not the gripper"):
        wrong.commanded({"observation.state": stored}, OURS, {"observation.state": names})
    with pytest.raises(DataError, match=r"names the entries gripper, x"):
        LeRobotImporter(
            root, OURS, ColumnConfig(state=("observation.state[a,b]",))
        ).read("episode_000000")


def test_quaternions_in_the_other_order_are_refused():
    names = ["x", "y", "z", "qw", "qx", "qy", "qz", "gripper"]
    values = np.tile([0.5, 0, 0.3, 0, 1, 0, 0, 0], (4, 1)).astype(float)
    columns = ColumnConfig(state=("state",))
    right = StateConvention(rotation="quaternion_wxyz")
    columns.states({"state": values}, right, {"state": names})
    with pytest.raises(DataError, match=r"'qw' is read as qx"):
        columns.states(
            {"state": values}, StateConvention(rotation="quaternion_xyzw"), {"state": names}
        )


@pytest.mark.parametrize("column", ["robot0_joint_pos", "observation/joint_positions", "qpos"])
def test_a_column_that_is_itself_named_after_joints_is_refused(column):
    columns = ColumnConfig(state=(column,))
    with pytest.raises(DataError, match="joint angles, not a pose"):
        columns.states({column: np.zeros((4, 7))}, OURS)

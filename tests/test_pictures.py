"""Pictures are judged by what is on them: where texts lie, what axes say, what frames show."""

import itertools
import json

import av
import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.text import Text
from PIL import Image
from rerun.chunk import RrdReader

from arm_worldmodel.pictures import imagination, style, video
from arm_worldmodel.pictures.agreement import agreement_figure
from arm_worldmodel.pictures.contact_sheet import contact_sheet
from arm_worldmodel.pictures.curves import COST_BOX, curves_svg
from arm_worldmodel.pictures.diagnosis import diagnosis_figure
from arm_worldmodel.pictures.failures import (
    MOST_OF_A_ROW,
    FailureKeeper,
    forget_failures,
    room_for,
)
from arm_worldmodel.pictures.motion import motion_figure
from arm_worldmodel.pictures.success import failures_figure, success_figure
from arm_worldmodel.pictures.trace import Trace
from robot_data.loop import Decision, Start, Step

LONG = ["above_object", "at_object", "grasped", "lifted", "above_goal", "at_goal", "released",
        "placed"]


def picture(number, side=32):
    """A picture whose brightness tells its number."""
    return np.full((side, side, 3), 20 + 3 * number, np.uint8)


def trace(goals=8, steps=19, own=False, judged=True, success=True, side=32):
    names = [LONG[i % 8] + ("" if i < 8 else f"_{i}") for i in range(goals)]
    index = [i * goals // max(1, steps) for i in range(steps)]
    subgoals = [f"release: phase {i % 9}" for i in range(steps)] if own else [
        names[i] for i in index
    ]
    rng = np.random.default_rng(0)
    far = np.linspace(0.25, 0.005, steps + 1) if judged else np.full(steps + 1, np.nan)
    return Trace(
        "pick_and_place", 50_000_000, 60, [picture(61 + i, side) for i in range(goals)], names,
        [picture(i, side) for i in range(steps + 1)], index, subgoals,
        rng.uniform(0.1, 3, steps).tolist(), rng.uniform(0.1, 5, steps).tolist(), far.tolist(),
        success and judged,
    )


def texts(figure):
    """Every text that is drawn, with its box in pixels."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    hidden = set()
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        span = high - low
        for tick in axis.majorTicks + axis.minorTicks:
            inside = low - 1e-6 * span <= tick.get_loc() <= high + 1e-6 * span
            for label in (tick.label1, tick.label2):
                if not inside or not axis.get_visible() or not axis.axes.axison:
                    hidden.add(label)
    return [
        (t.get_text(), t.get_window_extent(renderer)) for t in figure.findobj(Text)
        if t.get_visible() and t.get_text().strip() and t not in hidden
    ]


def assert_legible(figure):
    """No text lies on another, none leaves the figure."""
    found = texts(figure)
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in found:
        assert box.x0 >= -0.5, text
        assert box.y0 >= -0.5, text
        assert box.x1 <= width + 0.5, text
        assert box.y1 <= height + 0.5, text
    for (a, first), (b, second) in itertools.combinations(found, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        up = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(across, up) <= 1.0, f"'{a}' lies on '{b}'"
    return [text for text, _ in found]


def assert_apart(figure, axes):
    boxes = [axis.get_window_extent() for axis in axes]
    for first, second in itertools.combinations(boxes, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        up = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(across, up) <= 0.5


# -- contact sheet ----------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("goals", "steps"), [(1, 1), (1, 4), (1, 19), (2, 6), (3, 14), (4, 11), (8, 19), (8, 60),
                         (8, 3), (12, 30)],
)
def test_nothing_collides_on_a_contact_sheet(goals, steps, own):
    shown = trace(goals, steps, own)
    figure = contact_sheet(shown)
    found = assert_legible(figure)
    images = [axis for axis in figure.axes if axis.images]
    assert_apart(figure, figure.axes)
    for axis in images:
        box = axis.get_window_extent()
        assert box.width == pytest.approx(box.height, abs=1)
        assert axis.images[0].get_interpolation() == "lanczos"
    assert "pick_and_place, seed 50000000" in found
    assert shown.verdict in found
    assert {"camera", "curves", "goal" if goals == 1 else "goals"} <= set(found)
    assert f"step {steps}, end" in found
    assert sum(axis.images[0].get_array().mean() >= 203 for axis in images) >= goals


def test_a_short_goal_list_leaves_no_hole():
    for goals, steps in ((1, 5), (1, 30), (2, 20), (3, 20), (4, 20), (8, 20)):
        figure = contact_sheet(trace(goals, steps))
        figure.draw_without_rendering()
        boxes = [axis.get_window_extent() for axis in figure.axes if axis.images]
        area = sum(box.width * box.height for box in boxes)
        top = max(box.y1 for box in boxes)
        bottom = min(box.y0 for box in boxes)
        assert area > 0.68 * figure.bbox.width * (top - bottom), (goals, steps)


def test_a_wide_picture_is_not_distorted():
    shown = trace(goals=2, steps=6)
    shown.frames = [np.zeros((48, 64, 3), np.uint8) for _ in shown.frames]
    figure = contact_sheet(shown)
    assert_legible(figure)
    boxes = [axis.get_window_extent() for axis in figure.axes
             if axis.images and axis.images[0].get_array().shape[:2] == (48, 64)]
    assert len(boxes) >= 6
    for box in boxes:
        assert box.width / box.height == pytest.approx(64 / 48, rel=0.01)


def test_curves_have_whole_steps_and_numbered_sub_goals():
    shown = trace(4, 11)
    figure = contact_sheet(shown)
    figure.draw_without_rendering()
    cost, distance = (axis for axis in figure.axes if not axis.images)
    for axis in (cost, distance):
        assert axis.get_xlabel() == "control step"
        ticks = [t for t in axis.get_xticks() if 0 <= t <= 11]
        assert len(ticks) >= 3
        assert all(float(t).is_integer() for t in ticks)
        bands = [text.get_text() for text in axis.texts]
        assert bands == ["1", "2", "3", "4"]
        assert "sub-goal in force" in [t.get_text() for t in axis.get_legend().get_texts()]
    assert cost.get_ylabel() == "cost to the goal image"
    assert distance.get_ylabel() == "distance to the goal [cm]"
    np.testing.assert_allclose(cost.lines[1].get_ydata(), shown.imagined_cost)
    np.testing.assert_allclose(distance.lines[0].get_ydata(), 100 * np.array(shown.distance_m))
    assert distance.lines[1].get_color() == style.GOOD


def test_the_verdict_is_said_in_words_and_colour():
    assert trace().verdict == "success, 0.5 cm from the goal after 19 steps"
    assert trace(success=False).verdict.startswith("no success, 0.5 cm")
    assert trace(judged=False, steps=1).verdict == "not judged, after 1 step"
    for shown, colour in ((trace(), style.GOOD), (trace(success=False), style.BAD),
                          (trace(judged=False), style.UNKNOWN)):
        figure = contact_sheet(shown)
        verdict = next(t for t in figure.texts if t.get_text() == shown.verdict)
        assert verdict.get_bbox_patch().get_facecolor()[:3] == pytest.approx(
            tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        )


def test_what_nobody_measures_is_named():
    shown = trace(judged=False)
    shown.imagined_cost = shown.present_cost = [float("nan")] * shown.steps
    found = assert_legible(contact_sheet(shown))
    assert "this policy imagines nothing" in found
    assert "nobody measures the distance here" in found


# -- films ------------------------------------------------------------------------------------


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, stream.codec_context, float(stream.average_rate)


def test_a_film_shows_camera_and_goal_side_by_side(tmp_path):
    shown = trace(steps=6, side=128)
    video.write_video(tmp_path / "a.mp4", video.shots(shown))
    frames, codec, rate = decode(tmp_path / "a.mp4")
    assert (codec.name, codec.pix_fmt, rate) == ("h264", "yuv420p", video.FPS)
    each, held = round(video.STEP_S * rate), round(video.LAST_S * rate)
    assert len(frames) == each * shown.steps + held
    top = video.TOP_PX + video.CAPTION_PX
    for t in range(shown.steps + 1):
        frame = frames[min(t * each, len(frames) - 1)]
        left = frame[top + 20 : top + 360, video.EDGE_PX + 20 : video.PANE_PX]
        right = frame[top + 20 : top + 360, video.PANE_PX + 2 * video.EDGE_PX + 20 : -40]
        goal = shown.goal_index[min(t, shown.steps - 1)]
        assert left.mean() == pytest.approx(shown.frames[t].mean(), abs=2)
        assert right.mean() == pytest.approx(shown.goals[goal].mean(), abs=2)


def test_the_verdict_is_held_at_the_end(tmp_path):
    shown = trace(steps=3, success=False)
    video.write_video(tmp_path / "a.mp4", video.shots(shown))
    frames, _, rate = decode(tmp_path / "a.mp4")
    last = round(video.LAST_S * rate)
    bad = np.array([int(style.BAD[i : i + 2], 16) for i in (1, 3, 5)])
    marked = [
        bool((np.abs(frame[: video.TOP_PX, 400:].astype(int) - bad).sum(2) < 60).mean() > 0.05)
        for frame in frames
    ]
    assert marked == [False] * (len(frames) - last) + [True] * last


def test_captions_say_step_goal_cost_and_distance():
    shown = trace(steps=4)
    assert shown.goal_label(0) == "goal 1 of 8: above_object"
    step, cost, distance, own = video.facts(shown, 1)
    assert (step, own) == ("step 1 of 4", "")
    assert cost == f"imagined cost {shown.imagined_cost[1]:.2f}"
    assert distance == f"distance {100 * shown.distance_m[1]:.1f} cm"
    assert video.facts(trace(1, 9, own=True), 2)[3] == "release: phase 2"
    assert video.facts(trace(judged=False), 19) == ("step 19 of 19", "", "", "")
    bare = next(iter(video.shots(Trace(**{**shown.__dict__, "goal_names": [""] * 8}))))
    named = next(iter(video.shots(shown)))
    band = slice(video.TOP_PX, video.TOP_PX + video.CAPTION_PX)
    right = slice(video.PANE_PX + 2 * video.EDGE_PX, None)
    assert (named.picture[band, right] < 128).sum() > (bare.picture[band, right] < 128).sum()


def test_a_picture_that_is_not_square_is_shown_whole():
    wide = np.zeros((48, 96, 3), np.uint8)
    wide[:, :48] = 255
    pane = np.asarray(video.fit_pane(wide))
    assert pane.shape == (video.PANE_PX, video.PANE_PX, 3)
    assert pane[192, 5].tolist() == [255, 255, 255]
    assert pane[192, -5].tolist() == [0, 0, 0]
    assert pane[20, 192].tolist() == pane[-20, 192].tolist()  # the ground above and below


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_an_animation_for_a_readme_loops(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    video.write_animation(path, video.shots(trace(steps=3, side=128)), width=320)
    with Image.open(path) as read:
        assert read.n_frames == 4
        assert read.info["loop"] == 0
        assert read.width == 320
        durations = []
        for i in range(4):
            read.seek(i)
            read.load()
            durations.append(read.info["duration"])
    assert durations == [400, 400, 400, 2000]


def test_an_animation_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"written as \.webp or \.gif"):
        video.write_animation(tmp_path / "a.avi", video.shots(trace()))


# -- failures kept ----------------------------------------------------------------------------


def play(watcher, shown, success):
    """Tell a watcher an episode that looks as ``shown``."""
    def seen(t):
        return {"image": shown.frames[t], "state": np.array([0.5, 0, 0.2, 3.14, 0, 0, 0.0])}

    def info(t):
        return {"success": success and t == shown.steps, "distance_m": shown.distance_m[t]}

    watcher.on_start(Start(7, seen(0), info(0), shown.goals, shown.goal_names, 60))
    for t in range(shown.steps):
        decision = Decision(np.zeros(7), goal_index=shown.goal_index[t],
                            cost=shown.imagined_cost[t], present_cost=shown.present_cost[t])
        watcher.on_step(Step(t, seen(t), decision, seen(t + 1), info(t + 1)))
    watcher.on_end()
    return watcher


def test_a_failure_is_kept_with_its_curves(tmp_path):
    shown = trace(steps=3)
    shown.present_cost[1] = float("nan")
    keeper = play(FailureKeeper(tmp_path, "box/reach", "reach"), shown, success=False)
    assert {p.name for p in tmp_path.iterdir()} == {"box-reach-7.rrd"}  # as if broken off here
    keeper.settle()
    assert {p.name for p in tmp_path.iterdir()} == {
        "box-reach-7.mp4", "box-reach-7.json", "box-reach-7.rrd"
    }
    told = json.loads((tmp_path / "box-reach-7.json").read_text())
    assert told["cell"] == "box/reach"
    assert told["present_cost"][1] is None
    again = Trace.of_curves(told)
    assert again.verdict == "no success, 0.5 cm from the goal after 3 steps"
    assert again.phases() == shown.phases()
    np.testing.assert_allclose(again.distance_m, shown.distance_m)
    assert len(decode(tmp_path / told["video"])[0]) == 3 * 4 + 20
    play(FailureKeeper(tmp_path, "box/reach", "reach"), shown, success=True).settle()
    assert list(tmp_path.iterdir()) == []  # run again, it succeeds


def test_a_few_failures_of_each_row_are_kept(tmp_path):
    for seed in range(MOST_OF_A_ROW):
        assert room_for(tmp_path, "my/row")
        (tmp_path / f"my-row-{seed}.json").write_text("{}")
    assert not room_for(tmp_path, "my/row")
    assert room_for(tmp_path, "my")
    (tmp_path / "my-row-two-1.json").write_text("{}")
    forget_failures(tmp_path, "my/row")
    assert [p.name for p in tmp_path.iterdir()] == ["my-row-two-1.json"]


def test_the_cursor_of_a_page_knows_where_time_runs():
    """The boxes that ``curves_svg`` promises are where its axes are."""
    svg = curves_svg(trace()).decode()
    width, height = (float(v) for v in svg.split('viewBox="0 0 ')[1].split('"')[0].split())
    ground = svg.split('id="patch_2"')[1].split('d="M ')[1].split('"')[0].replace("L", "")
    points = np.array(ground.replace("z", "").split(), float).reshape(-1, 2)
    left, bottom, wide, high = COST_BOX
    assert points[:, 0].min() / width == pytest.approx(left, abs=1e-3)
    assert np.ptp(points[:, 0]) / width == pytest.approx(wide, abs=1e-3)
    assert 1 - points[:, 1].max() / height == pytest.approx(bottom, abs=1e-3)
    assert np.ptp(points[:, 1]) / height == pytest.approx(high, abs=1e-3)


# -- figures ----------------------------------------------------------------------------------


def interval(mean, half=0.03):
    return {"mean": mean, "low_95": mean - half, "high_95": mean + half}


def diagnosis(horizon=6, side=9, lowest=(4, 4)):
    i, j = np.mgrid[:side, :side]
    field = 0.01 * np.hypot(i - lowest[0], j - lowest[1])
    fields = np.stack([field, 2 * field, 40 * field])
    summary = {
        "energy_true_action": interval(0.2), "energy_zero_action": interval(0.33),
        "energy_random_actions": interval(0.38), "energy_shuffled_actions": interval(0.35),
        "energy_copy_last_frame": interval(0.34), "rank_among_random": interval(0.03),
    }
    rows = [{"horizon": h + 1, "imagined": interval(0.2 + h / 20),
             "copy_first_frame": interval(0.3 + h / 20)} for h in range(horizon)]
    return diagnosis_figure(fields, 0.075, summary, rows, [0.0, 0.02, 0.04])


@pytest.mark.parametrize("horizon", [1, 6])
def test_a_diagnosis_is_legible_and_shares_its_scale(horizon):
    figure = diagnosis(horizon)
    found = assert_legible(figure)
    assert sum(text.startswith("energy round the recorded action") for text in found) == 1
    assert sum(text.startswith("good: ") for text in found) == 4
    fields = [axis.images[0] for axis in figure.axes if axis.images]
    assert len({image.get_clim() for image in fields}) == 1
    bars = [axis for axis in figure.axes if axis.findobj(QuadMesh)]
    assert len(bars) == 1
    assert_apart(figure, figure.axes)


def test_landscapes_are_centred_on_the_actions_tried():
    figure = diagnosis(lowest=(6, 3))
    axis = next(axis for axis in figure.axes if axis.images)
    left, right, _, _ = axis.images[0].get_extent()
    cell = (right - left) / 9
    assert left + cell / 2 == pytest.approx(-7.5)  # cm, the first action tried
    cross, lowest = axis.lines
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (0, 0)
    assert lowest.get_xdata()[0] == pytest.approx(2 * 1.875)  # along the first axis
    assert lowest.get_ydata()[0] == pytest.approx(-1.875)


def test_one_step_of_drift_is_seen():
    figure = diagnosis(horizon=1)
    axis = next(a for a in figure.axes if a.get_xlabel() == "steps ahead")
    assert axis.get_xticks().tolist() == [1]
    points = [line for line in axis.lines if line.get_marker() == "o"]
    assert [line.get_ydata()[0] for line in points] == pytest.approx([0.3, 0.2])
    low, high = axis.get_xlim()
    assert low < 1 < high


def motion(kinds):
    slope = {axis: interval(0.8) for axis in "xyz"}
    turned = {axis: interval(0.1, 0.2) for axis in ("roll", "pitch", "yaw", "gripper")}
    return {
        "hand": [{"steps": s, "moved_mm": 60.0 + 5 * s, "off_mm": interval(8 + 2 * s, 1),
                  "slope": slope} for s in (1, 3, 5, 8)],
        "turn": [{"steps": 1, "slope": turned}] if kinds is not None else [],
        "object": None if kinds is None else [
            {"kind": kind, "steps": s, "stayed_off_mm": 40.0 + 10 * s, "off_mm": 15.0 + 3 * s,
             "read_off_mm": 13.0} for kind in kinds for s in (1, 3, 5)
        ],
        "readout": {"off_mm": interval(7, 1)},
    }


@pytest.mark.parametrize(
    "kinds", [None, (), ("carried",), ("carried", "released"), ("carried", "released", "pushed")]
)
def test_imagined_motion_is_legible_and_objects_share_their_scale(kinds):
    figure = motion_figure(motion(kinds))
    found = assert_legible(figure)
    panels = len(kinds or ())
    assert sum(text.startswith("good: ") for text in found) == 2 + panels
    objects = [axis for axis in figure.axes if "object off by" in axis.get_ylabel()]
    assert len(objects) == panels
    assert len({axis.get_ylim() for axis in objects}) <= 1
    assert_apart(figure, figure.axes)


@pytest.mark.parametrize("windows", [0, 24])
@pytest.mark.parametrize("episodes", [1, 6, 40])
def test_agreement_has_equal_axes_rotation_and_gripper(windows, episodes):
    rng = np.random.default_rng(1)
    recorded = rng.uniform(-1, 1, (windows, 7)) * [0.07, 0.07, 0.01, 0.1, 0.1, 0.1, 0.7]
    planned = 1.1 * recorded
    surprise = {f"ep-{i:09d}": rng.uniform(0.3, 1.5, 20 + i) for i in range(episodes)}
    figure = agreement_figure(planned, recorded, surprise)
    found = assert_legible(figure)
    scatters = [axis for axis in figure.axes if axis.get_xlabel().startswith("recorded")]
    assert len(scatters) == 5
    for axis in scatters:
        box = axis.get_window_extent()
        assert box.width == pytest.approx(box.height, rel=0.01)
        assert axis.get_xlim() == axis.get_ylim()
    assert len({axis.get_xlim() for axis in scatters[:3]}) == 1  # x, y and z share theirs
    assert {"turn", "gripper (positive: closes)", "about x", "about y", "about z"} <= set(found)
    turned = scatters[3].lines[1:]
    small = np.degrees(recorded[:, 3:6])
    for axis, line in enumerate(turned):
        np.testing.assert_allclose(line.get_xdata(), small[:, axis], atol=0.6)
    image = next(axis for axis in figure.axes if axis.images).images[0]
    table = np.ma.filled(image.get_array(), np.nan)
    assert table.shape == (episodes, 19 + episodes)
    np.testing.assert_allclose(table[0, :20], surprise["ep-000000000"])
    assert np.isnan(table[0, 20:]).all()


def row(name, task, rate, group="mujoco", n=100):
    return {"name": f"{name}/{task}", "group": group, "task": task, "success_rate": rate,
            "wilson_95": (max(0, rate - 0.07), min(1, rate + 0.02)), "episodes": n}


def test_the_success_figure_has_rate_interval_and_count_of_every_cell():
    rows = [row("mujoco/box", "reach", 0.98), row("mujoco/box", "pick_and_place", 0.05, n=20),
            row("camera/+15deg-plain", "reach", 1.0, "turned", 200)]
    found = assert_legible(success_figure(rows))
    for text in ("98", "91-100  n 100", "5", "0-7  n 20", "100", "93-100  n 200", "mujoco",
                 "turned", "mujoco/box", "camera/+15deg-plain", "reach", "pick_and_place"):
        assert text in found, text


def test_where_it_fails_shows_every_failure_once():
    rows = [row("a", "reach", 0.9), row("b", "grasp", 1.0), row("c", "pick_and_place", 0.97)]
    failures = {"a/reach": [(0.05, True)] * 8 + [(0.04, False)] * 2,
                "c/pick_and_place": [(2.5, True), (0.1, True), (0.2, False)]}
    near = {"reach": 0.03, "grasp": 0.0, "pick_and_place": 0.04}
    figure = failures_figure(rows, failures, near)
    found = assert_legible(figure)
    assert "10 of 100" in found
    assert "3 of 100" in found
    axis = figure.axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a/reach", "c/pick_and_place"]
    dots = np.concatenate([line.get_xdata() for line in axis.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(
        sorted(dots), sorted([5.0] * 8 + [4.0] * 2 + [30.0, 10.0, 20.0])
    )
    marks = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "None"]
    assert marks == pytest.approx([3.0, 4.0])
    assert "no failure" in assert_legible(failures_figure([], {}, near))


# -- imagination ------------------------------------------------------------------------------


def roll_out(steps=3):
    def row(base):
        return np.stack([picture(base + i) for i in range(steps + 1)])

    return imagination.RollOut("ep-000000007", 12, row(0), row(20), row(40), row(60))


def test_a_sheet_has_a_row_for_each_kind_and_a_column_for_each_step():
    page = imagination.sheet([imagination.block_of_roll_out(roll_out())] * 3, across=2)
    pane, gap = imagination.PANE_PX, imagination.GAP_PX
    height = imagination.HEADING_PX + imagination.CAPTION_PX + 4 * (pane + gap)
    width = imagination.EDGE_PX + imagination.LABEL_PX + 4 * (pane + gap)
    assert page.shape[:2] == (
        2 * height + imagination.EDGE_PX, 2 * width + imagination.EDGE_PX
    )
    for left in (0, width):  # two blocks beside each other
        for line, base in enumerate((0, 20, 40, 60)):
            for column in range(4):
                y = imagination.HEADING_PX + imagination.CAPTION_PX + line * (pane + gap) + 64
                x = left + imagination.EDGE_PX + imagination.LABEL_PX + column * (pane + gap) + 64
                assert page[y, x, 0] == picture(base + column)[0, 0, 0]
    assert (page[height:, width + imagination.EDGE_PX :] == 255).all()  # there is no fourth


def test_a_film_of_a_roll_out_goes_step_by_step(tmp_path):
    film = list(imagination.film([imagination.block_of_roll_out(roll_out())] * 2))
    assert [shot.seconds for shot in film] == [imagination.STEP_S] * 3 + [imagination.PAUSE_S] + [
        imagination.STEP_S
    ] * 3 + [imagination.PAUSE_S]
    side = imagination.FILM_PANE_PX + imagination.EDGE_PX
    y = imagination.HEADING_PX + imagination.CAPTION_PX + 100
    for t, shot in enumerate(film[:4]):
        shown = [shot.picture[y, imagination.EDGE_PX + i * side + 100, 0] for i in range(4)]
        assert shown == [picture(base + t)[0, 0, 0] for base in (0, 20, 40, 60)]
    video.write_video(tmp_path / "a.mp4", film)
    frames, _, rate = decode(tmp_path / "a.mp4")
    assert len(frames) == 2 * round((3 * imagination.STEP_S + imagination.PAUSE_S) * rate)
    assert frames[0].shape == film[0].picture.shape


def imagined(steps=5):
    shown = trace(goals=2, steps=steps)
    shown.imagined = [{"chosen": picture(20 + t), "rejected": picture(40 + t)}
                      for t in range(steps)]
    return shown


def test_the_film_of_an_episode_shows_what_was_imagined_for_the_same_frame():
    film = list(video.shots(imagined()))
    assert len({shot.picture.shape for shot in film}) == 1
    side = video.PANE_PX + video.EDGE_PX
    y = video.TOP_PX + video.CAPTION_PX + 100
    for t, shot in enumerate(film):
        shown = [int(shot.picture[y, video.EDGE_PX + i * side + 100, 0]) for i in (0, 2, 3)]
        before = [picture(base + t - 1)[0, 0, 0] if t else 255 for base in (20, 40)]
        assert shown == [picture(t)[0, 0, 0], *before]


def test_the_sheet_of_an_episodes_steps_stands_under_what_the_camera_then_saw():
    block = imagination.block_of_steps(imagined(20))
    assert list(block.rows) == [
        "camera, after the step", "imagined: the action taken", "imagined: rejected candidate"
    ]
    assert len(block.captions) == imagination.MOST_COLUMNS
    assert (block.captions[0], block.captions[-1]) == ("step 1", "step 20")
    camera, chosen, rejected = ([int(i[0, 0, 0]) for i in row] for row in block.rows.values())
    assert camera[-1] == picture(20)[0, 0, 0]
    assert (chosen[-1], rejected[-1]) == (picture(39)[0, 0, 0], picture(59)[0, 0, 0])
    with pytest.raises(ValueError, match="no pictures"):
        imagination.block_of_steps(trace())


def test_a_step_in_which_the_agent_stood_still_has_no_rejected_candidate_on_the_sheet():
    stood = imagined(5)
    stood.imagined[0] = {"chosen": picture(20)}  # it searched for nothing
    stood.imagined[3] = {"chosen": picture(23)}
    block = imagination.block_of_steps(stood)
    assert [int(i[0, 0, 0]) for i in block.rows["imagined: rejected candidate"]] == [
        255, picture(41)[0, 0, 0], picture(42)[0, 0, 0], 255, picture(44)[0, 0, 0]
    ]
    stood.imagined = [{"chosen": picture(20 + t)} for t in range(5)]
    assert len(imagination.block_of_steps(stood).rows) == 2


def test_roll_outs_are_laid_out_for_the_viewer(tmp_path):
    imagination.write_rerun(tmp_path / "a.rrd", [roll_out(), roll_out()])
    reader = RrdReader(tmp_path / "a.rrd")
    assert len(reader.blueprints()) == 1
    rows = {}
    for chunk in reader.stream():
        rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
    for number in (0, 1):
        for kind in ("recorded", "decoded", "imagined", "reversed"):
            assert rows[f"/{number}/{kind}"] == 4

"""docs/own-arm.md runs as it is written, on a small set of another arm that a simulator made."""

import json

import mujoco
import numpy as np
import pytest

from robot_data.episodes import EpisodeStore
from tests import recordings
from tests.pages import DOCS, run_page

pytestmark = pytest.mark.slow

FRAMES, RATE = 72, 30.0
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
ARM = """<mujoco><compiler angle="degree"/>
<visual><global offwidth="320" offheight="240"/><quality shadowsize="0" offsamples="0"/></visual>
<default><joint range="-150 150"/><geom rgba=".9 .5 .1 1" type="capsule" size=".02"/></default>
<worldbody><light pos="0 0 2"/><geom type="plane" size="1 1 .1" rgba=".4 .4 .45 1"/>
<camera name="front" pos=".9 0 .5" xyaxes="0 1 0 -.5 0 .87"/>
<camera name="side" pos=".2 -.9 .4" xyaxes="1 0 0 0 .4 .92"/>
<body pos="0 0 .08"><joint name="shoulder_pan" axis="0 0 1"/><geom fromto="0 0 0 0 0 .05"/>
<body pos="0 0 .05"><joint name="shoulder_lift" axis="0 1 0"/><geom fromto="0 0 0 0 0 .15"/>
<body pos="0 0 .15"><joint name="elbow_flex" axis="0 1 0"/><geom fromto="0 0 0 .14 0 0"/>
<body pos=".14 0 0"><joint name="wrist_flex" axis="0 1 0"/><geom fromto="0 0 0 .06 0 0"/>
<body pos=".06 0 0"><joint name="wrist_roll" axis="1 0 0"/><geom fromto="0 0 0 .05 0 0"/>
<site name="gripperframe" pos=".09 0 0"/></body></body></body></body></body>
</worldbody></mujoco>"""


def simulate(model, renderer, episode):
    """Rows [T, 6] (degrees, gripper 0 to 100), pictures of both cameras, hand positions [T, 3]."""
    data, time_s = mujoco.MjData(model), np.arange(FRAMES) / RATE
    degrees = np.stack([
        20 * np.sin(time_s + episode), 15 * np.sin(0.8 * time_s),
        20 * np.cos(1.2 * time_s + episode), 10 * np.sin(time_s), 15 * np.cos(0.7 * time_s),
    ], axis=1)
    rows = np.c_[degrees, 50 + 50 * np.cos(time_s)].astype(np.float32)
    views, hands = {"front": [], "side": []}, []
    for row in rows:
        data.qpos[:] = np.radians(row[:5])
        mujoco.mj_forward(model, data)
        hands.append(data.site("gripperframe").xpos.copy())
        for name, pictures in views.items():
            renderer.update_scene(data, camera=name)
            pictures.append(renderer.render().copy())
    return rows, {name: np.stack(pictures) for name, pictures in views.items()}, np.array(hands)


@pytest.fixture
def hands(tmp_path, monkeypatch):
    """True hand positions of each episode; the data set and the arm's model lie in tmp_path."""
    (tmp_path / "so5.xml").write_text(ARM)
    model = mujoco.MjModel.from_xml_string(ARM)
    with mujoco.Renderer(model, 240, 320) as renderer:
        made = [simulate(model, renderer, episode) for episode in range(4)]
    recordings.write_lerobot_v2(
        tmp_path / "so5_set", episodes=4, rows=np.stack([rows for rows, _, _ in made]),
        names={"motors": [*(f"{joint}.pos" for joint in JOINTS), "gripper.pos"]}, fps=RATE,
        views=lambda episode: made[episode][1],
    )
    monkeypatch.chdir(tmp_path)
    return [path for _, _, path in made]


def test_the_page_leads_from_a_data_set_to_a_number(hands, tmp_path):
    store = EpisodeStore(tmp_path / "data" / "so5")
    assert len(run_page("own-arm.md", store)) == 8
    assert len(store) == 4
    for name, episode in store.episodes():
        assert list(episode.cameras) == ["side"]
        assert episode.meta["camera"] == "front"
        misses = [np.linalg.norm(path[::6] - episode.states[:, :3], axis=1) for path in hands]
        assert min(miss.max() for miss in misses) < 1e-3, name
        assert episode.states[:, 6].min() == pytest.approx(0, abs=0.02)  # 100 is open
    for folder in ("so5-before", "so5-after"):
        report = json.loads((tmp_path / "outputs" / folder / "report.json").read_text())
        assert report["verdict"]["kind"] in (DOCS / "own-arm.md").read_text()
        assert report["verdict"]["text"]

"""The page of results, opened in a browser as a reader would."""

import json
import re
import subprocess

import numpy as np
import pytest
from browser import CHROMIUM, FLAGS, needs_browser
from PIL import Image

from arm_worldmodel.cli import main
from arm_worldmodel.pictures.curves import COST_BOX, DISTANCE_BOX
from arm_worldmodel.pictures.page import MOST_VIDEOS, read_failures, results_page
from arm_worldmodel.pictures.video import STEP_S

DRAWN = ("--window-size=1200,1500", "--virtual-time-budget=8000")


def browse(path, profile, *flags):
    """What the browser says of a page, and its log."""
    done = subprocess.run(
        [CHROMIUM, *FLAGS, *DRAWN, f"--user-data-dir={profile}", *flags, path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )
    return done.stdout, "\n".join(
        line for line in done.stderr.splitlines() if "CONSOLE" in line
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluate")
    assert main([
        "evaluate", "task=reach", "policy=stand_still", "episodes=3", "first_seed=50000000",
        "max_steps=3", "workers=1", f"out={out}",
    ]) == 0
    return out


@needs_browser
def test_the_page_shows_table_films_and_episodes(evaluated, tmp_path):
    dom, log = browse(evaluated / "index.html", tmp_path / "profile", "--dump-dom")
    assert log == ""  # nothing refused, nothing thrown
    report = json.loads((evaluated / "report.json").read_text())
    low, high = report["wilson_95"]
    assert "0 of 3 episodes succeeded" in dom
    assert f"<b>0</b><small>{100 * low:.0f}-{100 * high:.0f}, n 3</small>" in dom
    cards = re.findall(r'<section class="card"[^>]*>', dom)
    assert len(cards) == 3
    assert all('data-video="ready"' in card for card in cards)  # the films were decoded
    rows = re.findall(r"<tr><td>(?:<a href=\"#[^\"]*\">)?(\d+)", dom)
    assert rows == ["50000000", "50000001", "50000002"]
    for episode in report["per_episode"]:
        assert f"{100 * episode['distance_m']:.1f} cm" in dom
    assert not re.search(r'(src|href)="(?!data:|#)', dom)  # needs no other file


@needs_browser
def test_the_page_is_drawn(evaluated, tmp_path):
    shot = tmp_path / "page.png"
    browse(evaluated / "index.html", tmp_path / "profile", f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape[1] == 1200
    verdict = np.abs(pixels - [0xC0, 0x39, 0x2B]).sum(2) < 30
    assert verdict.sum() > 3000  # the verdicts' red ground
    dark = pixels[200:].sum(2) < 150
    assert dark.sum() > 10_000  # frames of the films, and ink
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500


@needs_browser
def test_the_cursor_follows_the_film(evaluated, tmp_path):
    """Two and a half steps into a film, both cursors stand at step 2."""
    seek = (
        "<script>for (const v of document.querySelectorAll('video')) "
        f"{{ Object.defineProperty(v, 'currentTime', {{ value: {2.5 * STEP_S} }}); "
        "v.dispatchEvent(new Event('seeked')); }</script>"
    )
    copy = tmp_path / "seek.html"
    copy.write_text((evaluated / "index.html").read_text().replace("</body>", seek + "</body>"))
    dom, _ = browse(copy, tmp_path / "profile", "--dump-dom")
    places = [float(x) for x in re.findall(r'<i data-left[^>]*style="left: ([\d.]+)%', dom)]
    assert len(places) == 6
    for place, (left, _, width, _) in zip(places, 3 * [COST_BOX, DISTANCE_BOX], strict=True):
        assert place == pytest.approx(100 * (left + width * 2 / 3), abs=0.01)


def test_a_new_run_forgets_the_failures_of_the_last(evaluated):
    kept = evaluated / "failures"
    before = {p.name: p.stat().st_mtime_ns for p in kept.iterdir()}
    assert len(before) == 9  # three films, curves and rerun files
    assert main([
        "evaluate", "task=reach", "policy=stand_still", "episodes=1", "first_seed=50000005",
        "max_steps=3", "workers=1", f"out={evaluated}",
    ]) == 0
    assert len(list(kept.iterdir())) == 3
    assert not before.keys() & {p.name for p in kept.iterdir()}


def page(rows=(), episodes=None, failures=(), plotted=()):
    return results_page("a <b> & c", ["worldmodel", "<x>"], rows, episodes or {}, failures,
                        {"reach": 0.03}, plotted)


def test_names_cannot_become_markup():
    assert "a &lt;b&gt; &amp; c" in page()
    assert "worldmodel &lt;x&gt;" in page()
    assert "<b> &" not in page()


def test_a_row_without_failures_says_so():
    row = {"name": "box/reach", "group": "g", "task": "reach", "success_rate": 1.0,
           "wilson_95": (0.3, 1.0), "episodes": 1, "successes": 1, "planner_seeds": 1,
           "median_distance_m": 0.01, "median_steps": 3.0, "median_plan_seconds": 0.1}
    episode = {"seed": 4, "planner_seed": 0, "success": True, "distance_m": 0.01, "steps": 3,
               "finished": True, "plan_seconds": 0.1}
    written = page([row], {"box/reach": [episode]}, (), [row])
    assert "No episode failed." in written
    assert "Where it fails" not in written
    assert '<td class=yes>yes</td>' in written


def test_a_row_says_what_it_loses_against_the_row_beside_it():
    row = {"name": "box/servo/reach", "group": "box", "task": "reach", "success_rate": 0.25,
           "wilson_95": (0.05, 0.7), "bootstrap_95": (0.01, 0.9), "episodes": 4, "successes": 1,
           "training_seeds": 3, "median_distance_m": 0.01, "median_steps": 3.0,
           "median_plan_seconds": 0.1, "against": "box/planner/reach", "comparison": {
               "pairs": 4, "difference": 0.5, "interval_95": (-0.1, 0.8), "p": 0.5, "p_holm": 1.0}}
    episode = {"cell": "box/servo/reach@b", "seed": 4, "planner_seed": 0, "success": False,
               "distance_m": 0.01, "steps": 3, "finished": True, "plan_seconds": 0.1}
    written = page([row], {"box/servo/reach": [episode]}, (), [row])
    assert "<td>box/planner/reach</td><td class=number>4</td>" in written
    assert "<b>50</b></td><td class=number>-10 to 80</td><td class=number>1.000</td>" in written
    assert "<b>25</b><small>1-90, n 4</small>" in written  # over training seeds, not Wilson's


def test_a_page_takes_films_from_the_rows_in_turn(tmp_path):
    told = {"title": "", "steps": 1, "success": False, "verdict": "", "goal_names": ["g"],
            "goal_index": [0], "subgoals": ["g"], "imagined_cost": [1.0], "present_cost": [1.0],
            "distance_per_step_m": [0.1, 0.1]}
    rows = [f"r{i}" for i in range(20)]
    for row in rows:
        for seed in range(1 if row == "r0" else 6):
            told |= {"cell": row, "seed": seed, "video": f"{row}-{seed}.mp4"}
            (tmp_path / f"{row}-{seed}.json").write_text(json.dumps(told))
    found = read_failures(tmp_path, {row: range(6) for row in rows})
    assert len(found) == MOST_VIDEOS
    counts = [sum(f.cell == row for f in found) for row in rows]
    assert counts[0] == 1
    assert set(counts[1:]) <= {2, 3}
    assert [f.cell for f in found] == sorted((f.cell for f in found), key=rows.index)
    assert all(f.film is None for f in found)
    one = read_failures(tmp_path, {"r3": [4], "r4": []})  # what is not an outcome is not shown
    assert [(f.cell, f.trace.seed) for f in one] == [("r3", 4)]

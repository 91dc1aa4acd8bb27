"""The results of ``worldmodel evaluate`` as one web page that needs no other file."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

from matplotlib.colors import to_hex

from arm_worldmodel.pictures.curves import COST_BOX, DISTANCE_BOX, curves_svg
from arm_worldmodel.pictures.failures import kept_of
from arm_worldmodel.pictures.style import svg
from arm_worldmodel.pictures.success import RATES, failures_figure, split_name
from arm_worldmodel.pictures.trace import Trace
from arm_worldmodel.pictures.video import STEP_S
from arm_worldmodel.table_text import interval_95, probability

MOST_VIDEOS = 48  # on one page, taken from the rows in turn
Row = Mapping[str, Any]  # name, group, task and ``summary`` of its episodes

CSS = """
:root { --ink: #1f2933; --muted: #5f6b7a; --rule: #d5dbe3; --good: #1a7f4b; --bad: #c0392b; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 24px 20px 60px; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 10px; }
p, .muted { color: var(--muted); } p.note { color: var(--bad); font-weight: 600; }
code { font-size: 13px; overflow-wrap: anywhere; }
table { border-collapse: separate; border-spacing: 2px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; padding: 4px 10px; }
td { padding: 4px 10px; white-space: nowrap; }
td small { opacity: .85; margin-left: 8px; } td.number { text-align: right; }
tr.group th { color: var(--muted); padding-top: 12px; }
.scroll { overflow-x: auto; }
.card { border: 1px solid var(--rule); border-radius: 10px; padding: 14px; margin: 0 0 16px; }
.card header { display: flex; justify-content: space-between; gap: 12px; font-weight: 600; }
.card .both { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px;
  align-items: center; margin-top: 10px; }
.verdict { color: #fff; background: var(--bad); border-radius: 6px; padding: 1px 10px; }
video, .curves img { display: block; width: 100%; } video { background: #fff; }
.curves { position: relative; }
.curves i { position: absolute; width: 2px; background: var(--ink); opacity: .55; }
.figure img { max-width: 100%; }
details { border-top: 1px solid var(--rule); padding: 6px 0; } summary { cursor: pointer; }
td.yes { color: var(--good); } td.no { color: var(--bad); font-weight: 600; }
@media (max-width: 760px) { .card .both { grid-template-columns: 1fr; } }
"""

# A cursor follows the film over both panels of its curves.
SCRIPT = """
for (const card of document.querySelectorAll(".card")) {
  const video = card.querySelector("video"), steps = Number(card.dataset.steps);
  if (!video) continue;
  const cursors = [...card.querySelectorAll(".curves i")];
  const follow = () => {
    const step = Math.min(steps, Math.floor(video.currentTime / STEP_S + 1e-6));
    for (const cursor of cursors) {
      const left = Number(cursor.dataset.left), width = Number(cursor.dataset.width);
      cursor.style.left = 100 * (left + width * step / Math.max(1, steps)) + "%";
    }
    if (!video.paused) requestAnimationFrame(follow);
  };
  video.addEventListener("play", follow);
  video.addEventListener("seeked", follow);
  video.addEventListener("loadeddata", () => { card.dataset.video = "ready"; });
  video.addEventListener("error", () => {
    card.dataset.video = "error";
    video.insertAdjacentHTML("afterend", "<p>This browser does not play H.264.</p>");
  });
  if (video.readyState >= 2) card.dataset.video = "ready";
  follow();
}
"""


@dataclass(frozen=True)
class Failure:
    """A kept failure: the row it is of, its curves and the bytes of its film (None: no film)."""

    cell: str
    trace: Trace
    film: bytes | None

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return f"{self.cell}-{self.trace.seed}".replace(" ", "-")


def read_failures(folder: Path, failed: Mapping[str, Collection[int]]) -> list[Failure]:
    """Kept ones of the ``failed`` seeds of each row, at most ``MOST_VIDEOS``, rows in turn; in
    the rows' order."""
    rows = list(failed)
    by_row = [
        [told for path in kept_of(folder, row)
         if (told := json.loads(path.read_text()))["seed"] in failed[row]]
        for row in rows
    ]
    in_turn = [told for turn in zip_longest(*by_row) for told in turn if told is not None]
    chosen = in_turn[:MOST_VIDEOS]
    found = []
    for told in sorted(chosen, key=lambda t: (rows.index(t["cell"]), t["seed"])):
        film = folder / told["video"]
        found.append(Failure(
            told["cell"], Trace.of_curves(told), film.read_bytes() if film.exists() else None
        ))
    return found


def results_page(
    title: str, command: Sequence[str], rows: Sequence[Row],
    episodes: Mapping[str, Sequence[Row]], failures: Sequence[Failure],
    near_m: Mapping[str, float], plotted: Sequence[Row], note: str = "",
) -> str:
    """HTML: table with intervals, where it fails, failures as films with curves, every episode.

    ``rows`` as in the report; ``episodes``: by name of row, seed, planner_seed, success,
    distance_m, steps, finished and plan_seconds of each; ``near_m``: see ``failures_figure``, which
    draws the rows ``plotted``; ``note``: said below the title.
    """
    count = sum(len(found) for found in episodes.values())
    lost = {
        name: [(e["distance_m"], e["finished"]) for e in found if not e["success"]]
        for name, found in episodes.items()
    }
    failed = sum(len(ends) for ends in lost.values())
    shown = [row for row in plotted if lost[row["name"]]]
    where = svg(failures_figure(shown, lost, near_m)) if shown else None
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; " \
        "script-src 'unsafe-inline'"
    script = SCRIPT.replace("STEP_S", repr(STEP_S))
    return "\n".join([
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f"<title>{escape(title)}</title>", f"<style>{CSS}</style>", "</head>", "<body>",
        f"<h1>{escape(title)}</h1>",
        *([f'<p class="note">{escape(note)}</p>'] if note else []),
        f"<p>{count - failed} of {count} episodes succeeded, judged by the simulator on the last "
        f"state. <br><code>{escape(' '.join(command))}</code></p>",
        "<h2>Success</h2>", _table(rows),
        *(["<h2>Where it fails</h2>", f'<div class="figure scroll">{_picture(where)}</div>']
          if where else []),
        "<h2>Failures</h2>", _failures(failures, failed),
        "<h2>Episodes</h2>", *(_episodes(row, episodes[row["name"]], failures) for row in rows),
        f"<script>{script}</script>", "</body>", "</html>", "",
    ])


def _table(rows: Sequence[Row]) -> str:
    """A line for each setting, a column for each task; below, the other figures of each row."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        setting = split_name(row["name"])[0] or row["name"]
        found.setdefault((row["group"], setting), {})[row["task"]] = row
    lines = ['<div class="scroll"><table id="success"><thead><tr><th></th>',
             *(f"<th>{escape(task)}</th>" for task in tasks), "</tr></thead><tbody>"]
    group = ""
    for (of_group, setting), cells in found.items():
        if of_group and of_group != group:
            group = of_group
            lines.append(f'<tr class="group"><th colspan="{len(tasks) + 1}">'
                         f"{escape(group)}</th></tr>")
        lines.append(f"<tr><td>{escape(setting)}</td>")
        lines += [_rate(cells[task]) if task in cells else "<td></td>" for task in tasks]
        lines.append("</tr>")
    lines += ["</tbody></table></div>",
              '<p>Success in %, <small>95 % interval, number of episodes.</small></p>',
              *_comparisons(rows),
              "<details><summary>distances, steps, seconds</summary>",
              '<div class="scroll"><table><thead><tr><th>row</th><th>training seeds</th>'
              "<th>median distance</th><th>median steps</th><th>s per action</th></tr></thead>"
              "<tbody>"]
    for row in rows:
        lines.append(
            f"<tr><td>{escape(row['name'])}</td>"
            f"<td class=number>{row.get('training_seeds', 1)}</td>"
            f"<td class=number>{100 * row['median_distance_m']:.1f} cm</td>"
            f"<td class=number>{row['median_steps']:.0f}</td>"
            f"<td class=number>{row['median_plan_seconds']:.2f}</td></tr>"
        )
    return "\n".join([*lines, "</tbody></table></div></details>"])


def _comparisons(rows: Sequence[Row]) -> list[str]:
    """What rows lose against those that they stand beside."""
    lines = []
    for row in (row for row in rows if "comparison" in row):
        found = row["comparison"]
        low, high = (100 * bound for bound in found["interval_95"])
        lines.append(
            f"<tr><td>{escape(row['name'])}</td><td>{escape(row['against'])}</td>"
            f"<td class=number>{found['pairs']}</td>"
            f"<td class=number><b>{100 * found['difference']:.0f}</b></td>"
            f"<td class=number>{low:.0f} to {high:.0f}</td>"
            f"<td class=number>{probability(found['p_holm'])}</td></tr>"
        )
    if not lines:
        return []
    return [
        "<details open><summary>points less than the row beside it</summary>",
        '<div class="scroll"><table id="comparisons"><thead><tr><th>row</th><th>against</th>'
        "<th>same episodes</th><th>points less</th><th>95 % interval</th><th>p (Holm)</th></tr>"
        "</thead><tbody>", *lines, "</tbody></table></div>",
        "<p>Exact McNemar test; interval of a difference of paired proportions (Newcombe).</p>",
        "</details>",
    ]


def _rate(row: Row) -> str:
    rate = row["success_rate"]
    low, high = interval_95(row)
    ink = "#fff" if rate > 0.72 else "inherit"
    return (
        f'<td style="background: {to_hex(RATES(0.9 * rate))}; color: {ink}">'
        f"<b>{100 * rate:.0f}</b><small>{100 * low:.0f}-{100 * high:.0f}, "
        f"n {row['episodes']}</small></td>"
    )


def _failures(failures: Sequence[Failure], failed: int) -> str:
    if not failed:
        return "<p>No episode failed.</p>"
    lines = [f"<p>{len(failures)} of {failed} failures, a few of each row.</p>"]
    for failure in failures:
        trace = failure.trace
        cursors = "".join(
            f'<i data-left="{left}" data-width="{width}" style="left: {100 * left}%; '
            f'bottom: {100 * bottom}%; height: {100 * height}%"></i>'
            for left, bottom, width, height in (COST_BOX, DISTANCE_BOX)
        )
        film = "<p>no film was kept</p>" if failure.film is None else (
            '<video controls muted loop playsinline preload="auto" '
            f'src="data:video/mp4;base64,{b64encode(failure.film).decode()}"></video>'
        )
        lines.append(
            f'<section class="card" id="{escape(failure.anchor)}" data-steps="{trace.steps}">'
            f"<header><span>{escape(failure.cell)}, seed {trace.seed}</span>"
            f'<span class="verdict">{escape(trace.verdict)}</span></header>'
            f'<div class="both">{film}<div class="curves">{_picture(curves_svg(trace))}'
            f"{cursors}</div></div></section>"
        )
    return "\n".join(lines)


def _episodes(row: Row, episodes: Sequence[Row], failures: Sequence[Failure]) -> str:
    shown = {(f.cell, f.trace.seed): f.anchor for f in failures}
    lines = [
        f"<details{' open' if len(episodes) <= 20 else ''}><summary>{escape(row['name'])}: "
        f"{row['successes']} of {row['episodes']}</summary>",
        '<div class="scroll"><table class="episodes"><thead><tr><th>seed</th><th>planner seed</th>'
        "<th>success</th><th>distance</th><th>steps</th><th>said it was done</th>"
        "<th>s per action</th></tr></thead><tbody>",
    ]
    for e in sorted(episodes, key=lambda e: (e["seed"], e["planner_seed"])):
        anchor = shown.get((e.get("cell", row["name"]), e["seed"]))
        seed = f'<a href="#{escape(anchor)}">{e["seed"]}</a>' if anchor else str(e["seed"])
        word = "yes" if e["success"] else "no"
        lines.append(
            f"<tr><td>{seed}</td><td class=number>{e['planner_seed']}</td>"
            f"<td class={word}>{word}</td><td class=number>{100 * e['distance_m']:.1f} cm</td>"
            f"<td class=number>{e['steps']}</td><td>{'yes' if e['finished'] else 'no'}</td>"
            f"<td class=number>{e['plan_seconds']:.2f}</td></tr>"
        )
    return "\n".join([*lines, "</tbody></table></div></details>"])


def _picture(data: bytes) -> str:
    return f'<img alt="" src="data:image/svg+xml;base64,{b64encode(data).decode()}">'

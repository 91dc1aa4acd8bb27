"""``bench field``: record, train, play, and what came of it as a table; each done once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from arm_worldmodel.report import write_report
from benchmarks.field_environments import ENVIRONMENTS
from benchmarks.field_rows import ROWS, Row, Trained, trained
from benchmarks.field_world import FieldWorld, play
from benchmarks.settings import FieldSettings
from robot_data.differences import differences
from robot_data.files import replacing

DATA_SEED = 0  # of the recordings to train on; those of the manifest have another
MAY_GROW = ("rows", "seeds", "out")  # settings that the same folder may be given anew


def measure(settings: FieldSettings) -> dict[str, Any]:
    """Make every row that is missing, and write the table of all."""
    chosen = _rows(settings)
    world = ENVIRONMENTS[settings.world]
    halves = {half: pairs[: settings.starts] for half, pairs in world.halves().items()}
    if any(len(pairs) < settings.starts for pairs in halves.values()):
        raise ValueError(f"starts={settings.starts}; the list has 50 of each half")
    out = Path(settings.out)
    _require_same(out, settings, world)
    data = out / world.data
    if not data.exists() or data.is_dir():  # a store goes on where it was interrupted
        began = time.process_time()
        world.record(data, settings.episodes, settings.model.image_size, DATA_SEED)
        print(f"recorded {settings.episodes} episodes in {time.process_time() - began:.0f} s")
    for row in chosen:
        for seed in settings.seeds if ROWS[row].kind else settings.seeds[:1]:
            for half, pairs in halves.items():
                path = _cell(out, row, seed, half)
                if not path.is_file():
                    _play(path, ROWS[row], seed, pairs, settings, data)
    report = {"rows": told(out, settings), "settings": asdict(settings)}
    write_report(settings.out, report)
    text = table(report["rows"], world.unit)
    (out / "table.md").write_text(text)
    print(text)
    return report


def _rows(settings: FieldSettings) -> list[str]:
    unknown = [name for name in settings.rows if name not in ROWS]
    if unknown:
        raise ValueError(f"rows {unknown} are unknown; valid: {', '.join(ROWS)}")
    alone = ENVIRONMENTS[settings.world].scripted is None
    if alone and "scripted" in settings.rows:
        raise ValueError(f"world={settings.world} has no policy of its own: no row 'scripted'")
    return list(settings.rows or (name for name in ROWS if name != "scripted" or not alone))


def _require_same(out: Path, settings: FieldSettings, world: FieldWorld) -> None:
    """Note the settings; raises ``ValueError`` where those of before were others."""
    path = out / "settings.json"
    told = {k: v for k, v in asdict(settings).items() if k not in MAY_GROW}
    now = json.loads(json.dumps({**told, "starts": of_starts(world)}))
    if path.is_file():
        found = differences(json.loads(path.read_text()), now)
        if found:
            raise ValueError(f"{out} holds a run with {'; '.join(found)}: choose another out=")
        return
    out.mkdir(parents=True, exist_ok=True)
    with replacing(path) as staged:
        staged.write_text(json.dumps(now, indent=1))


def of_starts(world: FieldWorld) -> str:
    """A hash of its episodes."""
    return hashlib.sha256(json.dumps(world.halves()).encode()).hexdigest()


def _cell(out: Path, row: str, seed: int, half: str) -> Path:
    return out / "episodes" / f"{row.replace(', ', '-').replace(' ', '-')}-{seed}-{half}.json"


def _play(
    path: Path, row: Row, seed: int, pairs: Sequence[Any], settings: FieldSettings, data: Path
) -> None:
    """Train what a row needs, play its episodes of a half, and keep them."""
    made = (
        trained(row.kind, seed, settings, data) if row.kind else Trained(None, settings.model, {})
    )
    policy, world = row.policy(made, settings, seed), ENVIRONMENTS[settings.world]
    played, seconds = play(world, policy, pairs, settings.model.image_size)
    found = {
        "episodes": [asdict(p) for p in played], "training": made.took, "cpu_s_per_step": seconds,
        "steps_per_plan": row.blocks * settings.model.frame_skip,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as staged:
        staged.write_text(json.dumps(found))
    print(f"{path.stem}: {sum(p.success for p in played)} of {len(played)}", flush=True)


def told(out: Path, settings: FieldSettings) -> list[dict[str, Any]]:
    """Of every row and half that has been played: success in % by training seed, and times."""
    rows = []
    for row in ROWS:
        for half in ENVIRONMENTS[settings.world].halves():
            paths = [_cell(out, row, seed, half) for seed in settings.seeds]
            cells = [json.loads(path.read_text()) for path in paths if path.is_file()]
            if not cells:
                continue
            share = {
                name: [100 * float(np.mean([e[name] for e in cell["episodes"]])) for cell in cells]
                for name in ("success", "reached")
            }
            far = [e["distance"] for cell in cells for e in cell["episodes"]]
            step = float(np.mean([cell["cpu_s_per_step"] for cell in cells]))
            training = [cell["training"] for cell in cells if cell["training"]]
            rows.append({
                "row": row, "half": half, "episodes": len(far), **share,
                "median_distance": float(np.median(far)), "cpu_s_per_step": step,
                "cpu_s_per_plan": step * cells[0]["steps_per_plan"],
                "training_cpu_s": [t.get("cpu_s") for t in training],
                "training_steps": [t["steps"] for t in training],
                "parameters": training[0].get("parameters") if training else None,
            })
    return rows


def table(rows: Sequence[dict[str, Any]], unit: str) -> str:
    """The rows as Markdown; ``unit``: of their distances."""
    lines = [
        "| row | half | success at the end, % (by training seed) | at the goal at any time, % | "
        f"median distance, {unit} | CPU s a plan | CPU s a control step |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        seeds = ", ".join(f"{value:.0f}" for value in r["success"])
        lines.append(
            f"| {r['row']} | {r['half']} | {np.mean(r['success']):.0f} ({seeds}) | "
            f"{np.mean(r['reached']):.0f} | {r['median_distance']:.0f} | "
            f"{r['cpu_s_per_plan']:.3f} | {r['cpu_s_per_step']:.4f} |"
        )
    return "\n".join(lines) + "\n"

"""Figures and rerun files of recorded episodes: what was recorded, or imported, to look at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Draw frames, hand path, height and gripper of some episodes of a store."""

    data: str  # store of episodes
    episodes: int = 4  # how many, spread evenly over the store
    out: str = "outputs/data/show"  # folder of NAME.png and NAME.rrd of each


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; raises ``DataError`` for a store without episodes."""
    import numpy as np

    from arm_worldmodel.dataset import Dataset
    from arm_worldmodel.report import write_report
    from robot_data.recording import viewer
    from robot_data.view import write_view
    from worldmodel.progress import Progress

    if settings.episodes < 1:
        raise ValueError(f"episodes={settings.episodes}; show at least 1")
    dataset, out = Dataset(settings.data), Path(settings.out)
    count = min(settings.episodes, len(dataset))
    rows = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    names = [dataset.names[row] for row in rows]
    out.mkdir(parents=True, exist_ok=True)
    for name in Progress(names, desc="draw", unit="episode"):
        dataset.figure(name).savefig(out / f"{name}.png")
        write_view(out / f"{name}.rrd", dataset[name])
    report = {"episodes": names, "settings": asdict(settings)}
    write_report(out, report)
    print(f"{count} of {len(dataset)} episodes drawn: {out}/*.png\nview: "
          f"{viewer(out / f'{names[0]}.rrd')}")
    return report

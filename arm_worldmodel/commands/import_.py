"""Bring recordings of other formats into a store."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from arm_worldmodel.importing import import_all
from arm_worldmodel.report import write_report
from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.importers import hub
from robot_data.importers.assemble import FitConfig
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.droid import DroidImporter
from robot_data.importers.identity import Identity
from robot_data.importers.lerobot import SIDECAR, LeRobotImporter
from robot_data.importers.memory import MOST_MB
from robot_data.importers.npz import NpzImporter
from robot_data.importers.rlds import RldsImporter
from robot_data.importers.rosbag import RosbagImporter, TopicConfig
from robot_data.importers.run import Import, Imported, require_source
from robot_data.importers.source import Importer
from robot_data.importers.swm import SwmImporter
from robot_data.importers.umi import UmiImporter
from robot_data.kinematics import Kinematics, KinematicsConfig
from robot_data.layout import Codec
from robot_data.schema import DataError
from worldmodel.progress import Progress

# Formats that say themselves how they write a state; the others must be told.
KNOWN = {
    "droid": StateConvention(),
    "npz": StateConvention(),
    "rosbag": StateConvention(gripper="width", max_width_m=0.08),  # finger joints of a Franka hand
}


@dataclass(frozen=True)
class Settings:
    """Bring recorded episodes of another format into a store.

    droid: raw folders.  lerobot: v2.0 to v3.0.  rosbag: rosbag2 folders and .mcap files.  rlds:
    TFRecord files.  npz: the V-JEPA 2 example's layout.  umi: diffusion_policy zarr.  swm: HDF5 and
    Lance of stable-worldmodel, where they hold an arm.
    """

    # how the recordings are stored
    format: Literal["droid", "lerobot", "rosbag", "rlds", "npz", "umi", "swm"]
    src: str  # file or folder of the recordings, or hf://datasets/owner/name[@revision], then /path
    out: str  # store to write into
    codec: Codec = "jpeg"  # how images are stored: JPEG for cameras, raw for simulation
    licence: str = ""  # licence of the data, kept with every episode
    episodes: int | None = None  # most episodes to import; null: all
    # processes that read episodes; null: all cores, and fewer where there are few episodes
    workers: int | None = None
    memory_mb: int = MOST_MB  # most memory for reading one episode, in each process [MiB]
    convention: StateConvention | None = None
    columns: ColumnConfig | None = None
    topics: TopicConfig = field(default_factory=TopicConfig)
    kinematics: KinematicsConfig = field(default_factory=KinematicsConfig)
    fit: FitConfig = field(default_factory=FitConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        why = f"format={self.format} "
        found = {}
        if self.format in ("droid", "npz", "rosbag"):
            found["columns"] = why + "has no table of columns"
        if self.format != "rosbag":
            found["topics"] = why + "has no topics"
        else:
            found["convention.position"] = why + "has poses in metres"
            found["convention.rotation"] = why + "has quaternions"
        if self.kinematics.model and self.format not in ("droid", "npz"):
            found |= dict.fromkeys(
                ("convention.position", "convention.rotation", "topics.pose", "topics.frame"),
                "the pose is computed from joints",
            )
        if self.format in ("droid", "npz"):
            found["kinematics"] = why + "holds poses"
        if self.format not in ("rosbag", "droid"):
            found["fit.max_offset_s"] = why + "matches camera frames by number"
        if self.format in ("lerobot", "rosbag"):
            found["fit.source_hz"] = why + "has timestamps"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns what became of each recording; raises ``DataError`` if there is none."""
    began = time.monotonic()
    for name, value in (("workers", settings.workers), ("memory_mb", settings.memory_mb)):
        if value is not None and value < 1:
            raise ValueError(f"{name}={value}; expected at least 1")
    source = settings
    if settings.src.startswith(hub.PREFIX):
        source = replace(settings, src=str(hub.fetch(settings.src)))
    job = job_of(source)
    keys = job.keys()[: settings.episodes]
    if not keys:
        raise DataError(f"no {settings.format} episodes under {settings.src}")
    outcomes: list[Imported] = []
    runs = import_all(job, keys, settings.workers, bring, source)
    for outcome in Progress(runs, total=len(keys), desc="import", unit="episode"):
        outcomes.append(outcome)
        if outcome.reason:
            Progress.write(f"{outcome.status} {outcome.key}: {outcome.reason}")
    place = {key: number for number, key in enumerate(keys)}
    outcomes.sort(key=lambda outcome: place[outcome.key])
    counts = Counter(outcome.status for outcome in outcomes)
    report = {
        **{status: counts[status] for status in ("imported", "held", "skipped")},
        "frames": sum(outcome.frames for outcome in outcomes),
        "episodes": [asdict(outcome) for outcome in outcomes],
        "seconds": time.monotonic() - began, "settings": asdict(settings),
    }
    path = write_report(settings.out, report, "import-report.json")
    noted = sum(bool(outcome.notes) for outcome in outcomes)
    differ = sum(outcome.status == "held" and bool(outcome.reason) for outcome in outcomes)
    there = f"{counts['held']} already there" + (f" ({differ} of them differ)" if differ else "")
    print(
        f"{counts['imported']} imported, {there}, "
        f"{counts['skipped']} skipped, {noted} with notes: {settings.out}; report: {path}"
    )
    if counts["skipped"] == len(outcomes):
        raise DataError(f"no episode could be read; the first: {outcomes[0].reason}")
    return report


def bring(work: tuple[Settings, Identity]) -> Imported:
    """Read and commit one episode, in a worker."""
    settings, identity = work
    return _kept_job(settings).bring(identity)


@lru_cache(maxsize=1)
def _kept_job(settings: Settings) -> Import:
    return job_of(settings)


def job_of(settings: Settings) -> Import:
    """What the settings name; raises ``DataError`` where a convention has to be named."""
    store = EpisodeStore(settings.out, settings.codec)
    return Import(
        make_importer(settings), settings.format, store, settings.fit, settings.licence,
        settings.memory_mb,
    )


def make_importer(settings: Settings) -> Importer:
    """The importer of ``format``; raises ``DataError`` where a convention has to be named."""
    root = require_source(settings.src)
    convention = settings.convention or KNOWN.get(settings.format)
    if settings.format == "lerobot" and (root / SIDECAR).is_dir():
        convention = StateConvention()  # our own export
    if convention is None:
        raise DataError(
            f"{settings.format} does not say how it writes rotation and gripper; name them, for "
            "example convention.rotation=euler_xyz convention.gripper=openness (1 = open)"
        )
    if settings.format == "droid":
        return DroidImporter(root, convention)
    if settings.format == "npz":
        return NpzImporter(root, convention)
    arm = Kinematics(settings.kinematics) if settings.kinematics.model else None
    if settings.format == "rosbag":
        return RosbagImporter(root, convention, settings.topics, arm, settings.fit.camera)
    kind = {
        "lerobot": LeRobotImporter, "rlds": RldsImporter, "swm": SwmImporter, "umi": UmiImporter,
    }[settings.format]
    return kind(root, convention, settings.columns, arm)



"""Cards: what weights or a store of episodes are, as a hub shows them (README.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import DatasetCardData, ModelCardData

from robot_data.checks import Finding
from robot_data.schema import STATE_FIELDS
from worldmodel import hub
from worldmodel.checkpoint import described
from worldmodel.models import LEWM, Models

WHAT = {
    "encoder": "V-JEPA 2 video encoder",
    "predictor": "action-conditioned predictor of the encoder's latents (V-JEPA 2-AC)",
    "readout": "reads the commanded robot state from an image's latents",
    "subgoals": "predicts the next gripper event on the way to a goal image",
    "inverse_dynamics": "predicts the next action towards a goal image (behaviour cloning)",
    "decoder": "makes pictures of latents, to look at",
    LEWM: "LeWorldModel: sees and imagines, in latents of one token",
}
INSTALL = (
    "```bash", "pip install .  # in a checkout of arm-worldmodel; there is no release on PyPI yet",
)


def model_card(models: Models, folder: Path | None, repository: str, licence: str) -> str:
    """Markdown with the hub's metadata; what a README.md and the report of `worldmodel train` in
    ``folder`` say goes in."""
    about = ModelCardData(
        license=licence or None, library_name="arm-worldmodel", pipeline_tag="robotics",
        tags=["robotics", "world-model", *(["v-jepa-2"] if models.has("encoder") else [])],
    )
    what = []
    if models.has("encoder"):
        what.append(f"encoder `{models.encoder_hash}`, {_images(models.image_size)}")
    if models.has(LEWM):
        what.append(f"LeWorldModel, {_images(models.lewm.config.image_size)}")
    plan = f"worldmodel plan checkpoint=hf://{repository}"
    plans = [plan] if models.has("predictor") and models.has("readout") else []
    if models.has(LEWM) and models.lewm.config.action_size == len(STATE_FIELDS):
        plans.append(f"{plan} world_model=lewm")
    rows = []
    for name, part in models.parts.items():
        found = described(part)
        sizes = ", ".join(f"{k} {v}" for k, v in found["config"].items())
        rows.append(f"| `{name}` | {WHAT[name]} | {found['parameters'] / 1e6:.2f} M | {sizes} |")
    lines = [
        f"# {repository}", "",
        f"Weights of a latent world model for robot arms: {'; '.join(what)}.", "",
        *INSTALL,
        f"worldmodel info checkpoint=hf://{repository}",
        *plans, "```", "",
        "| part | what it is | parameters | sizes |", "| --- | --- | --- | --- |", *rows, "",
        *_figures(folder, LEWM if list(models.parts) == [LEWM] else "predictor"),
        *_own_words(folder),
    ]
    return _card(about.to_yaml(), lines)


def _images(side: int) -> str:
    return f"images of {side}x{side} pixels"


def push_model(
    models: Models, repository: str, licence: str = "", private: bool = False,
    folder: Path | None = None,
) -> tuple[str, str]:
    """Send weights to ``owner/name``, as they are in ``folder``, where they are in one of ours, or
    else as ``models`` holds them; returns the card and the address.  Raises ``CheckpointError``
    where the hub refuses."""
    card = model_card(models, folder, repository, licence)
    with TemporaryDirectory() as staged:
        if folder is None:
            models.save(staged)
        address = hub.upload(
            repository, "model", folder or staged, card,
            [f"{part}.safetensors" for part in models.parts], private,
        )
    return card, address


def _figures(folder: Path | None, judged: str) -> list[str]:
    """Validation figures that training left beside the weights; ``judged``: the part that those
    under "validation" are of."""
    path = folder / "report.json" if folder else None
    if path is None or not path.is_file():
        return []
    report = json.loads(path.read_text())
    rows = [
        f"| {part} | {name} | {value:.4g} |"
        for part, key in ((judged, "validation"), ("readout", "readout"),
                          ("subgoals", "subgoals"), ("inverse_dynamics", "inverse_dynamics"),
                          ("decoder", "decoder"))
        for name, value in (report.get(key) or {}).items() if isinstance(value, int | float)
    ]
    if not rows:
        return []
    return ["## Validation", "", "| part | figure | value |", "| --- | --- | --- |", *rows, ""]


def _own_words(folder: Path | None) -> list[str]:
    path = folder / "README.md" if folder else None
    if path is None or not path.is_file():
        return []
    text = path.read_text()
    if text.startswith("---\n"):  # metadata of its own: the card has new ones
        text = text.split("---\n", 2)[-1]
    return [text.strip(), ""]


def data_card(
    report: dict[str, Any], findings: Sequence[Finding], repository: str, licence: str
) -> str:
    """Markdown with the hub's metadata; ``report`` is that of ``robot_data.summary.Summary``."""
    about = DatasetCardData(
        license=licence or None, task_categories=["robotics"],
        tags=["robotics", "arm-worldmodel"],
    )
    rates = ", ".join(f"{rate:.3g}" for rate in report["rate_hz"]) or "not stated"
    facts = [
        f"| {key.replace('_', ' ')} | {', '.join(f'{k} ({n})' for k, n in report[key].items())} |"
        for key in ("image_sizes", "cameras", "sources", "licences")
    ]
    ranges = [
        f"| {kind} {name} | " + " | ".join(f"{s[k]:.4g}" for k in ("min", "mean", "std", "max"))
        + " |"
        for kind in ("state", "move") for name, s in report[kind].items()
    ]
    lines = [
        f"# {repository}", "",
        f"{report['episodes']} episodes of a robot arm, {report['frames']} frames, "
        f"{report['hours']:.2f} hours. States are x, y, z [m], roll, pitch, yaw [rad, extrinsic "
        "xyz] of the hand in the base frame, and closedness of the gripper (0 open, 1 closed); "
        "moves are the changes between frames.", "",
        *INSTALL,
        f"worldmodel data info data=hf://datasets/{repository}", "```", "",
        "| | |", "| --- | --- |", f"| rate [Hz], least and greatest | {rates} |", *facts,
        f"| warnings of `worldmodel data check` | {len(findings)} |", "",
        "| | least | mean | deviation | greatest |", "| --- | --- | --- | --- | --- |", *ranges,
        "",
    ]
    return _card(about.to_yaml(), lines)


def lerobot_card(info: dict[str, Any], repository: str, licence: str) -> str:
    """Markdown with the hub's metadata; ``info`` is that of ``meta/info.json``."""
    about = DatasetCardData(
        license=licence or None, task_categories=["robotics"], tags=["LeRobot", "arm-worldmodel"],
        configs=[{"config_name": "default", "data_files": "data/*/*.parquet"}],
    )
    lines = [
        f"# {repository}", "",
        f"{info['total_episodes']} episodes of a robot arm, {info['total_frames']} frames at "
        f"{info['fps']:g} Hz, in the layout {info['codebase_version']} of LeRobot. States are x, "
        "y, z [m], roll, pitch, yaw [rad, extrinsic xyz] of the hand in the base frame, and "
        "closedness of the gripper (0 open, 1 closed).", "",
        *INSTALL,
        f"worldmodel import format=lerobot src=hf://datasets/{repository} out=store", "```", "",
    ]
    return _card(about.to_yaml(), lines)


def _card(metadata: str, lines: Sequence[str]) -> str:
    return f"---\n{metadata.strip()}\n---\n\n" + "\n".join(lines)

"""Send weights or episodes to a hub, with a card that says what they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Send weights, with a model card, or a store of episodes, with a data card, to a hub.

    HF_ENDPOINT names the hub and HF_TOKEN the account (or `hf auth login`).  Weights come back with
    checkpoint=hf://owner/name, episodes with data=hf://datasets/owner/name.
    """

    to: str  # owner/name of the repository; it is made if there is none
    checkpoint: str = ""  # weights to send, of any source; this or data=
    # store of episodes to send, or its export as LeRobot, on this machine; this or checkpoint=
    data: str = ""
    licence: str = ""  # identifier for the card, such as mit; empty: the card says none
    private: bool = False  # whether a new repository can be seen by its owner only
    out: str = "outputs/push"  # card.md and report.json


def run(settings: Settings) -> dict[str, Any]:
    """Returns the address; raises ``ValueError`` for both or neither of weights and store."""
    if bool(settings.checkpoint) == bool(settings.data):
        raise ValueError("give one of checkpoint= (weights) and data= (a store of episodes)")
    from arm_worldmodel.report import write_report

    card, address = _weights(settings) if settings.checkpoint else _store(settings)
    write_report(settings.out, {"to": settings.to, "address": address})
    (Path(settings.out) / "card.md").write_text(card)
    source = f"checkpoint=hf://{settings.to}"
    if settings.data:
        name = "src" if _is_lerobot(settings.data) else "data"
        source = f"{name}=hf://datasets/{settings.to}"
    print(f"pushed to {address}; use it with {source}")
    return {"address": address}


def _weights(settings: Settings) -> tuple[str, str]:
    """Card and address.  A folder of ours goes as it is, other weights as one."""
    from arm_worldmodel.cards import push_model
    from worldmodel.models import Models, find

    models = Models.load(settings.checkpoint, device="cpu")
    kind, folder = find(settings.checkpoint)
    return push_model(
        models, settings.to, settings.licence, settings.private,
        folder if kind == "ours" else None,
    )


def _is_lerobot(data: str) -> bool:
    from robot_data.importers.lerobot import SIDECAR

    return (Path(data) / SIDECAR).is_dir()


def _store(settings: Settings) -> tuple[str, str]:
    from arm_worldmodel.cards import data_card, lerobot_card
    from arm_worldmodel.inspection import inspect_store
    from worldmodel import hub

    if "://" in settings.data:
        raise ValueError(f"data={settings.data} is not on this machine; copy it to a folder first")
    if _is_lerobot(settings.data):
        from robot_data.conventions import StateConvention
        from robot_data.importers.lerobot import LeRobotImporter

        info = LeRobotImporter(Path(settings.data), StateConvention()).info
        card = lerobot_card(info, settings.to, settings.licence)
        address = hub.upload(
            settings.to, "dataset", settings.data, card, private=settings.private,
            tag=info["codebase_version"],
        )
        return card, address
    _, summary, findings = inspect_store(settings.data)
    errors = [f for f in findings if f.level == "error"]
    if errors:
        raise ValueError(
            f"{len(errors)} episodes cannot be used ({errors[0].name}: {errors[0].text}); "
            f"`worldmodel data repair data={settings.data}` moves them aside"
        )
    card = data_card(summary.report(), findings, settings.to, settings.licence)
    address = hub.upload(
        settings.to, "dataset", settings.data, card, private=settings.private
    )
    return card, address

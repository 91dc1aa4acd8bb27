"""Does the model listen to actions: energies, ranks, drift."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arm_worldmodel.config import DiagnosisConfig


@dataclass(frozen=True)
class Settings(DiagnosisConfig):
    """Does the model listen to actions?  Measured on recorded episodes."""

    out: str = "outputs/diagnose"  # folder of the figure and the report
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    # weights: shipped; a folder; Meta's .pt; a Hugging Face folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"


def run(settings: Settings) -> dict[str, Any]:
    """Returns energies, ranks and drift with intervals over episodes."""
    import torch

    from arm_worldmodel.diagnosis import Diagnosis, diagnose_episode
    from arm_worldmodel.encoding import fill_cache
    from arm_worldmodel.imagining import painter_of, write_roll_outs
    from arm_worldmodel.report import write_report
    from worldmodel.models import Models
    from worldmodel.progress import Progress

    models = Models.load(settings.checkpoint, ["predictor"], settings.device)
    predictor = models.predictor.to(torch.bfloat16)  # as it plans
    painter = painter_of(predictor, settings.checkpoint)
    episodes = fill_cache(settings.data, models.encoder).episodes()[: settings.episodes]
    diagnosis = Diagnosis(settings)
    for number, episode in enumerate(Progress(episodes, desc="diagnose", unit="episode")):
        diagnosis.add(diagnose_episode(predictor, episode, settings, number))
    report = {**diagnosis.report(), "settings": asdict(settings)}
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    diagnosis.draw(out / "diagnose.png")
    if painter is not None:
        write_roll_outs(out, painter, settings.data, episodes, settings.horizon)
    path = write_report(out, report)
    print(diagnosis.table())
    print(f"figures: {out}/*.png  report: {path}")
    return report

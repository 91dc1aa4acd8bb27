"""Does the model listen to actions, and where does it imagine hand and object."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arm_worldmodel.config import DiagnosisConfig


@dataclass(frozen=True)
class Settings(DiagnosisConfig):
    """Does the model listen to actions, and are hand and object where it imagines them?  Measured
    on recorded episodes; with ``banks``, whether it prefers the best actions, in the simulator.
    """

    out: str = "outputs/diagnose"  # folder of the figure and the report
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    # weights: shipped; a folder; Meta's .pt; a Hugging Face folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"
    # episodes of the simulator in which candidate actions are judged by what they really lead to,
    # 8 s each; 0: none
    banks: int = 0


def run(settings: Settings) -> dict[str, Any]:
    """Returns energies, ranks, drift, imagined motion and regret with intervals over episodes, and
    the verdict on them; raises ``ValueError`` for a negative number of banks."""
    if settings.banks < 0:
        raise ValueError(f"banks={settings.banks}; expected 0 (none) or a number of episodes")


    from arm_worldmodel.diagnosis import Diagnosis, diagnose_episode
    from arm_worldmodel.encoding import fill_cache
    from arm_worldmodel.imagining import painter_of, write_roll_outs
    from arm_worldmodel.motion import measure_motion
    from arm_worldmodel.report import write_report
    from worldmodel.device import computing_dtype, copied, device_of
    from worldmodel.models import Models
    from worldmodel.progress import Progress

    models = Models.load(settings.checkpoint, None, settings.device)
    dtype = computing_dtype(None, device_of(models.predictor))
    predictor = copied(models.predictor, dtype)  # as it plans
    painter = painter_of(predictor, settings.checkpoint)
    cached = fill_cache(settings.data, models.encoder).episodes()[: settings.episodes]
    episodes = [episode.before_parked() for episode in cached]
    diagnosis = Diagnosis(settings)
    for number, episode in enumerate(Progress(episodes, desc="diagnose", unit="episode")):
        diagnosis.add(diagnose_episode(predictor, episode, settings, number))
    if models.has("readout"):
        diagnosis.motion = measure_motion(predictor, models.readout, episodes, settings.seed)
    if settings.banks:
        from arm_worldmodel.candidate_bank import measure_regret

        diagnosis.regret = measure_regret(models, settings.banks, settings.seed)
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

"""What the figures of ``worldmodel diagnose`` mean: does the model listen, does it know the arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Figure = Mapping[str, float]  # mean and, over several episodes, low_95 and high_95
CHANCE = 0.5  # rank of the true action among random ones for a model that ignores actions


@dataclass(frozen=True)
class Verdict:
    """``kind`` and the sentence that says why and what to do."""

    kind: Literal["deaf", "unknown arm", "usable"]
    text: str


def judge(summary: Mapping[str, Figure]) -> Verdict:
    """The verdict on figures of ``diagnosis``: ``rank_among_random``, ``energy_true_action``,
    ``energy_zero_action`` and ``energy_copy_last_frame``.

    deaf: the true action ranks no better than chance among random ones.  unknown arm: the model
    listens, but its imagination of the true action is no nearer to what was recorded than that of
    no action, or than the last frame.  usable: neither.
    """
    rank = summary["rank_among_random"]
    true, none, copy = (
        summary[f"energy_{name}"]["mean"]
        for name in ("true_action", "zero_action", "copy_last_frame")
    )
    if rank.get("high_95", rank["mean"]) >= CHANCE:
        return Verdict(
            "deaf",
            f"{rank['mean']:.0%} of random actions beat the true one (chance: {CHANCE:.0%}): the "
            "model does not listen to actions here.  Train the predictor on recordings of this arm",
        )
    if true >= min(none, copy):
        better = "no action" if none <= copy else "the last frame"
        return Verdict(
            "unknown arm",
            f"the true action explains the next image worse than {better} does ({true:.3f} "
            f"against {min(none, copy):.3f}): the model does not know this arm or this camera.  "
            "Fine-tune it on recordings (worldmodel train start_from=...)",
        )
    return Verdict(
        "usable",
        f"the true action explains the next image better than no action ({true:.3f} against "
        f"{none:.3f}), and {rank['mean']:.1%} of random actions beat it",
    )

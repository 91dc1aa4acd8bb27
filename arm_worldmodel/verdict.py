"""What the figures of ``worldmodel diagnose`` mean: which part of a model to trust, which to train.

A threshold is passed where the whole 95 % interval is beyond it; docs/diagnosis.md explains each
figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal, NamedTuple

Figure = Mapping[str, float]  # mean and, over several episodes, low_95 and high_95
Kind = Literal[
    "deaf", "unknown arm", "imprecise", "unknown object", "leaves objects behind",
    "drags objects along", "misjudges", "usable",
]

CHANCE = 0.5  # rank of the true action among random ones for a model that ignores actions
# A planner that trusts a model of slope s moves 1 / s times as far as it should, and what is left
# of the way after a step is |1 - 1 / s| of it: below a half it grows.
LEAST_SLOPE = 0.5
# A two-finger gripper 85 mm wide leaves 20 mm on either side of an object of 45 mm: a hand farther
# off than that closes beside it.
MOST_OFF_MM = 20.0
# Half of the way of a carried object: nearer to where it goes than to where it was.  A released
# one that goes half of the hand's way is nearer to the hand.
LEAST_FOLLOWED, MOST_DRAGGED = 0.5, 0.5
MOST_REGRET = 0.5  # of a random choice's: half-way from the best action to chance

TRAIN = "worldmodel train start_from=CHECKPOINT data=STORE out=DIR"
RECOVER = (
    "Train the predictor further, with the recovery loss "
    f"({TRAIN} parts=[predictor] losses.recovery_weight=0.3)"
)
RECOVER_OBJECT = (
    "Train the predictor further, with the recovery loss, on recordings that grasp, move and "
    f"release objects ({TRAIN} parts=[predictor] losses.object_weight=0.3)"
)


@dataclass(frozen=True)
class Verdict:
    """``kind``, the sentence that says why and what to do, and ``notes``: what else is weak, and
    what was not measured."""

    kind: Kind
    text: str
    notes: tuple[str, ...] = ()


def judge(
    summary: Mapping[str, Figure], motion: Mapping[str, Any] | None = None,
    regret: Mapping[str, Any] | None = None,
) -> Verdict:
    """The verdict on the sections ``summary``, ``motion`` and ``regret`` of the report; None: not
    measured.  The first that holds:

    deaf: the true action ranks no better than chance among random ones.  unknown arm: the readout
    is off on real frames; or the imagination of the true action is no nearer to what was recorded
    than that of no action, or than the last frame.  deaf: the imagined hand moves less than half
    as far as the action says.  imprecise: it is off after one step.  unknown object: the readout
    does not see objects move in real frames.  leaves objects behind, drags objects along: carried
    and pushed ones, released ones.  misjudges: the actions of lowest cost are little better than
    random ones.  usable: none of these.
    """
    found = _listens(summary)
    if found is None and motion is not None:
        found = _knows_the_arm(motion)
    found = found or _knows_the_view(summary)
    faults = [found] if found else _faults(motion, regret)
    notes = [f"{fault.kind}: {fault.why}" for fault in faults[1:]]
    notes += _notes(motion, regret)
    if not faults:
        return Verdict("usable", _praise(summary, motion, regret), tuple(notes))
    first = faults[0]
    return Verdict(first.kind, f"{first.why}.  {first.advice}", tuple(notes))


class Fault(NamedTuple):
    """What is wrong, the figures that say so, and what to do."""

    kind: Kind
    why: str
    advice: str


def _faults(motion: Mapping[str, Any] | None, regret: Mapping[str, Any] | None) -> list[Fault]:
    """Of a model that listens and knows the arm, the first to mend first."""
    found = []
    if motion is not None:
        found += [_hand(motion), _object(motion)]
    if regret is not None:
        found.append(_choices(regret))
    return [fault for fault in found if fault is not None]


def _listens(summary: Mapping[str, Figure]) -> Fault | None:
    rank = summary["rank_among_random"]
    if _high(rank) < CHANCE:
        return None
    return Fault(
        "deaf",
        f"{rank['mean']:.0%} of random actions beat the true one (chance: {CHANCE:.0%}): the model "
        "does not listen to actions here",
        f"Train the predictor on recordings of this arm ({TRAIN} parts=[predictor])",
    )


def _knows_the_arm(motion: Mapping[str, Any]) -> Fault | None:
    off = motion["readout"]["off_mm"]
    if _low(off) <= MOST_OFF_MM:
        return None
    return Fault(
        "unknown arm",
        f"the hand read in real frames is {off['mean']:.0f} mm off (at most {MOST_OFF_MM:.0f}): "
        "the model does not know this arm or this camera, and no figure read from it counts",
        "A camera that was moved or turned: worldmodel calibrate.  Else fine-tune on recordings "
        f"({TRAIN})",
    )


def _knows_the_view(summary: Mapping[str, Figure]) -> Fault | None:
    true, none, copy = (
        summary[f"energy_{name}"]["mean"]
        for name in ("true_action", "zero_action", "copy_last_frame")
    )
    if true < min(none, copy):
        return None
    better = "no action" if none <= copy else "the last frame"
    return Fault(
        "unknown arm",
        f"the true action explains the next image worse than {better} does ({true:.3f} "
        f"against {min(none, copy):.3f}): the model does not know this arm or this camera",
        f"Fine-tune it on recordings ({TRAIN})",
    )


def _hand(motion: Mapping[str, Any]) -> Fault | None:
    first = motion["hand"][0]
    slope = first["slope"]
    deaf = [axis for axis in slope if _high(slope[axis]) < LEAST_SLOPE]
    if deaf:
        told = ", ".join(f"{axis} {slope[axis]['mean']:.2f}" for axis in deaf)
        return Fault(
            "deaf",
            f"after {_steps(first)} the imagined hand goes less than {LEAST_SLOPE:.0%} of the way "
            f"that actions say (slopes: {told})",
            RECOVER,
        )
    off = first["off_mm"]
    if _low(off) > MOST_OFF_MM:
        return Fault(
            "imprecise",
            f"the imagined hand is {off['mean']:.0f} mm off after a move of "
            f"{first['moved_mm']:.0f} mm (at most {MOST_OFF_MM:.0f}; "
            f"{motion['readout']['off_mm']['mean']:.0f} in real frames)",
            RECOVER,
        )
    return None


def _object(motion: Mapping[str, Any]) -> Fault | None:
    for row in motion["object"] or ():
        when = f"{row['kind']} objects, {_steps(row)}"
        if row["kind"] == "released":
            if _low(row["dragged"]) > MOST_DRAGGED:
                return Fault(
                    "drags objects along",
                    f"{when}: imagined to go {row['dragged']['mean']:.0%} of the way of the hand "
                    f"that let them go (at most {MOST_DRAGGED:.0%})",
                    RECOVER_OBJECT,
                )
            continue
        if _high(row["follows_read"]) < LEAST_FOLLOWED:
            if row["kind"] == "pushed":
                continue  # a note says so
            return Fault(
                "unknown object",
                f"{when}: read in real frames, they go {row['follows_read']['mean']:.0%} of their "
                "way: the readout does not see these objects",
                f"Train it on recordings that grasp them ({TRAIN} parts=[readout,predictor])",
            )
        if _high(row["follows"]) < LEAST_FOLLOWED:
            return Fault(
                "leaves objects behind",
                f"{when}: imagined to go {row['follows']['mean']:.0%} of their way (at least "
                f"{LEAST_FOLLOWED:.0%}; {row['follows_read']['mean']:.0%} as read in real frames)",
                RECOVER_OBJECT,
            )
    return None


def _choices(regret: Mapping[str, Any]) -> Fault | None:
    found = regret["imagined_choice"]["relative"]
    if _low(found) <= MOST_REGRET:
        return None
    imagined, rendered = found["mean"], regret["rendered_choice"]["relative"]["mean"]
    cost = rendered > MOST_REGRET
    fault = (
        "the cost is at fault: by the true images it is no better" if cost
        else f"the imagination is at fault: by the true images it is {rendered:.0%}"
    )
    return Fault(
        "misjudges",
        f"the action of lowest cost regrets {imagined:.0%} of what a random one does (at most "
        f"{MOST_REGRET:.0%}); {fault}",
        f"Train the {'readout' if cost else 'predictor'} further ({TRAIN})",
    )


def _praise(
    summary: Mapping[str, Figure], motion: Mapping[str, Any] | None,
    regret: Mapping[str, Any] | None,
) -> str:
    true, none = (summary[f"energy_{n}_action"]["mean"] for n in ("true", "zero"))
    parts = [
        f"the true action explains the next image better than no action ({true:.3f} against "
        f"{none:.3f}), and {summary['rank_among_random']['mean']:.1%} of random actions beat it"
    ]
    if motion is not None:
        good = list(takewhile(lambda row: row["off_mm"]["mean"] <= MOST_OFF_MM, motion["hand"]))
        if good:
            parts.append(
                f"the imagined hand is {good[-1]['off_mm']['mean']:.0f} mm off after "
                f"{_steps(good[-1])}"
            )
    ways = {"carried": "follows", "pushed": "follows", "released": "dragged"}
    for kind, way in ways.items():
        rows = [row for row in (motion or {}).get("object") or () if row["kind"] == kind]
        if rows:
            of = "the hand's way" if kind == "released" else "their way"
            parts.append(
                f"{kind} objects go {rows[-1][way]['mean']:.0%} of {of} in {_steps(rows[-1])}"
            )
    if regret is not None:
        parts.append(
            f"the action it prefers is {regret['imagined_choice']['regret_mm']['mean']:.0f} mm "
            "worse than the best"
        )
    return "; ".join(parts)


def _notes(motion: Mapping[str, Any] | None, regret: Mapping[str, Any] | None) -> list[str]:
    found = []
    if motion is None:
        found.append("there is no readout: imagined hands and objects were not measured")
    else:
        turn = motion["turn"][0]["slope"] if motion["turn"] else {}
        weak = [f"{a} {turn[a]['mean']:.2f}" for a in turn if _high(turn[a]) < LEAST_SLOPE]
        if weak:
            found.append(
                f"turns and gripper are heard too little (slopes: {', '.join(weak)}; at least "
                f"{LEAST_SLOPE})"
            )
        if motion["object"] is None:
            found.append(
                "the readout reads no object, so objects were not measured; train it further "
                f"({TRAIN} parts=[readout] readout.object=true)"
            )
        found += [
            f"the readout does not see pushed objects move ({_steps(row)})"
            for row in motion["object"] or ()
            if row["kind"] == "pushed" and _high(row["follows_read"]) < LEAST_FOLLOWED
        ]
    if regret is None:
        found.append("choices were not measured: worldmodel diagnose banks=6 does, simulated")
    return found


def _steps(row: Mapping[str, Any]) -> str:
    return f"{row['steps']} step{'s' if row['steps'] > 1 else ''}"


def _low(figure: Figure) -> float:
    return figure.get("low_95", figure["mean"])


def _high(figure: Figure) -> float:
    return figure.get("high_95", figure["mean"])

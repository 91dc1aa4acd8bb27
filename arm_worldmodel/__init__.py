"""Goal-image planning for robot arms with a latent world model.

    import arm_worldmodel as awm

    model = awm.load("shipped")
    agent = awm.Agent(model, planner=awm.CEM(samples=200))
    result = awm.run(awm.make("reach", object="cup"), agent, episodes=5)

A name is imported when it is first used: ``import arm_worldmodel`` loads neither torch nor a
simulator.  ``worldmodel`` is the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arm_worldmodel.dataset import Dataset as Dataset
    from arm_worldmodel.model import Model as Model
    from arm_worldmodel.model import load as load
    from arm_worldmodel.running import Result as Result
    from arm_worldmodel.running import run as run
    from planners.config import CEMConfig as CEM
    from robot_data.loop import Decision as Decision
    from robot_data.schema import Episode as Episode
    from sims.make import make as make

# name: where it is, and what it is called there
_PLACES = {
    "CEM": ("planners.config", "CEMConfig"),
    "Dataset": ("arm_worldmodel.dataset", "Dataset"),
    "Decision": ("robot_data.loop", "Decision"),
    "Episode": ("robot_data.schema", "Episode"),
    "Model": ("arm_worldmodel.model", "Model"),
    "Result": ("arm_worldmodel.running", "Result"),
    "load": ("arm_worldmodel.model", "load"),
    "make": ("sims.make", "make"),
    "run": ("arm_worldmodel.running", "run"),
}

__all__ = ["CEM", "Dataset", "Decision", "Episode", "Model", "Result", "load", "make", "run"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("arm-worldmodel")
    if name not in _PLACES:
        raise AttributeError(f"module 'arm_worldmodel' has no attribute '{name}'")
    module, there = _PLACES[name]
    value = getattr(import_module(module), there)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

"""Does the model prefer the actions that are best?  A bank of candidates in states of simulated
episodes, each judged as imagined and by what the simulator makes of it.

The regret of the best elite follows success where the rank correlation over all candidates does
not (AD-WM, 2609.30264).  Letters: S candidates, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arm_worldmodel.motion import by_episode, ratio
from arm_worldmodel.running import FIRST_SEED
from planners.cem import CEM
from planners.config import AgentConfig, EmbeddingConfig, ObjectiveConfig
from planners.load import planning_parts
from planners.objective import Cost
from planners.oracle import simulate
from planners.perception import Perception, View
from robot_data.pose import rotation
from sims.arm import Arm
from sims.config import ArmConfig
from sims.make import arm_for, make_env
from sims.waypoints import Waypoint, waypoint_action, waypoint_reached
from worldmodel.device import to_host
from worldmodel.models import Models
from worldmodel.progress import Progress
from worldmodel.rollout import integrate

Array = NDArray[np.float64]

CANDIDATES = 64  # in a state: half uniform, half round the scripted action
NEAR = 0.25  # spread of these, as a share of the largest action
MOST_STEPS = 10  # control steps towards a goal image


@dataclass(frozen=True)
class Bank:
    """Candidates [S] in one state of an episode: cost as imagined, cost of the image that really
    follows, and true distance to the goal then [m]; ``now_m``: the distance before."""

    episode: int
    goal: str
    imagined: Array
    rendered: Array
    distance_m: Array
    now_m: float


def agent_config(models: Models) -> AgentConfig:
    """A planner that judges by latents alone: hand, gripper and object as the readout reads them,
    or, where it reads no object, the tokens' L1."""
    reads = models.has("readout") and models.readout.config.object
    return AgentConfig(objective=ObjectiveConfig("embedding" if reads else "l1"))


def measure_regret(models: Models, episodes: int, seed: int) -> dict[str, Any]:
    """Section ``regret`` of the report, over as many episodes of the simulator."""
    config = agent_config(models)
    env = make_env("mujoco", arm_for(ArmConfig(), "pick_and_place", models.image_size))
    try:
        banks = [
            bank for number in Progress(range(episodes), desc="candidate banks", unit="episode")
            for bank in banks_of_episode(env, models, config, FIRST_SEED + number, seed)
        ]
    finally:
        env.close()
    return {"distance": config.objective.distance, **regret_figures(banks, config.cem.elites)}


def banks_of_episode(
    env: Arm, models: Models, config: AgentConfig, episode_seed: int, seed: int
) -> Iterator[Bank]:
    """One bank for each goal image, in the state in which the one before was reached."""
    readout = models.readout if models.has("readout") else None
    perception, goals, search = planning_parts(models.encoder, models.predictor, readout, config)
    observation, info = env.reset(seed=episode_seed)
    goals.reset(info["subgoal_images"])
    search.reset(seed)
    rng = np.random.default_rng([seed, episode_seed])
    for index, name in enumerate(info["subgoal_names"]):
        goal = env.subgoal_states[index]
        towards = Waypoint(name, goal[:7], MOST_STEPS)
        scripted = waypoint_action(towards, env.state, env.commanded)
        actions = candidates(scripted, config, rng)
        view = perception.view(observation)
        cost = goals.towards(goals[index])
        imagined = to_host(search.outcomes.cost(cost, view, actions))
        rendered, distance = _outcomes(env, perception, cost, view, actions, goal)
        yield Bank(
            episode_seed, name, imagined.double().numpy(), rendered, distance,
            distance_m(outcome(env), goal),
        )
        for _ in range(MOST_STEPS):
            env.advance(waypoint_action(towards, env.state, env.commanded))
            if waypoint_reached(towards, env.state, env.commanded):
                break
        observation = {"image": env.camera_image("exo"), "state": env.state}


def candidates(
    scripted: Array, config: AgentConfig, rng: np.random.Generator
) -> torch.Tensor:
    """Actions [S, 1, 7]: uniform ones, those round the scripted action [7], it and none."""
    limit = np.array(config.cem.limit)
    far = rng.uniform(-limit, limit, (CANDIDATES // 2, 7))
    near = scripted + NEAR * limit * rng.normal(size=(CANDIDATES // 2 - 2, 7))
    drawn = np.concatenate([far, near, scripted[None], np.zeros((1, 7))])
    return CEM(config.cem).bounded(torch.from_numpy(drawn).float())[:, None]


@torch.inference_mode()
def _outcomes(
    env: Arm, perception: Perception, cost: Cost, view: View, actions: torch.Tensor, goal: Array
) -> tuple[Array, Array]:
    """Costs of the images that really follow, and true distances [m], [S] each."""
    images, distances = [], []
    for _ in simulate(env, actions):
        images.append(env.camera_image("exo"))
        distances.append(distance_m(outcome(env), goal))
    tokens = perception.encode(torch.from_numpy(np.stack(images)).to(perception.device))
    found = cost(tokens, integrate(view.state, actions.to(view.state.device)))
    return to_host(found).double().numpy(), np.array(distances)


def outcome(env: Arm) -> Array:
    """Hand pose [6], commanded closedness and place of the object: [10], as a goal's state."""
    return np.r_[env.state[:6], env.commanded[6], env.object_pose[:3]]


def distance_m(here: Array, goal: Array) -> float:
    """Distance of states [10] in the planner's embedding, by the true numbers [m]."""
    c = EmbeddingConfig()
    turn = rotation(np.stack([here[:7], goal[:7]])).as_matrix()[:, :, :2]
    return float(np.linalg.norm(np.r_[
        here[:3] - goal[:3], c.turn_m * (turn[0] - turn[1]).ravel(),
        c.grip_m * (here[6] - goal[6]), here[7:] - goal[7:],
    ]))


# -- regret -------------------------------------------------------------------------------------


def regret_figures(banks: list[Bank], elites: int) -> dict[str, Any]:
    """Of the choice of lowest cost, and of the best of the ``elites`` of lowest cost: how much
    farther from the goal they truly end than the best candidate does [mm], and that as a share of
    what a random choice costs (0: the best, 1: chance), in all and by goal image.
    ``imagined``: by imagination; ``rendered``: by the images that really follow, so what is left is
    the cost's."""
    of = np.array([bank.episode for bank in banks]) - FIRST_SEED
    best = np.array([bank.distance_m.min() for bank in banks])
    found: dict[str, Any] = {
        "banks": len(banks), "candidates": CANDIDATES, "elites": elites,
        "now_mm": by_episode(1000 * np.array([b.now_m for b in banks]), of),
        "best_mm": by_episode(1000 * best, of),
    }
    goals = np.array([bank.goal for bank in banks])
    for name in ("imagined", "rendered"):
        for title, count in (("choice", 1), ("elite", elites)):
            taken = np.array([
                least_of_cheapest(getattr(b, name), b.distance_m, count) for b in banks
            ])
            chance = np.array([least_of_random(b.distance_m, count) for b in banks])
            found[f"{name}_{title}"] = {
                "regret_mm": by_episode(1000 * (taken - best), of),
                "relative": ratio(taken - best, chance - best, of),
                "by_goal": {
                    goal: ratio((taken - best)[goals == goal], (chance - best)[goals == goal],
                                of[goals == goal])
                    for goal in dict.fromkeys(goals.tolist())  # in the order of an episode
                },
            }
    return found


def least_of_random(distance: Array, count: int) -> float:
    """Mean, over all choices of ``count`` of distances [S], of the least one."""
    ordered, size = np.sort(distance), len(distance)
    weights = [comb(size - 1 - i, count - 1) / comb(size, count) for i in range(size)]
    return float(ordered @ weights)


def least_of_cheapest(cost: Array, distance: Array, count: int) -> float:
    """Least distance among the ``count`` candidates of lowest cost [S]; the mean over all ways to
    break ties, so that a model for which all are equal is at chance."""
    last = np.sort(cost)[count - 1]
    sure, tied = cost < last, cost == last
    least = distance[sure].min(initial=np.inf)
    return least_of_random(np.minimum(distance[tied], least), count - int(sure.sum()))

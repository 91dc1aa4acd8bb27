"""The pictures of planned episodes, planned anew: that of ``make demo``, for README and the site's
first page, and a way past a wall.

    python tools/docs/animation.py    # writes docs/pick_and_place.webp, reach_around.webp and .png
"""

from __future__ import annotations

from pathlib import Path

from arm_worldmodel.pictures.contact_sheet import write_contact_sheet
from arm_worldmodel.pictures.trace import Trace
from arm_worldmodel.pictures.video import shots, write_animation
from planners.config import PolicyConfig
from planners.load import image_size, make_agent
from robot_data.loop import run_episode
from sims.config import ArmConfig
from sims.make import arm_for, make_env
from sims.tasks import MAX_STEPS

EPISODES = {"pick_and_place": PolicyConfig(), "reach_around": PolicyConfig(goal="single")}
SEED = 100_000
DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    """Plan each episode and write both files; raises ``SystemExit`` if it does not succeed."""
    for task, policy in EPISODES.items():
        trace = Trace(task)
        env = make_env("mujoco", arm_for(ArmConfig(), task, image_size(policy)))
        try:
            run_episode(env, make_agent(policy), SEED, MAX_STEPS[task], policy.goal, [trace])
        finally:
            env.close()
        write_animation(DOCS / f"{task}.webp", shots(trace))
        write_contact_sheet(DOCS / f"{task}.png", trace)
        print(f"{trace.heading}: {trace.verdict}")
        if not trace.success:
            raise SystemExit("the episode failed; the pictures show it")


if __name__ == "__main__":
    main()

"""Train a predictor and a readout on two recorded episodes, and plan with them.

Too little to be any good: the same lines with more episodes and without steps= make real weights
(docs/train.md says what they cost).
"""

import sys

import arm_worldmodel as awm
from arm_worldmodel.cli import main


def worldmodel(*words: str) -> None:
    """A command of the command line."""
    if main(words):
        sys.exit(f"worldmodel {words[0]} failed")


if __name__ == "__main__":  # the workers of collect import this file, too
    folder = sys.argv[1] if len(sys.argv) > 1 else "outputs/examples/tiny"
    worldmodel("collect", f"out={folder}/data", "episodes=2", "workers=1")
    worldmodel(
        "train", f"data={folder}/data", f"out={folder}/weights", "parts=[predictor,readout]",
        "train.steps=4", "train.batch_size=8", "train.warmup_steps=1", "readout_train.steps=4",
    )
    model = awm.load(f"{folder}/weights")
    print(model)
    env = awm.make("reach", max_episode_steps=2)
    agent = awm.Agent(model, planner=awm.CEM(samples=24, iterations=2), goal="subgoals")
    print(awm.run(env, agent, episodes=1))

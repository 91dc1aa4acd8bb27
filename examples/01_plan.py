"""Plan an episode of pick-and-place from one goal image, and keep its film.

The model finds sub-goals of its own on the way to the goal image.
"""

import sys

import arm_worldmodel as awm

episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 1
env = awm.make("pick_and_place", object="cup")
agent = awm.Agent(awm.load("shipped"), planner=awm.CEM(samples=32))
result = awm.run(env, agent, episodes=episodes, goals="single")
print(result)
print(result.video("outputs/examples/plan.mp4"))

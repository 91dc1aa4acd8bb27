"""The whole door in twenty lines: weights of any source, two pictures, a cost of your own."""

import sys

import arm_worldmodel as awm

model = awm.load(sys.argv[1] if len(sys.argv) > 1 else "shipped", device="auto")
env = awm.make("reach", object="cup", max_episode_steps=3)
observation, info = env.reset(seed=50_000_000)
now, state, goal = observation["image"], observation["state"], info["goal_image"]  # any size

latents = model.encode([now, goal])  # [2, N, D]
future = model.imagine(now, state, actions=[[0.05, 0, 0, 0, 0, 0, 0]] * 2)
print(model, latents.shape, future.latents.shape, sep="\n")

def mine(tokens, states, goal):  # [S, N, D], [S, 7] -> [S]
    return (tokens - goal.tokens).abs().mean((1, 2))

agent = awm.Agent(model, planner=awm.CEM(samples=24, iterations=2), cost=mine)
agent.reset([goal], seed=0)
step = agent.act({"image": now, "state": state})
print(step.action, step.cost, step.candidates, sep="\n")
print(awm.run(env, agent, episodes=1))

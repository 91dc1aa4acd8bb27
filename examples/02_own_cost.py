"""Plan by a cost of your own: tokens as in V-JEPA 2-AC, and a fine for being low over the table."""

import arm_worldmodel as awm


def careful(tokens, states, goal):
    """Imagined tokens [S, N, D] and hand states [S, 7] (m, rad, robot base frame) -> cost [S]."""
    low = (0.12 - states[:, 2]).clamp(min=0)  # metres below 12 cm
    return awm.token_distance(tokens, states, goal) + 5.0 * low


env = awm.make("reach", max_episode_steps=4)
agent = awm.Agent(awm.load("shipped"), planner=awm.CEM(samples=32, iterations=2), cost=careful)
print(awm.run(env, agent, episodes=1))

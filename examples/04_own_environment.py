"""Plan in an environment of your own: any gymnasium.Env with pictures and hand states.

Here the world is a bright square, the hand, on a black table, seen from above.
"""

import gymnasium
import numpy as np

import arm_worldmodel as awm

START = np.array([0.45, -0.1, 0.2, np.pi, 0, 0, 0])  # x, y, z [m], roll, pitch, yaw [rad], closed
GOAL = np.array([0.50, 0.0, 0.2, np.pi, 0, 0, 0])


class Square(gymnasium.Env):
    """Observation {"image": uint8 [H, W, 3], "state": float64 [7]}, action float64 [7]."""

    observation_space = gymnasium.spaces.Dict({
        "image": gymnasium.spaces.Box(0, 255, (128, 128, 3), np.uint8),
        "state": gymnasium.spaces.Box(-np.inf, np.inf, (7,), np.float64),
    })
    action_space = gymnasium.spaces.Box(-1, 1, (7,), np.float64)

    def reset(self, *, seed=None, options=None):
        """The info of reset has the goal image."""
        super().reset(seed=seed)
        self.state = START.copy()
        return self.look(), {"goal_image": picture(GOAL), **self.judge()}

    def step(self, action):
        """Every info has success and distance_m."""
        self.state[:3] += action[:3]
        info = self.judge()
        return self.look(), float(info["success"]), info["success"], False, info

    def look(self):
        """The present observation."""
        return {"image": picture(self.state), "state": self.state.copy()}

    def judge(self):
        """False and NaN would say that nobody judges."""
        distance = float(np.linalg.norm(self.state[:3] - GOAL[:3]))
        return {"success": distance < 0.03, "distance_m": distance}


def picture(state):
    """The table from above, 128 x 128 pixels for 60 x 60 cm."""
    image = np.zeros((128, 128, 3), np.uint8)
    row, column = np.round(((state[:2] - [0.2, -0.3]) / 0.6) * 128).astype(int)
    image[max(0, row - 8) : row + 8, max(0, column - 8) : column + 8] = 255
    return image


def pixels(tokens, states, goal):
    """The shipped model never saw squares: where the hand is to go is said here, in metres."""
    return (states[:, :3] - states.new_tensor(GOAL[:3])).norm(dim=-1)


agent = awm.Agent(awm.load("shipped"), planner=awm.CEM(samples=32, iterations=2), cost=pixels)
print(awm.run(Square(), agent, episodes=1, max_steps=8))

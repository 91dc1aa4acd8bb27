"""Run an agent of your own: anything with reset and act.  This one reads where the hand is in the
goal image and goes there in straight steps; it imagines nothing."""

import numpy as np

import arm_worldmodel as awm
from robot_data import pose


class GoThere:
    """Straight to the pose that the readout reads from the goal image."""

    def __init__(self, model: awm.Model) -> None:
        self.model = model

    def reset(self, goals, seed):
        """Goal images uint8 [H, W, 3] in order, and a seed for what is drawn at random."""
        self.goal = self.model.read(goals[-1])[0].double().cpu().numpy()

    def act(self, observation):
        """An action [7]: changes of x, y, z [m], of orientation [rad] and of closedness."""
        action = pose.diff(observation["state"], self.goal)
        action *= min(1.0, 0.05 / np.linalg.norm(action[:3]))
        return awm.Decision(action=action)


env = awm.make("reach")
print(awm.run(env, GoThere(awm.load("shipped")), episodes=3))

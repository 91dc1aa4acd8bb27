"""What would the planner have done?  Every frame of a recording is shown to it, and its action is
compared with the recorded move; no robot is needed."""

import sys

import arm_worldmodel as awm
from robot_data.episodes import EpisodeStore
from robot_data.recording import EpisodeWriter
from robot_data.replay import ReplayEnv, action_error

folder = sys.argv[1] if len(sys.argv) > 1 else "outputs/examples/recorded"
agent = awm.Agent(awm.load("shipped"), planner=awm.CEM(samples=48, iterations=2), goal="subgoals")
store = EpisodeStore(folder)
if not store.names():  # record an episode; with your own data, `worldmodel import` it
    awm.run(awm.make("reach"), agent, episodes=1,
            watch=lambda seed: [EpisodeWriter(store, f"reach-{seed}", {"task": "reach"})])

print(awm.Dataset(folder))
env = ReplayEnv(store, ahead=1)
for start in range(3):
    observation, info = env.reset(options={"start": start})
    agent.reset([info["goal_image"]])
    decision = agent.act(observation)
    recorded = env.step(decision.action)[-1]["recorded_action"]
    error = action_error(decision.action, recorded)
    print(f"frame {start}: {100 * error['error_m']:.1f} cm from the recorded move, "
          f"cosine {error['cosine']:.2f}")

"""Simulated robot arms behind one ``gymnasium.Env`` contract."""

import os

import gymnasium

from sims import opengl

# Both before MuJoCo and Mesa are loaded.  LP_NUM_THREADS=0 keeps Mesa's software rasteriser on the
# calling thread, so one process uses one core.
NO_PICTURES = opengl.choose()  # why there are none; '': there are
os.environ.setdefault("LP_NUM_THREADS", "0")

# max_episode_steps: of the longest task (``sims.tasks.max_steps``); ``sims.make.make`` knows each.
gymnasium.register(
    id="arm_worldmodel/MujocoArm-v0", entry_point="sims.mujoco_arm:MujocoArm", max_episode_steps=60
)
gymnasium.register(
    id="arm_worldmodel/BulletArm-v0", entry_point="sims.bullet_arm:BulletArm", max_episode_steps=60
)
# as stable-worldmodel's World takes it, which sets the time limit itself
gymnasium.register(id="arm_worldmodel/WorldArm-v0", entry_point="sims.world_arm:WorldArm")

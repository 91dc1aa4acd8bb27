"""What does the model imagine?  Three moves of a simulated arm, as pictures: above what the camera
then saw, below what was imagined from the first picture alone."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import arm_worldmodel as awm

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/examples/imagination")
model = awm.load("shipped")
env = awm.make("pick_and_place")
observation, _ = env.reset(seed=50_000_000)
moves = np.tile([0.0, 0.05, -0.03, 0.0, 0.0, 0.0, 0.0], (3, 1))  # left and down, robot base frame
future = model.imagine(observation["image"], observation["state"], moves)

seen = [observation["image"], *(env.step(move)[0]["image"] for move in moves)]
now = model.decode(model.encode(seen[0]))
imagined = np.concatenate([now, model.decode(future.latents)])
folder.mkdir(parents=True, exist_ok=True)
page = np.vstack([np.hstack(seen), np.hstack(list(imagined))])
Image.fromarray(page).save(folder / "imagination.png")
for step, (real, picture) in enumerate(zip(seen, imagined, strict=True)):
    error = np.abs(real.astype(float) - picture).mean() / 255
    print(f"step {step}: the picture is {100 * error:.1f} % off")
print(folder / "imagination.png")

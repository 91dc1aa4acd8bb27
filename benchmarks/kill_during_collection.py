"""Kill -9 a collection many times; no committed episode may be lost or torn.

Usage: python benchmarks/kill_during_collection.py --trials 200 --out /tmp/kill
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import time

import psutil

from robot_data.episodes import EpisodeStore


def main() -> None:
    """Kill the collection again and again, then read every committed episode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    rng = random.Random(0)
    store = EpisodeStore(arguments.out)
    command = [
        sys.executable, "-m", "arm_worldmodel", "collect", f"out={arguments.out}",
        "episodes=1000000", "collect.frames=6", "workers=2",
    ]
    known: dict[str, int] = {}
    in_flight = torn = lost = 0
    for trial in range(arguments.trials):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        before = len(known)
        while len(store) <= before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.5))
        parent = psutil.Process(process.pid)
        for victim in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()  # SIGKILL
        process.wait()
        names = store.names()
        lost += sum(name not in names for name in known)
        for name in names:
            if name not in known:
                try:
                    known[name] = len(store.read(name))
                except ValueError as error:
                    torn += 1
                    print(f"torn: {error}")
        in_flight += store.remove_staged()
        if trial % 20 == 19 or trial + 1 == arguments.trials:
            print(
                f"{trial + 1} kills: {len(known)} episodes committed, {lost} lost, {torn} torn, "
                f"{in_flight} in flight discarded", flush=True,
            )
    sound = sum(1 for _ in store.episodes())
    print(f"final check: {sound} of {len(known)} committed episodes sound")
    sys.exit(1 if lost or torn or sound != len(known) else 0)


if __name__ == "__main__":
    main()

"""Jobs that take a while.  Workers of a pool import this file, and nothing more for them."""

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Slow:
    """A job that leaves files: who works on it, and that it is done."""

    folder: Path
    number: int


def slowly(job):
    (job.folder / f"{job.number}-{os.getpid()}").touch()
    time.sleep(0.4)
    (job.folder / f"{job.number}-done").touch()
    return job.number

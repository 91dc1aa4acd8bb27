"""Showing things: rich in a notebook, as text elsewhere."""

from __future__ import annotations

import sys
from typing import Any


def display(thing: Any) -> None:
    """Let the notebook that runs this show ``thing``; print it where there is none."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(thing)
        return
    ipython.display.display(thing)

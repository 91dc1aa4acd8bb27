"""``worldmodel robot``: the arm and its side of the bridge."""

"""``worldmodel data``: what a store holds and whether it is sound."""

"""Which seeds are for what.  An episode of the simulator is determined by its seed; recordings to
train on and episodes to judge by must not meet."""

from __future__ import annotations

TEST = range(100_000, 200_000)  # of published tables: nothing is trained, chosen or tuned on them
DEVELOPMENT = range(50_000_000, 60_000_000)  # to choose and tune on; no shipped weights saw them


def require_recordable(seeds: range) -> None:
    """Raises ``ValueError`` where ``seeds`` of recordings are kept for judging what is trained."""
    for kept, what in ((TEST, "the published table's"), (DEVELOPMENT, "for development")):
        if max(seeds.start, kept.start) < min(seeds.stop, kept.stop):
            raise ValueError(
                f"seeds {seeds.start} to {seeds.stop - 1}: {kept.start} to {kept.stop - 1} are "
                f"{what}, and what is trained on them cannot be judged by them; record training "
                "data from first_seed=0 or 1000000, validation data from 2000000"
            )


def require_choosable(seeds: range) -> None:
    """Raises ``ValueError`` where something would be chosen on ``seeds`` of published tables."""
    if max(seeds.start, TEST.start) < min(seeds.stop, TEST.stop):
        raise ValueError(
            f"seeds {seeds.start} to {seeds.stop - 1}: {TEST.start} to {TEST.stop - 1} are the "
            f"published table's, and nothing is chosen on them; add first_seed={DEVELOPMENT.start}"
        )

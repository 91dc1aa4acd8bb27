import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planners.grip import decided_grip, likeliest_grip

PLACES = {"above": (0.5, 0.1, 0.13), "at": (0.5, 0.1, 0.02), "goal": (0.45, -0.1, 0.13)}


def sequence(*steps):
    """States [G, 7] of (place, closedness) pairs."""
    return torch.tensor([[*PLACES[place], np.pi, 0.0, -np.pi / 2, grip] for place, grip in steps])


def test_a_change_that_is_meant_is_large_enough_to_be_made():
    changes = torch.tensor([0.0, 0.04, -0.04, 0.2, -0.22, 0.3, -0.9])
    found = decided_grip(changes, 0.25)
    torch.testing.assert_close(found, torch.tensor([0, 0.04, -0.04, 0.25, -0.25, 0.3, -0.9]))


def test_a_doubtful_picture_is_settled_by_the_next_at_the_same_place():
    grip = likeliest_grip(sequence(("above", 0.01), ("at", 0.98), ("at", 0.99), ("above", 0.99)))
    assert grip.tolist() == [0, 0, 1, 1]
    grip = likeliest_grip(sequence(("above", 0.99), ("at", 0.4), ("at", 0.02), ("above", 0.01)))
    assert grip.tolist() == [1, 1, 0, 0]


def test_a_carried_object_stays_gripped_through_a_doubtful_picture():
    grip = likeliest_grip(sequence(("at", 0.97), ("above", 0.35), ("goal", 0.9)))
    assert grip.tolist() == [1, 1, 1]


def test_the_three_images_of_the_paper_keep_what_they_clearly_show():
    assert likeliest_grip(sequence(("at", 0.95), ("goal", 0.9), ("above", 0.05))).tolist() == [
        1, 1, 0
    ]


def test_two_images_of_one_place_may_agree_where_both_are_clear():
    assert likeliest_grip(sequence(("at", 0.001), ("at", 0.001))).tolist() == [0, 0]
    assert likeliest_grip(sequence(("at", 0.999), ("at", 0.999))).tolist() == [1, 1]


def test_a_hand_that_turned_has_moved():
    states = sequence(("at", 0.9), ("at", 0.6))
    states[1, 5] += 0.6
    assert likeliest_grip(states).tolist() == [1, 1]
    states[1, 5] -= 0.6
    assert likeliest_grip(states).tolist() == [1, 0]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(PLACES)), st.floats(0, 1, width=32)),
        min_size=1, max_size=6,
    )
)
def test_the_most_probable_of_all_sequences_is_found(steps):
    states = sequence(*steps)

    def probability(guess):
        logit = states[:, 6].double().logit(eps=1e-9).clamp(-6, 6)
        log = torch.nn.functional.logsigmoid(torch.where(guess > 0.5, logit, -logit)).sum()
        for i in range(1, len(steps)):
            stays = 0.02 if steps[i][0] == steps[i - 1][0] else 0.8
            log += np.log(stays if guess[i] == guess[i - 1] else 1 - stays)
        return float(log)

    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * len(steps)).reshape(-1, len(steps))
    best = max(probability(guess) for guess in every)
    assert probability(likeliest_grip(states)) == pytest.approx(best, abs=1e-9)


def test_one_image_is_rounded():
    for read, grip in ((0.0, 0), (0.49, 0), (0.51, 1), (1.0, 1)):
        assert likeliest_grip(sequence(("at", read))).tolist() == [grip]

"""Samples of spots: all where they are few, else so many, each once and in order."""

from __future__ import annotations

import numpy as np
import pytest

from mmsrl._samples import at_random, evenly


@pytest.mark.parametrize("sample", [lambda n, most: at_random(n, most, 0), evenly])
def test_samples_are_all_spots_or_so_many_of_them(sample) -> None:
    np.testing.assert_array_equal(sample(7, 7), np.arange(7))
    some = sample(1_000, 300)
    assert len(some) == 300 and (np.diff(some) > 0).all() and 0 <= some[0] and some[-1] < 1_000


def test_random_ones_follow_the_seed_and_even_ones_reach_both_ends() -> None:
    assert (at_random(1_000, 300, 0) == at_random(1_000, 300, 0)).all()
    assert (at_random(1_000, 300, 0) != at_random(1_000, 300, 1)).any()
    np.testing.assert_array_equal(evenly(1_000, 2), [0, 999])

"""Intervals over the choice of pictures."""

import numpy as np
import pytest

from seg_bench.bootstrap import RESAMPLES, intervals_95


def test_of_a_mean_it_is_what_the_normal_law_gives():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    (low, high) = intervals_95(lambda chosen: {"mean": values[chosen].mean()}, len(values))["mean_95"]
    spread = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.1 * spread)


def test_every_score_is_asked_on_the_same_data_sets_of_the_full_size():
    asked = []

    def score(chosen):
        asked.append(list(chosen))
        return {"first": float(chosen[0]), "size": float(len(chosen))}

    found = intervals_95(score, 7)
    assert len(asked) == RESAMPLES
    assert {len(chosen) for chosen in asked} == {7}
    assert {index for chosen in asked for index in chosen} == set(range(7))
    assert found == {"first_95": [0.0, 6.0], "size_95": [7.0, 7.0]}


def test_the_same_pieces_give_the_same_interval():
    def score(chosen):
        return {"sum": float(sum(chosen))}

    assert intervals_95(score, 20) == intervals_95(score, 20)


def test_one_piece_or_a_score_that_is_not_always_there_has_none():
    def score(chosen):
        return {"always": 1.0, "seldom": 1.0 if 0 in chosen else float("nan")}

    assert intervals_95(score, 1) == {}
    assert intervals_95(score, 5) == {"always_95": [1.0, 1.0]}

"""Rank intervals and what the front loses without a point, by hand and against their definitions."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from paretoboard import stats
from paretoboard.pareto import hypervolume_contribution, layers


def intervals(pairs):
    return [None if one is None else (one.low, one.high) for one in stats.rank_intervals(pairs)]


def answers(*shares, images=1000):
    """Models that are right on the first share of the images, so that one is right wherever a worse one is."""
    return np.array([np.arange(images) < share * images for share in shares])


def test_three_models_of_which_two_can_not_be_told_apart_share_two_ranks():
    # 0.900 and 0.903 differ in three images: p = 0.25. Both beat 0.8 by 100 images and more.
    assert intervals(stats.pairs_of_answers(answers(0.9, 0.903, 0.8))) == [(1, 2), (1, 2), (3, 3)]


def test_one_that_overlaps_both_neighbours_spans_the_ranks_of_both():
    # Logarithms 0, 1 and 2 apart with standard errors of 0.5: only the outer two differ after Holm.
    cost, arm = np.exp([0.0, 1.6, 3.2]), math.exp(1.96 * 0.7)
    assert intervals(stats.pairs_of_ratios(cost, cost / arm, cost * arm)) == [(1, 2), (1, 3), (2, 3)]


def test_a_pair_is_judged_as_by_the_exact_test_of_two():
    right = np.random.default_rng(3).random((4, 500)) < 0.8
    pairs = stats.pairs_of_answers(right)
    for row in range(4):
        for other in range(4):
            only, theirs = int((right[row] & ~right[other]).sum()), int((right[other] & ~right[row]).sum())
            assert pairs.p_values[row, other] == pytest.approx(stats.mcnemar_exact(only, theirs), abs=1e-12)
            assert pairs.better_by[row, other] == (only - theirs) / 500


def test_all_pairs_are_one_family_so_that_many_recipes_ask_more_of_each():
    # Eight images apart and all in one direction: p = 0.0078, enough among one pair and not among 45.
    alone, among = answers(0.5, 0.508), answers(0.5, 0.508, *[0.5] * 8)
    assert intervals(stats.pairs_of_answers(alone)) == [(2, 2), (1, 1)]
    assert set(intervals(stats.pairs_of_answers(among))) == {(1, 10)}


def test_what_was_not_measured_has_no_rank_and_takes_none():
    size = np.array([3.0, math.nan, 1.0, 3.0])
    assert intervals(stats.pairs_of_ratios(size, size, size)) == [(2, 3), None, (1, 1), (2, 3)]


def test_a_value_without_an_interval_is_not_ranked():
    cost = np.array([1.0, 2.0, 4.0])
    ends = np.array([1.0, 2.0, math.nan])
    assert intervals(stats.pairs_of_ratios(cost, ends, ends)) == [(1, 1), (2, 2), None]


def test_an_open_interval_leaves_every_rank_open():
    cost, low, high = np.array([1.0, 2.0]), np.array([0.0, 2.0]), np.array([math.inf, 2.0])
    assert intervals(stats.pairs_of_ratios(cost, low, high)) == [(1, 2), (1, 2)]


def test_draws_of_the_same_images_tell_apart_what_moves_together():
    together = np.random.default_rng(0).normal(0, 0.05, 400)
    apart = np.random.default_rng(1).normal(0, 0.05, (2, 400))
    values = np.array([0.40, 0.42])
    assert intervals(stats.pairs_of_draws(values, values[:, None] + together + 0.1 * apart)) == [(2, 2), (1, 1)]
    assert intervals(stats.pairs_of_draws(values, values[:, None] + apart)) == [(1, 2), (1, 2)]


def test_seeds_that_disagree_decide_nothing():
    first, second = stats.pairs_of_answers(answers(0.9, 0.8)), stats.pairs_of_answers(answers(0.8, 0.9))
    assert intervals(stats.in_every([first, first])) == [(1, 1), (2, 2)]
    assert intervals(stats.in_every([first, second])) == [(1, 2), (1, 2)]


@given(npst.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 60))), st.randoms())
def test_intervals_hold_the_rank_by_the_estimates_and_do_not_depend_on_the_order(right, random):
    found = intervals(stats.pairs_of_answers(right))
    order = list(range(len(right)))
    random.shuffle(order)
    assert intervals(stats.pairs_of_answers(right[order])) == [found[index] for index in order]
    shares = right.mean(axis=1)
    for index, ends in enumerate(found):
        if len(right) == 1:
            assert ends is None
            continue
        low, high = ends
        assert 1 <= low <= high <= len(right)
        assert low <= 1 + (shares > shares[index]).sum()
        assert high >= len(right) - (shares < shares[index]).sum()


@given(npst.arrays(np.float64, st.integers(2, 8), elements=st.sampled_from([1.0, 2.0, 4.0])))
def test_exact_costs_have_the_ranks_of_counting(cost):
    expected = [(1 + int((cost < one).sum()), len(cost) - int((cost > one).sum())) for one in cost]
    assert intervals(stats.pairs_of_ratios(cost, cost, cost)) == expected


def test_a_board_of_26_recipes_on_10_000_images_takes_less_than_a_second():
    right = np.random.default_rng(0).random((26, 10_000)) < 0.92
    before = time.process_time()
    stats.rank_intervals(stats.pairs_of_answers(right))
    assert time.process_time() - before < 1


def test_the_contribution_of_two_points_by_hand():
    # Reference: quality 0.1, cost 8. Doublings saved: 3 and 1; gains 0.4 and 0.8. Together 3 * 0.4 + 1 * 0.4 = 1.6.
    found = hypervolume_contribution([0.5, 0.9], [1.0, 4.0], least_quality=0.1, most_cost=8.0)
    assert found == pytest.approx([(1.6 - 0.8) / 1.6, (1.6 - 1.2) / 1.6])


def test_dominated_points_twins_and_points_beyond_the_reference_contribute_nothing():
    found = hypervolume_contribution([0.9, 0.9, 0.5, 0.95, 0.05], [1, 1, 2, 9, 0.1], least_quality=0.1, most_cost=8.0)
    assert found.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0]
    missing = hypervolume_contribution([math.nan, 0.5], [1, 1], least_quality=0.1, most_cost=8.0)
    assert math.isnan(missing[0])
    assert missing[1] == 1.0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 100)), max_size=12))
def test_only_the_front_contributes_and_never_more_than_all_there_is(points):
    quality, cost = [p[0] for p in points], [p[1] for p in points]
    found = hypervolume_contribution(quality, cost, least_quality=0.1, most_cost=10.0)
    assert ((found >= 0) & (found <= 1)).all()
    assert found.sum() <= 1 + 1e-9
    assert not found[layers(quality, cost) != 1].any()

"""Fronts and layers, against a brute force that compares every pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoboard.pareto import dominates, front_probability, layers

# Few different values, so that ties are common; NaN stands for "not measured".
VALUES = st.one_of(st.sampled_from([0.0, 1.0, 2.0, 3.0]), st.floats(allow_nan=True))
POINTS = st.lists(st.tuples(VALUES, VALUES), max_size=40)


def peeled(points: list[tuple[float, float]]) -> list[int]:
    """Layers by their definition: take away the non-dominated, again and again."""
    found = [0] * len(points)
    left = {index for index, point in enumerate(points) if not np.isnan(point).any()}
    layer = 0
    while left:
        layer += 1
        front = {i for i in left if not any(dominates(*points[j], *points[i]) for j in left)}
        for index in front:
            found[index] = layer
        left -= front
    return found


@given(POINTS)
def test_layers_equal_those_found_by_comparing_every_pair(points):
    quality, cost = [point[0] for point in points], [point[1] for point in points]
    assert layers(quality, cost).tolist() == peeled(points)


@given(POINTS, st.randoms())
def test_layers_do_not_depend_on_the_order_of_the_points(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    straight = layers([p[0] for p in points], [p[1] for p in points])
    shuffled = layers([points[i][0] for i in order], [points[i][1] for i in order])
    assert shuffled.tolist() == [straight[i] for i in order]


def test_exact_ties_stay_on_the_front_together_and_a_tie_in_one_value_does_not():
    assert layers([0.9, 0.9, 0.9], [1.0, 1.0, 2.0]).tolist() == [1, 1, 2]


def test_a_point_without_a_value_has_no_layer_and_pushes_nothing_off_the_front():
    assert layers([0.9, float("nan"), 0.8], [1.0, 0.1, float("nan")]).tolist() == [1, 0, 0]


def test_values_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="one quality and one cost per point"):
        layers([0.9, 0.8], [1.0])


@given(POINTS)
def test_with_one_draw_the_probability_is_membership_in_the_first_layer(points):
    quality = np.array([[point[0] for point in points]], dtype=float)
    cost = np.array([[point[1] for point in points]], dtype=float)
    on_front = [float(layer == 1) for layer in peeled(points)]
    assert front_probability(quality, cost).tolist() == on_front


def test_two_points_that_swap_places_in_half_of_the_draws_share_the_front():
    quality = np.array([[0.9, 0.9], [0.9, 0.9]])
    cost = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert front_probability(quality, cost).tolist() == [0.5, 0.5]

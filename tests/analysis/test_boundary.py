"""Neighbours and the boundaries of real classes, on points whose distances one can see."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from dfkd_core.analysis import boundary
from dfkd_core.analysis.boundary import Boundary, nearest


def on_a_line(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_the_nearest_come_first_with_their_distances() -> None:
    indices, distances = nearest(np.array([[0.0, 0.0], [3.0, 3.0]]), np.array([[3.0, 4.0], [0.0, 1.0], [9.0, 9.0]]), 2)
    assert indices.tolist() == [[1, 0], [0, 1]]
    assert distances == pytest.approx(np.array([[1.0, 5.0], [1.0, 13**0.5]]))


def test_equal_distances_come_in_the_order_of_the_points() -> None:
    indices, distances = nearest(on_a_line(0), on_a_line(1, -1, 5, 1, -1), 4)
    assert indices.tolist() == [[0, 1, 3, 4]] and distances.tolist() == [[1, 1, 1, 1]]


def test_fewer_points_than_asked_for_are_all_given() -> None:
    assert nearest(on_a_line(0), on_a_line(2, 1), 5)[0].tolist() == [[1, 0]]
    assert nearest(on_a_line(0), np.empty((0, 1)), 5)[0].shape == (1, 0)
    assert nearest(np.empty((0, 1)), on_a_line(2, 1), 1)[0].shape == (0, 1)


def test_a_recorded_sample_is_at_distance_zero_of_itself() -> None:
    features = (100 * np.random.default_rng(0).random((300, 512))).astype(np.float16)
    indices, distances = nearest(features, features, 1)
    assert indices[:, 0].tolist() == list(range(300)) and not distances.any()


@pytest.mark.parametrize("block", [1, 700, boundary.BLOCK])
def test_neighbours_are_those_of_scikit_learn_in_blocks_too(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(boundary, "BLOCK", block)
    random = np.random.default_rng(1)
    queries, points = random.normal(size=(50, 8)), random.normal(size=(90, 8))
    distances, indices = NearestNeighbors(n_neighbors=7).fit(points).kneighbors(queries)
    ours = nearest(queries, points, 7)
    assert np.array_equal(ours[0], indices) and ours[1] == pytest.approx(distances)


def test_inside_is_the_union_of_the_balls_of_the_own_class() -> None:
    # Class 0 at 0, 1, 3: with k = 1 the balls reach 1, 1 and 2, so the boundary is [-1, 5]. Class 1 at 10, 11: [9, 12].
    real, classes = on_a_line(0, 1, 3, 10, 11), np.array([0, 0, 0, 1, 1])
    asked = [(-1, 0), (-1.5, 0), (5, 0), (5.5, 0), (10, 0), (10, 1), (2, 1), (12, 1), (12.5, 1)]
    values, labels = on_a_line(*[value for value, _ in asked]), np.array([label for _, label in asked])
    expected = [True, False, True, False, False, True, False, True, False]
    assert Boundary(real, classes, k=1).inside(values, labels).tolist() == expected


def test_a_larger_k_reaches_farther_up_to_the_farthest_of_the_class() -> None:
    real, classes = on_a_line(0, 1, 3), np.array([0, 0, 0])
    # With k = 2 the balls reach 3, 2 and 3: [-3, 6]; the class has no third neighbour, so k = 3 reaches no farther.
    values, labels = on_a_line(-3, -3.1, 6, 6.1), np.zeros(4, int)
    for k in (2, 3):
        assert Boundary(real, classes, k).inside(values, labels).tolist() == [True, False, True, False]


def test_a_class_with_fewer_than_two_real_samples_has_no_inside() -> None:
    values, labels = on_a_line(0, 7, 7), np.array([0, 1, 2])
    assert Boundary(on_a_line(0, 1, 7), np.array([0, 0, 1])).inside(values, labels).tolist() == [True, False, False]


@pytest.mark.parametrize("block", [1, boundary.BLOCK])
def test_inside_is_equation_1_taken_at_its_word(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(boundary, "BLOCK", block)
    random = np.random.default_rng(2)
    real, classes = random.normal(size=(60, 3)), random.integers(0, 3, 60)
    fake, labels = 1.5 * random.normal(size=(40, 3)), random.integers(0, 3, 40)
    expected = []
    for sample, label in zip(fake, labels, strict=True):
        members = real[classes == label]
        radii = [sorted(np.linalg.norm(members - member, axis=1))[3] for member in members]  # [0] is the member itself
        expected.append(
            any(np.linalg.norm(sample - member) <= radius for member, radius in zip(members, radii, strict=True))
        )
    found = Boundary(real, classes, k=3).inside(fake, labels).tolist()
    assert found == expected and 0 < sum(found) < len(found)

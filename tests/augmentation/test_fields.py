"""The two sides share nothing: checked pixel by pixel, against searches that try all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import label

from hud_fast.augmentation.draws import draw_labels
from hud_fast.augmentation.fields import split_fields
from hud_fast.augmentation.windows import SIDE, cut_windows, own_side


@pytest.fixture(scope="module")
def labels() -> NDArray[np.int64]:
    """Class 1: four fields; 2: one long field; 3: two fields, one a crumb; 4: half a class and crumbs; 5: a pixel."""
    found = np.zeros((44, 60), np.int64)
    for row, column in ((2, 2), (2, 20), (12, 4), (12, 30)):
        found[row : row + 5, column : column + 8] = 1
    found[24:29, 3:33] = 2
    found[34:40, 4:14] = 3
    found[34:36, 20] = 3
    found[2:8, 45:50] = 4
    for row in range(10, 40, 4):
        found[row : row + 2, 50:52] = 4
    found[40, 55] = 5
    return found


@pytest.mark.parametrize("seed", range(6))
def test_fields_go_whole_to_one_side(labels: NDArray[np.int64], seed: int) -> None:
    sides = split_fields(labels, seed)
    assert not ((sides.train > 0) & (sides.test > 0)).any()
    for number in (1, 4):
        fields, n = label(labels == number, np.ones((3, 3)))
        assert sides.fields[number] == n
        for field in range(1, n + 1):
            here = fields == field
            assert not ((sides.train > 0) & here).any() or not ((sides.test > 0) & here).any()
        counts = [(side == number).sum() for side in (sides.train, sides.test)]
        assert min(counts) >= 0.25 * (labels == number).sum()
    assert set(sides.cut) == {2, 3}
    kept = np.where(sides.train > 0, sides.train, sides.test)
    assert ((kept == labels) | (kept == 0)).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_single_field_is_cut_across_its_longest_extent(
    labels: NDArray[np.int64], seed: int
) -> None:
    sides = split_fields(labels, seed)
    columns = [np.nonzero(side == 2)[1] for side in (sides.train, sides.test)]
    left, right = sorted(columns, key=lambda found: found.min())
    assert left.max() + 3 <= right.min()  # the strip
    assert abs(len(left) - len(right)) <= 5


def test_the_coin_decides_which_half_tests(labels: NDArray[np.int64]) -> None:
    first = {bool((split_fields(labels, seed).train[24:29, 3] == 2).all()) for seed in range(12)}
    assert first == {True, False}


def test_each_pixel_belongs_to_the_nearer_side(labels: NDArray[np.int64]) -> None:
    valid = np.ones(labels.shape, bool)
    valid[:, 58] = False
    sides = split_fields(labels, 3, valid=valid)
    again = split_fields(labels, 3)
    np.testing.assert_array_equal(sides.train_area, again.train_area & valid)
    assert not sides.test_area[:, 58].any()
    # a cut field loses as much on both sides of the cut: what is nearer stays nearer
    rows, columns = np.indices(labels.shape)
    near = [
        np.abs(np.stack([rows[..., None] - r, columns[..., None] - c])).max(axis=0).min(axis=-1)
        for r, c in (np.nonzero(again.train), np.nonzero(again.test))
    ]
    assert (near[0][again.train_area] < near[1][again.train_area]).all()
    assert (near[1][again.test_area] < near[0][again.test_area]).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_areas_lie_a_strip_apart(labels: NDArray[np.int64], seed: int) -> None:
    sides = split_fields(labels, seed)
    one, other = (np.argwhere(area) for area in (sides.train_area, sides.test_area))
    apart = np.abs(one[:, None] - other[None]).max(axis=-1).min()
    assert apart == 3
    assert sides.train_area.sum() + sides.test_area.sum() > 0.5 * labels.size


def test_no_window_crosses(labels: NDArray[np.int64]) -> None:
    sides = split_fields(labels, 1)
    places = np.arange(labels.size, dtype=np.float32).reshape(*labels.shape, 1)
    for side, area in ((sides.train, sides.train_area), (sides.test, sides.test_area)):
        rows, columns = np.nonzero(side)
        image = own_side(places, area)[None]
        windows = cut_windows(image, (np.zeros_like(rows), rows, columns))
        assert windows.shape == (len(rows), SIDE, SIDE, 1)
        np.testing.assert_array_equal(windows[:, 3, 3, 0], places[rows, columns, 0])
        assert area.ravel()[windows.astype(int).ravel()].all()


def test_windows_are_the_scene_where_it_is_whole() -> None:
    image = np.random.default_rng(0).normal(size=(2, 9, 10, 3)).astype(np.float32)
    found = cut_windows(image, (np.array([1, 0]), np.array([4, 0]), np.array([5, 9])))
    np.testing.assert_array_equal(found[0], image[1, 1:8, 2:9])
    np.testing.assert_array_equal(found[1, 3:, :4], image[0, :4, 6:])
    np.testing.assert_array_equal(found[1, 0, 6], image[0, 0, 9])


def test_the_same_seed_gives_the_same_sides(labels: NDArray[np.int64]) -> None:
    one, again, other = (split_fields(labels, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.test, again.test)
    assert (one.test != other.test).any()


def test_without_labels_there_is_nothing_to_split() -> None:
    with pytest.raises(ValueError, match="`labels` must label a valid pixel"):
        split_fields(np.zeros((4, 5), int), 0)


def test_draws_are_nested(labels: NDArray[np.int64]) -> None:
    few, more, many = (draw_labels(labels, n, 7) for n in (5, 10, 1000))
    assert {int(k): int((few == k).sum()) for k in range(1, 6)} == {1: 5, 2: 5, 3: 5, 4: 5, 5: 1}
    assert (more[few > 0] == few[few > 0]).all()
    np.testing.assert_array_equal(many, labels)
    assert (draw_labels(labels, 5, 8) != few).any()

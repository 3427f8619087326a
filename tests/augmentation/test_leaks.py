"""A planted leak of every kind is found, and what is no leak passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hud_fast.augmentation.draws import draw_labels
from hud_fast.augmentation.fields import Sides, split_fields
from hud_fast.augmentation.leaks import TOLERANCE, Leak, TestSpectra, check_places, twins
from hud_fast.scenes import Scene, simulate_scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(30, 40, C=12, D=3, seed=2)


@pytest.fixture(scope="module")
def sides(scene: Scene) -> Sides:
    assert scene.truth is not None
    return split_fields(scene.truth.abundances.argmax(axis=-1) + 1, 0)


def test_clean_sides_pass(scene: Scene, sides: Sides) -> None:
    check_places(sides, draw_labels(sides.train, 5, 0))
    found = TestSpectra(scene.cube[sides.test > 0]).check("real", scene.cube[sides.train_area])
    assert (found.looked_at, found.equal, found.near) == (int(sides.train_area.sum()), 0, 0)


def test_a_test_pixel_on_the_train_side(sides: Sides) -> None:
    planted = sides.test.copy()
    planted[tuple(np.argwhere(sides.train > 0)[0])] = 1
    with pytest.raises(Leak, match="1 test pixels lie on the train side"):
        check_places(replace(sides, test=planted), np.zeros_like(sides.train))


def test_a_test_pixel_in_the_strip(sides: Sides) -> None:
    rows, columns = np.nonzero(sides.train_area)
    near = np.zeros_like(sides.train_area)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            inside = (rows + down).clip(0, 29), (columns + right).clip(0, 39)
            near[inside] = True
    strip = near & ~sides.train_area
    planted = np.where(strip, 2, sides.test)
    with pytest.raises(Leak, match=f"{strip.sum()} test pixels lie in the strip"):
        check_places(replace(sides, test=planted), np.zeros_like(sides.train))


def test_a_label_from_the_test_side(sides: Sides) -> None:
    with pytest.raises(Leak, match="labels that train lie outside the train side"):
        check_places(sides, sides.test)


@pytest.mark.parametrize(("factor", "equal", "near"), [(1.0, 1, 0), (1 + 4e-7, 0, 1)])
def test_a_spectrum_of_a_test_pixel(
    scene: Scene, sides: Sides, factor: float, equal: int, near: int
) -> None:
    test = TestSpectra(scene.cube[sides.test > 0])
    windows = scene.cube[sides.train_area][:98].reshape(2, 7, 7, -1).copy()
    windows[1, 2, 3] = scene.cube[sides.test > 0][5] * np.float32(factor)
    with pytest.raises(
        Leak, match=rf"row hud .* 1 test pixels: {equal} of its 98 .*, {near} within"
    ):
        test.check("hud", windows)


def test_what_is_near_is_found_as_by_trying_all_pairs() -> None:
    rng = np.random.default_rng(0)
    test = rng.uniform(1, 2, size=(60, 6)).astype(np.float32)
    training = rng.uniform(1, 2, size=(80, 6)).astype(np.float32)
    for i, size in enumerate((0, 1e-7, 5e-7, 3e-6, 1e-5, 1e-4)):
        step = rng.normal(size=6)
        step *= size * np.linalg.norm(test[i]) / np.linalg.norm(step)
        training[10 * i] = test[i] + step
    apart = np.linalg.norm(training[:, None].astype(float) - test[None], axis=-1)
    known = np.argwhere(apart <= TOLERANCE * np.linalg.norm(test.astype(float), axis=1))
    mine, theirs, equal = TestSpectra(test).matches(training)
    assert len(known) == 3
    assert sorted(map(list, zip(mine.tolist(), theirs.tolist(), strict=True))) == known.tolist()
    assert equal.sum() == 1


def test_equal_spectra_of_both_sides_are_taken_out_of_the_test(scene: Scene, sides: Sides) -> None:
    cube = scene.cube.copy()
    known = np.argwhere(sides.test > 0)[[3, 9]]
    for (row, column), source in zip(known, np.argwhere(sides.train_area)[[4, 50]], strict=True):
        cube[row, column] = cube[tuple(source)]
    found = twins(cube, sides)
    assert np.argwhere(found).tolist() == known.tolist()
    left = sides.without(found)
    assert (left.test > 0).sum() == (sides.test > 0).sum() - 2
    TestSpectra(cube[left.test > 0]).check("real", cube[sides.train_area])

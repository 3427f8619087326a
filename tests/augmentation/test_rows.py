"""What each row adds: as much of each class, weighed alike, and made of what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hud_fast.augmentation.classifier import Classifier
from hud_fast.augmentation.generator import Generated
from hud_fast.augmentation.rows import ROWS, Added, Material, balanced, inside
from hud_fast.augmentation.windows import Training

NUMBERS = (1, 3, 4)
H, W, C = 24, 30, 5
Array = NDArray[np.float32]


class Known(Classifier):
    """Tells the class that a pixel's first band names, surer the larger its second one is."""

    title, reach = "known", 0
    numbers = NUMBERS

    @classmethod
    def fit(cls, training: Training, *, seed: int, steps: int | None = None) -> Known:
        del training, seed, steps
        return cls()

    def features(self, spectra: Array) -> Array:
        return spectra

    def scores(self, windows: Array) -> Array:
        middle = windows[:, 0, 0]
        return (middle[:, :1] == np.array(NUMBERS)) * middle[:, 1:2]


@pytest.fixture(scope="module")
def material() -> Material:
    """Bands: class, sureness, row, column, noise. Class 4 is nowhere in the cubes; it has three labels."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.array(NUMBERS), W // 3)[None].repeat(H, axis=0)
    rows, columns = np.indices((H, W))
    image = np.stack(
        [truth, rng.uniform(1, 2, (H, W)), rows, columns, rng.normal(5, 2, (H, W))], axis=-1
    ).astype(np.float32)
    area = np.ones((H, W), bool)
    area[:2] = False
    drawn = np.zeros((H, W), np.int64)
    for number, n in ((1, 8), (3, 8), (4, 3)):
        places = rng.permutation(np.flatnonzero(area & (truth == number)))[:n]
        drawn.ravel()[places] = number
    maps = np.ones((3, 16, 16), np.int64)
    maps[:, :, 8:] = 3
    maps[2] = 0
    cubes = rng.normal(size=(3, 16, 16, C)).astype(np.float32)
    generated = Generated(cubes, maps, 2, {4: 1}, maps[:2], 4 - maps[:2], truth)
    return Material(image, area, drawn, NUMBERS, 40, (0, 1, 8), generated)


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_equal_in_amount_and_weight(material: Material, row: str) -> None:
    training = material.training(material.added_by(row, Known()))
    n = len(material.real.classes)
    classes = training.windows.classes
    for number, labels in ((1, 8), (3, 8), (4, 3)):
        here = classes == number
        assert here[:n].sum() == labels
        assert training.weights[:n][here[:n]].sum() == pytest.approx(8)
        assert here[n:].sum() == (0 if row == "real" else 40)
        assert training.weights[n:][here[n:]].sum() == pytest.approx(0 if row == "real" else 8)
    np.testing.assert_array_equal(training.windows.values[:n], material.real.values)
    np.testing.assert_array_equal(np.array(NUMBERS)[training.index], classes)
    again = replace(material).training(replace(material).added_by(row, Known()))
    np.testing.assert_array_equal(again.windows.values, training.windows.values)


def added(material: Material, row: str) -> Added:
    found = material.added_by(row, Known())
    assert found is not None
    return found


def test_flips_hold_the_same_pixels_and_noise(material: Material) -> None:
    still = replace(material)
    still.__dict__["noise"] = np.zeros(C, np.float32)
    found = added(still, "flips").windows
    known = {  # any turn of a window has the same sorted pixels
        np.sort(window.reshape(49, C), axis=0).tobytes(): number
        for window, number in zip(material.real.values, material.real.classes, strict=True)
    }
    turned = [np.sort(window.reshape(49, C), axis=0).tobytes() for window in found.values]
    assert [known[window] for window in turned] == found.classes.tolist()
    assert len({window.tobytes() for window in found.values}) > len(known)
    noisy = added(material, "flips").windows.values - found.values
    assert noisy[..., 4].std() == pytest.approx(material.noise[4], rel=0.05)
    assert material.noise[4] == pytest.approx(2, rel=0.15)
    assert (noisy[..., 2] == 0).all()  # neighbours in a row have one number there


def test_mixtures_lie_between_two_windows_of_their_class(material: Material) -> None:
    found = added(material, "mixtures").windows
    np.testing.assert_allclose(found.values[:, 3, 3, 0], found.classes, rtol=1e-6)
    real = material.real
    for number in NUMBERS:
        own = real.values[real.classes == number].reshape(-1, 49 * C).astype(float)
        for window in found.values[found.classes == number][:10].reshape(-1, 49 * C):
            one, other = np.triu_indices(len(own), 1)
            step = own[other] - own[one]
            share = ((window - own[one]) * step).sum(axis=1) / (step**2).sum(axis=1)
            left = np.abs(own[one] + share[:, None] * step - window).max(axis=1)
            best = left.argmin()
            assert left[best] < 1e-3
            assert -1e-4 <= share[best] <= 1 + 1e-4


def test_pseudo_labels_are_of_unlabelled_pixels_and_the_surer_half(material: Material) -> None:
    found = added(material, "pseudo").windows
    middle = found.values[:, 3, 3]
    rows, columns = middle[:, 2].astype(int), middle[:, 3].astype(int)
    assert material.area[rows, columns].all()
    assert (material.drawn[rows, columns] == 0).all()
    np.testing.assert_array_equal(middle[:, 0], found.classes)
    asked = material.area & (material.drawn == 0)
    for number in NUMBERS:
        of = material.image[asked & (material.image[..., 0] == number)][:, 1]
        assert middle[found.classes == number, 1].min() >= np.median(of)


def test_spread_labels_are_of_real_unlabelled_pixels(material: Material) -> None:
    middle = added(material, "spread").windows.values[:, 3, 3]
    places = middle[:, 2].astype(int), middle[:, 3].astype(int)
    assert material.area[places].all()
    assert (material.drawn[places] == 0).all()


def test_cubes_are_cut_inside_and_what_lacks_is_told(material: Material) -> None:
    known = material.generated
    assert known is not None
    for row, maps in (
        ("hud", known.maps),
        ("hud-classifier", known.by_classifier),
        ("hud-majority", known.by_majority),
    ):
        found = added(material, row)
        assert found.missing == {4: 40}
        inner = {  # every window inside a cube, with the class of its middle
            known.cubes[i, r - 3 : r + 4, c - 3 : c + 4].tobytes(): maps[i, r, c]
            for i in range(len(maps))
            for r in range(3, 13)
            for c in range(3, 13)
        }
        got = [inner[window.tobytes()] for window in found.windows.values]
        np.testing.assert_array_equal(got, found.windows.classes)
    assert added(material, "both").missing == {4: 20}


def test_each_pixel_comes_once_before_one_comes_twice() -> None:
    images = np.arange(60, dtype=np.float32).reshape(1, 6, 10, 1)
    maps = np.where(np.arange(60).reshape(1, 6, 10) < 12, 2, 7)
    found = balanced(images, maps, (2, 5, 7), 20, np.random.default_rng(0))
    middle = found.windows.values[:, 3, 3, 0]
    assert found.missing == {5: 20}
    assert len(set(middle[found.windows.classes == 2])) == 12
    assert len(set(middle[found.windows.classes == 7])) == 20


def test_inside_leaves_room_for_a_window() -> None:
    found = inside(np.ones((1, 9, 8), np.uint8))
    assert found[0].nonzero()[0].tolist() == [3, 3, 4, 4, 5, 5]

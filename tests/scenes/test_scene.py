"""Scene: what it checks, what it derives, what its methods keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.scenes import Scene, Truth


def a_cube(height: int = 5, width: int = 6, bands: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1.0, (height, width, bands))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint16", "int8", ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_cube_becomes_contiguous_float32(dtype: str, order: str) -> None:
    cube = np.asarray(a_cube() * 100, dtype=dtype, order=order)
    scene = Scene(cube)
    assert scene.cube.dtype == np.float32
    assert scene.cube.flags.c_contiguous
    np.testing.assert_array_equal(scene.cube, cube.astype(np.float32))


def test_pixels_are_a_view_row_by_row() -> None:
    scene = Scene(a_cube())
    assert np.shares_memory(scene.pixels, scene.cube)
    np.testing.assert_array_equal(scene.pixels[6], scene.cube[1, 0])
    assert (scene.H, scene.W, scene.C) == scene.shape == (5, 6, 4)


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"cube": np.zeros((3, 4))}, ValueError, r"`cube` must have shape \(H, W, C\).*\(3, 4\)"),
        ({"cube": np.zeros((3, 0, 4))}, ValueError, r"none of them 0, got \(3, 0, 4\)"),
        ({"cube": np.zeros((3, 4, 5), complex)}, TypeError, "real numbers, got dtype complex128"),
        ({"cube": np.zeros((3, 4, 5), bool)}, TypeError, "real numbers, got dtype bool"),
        ({"wavelengths": [1.0, 2.0]}, ValueError, "`wavelengths` .* 4 bands, got 2"),
        ({"wavelengths": [1.0, 2.0, -3.0, 4.0]}, ValueError, "above 0, got -3.0 at band 2"),
        ({"wavelengths": [1.0, 2.0, np.nan, 4.0]}, ValueError, "finite and above 0, got nan"),
        ({"wavelengths": ["a", "b"]}, TypeError, "`wavelengths` must hold numbers"),
        ({"fwhm": [1.0]}, ValueError, "`fwhm` .* 4 bands, got 1"),
        ({"good_bands": [True]}, ValueError, r"`good_bands` must have shape \(4,\), got \(1,\)"),
        ({"good_bands": [0, 1, 2, 1]}, TypeError, "`good_bands` must be boolean, or 0 and 1"),
        ({"mask": np.ones((6, 5), bool)}, ValueError, r"`mask` must have shape \(5, 6\)"),
        ({"labels": np.ones((6, 5), int)}, ValueError, r"`labels` must have .*\(5, 6\), got"),
        ({"labels": np.full((5, 6), 0.5)}, TypeError, "whole numbers, got fractions"),
        ({"labels": np.full((5, 6), -1)}, ValueError, "0 .unlabelled. or more, got -1"),
        ({"labels": np.full((5, 6), "x")}, TypeError, "`labels` must hold whole numbers"),
        ({"rgb_bands": (0, 1, 4)}, ValueError, r"three bands in 0..3, got \(0, 1, 4\)"),
        ({"scale": 0.0}, ValueError, "`scale` must be finite and above 0"),
        ({"scale": "one"}, TypeError, "`scale` must be a number, got 'one'"),
    ],
)
def test_wrong_fields_are_named(fields: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=r"^Scene: .*" + message):
        Scene(**{"cube": a_cube(), **fields})


def test_valid_means_unmasked_and_finite_in_good_bands() -> None:
    cube = a_cube()
    cube[0, 0, 1] = np.nan  # in a good band
    cube[1, 1, 3] = np.inf  # in the bad one
    mask = np.ones((5, 6), bool)
    mask[2, 2] = False
    scene = Scene(cube, mask=mask, good_bands=[True, True, True, False])
    expected = mask.copy()
    expected[0, 0] = False
    np.testing.assert_array_equal(scene.valid, expected)
    assert scene.valid_pixels.shape == (28, 4)
    assert Scene(cube, mask=mask).valid.sum() == 27


def test_valid_pixels_is_a_view_when_all_are() -> None:
    scene = Scene(a_cube())
    assert np.shares_memory(scene.valid_pixels, scene.cube)


@given(bad=st.sets(st.integers(0, 5), max_size=5))
def test_drop_bad_bands_keeps_everything_in_step(bad: set[int]) -> None:
    good = np.array([band not in bad for band in range(6)])
    truth = Truth(a_cube(1, 2, 6)[0], np.full((5, 6, 2), 0.5))
    scene = Scene(
        a_cube(bands=6),
        wavelengths=np.arange(400.0, 1000.0, 100.0),
        fwhm=np.arange(1.0, 7.0),
        good_bands=good,
        rgb_bands=(4, 2, 0),
        truth=truth,
    ).drop_bad_bands()
    assert good.sum() == scene.C
    assert scene.wavelengths is not None
    assert scene.fwhm is not None
    assert scene.truth is not None
    np.testing.assert_array_equal(scene.wavelengths, np.arange(400.0, 1000.0, 100.0)[good])
    np.testing.assert_array_equal(scene.fwhm, np.arange(1.0, 7.0)[good])
    np.testing.assert_array_equal(scene.truth.endmembers, truth.endmembers[:, good])
    if bad & {0, 2, 4}:
        assert scene.rgb_bands is None
    else:
        assert scene.rgb_bands is not None
        assert [scene.wavelengths[b] for b in scene.rgb_bands] == [800.0, 600.0, 400.0]


def test_drop_bad_bands_refuses_to_drop_all() -> None:
    with pytest.raises(ValueError, match=r"^drop_bad_bands: `good_bands` must keep a band"):
        Scene(a_cube(), good_bands=[False] * 4).drop_bad_bands()


def test_crop_cuts_every_map_and_moves_the_georeference() -> None:
    labels = np.arange(30).reshape(5, 6)
    mask = labels != 14
    scene = Scene(
        a_cube(),
        mask=mask,
        labels=labels,
        truth=Truth(np.ones((2, 4)), np.random.default_rng(0).random((5, 6, 2))),
        geo={"map info": "{UTM, 1, 1, 579717.18, 3714550.7, 16.9, 16.9, 11, North, WGS-84}"},
    )
    part = scene.crop(slice(2, 4), slice(1, 4))
    assert part.shape == (2, 3, 4)
    assert part.labels is not None
    assert part.truth is not None
    assert scene.truth is not None
    np.testing.assert_array_equal(part.labels, labels[2:4, 1:4])
    np.testing.assert_array_equal(part.valid, mask[2:4, 1:4])
    np.testing.assert_array_equal(part.truth.abundances, scene.truth.abundances[2:4, 1:4])
    assert part.geo is not None
    # Pixel (1, 1) of the scene is pixel (0, -1) of the crop; the ground point stays.
    assert part.geo["map info"].startswith("{UTM, 0, -1, 579717.18, 3714550.7,")
    assert scene.crop(slice(0, 5, 2), slice(None)).geo is None
    with pytest.raises(ValueError, match=r"^crop: `rows` and `columns` must keep a pixel"):
        scene.crop(slice(3, 3), slice(None))


def test_unreadable_map_info_is_dropped_on_cropping() -> None:
    scene = Scene(a_cube(), geo={"map info": "{UTM}"})
    assert scene.crop(slice(1, 3), slice(None)).geo is None


def test_display_bands() -> None:
    cube = a_cube(bands=40)
    centres = np.linspace(400.0, 1000.0, 40)
    red, green, blue = Scene(cube, wavelengths=centres).display_bands
    assert [abs(centres[red] - 640) < 8, abs(centres[green] - 550) < 8] == [True, True]
    assert abs(centres[blue] - 460) < 8
    assert Scene(cube).display_bands == (19, 11, 3)
    assert Scene(cube, wavelengths=centres, rgb_bands=(5, 6, 7)).display_bands == (5, 6, 7)
    # An infrared sensor has no red, green and blue: fall back, on good bands.
    infrared = Scene(cube, wavelengths=centres + 1000.0, good_bands=np.arange(40) >= 20)
    assert infrared.display_bands == (29, 25, 21)


def test_rgb_uses_the_real_scene_s_limits() -> None:
    scene = Scene(a_cube(20, 20), rgb_bands=(2, 1, 0))
    picture = scene.rgb()
    assert picture.shape == (20, 20, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(scene.rgb(scene.cube), picture)
    batch = scene.rgb(np.stack([scene.cube, scene.cube * 2]))
    assert batch.shape == (2, 20, 20, 3)
    assert batch[1].mean() > 1.3 * batch[0].mean()  # brighter stays brighter
    # channels are red, green, blue
    np.testing.assert_array_equal(scene.rgb(bands=(0, 1, 2)), picture[..., ::-1])


def test_rgb_of_missing_masked_and_constant() -> None:
    cube = a_cube(6, 6)
    cube[0, 0] = np.nan
    mask = np.ones((6, 6), bool)
    mask[5, 5] = False
    picture = Scene(cube, mask=mask).rgb()
    assert (picture[0, 0] == 0).all()
    assert (picture[5, 5] == 0).all()
    assert (Scene(np.full((3, 3, 4), 7.0)).rgb() == 0).all()


def test_rgb_errors() -> None:
    scene = Scene(a_cube())
    with pytest.raises(ValueError, match=r"^rgb: `cube` must have .* C = 4, got \(5, 6, 3\)"):
        scene.rgb(np.ones((5, 6, 3)))
    with pytest.raises(ValueError, match=r"^rgb: `percentiles` must be two numbers"):
        scene.rgb(percentiles=(98.0, 2.0))
    with pytest.raises(ValueError, match=r"^rgb: `rgb_bands` must be three bands"):
        scene.rgb(bands=(1, 2))
    with pytest.raises(ValueError, match=r"^rgb: `cube` must have a valid pixel"):
        Scene(a_cube(), mask=np.zeros((5, 6), bool)).rgb()


def test_repr_is_short_and_says_simulated() -> None:
    scene = Scene(a_cube(), simulated=True, wavelengths=[400.0, 500.0, 600.0, 700.0])
    assert repr(scene) == "Scene('scene', 5 x 6 pixels, 4 bands, 400-700 nm, simulated)"

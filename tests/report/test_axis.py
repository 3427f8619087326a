"""The spectral axis: holes are holes, cells touch only where bands do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.report.axis import band_axis, scene_axis, title_of, value_label
from hud_fast.scenes import Scene


def test_removed_bands_leave_a_hole_and_do_not_stretch_their_neighbours() -> None:
    wavelengths = np.concatenate([np.arange(400, 1350, 10.0), np.arange(1420, 1800, 10.0)])
    axis = band_axis(wavelengths.size, wavelengths)
    assert [run.stop - run.start for run in axis.runs] == [95, 38]
    for run in axis.runs:
        assert np.allclose(np.diff(axis.edges(run)), 10.0)
    assert axis.edges(axis.runs[0])[-1] == 1345
    assert axis.edges(axis.runs[1])[0] == 1415
    assert axis.limits() == (395, 1795)


def test_bad_bands_leave_a_hole_in_the_band_numbers() -> None:
    good = np.ones(20, bool)
    good[7:10] = False
    axis = band_axis(20, None, good)
    assert axis.label == "band number"
    assert [axis.centres[run].tolist()[0] for run in axis.runs] == [1, 11]
    assert 8 not in axis.order


def test_overlapping_spectrometers_are_sorted() -> None:
    wavelengths = np.array([400.0, 410, 420, 415, 425, 435])
    axis = band_axis(6, wavelengths)
    assert axis.order.tolist() == [0, 1, 3, 2, 4, 5]
    assert (np.diff(axis.centres) > 0).all()


def test_two_spacings_are_not_a_hole() -> None:
    wavelengths = np.concatenate([np.arange(400, 900, 5.0), np.arange(900, 2400, 12.0)])
    axis = band_axis(wavelengths.size, wavelengths)
    assert len(axis.runs) <= 2  # at most the seam itself
    widths = np.concatenate([np.diff(axis.edges(run)) for run in axis.runs])
    assert widths.max() <= 13


def test_curves_break_at_holes() -> None:
    axis = band_axis(4, np.array([400.0, 410, 500, 510]))
    x, y = axis.curve(np.array([1.0, 2, 3, 4]))
    assert np.isnan(x[2])
    assert np.isnan(y[2])
    assert y[[0, 1, 3, 4]].tolist() == [1, 2, 3, 4]
    assert axis.curve(np.ones((3, 4)))[1].shape == (3, 5)


@given(
    st.lists(st.floats(300, 2600), min_size=1, max_size=60),
    st.integers(0, 2**32 - 1),
)
def test_any_wavelengths_give_ordered_cells(values: list[float], seed: int) -> None:
    wavelengths = np.array(values)
    good = np.random.default_rng(seed).random(wavelengths.size) < 0.8
    good[0] = True
    axis = band_axis(wavelengths.size, wavelengths, good)
    assert sorted(axis.order.tolist()) == np.flatnonzero(good).tolist()
    covered = sum(run.stop - run.start for run in axis.runs)
    assert covered == axis.order.size
    for run in axis.runs:
        edges = axis.edges(run)
        assert edges.size == run.stop - run.start + 1
        assert (np.diff(edges) >= 0).all()


def test_one_band() -> None:
    axis = band_axis(1, np.array([550.0]))
    assert axis.edges(axis.runs[0]).tolist() == [549.5, 550.5]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"`good_bands` must have shape \(3,\)"):
        band_axis(3, None, np.zeros(3, bool))
    with pytest.raises(ValueError, match=r"`wavelengths` must have shape \(3,\), got \(2,\)"):
        band_axis(3, np.array([1.0, 2.0]))


def test_words_of_a_scene() -> None:
    scene = Scene(np.ones((2, 2, 3)), name="Here", wavelengths=np.array([400.0, 500, 600]))
    assert scene_axis(scene).label == "wavelength (nm)"
    assert value_label(scene) == "pixel value (file units)"
    assert value_label(scene.replace(scale=1e4)) == "pixel value (file units / 10000)"
    assert title_of(scene, "x") == "Here: x"
    assert "simulated" in title_of(scene.replace(simulated=True), "x")

"""The figures: what they show, what they share, and that they can be drawn from any scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hud_fast import report
from hud_fast.report import (
    abundance_maps,
    density,
    endmembers,
    generated_abundances,
    panels,
    residual_map,
    save_figure,
    spectral_density,
    training_curve,
)
from hud_fast.report.density import band_histogram
from hud_fast.report.panels import real_positions
from hud_fast.report.style import figure_png
from hud_fast.report.training import smooth
from hud_fast.report.unmixing import residuals
from hud_fast.scenes import Scene


def make_scene(H: int = 24, W: int = 30, C: int = 12, **facts: Any) -> Scene:
    rng = np.random.default_rng(0)
    cube = rng.random((H, W, C)) + np.linspace(1, 3, C)
    wavelengths = np.concatenate([np.arange(C // 2) * 10 + 400.0, np.arange(C - C // 2) * 10 + 900])
    return Scene(cube, name="Test", wavelengths=wavelengths, **facts)


def images(figure: Any) -> list[Any]:
    """All pictures of a figure, those of its subfigures included."""
    return [image for ax in figure.axes for image in ax.images]


def texts(figure: Any) -> str:
    from matplotlib.text import Text

    return " | ".join(t.get_text() for t in figure.findobj(Text))


def test_panels_show_real_and_generated_with_one_stretch() -> None:
    scene = make_scene()
    figure = panels(scene, scene.cube[None, :8, :8].repeat(5, axis=0), n=4, columns=2)
    shown = [np.asarray(image.get_array()) for image in images(figure)]
    assert shown[0].shape == (24, 30, 3)  # the whole scene
    assert len(shown) == 1 + 4 + 4
    # The generated blocks are the scene's own corner: same stretch, same colours.
    assert np.array_equal(shown[-1], shown[0][:8, :8])
    assert all(image.get_interpolation() == "nearest" for image in images(figure))


def test_panels_of_blocks_larger_than_the_scene() -> None:
    scene = make_scene()
    generated = np.ones((1, 64, 64, 12), np.float32)
    assert "no whole block" in texts(panels(scene, generated))


def test_panels_name_a_simulated_scene() -> None:
    scene = make_scene(simulated=True)
    generated = scene.cube[None, :8, :8]
    for figure in (
        panels(scene, generated),
        spectral_density(scene, generated),
        residual_map(scene, scene.cube),
        endmembers(scene, scene.pixels[:3]),
    ):
        assert "simulated" in texts(figure)


def test_real_positions_avoid_masked_pixels() -> None:
    valid = np.ones((40, 50), bool)
    valid[10:20, 5:45] = False
    for r, c in real_positions(valid, 8, 8, 20):
        assert valid[r : r + 8, c : c + 8].all()


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 12), st.integers(0, 99))
def test_real_positions_are_distinct_and_inside(H: int, W: int, size: int, seed: int) -> None:
    found = real_positions(np.ones((H, W), bool), size, size, 5, seed)
    assert len(set(found)) == len(found) <= 5
    assert all(0 <= r <= H - size and 0 <= c <= W - size for r, c in found)
    assert bool(found) == (size <= min(H, W))


def test_histogram_counts_as_numpy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density, "AT_ONCE", 7 * 13)
    rng = np.random.default_rng(1)
    pixels = rng.normal(size=(500, 7))
    pixels[3, 2] = np.nan
    pixels[4, 2] = np.inf
    bounds = np.linspace(-2, 2, 31)
    found = band_histogram(pixels, bounds)
    for band in range(7):
        values = pixels[np.isfinite(pixels[:, band]), band]
        assert np.array_equal(np.rint(found[:, band] * 500), np.histogram(values, bounds)[0])


def test_density_shares_axes_colours_and_leaves_holes() -> None:
    scene = make_scene()
    figure = spectral_density(scene, scene.cube[None, :8, :8])
    real, made = figure.axes[:2]
    assert real.get_xlim() == made.get_xlim()
    assert real.get_ylim() == made.get_ylim()
    meshes = [c for ax in (real, made) for c in ax.collections if hasattr(c, "get_coordinates")]
    assert len(meshes) == 4  # two runs of bands in each picture
    assert len({(m.norm.vmin, m.norm.vmax) for m in meshes}) == 1
    assert meshes[0].get_coordinates()[..., 0].max() == 455
    assert meshes[1].get_coordinates()[..., 0].min() == 895
    assert made.get_xlabel() == "wavelength (nm)"


def test_density_of_bad_bands_and_missing_pixels() -> None:
    scene = make_scene()
    cube = scene.cube.copy()
    cube[..., 3] = np.nan  # a bad band without data
    cube[0, 0] = np.nan  # a missing pixel
    good = np.arange(12) != 3
    figure_png(spectral_density(scene.replace(cube=cube, good_bands=good), cube[None, 4:, 4:]))


def test_density_of_a_constant_scene() -> None:
    scene = Scene(np.ones((4, 4, 3)))
    figure_png(spectral_density(scene, np.ones((1, 4, 4, 3), np.float32)))


@pytest.mark.parametrize("D", [1, 3, 5, 13, 16])
def test_endmembers_and_maps_draw_every_endmember(D: int) -> None:
    scene = make_scene(C=20)
    rng = np.random.default_rng(D)
    maps = rng.dirichlet(np.ones(D), size=(24, 30)).astype(np.float32)
    maps[0, 0] = np.nan
    figure = endmembers(scene, scene.pixels[:D], np.nanmean(maps, axis=(0, 1)))
    assert sum(bool(ax.lines) for ax in figure.axes) == D
    figure = abundance_maps(maps)
    assert len(images(figure)) == D
    assert all(image.get_clim() == (0.0, 1.0) for image in images(figure))
    assert "abundance (share of the pixel)" in texts(figure)
    figure_png(figure)


@pytest.mark.parametrize(("D", "B"), [(1, 1), (3, 9), (16, 5)])
def test_generated_cubes_beside_their_maps(D: int, B: int) -> None:
    scene = make_scene()
    rng = np.random.default_rng(D)
    maps = rng.dirichlet(np.ones(D), size=(B, 8, 10)).astype(np.float32)
    figure = generated_abundances(scene, scene.cube[None, :8, :10].repeat(B, axis=0), maps)
    shown = images(figure)
    assert len(shown) % (D + 1) == 0
    assert len(shown) // (D + 1) == (8 if D == 3 else min(B, 4))
    assert {image.get_clim() for image in shown if image.get_array().ndim == 2} == {(0.0, 1.0)}
    figure_png(figure)


def test_residuals_against_plain_formulas() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 5, 4, 9))
    rms, angle = residuals(a, b)
    assert np.allclose(rms, np.sqrt(((a - b) ** 2).mean(-1)))
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    assert np.allclose(angle, np.degrees(np.arccos(cosine)))
    assert residuals(a, a)[1].max() == 0  # arccos would give 1e-6


def test_residual_map_leaves_masked_pixels_out() -> None:
    scene = make_scene(mask=np.arange(24 * 30).reshape(24, 30) > 100)
    figure = residual_map(scene, scene.cube * 1.01)
    shown = np.ma.masked_invalid(np.asarray(images(figure)[0].get_array(), dtype=float))
    assert shown.mask.sum() == 101


def test_training_curve() -> None:
    history = [{"step": 10 * i, "loss": 1 / (1 + i), "seconds": 0.1} for i in range(100)]
    figure = training_curve(history)
    assert figure.axes[0].get_yscale() == "log"
    assert "mean of 10 steps" in texts(figure)
    figure_png(training_curve([{"step": 1, "loss": 0.5}]))
    figure_png(training_curve([{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan")}]))


@given(st.integers(1, 50), st.integers(1, 60))
def test_smoothing_is_a_mean(n: int, window: int) -> None:
    values = np.random.default_rng(n).random(n)
    found = smooth(values, window)
    for i in range(n):
        low, high = max(0, i - (window - 1) // 2), min(n, i + window // 2 + 1)
        assert found[i] == pytest.approx(values[low:high].mean())


def test_figures_are_files(tmp_path: Path) -> None:
    save_figure(training_curve([{"step": 1, "loss": 1.0}]), tmp_path / "a" / "curve.png")
    assert (tmp_path / "a" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["curve.png"]


@pytest.mark.parametrize(
    "name", ["plot$x_{$", "$\\foo$", "plain\udce9", "\u6f22\u5b57", "a\0b\n\u202ec"]
)
def test_any_name_can_be_drawn(name: str) -> None:
    """A run must not fail in its last stage at "$", at what is not UTF-8, or at a letter the font lacks."""
    figure = generated_abundances(
        scene := make_scene().replace(name=name), scene.cube[None, :4, :4], np.ones((1, 4, 4, 1))
    )
    figure.set_size_inches(2, 1)
    assert figure_png(figure, dpi=30).startswith(b"\x89PNG")
    assert scene.name in texts(figure)


def test_no_global_plotting_state() -> None:
    for file in Path(report.__file__).parent.glob("*.py"):
        assert "import matplotlib.pyplot" not in file.read_text(encoding="utf-8")


BAD: list[tuple[Any, str]] = [
    (lambda s: panels(s, np.ones((2, 8, 8, 5))), r"panels: `generated` must have shape .* C = 12"),
    (lambda s: panels(s, np.ones((0, 8, 8, 12))), r"panels: `generated` must have shape"),
    (lambda s: spectral_density(s, np.ones((8, 8, 12))), r"spectral_density: `generated` must"),
    (lambda s: endmembers(s, np.ones((3, 5))), r"endmembers: `spectra` must have shape \(D, C\)"),
    (lambda _: abundance_maps(np.ones((3, 5))), r"abundance_maps: `abundances` must have shape"),
    (lambda s: residual_map(s, np.ones((3, 5, 2))), r"residual_map: `reconstruction` must have"),
    (
        lambda s: generated_abundances(s, s.cube[None], np.ones((1, 9, 9, 3))),
        r"generated_abundances: `abundances` must have shape \(B, h, w, D\)",
    ),
    (lambda _: training_curve([]), r"training_curve: `history` must have at least one step"),
]


@pytest.mark.parametrize(("draw", "message"), BAD)
def test_errors(draw: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(make_scene())


def test_real_scene(indian_pines: NDArray[np.float32]) -> None:
    scene = Scene(indian_pines, name="Indian Pines")
    figure_png(panels(scene, indian_pines[None, :32, :32]), dpi=40)
    figure_png(spectral_density(scene, indian_pines[None, :32, :32]), dpi=40)

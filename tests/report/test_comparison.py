"""Figures and page of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hud_fast.report import (
    ComparisonTable,
    Entry,
    comparison_densities,
    comparison_panels,
    write_comparison,
)
from hud_fast.report.machine import machine, versions
from hud_fast.scenes import Scene, simulate_scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 36, C=7, D=3, seed=2)


def test_panels_show_every_method_in_the_scene_s_own_stretch(scene: Scene) -> None:
    block = scene.cube[None, 4:20, 3:19]
    figure = comparison_panels(scene, {"real": block, "twice": 2 * block}, n=2)
    axes = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in axes] == ["real", "twice"]  # one block each: the rest is empty
    real, twice = (ax.images[0].get_array() for ax in axes)
    np.testing.assert_array_equal(real, scene.rgb(block[0]))
    assert int(twice.sum()) > int(real.sum())  # brighter stays brighter


def test_densities_are_counts_by_band_and_value_as_the_authors_draw_them(scene: Scene) -> None:
    cubes = np.full((2, 3, 3, 7), 0.5, np.float32)
    cubes[0, 0, 0] = 9.0  # above the full scale: counted in the highest bin
    figure = comparison_densities(scene, {"flat": cubes}, full_scale=2.0, bins=8)
    flat = next(ax for ax in figure.axes if ax.get_title(loc="left") == "flat")
    image = flat.images[0]
    share = np.asarray(image.get_array())
    assert share.shape == (8, 7)
    np.testing.assert_allclose(share[2], 17 / 18)  # 0.5 of 2 lies in [0.25, 0.375)
    np.testing.assert_allclose(share[7], 1 / 18)
    assert image.get_cmap().name == "jet"
    assert image.get_clim() == (0, pytest.approx(0.4 * 17 / 18))


@pytest.mark.parametrize("draw", [comparison_panels, comparison_densities])
def test_cubes_that_do_not_fit(scene: Scene, draw) -> None:  # type: ignore[no-untyped-def]
    options = {"full_scale": 1.0} if draw is comparison_densities else {}
    with pytest.raises(
        ValueError, match=rf"^{draw.__name__}: `generated` must have shape .* C = 7"
    ):
        draw(scene, {"a": np.zeros((2, 8, 8, 5), np.float32)}, **options)


def test_the_page_shows_what_it_is_given_and_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "panels-a.png").write_bytes(b"png")
    entries = (Entry("0.5", "0.4 to 0.6", strong=True), Entry())
    table = ComparisonTable("t", "T <1>", "caption & more", ("one", "two"), (("row", entries),))
    result = {
        "command": "hud-fast compare '<script>'",
        "scenes": {"<b>field</b>": {}},
        "machine": machine(),
        "versions": versions(),
    }
    page = write_comparison(tmp_path, [table], ["a note <i>"], result).read_text()
    assert "<strong>0.5</strong><br><small>0.4 to 0.6</small>" in page
    assert "<td></td>" in page  # not run
    assert "T &lt;1&gt;" in page
    assert "caption &amp; more" in page
    assert "a note &lt;i&gt;" in page
    assert "<script" not in page
    assert "<b>field" not in page
    assert "data:image/png;base64,cG5n" in page

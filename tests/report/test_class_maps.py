"""Class maps in colours: the right colour for each class, beside the right cube."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hud_fast.report import label_maps, labelled_samples
from hud_fast.report.class_maps import coloured, colours_of
from hud_fast.scenes import Scene, simulate_scene

CLASSES = {1: "Oats $1", 3: "Corn"}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 36, C=7, D=3, seed=2)


def pictures(figure: Any) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for ax in figure.axes for image in ax.images]


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_cube_stands_above_its_map(scene: Scene) -> None:
    cubes = np.stack([scene.cube[:8, :8], scene.cube[8:16, :8], scene.cube[16:24, :8]])
    maps = np.array([1, 3, 0], np.uint8)[:, None, None].repeat(8, axis=1).repeat(8, axis=2)
    figure = labelled_samples(scene, cubes, maps, CLASSES, columns=2)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == 6
    for i, cube in enumerate(cubes):
        row, column = divmod(i, 2)
        above, below = figure.axes[6 * row + column], figure.axes[6 * row + 2 + column]
        np.testing.assert_array_equal(above.images[0].get_array(), scene.rgb(cube))
        np.testing.assert_array_equal(below.images[0].get_array(), coloured(maps[i], CLASSES))
    assert legend(figure) == [r"1 Oats \$1", "3 Corn", "no class"]
    assert legend(labelled_samples(scene, cubes, maps, CLASSES, n=1)) == [r"1 Oats \$1"]


def test_maps_of_a_scene_and_few_labels_as_dots(scene: Scene) -> None:
    full = np.ones((40, 36), int)
    few = np.zeros((40, 36), int)
    few[4, 5], few[30, 7] = 3, 1
    figure = label_maps(scene, {"all": full, "few": few}, CLASSES)
    whole, first, second = figure.axes
    np.testing.assert_array_equal(whole.images[0].get_array(), scene.rgb())
    np.testing.assert_array_equal(first.images[0].get_array(), coloured(full, CLASSES))
    (dots,) = second.collections
    np.testing.assert_array_equal(dots.get_offsets(), [[5, 4], [7, 30]])  # x, y
    np.testing.assert_allclose(dots.get_facecolors()[0, :3], colours_of(CLASSES)[3] / 255)
    assert second.get_xlabel() == "2 pixels"
    assert len(label_maps(scene, {"all": full}, CLASSES, picture=False).axes) == 1


def test_a_number_keeps_its_colour_and_classes_differ() -> None:
    few, many = colours_of({5: "a"}), colours_of(dict.fromkeys(range(1, 25), "a"))
    np.testing.assert_array_equal(few[5], many[5])
    assert len({tuple(colour) for colour in many.values()}) == 24
    far = colours_of({100 * k: "a" for k in range(1, 20)})  # large numbers: by place
    assert len({tuple(colour) for colour in far.values()}) == 19
    picture = coloured(np.array([[0, 300, 100]]), {100: "a", 300: "b"})
    assert picture[0, 0].tolist() == [217, 217, 217]
    assert picture[0, 1].tolist() != picture[0, 2].tolist()


def test_wrong_maps(scene: Scene) -> None:
    cubes = scene.cube[None, :8, :8]
    with pytest.raises(
        ValueError, match=r"^labelled_samples: `maps` must have shape \(B, h, w\) ="
    ):
        labelled_samples(scene, cubes, np.zeros((1, 8, 9), int), CLASSES)
    with pytest.raises(TypeError, match=r"^labelled_samples: `maps` must hold whole numbers, got"):
        labelled_samples(scene, cubes, np.zeros((1, 8, 8)), CLASSES)
    with pytest.raises(ValueError, match="must name every class of `maps`, got none for 2"):
        labelled_samples(scene, cubes, np.full((1, 8, 8), 2), CLASSES)
    with pytest.raises(ValueError, match=r"^label_maps: `maps\['a'\]` must have shape \(H, W\) = "):
        label_maps(scene, {"a": np.zeros((3, 3), int)}, CLASSES)
    with pytest.raises(ValueError, match=r"^label_maps: `maps` must hold a map, got none"):
        label_maps(scene, {}, CLASSES)

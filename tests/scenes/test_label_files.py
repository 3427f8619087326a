"""Label maps from files of every usual kind, each written by another library than ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat
from spectral.io import envi

from hud_fast.scenes import Scene, load_scene, save_scene
from hud_fast.scenes.class_names import CLASS_COLOURS, class_colours

H, W = 6, 7
MAP = np.random.default_rng(0).integers(0, 4, (H, W)).astype(np.uint8)
NAMES = ("Corn", "Meadows", "Bare soil")
CUBE = np.random.default_rng(1).random((H, W, 12))
ZEROS = int((MAP == 0).sum())
assert 0 < ZEROS < H * W


@pytest.fixture
def scene_file(tmp_path: Path) -> Path:
    path = tmp_path / "field.npy"
    np.save(path, CUBE)
    return path


def write_csv(path: Path, cells: Callable[[int], str], heading: str = "row,column,class") -> None:
    points = [f"{r},{c},{cells(MAP[r, c])}" for r, c in np.argwhere(MAP > 0)[::-1]]
    path.write_text("\n".join([heading, *points, ""]))


def write_geotiff(path: Path, labels: NDArray[Any], **how: Any) -> None:
    rasterio = pytest.importorskip("rasterio")
    shape = {"height": H, "width": W, "count": 1, "dtype": labels.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **shape, **how) as file:
            file.write(labels, 1)


def write_png(path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = image.fromarray(MAP)
    picture.putpalette(class_colours(3).tobytes())
    picture.save(path)


def write_v4(path: Path) -> None:
    savemat(path, {"gt": MAP.astype(float)}, format="4")


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.mat": lambda path: savemat(path, {"indian_pines_gt": MAP, "n": 4.0, "half": CUBE[..., 0]}),
    "v4.mat": write_v4,
    "a.npy": lambda path: np.save(path, MAP.astype(float)),
    "a.npz": lambda path: np.savez(path, truth=MAP, mask=MAP > 0, half=CUBE[..., 0]),
    "a.hdr": lambda path: envi.save_classification(str(path), MAP),
    "a.tif": lambda path: write_geotiff(path, MAP),
    "a.png": write_png,
    "a.txt": lambda path: np.savetxt(path, MAP, fmt="%d"),
    "points.csv": lambda path: write_csv(path, str),
}


@pytest.mark.parametrize("name", WRITERS)
def test_labels_of_every_kind(scene_file: Path, tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    scene = load_scene(scene_file, labels=tmp_path / name)
    np.testing.assert_array_equal(scene.labels, MAP)
    assert scene.labels is not None
    assert scene.labels.dtype.kind in "iu"
    part = load_scene(scene_file, labels=tmp_path / name, window=((1, 6), (2, None)), every=2)
    np.testing.assert_array_equal(part.labels, MAP[1:6:2, 2::2])


def test_labels_of_a_matlab_7_3_file(scene_file: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "new.mat", "w", userblock_size=512) as file:
        item = file.create_dataset("gt", data=MAP.T)
        item.attrs["MATLAB_class"] = np.bytes_("uint8")
    with (tmp_path / "new.mat").open("r+b") as start:
        start.write(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM")
    np.testing.assert_array_equal(load_scene(scene_file, labels=tmp_path / "new.mat").labels, MAP)


def test_names_of_an_envi_classification(scene_file: Path, tmp_path: Path) -> None:
    names = ["Unclassified", *NAMES]
    envi.save_classification(str(tmp_path / "gt.hdr"), MAP, class_names=names)
    for given in ("gt.hdr", "gt.img"):
        scene = load_scene(scene_file, labels=tmp_path / given)
        assert scene.label_names == NAMES
        np.testing.assert_array_equal(scene.labels, MAP)
    envi.save_classification(str(tmp_path / "zero.hdr"), MAP, class_names=["Road", *NAMES])
    with pytest.warns(UserWarning, match="0 is no label, in .* it is called 'Road'"):
        scene = load_scene(scene_file, labels=tmp_path / "zero.hdr")
    assert scene.label_names == NAMES


def test_names_in_matlab_and_numpy_files(scene_file: Path, tmp_path: Path) -> None:
    cells = np.array(["Unlabelled", *NAMES], object)
    savemat(tmp_path / "cells.mat", {"gt": MAP, "class_names": cells})
    savemat(tmp_path / "lines.mat", {"gt": MAP, "classes": np.array(NAMES)})
    np.savez(tmp_path / "names.npz", gt=MAP, label_names=np.array(NAMES))
    for name in ("cells.mat", "lines.mat", "names.npz"):
        assert load_scene(scene_file, labels=tmp_path / name).label_names == NAMES, name
    savemat(tmp_path / "few.mat", {"gt": MAP, "names": np.array(NAMES[:2])})
    with pytest.warns(UserWarning, match="2 class names are left out: .* has the class 3"):
        assert load_scene(scene_file, labels=tmp_path / "few.mat").label_names is None


def test_names_go_with_a_scene_that_is_saved(tmp_path: Path) -> None:
    from scipy.io import loadmat

    scene = Scene(CUBE, labels=MAP, label_names=NAMES)
    for name in ("whole.mat", "whole.npz"):
        save_scene(scene, tmp_path / name)
        again = load_scene(tmp_path / name)
        assert again.label_names == NAMES
        np.testing.assert_array_equal(again.labels, MAP)
        assert load_scene(tmp_path / name, labels=tmp_path / name).label_names == NAMES
    written = [str(line).strip() for line in loadmat(tmp_path / "whole.mat")["label_names"]]
    assert written == list(NAMES)


def test_what_a_file_declares_as_no_data_is_no_label(scene_file: Path, tmp_path: Path) -> None:
    other = np.where(MAP == 0, 255, MAP).astype(np.uint8)
    write_geotiff(tmp_path / "gt.tif", other, nodata=255)
    np.testing.assert_array_equal(load_scene(scene_file, labels=tmp_path / "gt.tif").labels, MAP)
    below = np.where(MAP == 0, np.int16(-1), MAP.astype(np.int16))
    facts = {"data ignore value": -1}
    envi.save_image(str(tmp_path / "gt.hdr"), below, metadata=facts, dtype=np.int16)
    np.testing.assert_array_equal(load_scene(scene_file, labels=tmp_path / "gt.hdr").labels, MAP)
    np.save(tmp_path / "gt.npy", below)
    with pytest.raises(ValueError, match=r"got -1: what stands for no label must be 0.*gt\.npy"):
        load_scene(scene_file, labels=tmp_path / "gt.npy")


def test_names_beside_a_geotiff(scene_file: Path, tmp_path: Path) -> None:
    write_geotiff(tmp_path / "gt.tif", MAP)
    listed = "".join(f"<Category>{name}</Category>" for name in ("none", *NAMES))
    side = tmp_path / "gt.tif.aux.xml"
    side.write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{listed}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    assert load_scene(scene_file, labels=tmp_path / "gt.tif").label_names == NAMES
    side.write_text("<PAMDataset>")
    with pytest.warns(UserWarning, match=r"gt\.tif\.aux\.xml is left out"):
        assert load_scene(scene_file, labels=tmp_path / "gt.tif").label_names is None


def test_points_with_names(scene_file: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "names.csv", lambda number: ("z", "y", "x")[number - 1])
    scene = load_scene(scene_file, labels=tmp_path / "names.csv")
    assert scene.label_names == ("x", "y", "z")
    np.testing.assert_array_equal(scene.labels, np.where(MAP > 0, 4 - MAP.astype(int), 0))
    save_scene(Scene(CUBE, label_names=("z", "y", "x"), labels=MAP), tmp_path / "own.npz")
    again = load_scene(tmp_path / "own.npz", labels=tmp_path / "names.csv")
    assert again.label_names == ("z", "y", "x")
    np.testing.assert_array_equal(again.labels, MAP)
    (tmp_path / "two.csv").write_text("Row;Col;Label;Name\n0;1;2;Corn\n5;6;2;Corn\n")
    few = load_scene(scene_file, labels=tmp_path / "two.csv")
    assert few.label_names == ("1", "Corn")
    assert few.labels is not None
    assert few.labels.sum() == few.labels[0, 1] + few.labels[5, 6] == 4


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("row,column,kind\n1,1,1\n", "columns row, column and class, got row, column, kind"),
        ("row,column,class\n6,1,1\n", "6 x 7 pixels, counted from 0, got row 6 in line 2"),
        ("row,column,class\n1,-1,1\n", "got column -1 in line 2"),
        ("row,column,class\n1,1.5,1\n", "whole numbers for column, got '1.5' in line 2"),
        ("row,column,class\n1,1,-2\n", "classes of 0 .unlabelled. or more, got -2"),
        ("row,column,class\n1,1,1\n1,1,2\n", "one class a point, got two for row 1, column 1"),
        (
            "row,column,class\n1,1,1\n1,2,corn\n",
            "all numbers or all names, got numbers beside corn",
        ),
        ("row,column,class\n1,1\n", "3 cells a line, got 2 in line 2"),
        ("row,column,class,name\n1,1,1,a\n1,2,1,b\n", "one name a class, got two for 1"),
    ],
)
def test_points_that_are_wrong(scene_file: Path, tmp_path: Path, rows: str, match: str) -> None:
    (tmp_path / "points.csv").write_text(rows)
    with pytest.raises(ValueError, match=match + r".*points\.csv"):
        load_scene(scene_file, labels=tmp_path / "points.csv")


def test_a_misspelt_class_among_those_of_the_scene(tmp_path: Path) -> None:
    save_scene(Scene(CUBE, label_names=NAMES, labels=MAP), tmp_path / "own.npz")
    (tmp_path / "points.csv").write_text("row,column,class\n1,1,corn\n1,2,Medows\n")
    with pytest.raises(ValueError, match=r"classes of the scene .Corn, Meadows.*, got Medows"):
        load_scene(tmp_path / "own.npz", labels=tmp_path / "points.csv")


def test_maps_that_do_not_fit(scene_file: Path, tmp_path: Path) -> None:
    savemat(tmp_path / "two.mat", {"a": MAP, "b": MAP})
    with pytest.raises(ValueError, match=r"one fitting variable, got a 6x7, b 6x7 in .*all fit"):
        load_scene(scene_file, labels=tmp_path / "two.mat")
    savemat(tmp_path / "turned.mat", {"gt": MAP.T})
    with pytest.raises(ValueError, match=r"got gt 7x6 in .*the scene is 6x7"):
        load_scene(scene_file, labels=tmp_path / "turned.mat")
    np.save(tmp_path / "turned.npy", MAP.T)
    with pytest.raises(ValueError, match=r"shape \(6, 7\), got \(7, 6\).*turned\.npy"):
        load_scene(scene_file, labels=tmp_path / "turned.npy")
    envi.save_classification(str(tmp_path / "turned.hdr"), MAP.T)
    with pytest.raises(ValueError, match=r"shape \(6, 7\) and one band, got \(7, 6, 1\)"):
        load_scene(scene_file, labels=tmp_path / "turned.hdr")
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.stack([MAP] * 3, axis=-1)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"a picture of one channel.*RGB"):
        load_scene(scene_file, labels=tmp_path / "rgb.png")


def test_labels_keep_the_names_of_the_scene_while_they_fit(tmp_path: Path) -> None:
    save_scene(Scene(CUBE, label_names=NAMES, labels=MAP), tmp_path / "own.npz")
    few = np.where(MAP == 2, 2, 0)
    assert load_scene(tmp_path / "own.npz", labels=few).label_names == NAMES
    assert load_scene(tmp_path / "own.npz", labels=few * 2).label_names is None


def test_colours_differ_for_everyone() -> None:
    """Distances in Oklab, as seen by most and with red or green blindness (matrices of Machado et al.)."""
    colours = class_colours(24) / 255.0
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    green = [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ]
    red = [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
             [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    lab = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
           [0.0259040371, 0.7827717662, -0.808675766]]  # fmt: skip
    for seen in (np.eye(3), green, red):
        there = np.clip(linear @ np.array(seen).T, 0, 1)
        place = np.cbrt(there @ np.array(cones).T) @ np.array(lab).T
        apart = np.linalg.norm(place[:, None] - place, axis=-1) + np.eye(25)
        assert apart.min() > 0.07
    assert len(set(CLASS_COLOURS)) == 25
    np.testing.assert_array_equal(class_colours(26)[25:], class_colours(2)[1:])

"""Class maps beside generated cubes: in sets, in single files and in stacks, read back by other libraries."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat
from spectral import open_image

from hud_fast.pipeline.cubes import foreign_to_set, in_order, read_cubes, write_cubes
from hud_fast.pipeline.errors import InputError
from hud_fast.scenes import Scene, load_scene
from hud_fast.scenes.class_names import class_colours
from hud_fast.scenes.label_writers import write_labels

CLASSES = {2: "Corn, notill", 5: "Woods"}
NAMES = in_order(CLASSES)


@pytest.fixture
def cubes() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((3, 9, 8, 5)).astype(np.float32)


@pytest.fixture
def maps() -> NDArray[np.uint8]:
    return np.random.default_rng(1).choice(np.array([0, 2, 5], np.uint8), (3, 9, 8))


def write(folder: Path, cubes: Any, maps: Any, kind: str) -> None:
    scene = Scene(np.ones((20, 21, 5)), name="field", wavelengths=np.arange(400.0, 450, 10))
    shares = cubes[..., :2]
    write_cubes(folder, cubes, scene, kind=kind, abundances=shares, labels=maps, classes=CLASSES)


@pytest.mark.parametrize("kind", ["mat", "envi", "npz", "npy", "geotiff"])
def test_a_set_with_maps(tmp_path: Path, cubes: Any, maps: Any, kind: str) -> None:
    if kind == "geotiff":
        pytest.importorskip("rasterio")
    folder = tmp_path / "set"
    write(folder, cubes, maps, kind)
    stored = np.load(folder / "maps.npy")
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, maps)
    assert json.loads((folder / "classes.json").read_text()) == {"2": "Corn, notill", "5": "Woods"}
    own = {"mat": "cube-001.mat", "npz": "cube-001.npz", "envi": "cube-001-classes.hdr"}
    own |= {"geotiff": "cube-001-classes.tif"}
    if kind != "npy":
        scene = load_scene(folder / f"cube-001{Path(own[kind]).suffix}", labels=folder / own[kind])
        np.testing.assert_array_equal(scene.labels, maps[1])
        found = [name.replace(";", ",") for name in scene.label_names or ()]
        assert found == list(NAMES)
    assert foreign_to_set(folder) is None
    write(folder, cubes[:2], maps[:2], kind)  # over the older one
    assert len(np.load(folder / "maps.npy")) == 2
    (folder / "generated.npy").unlink()
    if kind != "npy":  # from single files, of which maps are none
        np.testing.assert_allclose(read_cubes(folder), cubes[:2], rtol=1e-6)
    (folder / "mine-classes.hdr").touch()
    with pytest.raises(InputError, match="holds other files"):
        write(folder, cubes, maps, kind)


def test_a_map_that_never_came(tmp_path: Path, cubes: Any) -> None:
    from hud_fast.pipeline.cubes import writing_cubes

    scene = Scene(np.ones((20, 21, 5)))
    with (
        pytest.raises(RuntimeError, match=r"maps\.npy: 0 of 3 cubes were written"),
        writing_cubes(tmp_path / "set", scene, cubes.shape, kind="npy", classes=CLASSES) as put,
    ):
        put(cubes, None)
    assert list(tmp_path.iterdir()) == []


def test_an_envi_classification_as_spy_reads_it(tmp_path: Path, maps: Any) -> None:
    assert write_labels(maps[0], tmp_path / "map.hdr", NAMES) == [
        tmp_path / "map.hdr",
        tmp_path / "map.img",
    ]
    image = open_image(str(tmp_path / "map.hdr"))
    np.testing.assert_array_equal(np.asarray(image.read_band(0)), maps[0])
    facts = image.metadata
    assert facts["file type"] == "ENVI Classification"
    assert facts["classes"] == "6"
    assert facts["class names"] == ["Unlabelled", "class 1", "Corn; notill", *NAMES[2:]]
    colours = np.array(facts["class lookup"], int).reshape(-1, 3)
    np.testing.assert_array_equal(colours, class_colours(5))


def test_a_geotiff_as_gdal_reads_it(tmp_path: Path, maps: Any) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "map.tif"
    write_labels(maps[0], path, ["a & <b>", *NAMES[1:]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        file = rasterio.open(path)
    with file:
        np.testing.assert_array_equal(file.read(1), maps[0])
        assert (file.count, file.dtypes, file.nodata) == (1, ("uint8",), 0)
        colours = [file.colormap(1)[i][:3] for i in range(6)]
    np.testing.assert_array_equal(colours, class_colours(5))
    assert "<Category>a &amp; &lt;b&gt;</Category>" in Path(f"{path}.aux.xml").read_text()
    names = ("a & <b>", *NAMES[1:])
    scene = load_scene(save_cube(tmp_path), labels=path)
    assert scene.label_names == names
    Path(f"{path}.aux.xml").unlink()  # the file itself has the names, too
    assert load_scene(tmp_path / "cube.npy", labels=path).label_names == names


def save_cube(folder: Path) -> Path:
    path = folder / "cube.npy"
    np.save(path, np.random.default_rng(0).random((9, 8, 5)))
    return path


def test_large_numbers(tmp_path: Path) -> None:
    labels = np.zeros((9, 8), np.int64)
    labels[3, 4] = 300
    names = [f"class {i}" for i in range(1, 301)]
    write_labels(labels, tmp_path / "map.hdr", names)
    scene = load_scene(save_cube(tmp_path), labels=tmp_path / "map.hdr")
    np.testing.assert_array_equal(scene.labels, labels)
    assert scene.label_names == tuple(names)
    with pytest.raises(ValueError, match=r"one for each of 300 classes.*, got 5"):
        write_labels(labels, tmp_path / "map.hdr", NAMES)


def test_names_in_a_mat_file_as_scipy_reads_them(tmp_path: Path, cubes: Any, maps: Any) -> None:
    write(tmp_path / "set", cubes, maps, "mat")
    found = loadmat(tmp_path / "set" / "cube-002.mat")
    np.testing.assert_array_equal(found["labels"], maps[2])
    assert [str(name).strip() for name in found["label_names"]] == list(NAMES)


def test_the_report_of_a_labelled_run_shows_maps(tmp_path: Path) -> None:
    from hud_fast.pipeline import ModelOptions, SampleOptions, SceneOptions, run_scene
    from hud_fast.scenes import save_scene, simulate_scene

    scene = simulate_scene(64, 36, C=8, D=3, seed=3)
    assert scene.truth is not None
    labels = scene.truth.abundances.argmax(axis=-1) + 1
    labels[::2] = 0
    np.save(tmp_path / "gt.npy", labels)
    save_scene(scene, tmp_path / "field.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so small a scene has no judge
        made = run_scene(
            str(tmp_path / "field.npz"),
            tmp_path / "run",
            scene_options=SceneOptions(labels=str(tmp_path / "gt.npy")),
            model_options=ModelOptions(preset="instant", endmembers=3, device="cpu"),
            sample_options=SampleOptions(samples=3, size=(16, 16)),
        )
    page = made.report.read_text()
    assert "Cubes with their class maps" in page
    assert "The labels that the model learned" in page
    assert (made.report.parent / "figures" / "labelled_samples.png").is_file()

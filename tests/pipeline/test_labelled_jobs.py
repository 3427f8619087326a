"""Jobs with labels: what is trained with them, what `sample_model` and `run_scene` write, what they refuse."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat, savemat
from typer.testing import CliRunner

from hud_fast.cli import app
from hud_fast.diffusion import HUD
from hud_fast.pipeline import (
    ModelOptions,
    SampleOptions,
    SceneOptions,
    fit_model,
    fit_models,
    run_scene,
    sample_model,
)
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.model import classes_of
from hud_fast.scenes import load_scene, save_scene, simulate_scene, writers

OPTIONS = SampleOptions(samples=3, size=(8, 12))
ONE = SampleOptions(samples=1, size=(8, 12))
INSTANT = ModelOptions(preset="instant", endmembers=3, device="cpu")
NAMES = ("soil", "class 2", "reed, dry")
SCENE = simulate_scene(24, 24, C=12, D=3, seed=0).replace(scale=1000.0)
assert SCENE.truth is not None
# two of the three endmembers, where there is little of others
LABELS = np.where(
    SCENE.truth.abundances.max(axis=-1) > 0.6, SCENE.truth.abundances.argmax(axis=-1) + 1, 0
)
LABELS[LABELS == 2] = 0


@pytest.fixture(scope="module", autouse=True)
def few_trials() -> Iterator[None]:
    """Patches weighed for classes by two trial blocks: what is asked for is not what is tested here."""
    from hud_fast.diffusion import patch_weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_weights, "STEERING_ROUNDS", 1)
        patch.setattr(patch_weights, "STEERING_TRIALS", 2)
        yield


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A scene, its labels, a model fit with them and one without."""
    folder = tmp_path_factory.mktemp("labelled")
    found = {
        name: folder / name for name in ("scene.npz", "labels.mat", "points.csv", "model", "plain")
    }
    save_scene(SCENE, found["scene.npz"])
    savemat(found["labels.mat"], {"gt": LABELS, "names": np.array(["soil", " ", "reed, dry"])})
    soil, reed = np.argwhere(LABELS == 1)[:2], np.argwhere(LABELS == 3)[:1]
    points = [(*at, name) for name, where in (("soil", soil), ("reed", reed)) for at in where]
    lines = [",".join(map(str, point)) for point in [("row", "column", "class"), *points]]
    found["points.csv"].write_text("\n".join(lines))
    asked = SceneOptions(labels=str(found["labels.mat"]))
    for name, how in (("model", asked), ("plain", SceneOptions())):
        fit_model(str(found["scene.npz"]), found[name], scene_options=how, model_options=INSTANT)
    return found


@pytest.fixture(scope="module")
def truth(places: dict[str, Path]) -> tuple[Any, ...]:
    known = HUD.load(places["model"], device="cpu")
    cubes, maps = known.sample(3, seed=4, size=(8, 12), classes=True)
    assert set(np.unique(maps)) >= {1, 3}
    return cubes * np.float32(1000), maps


def test_labels_are_trained_with(places: dict[str, Path]) -> None:
    known = HUD.load(places["model"], device="cpu")
    assert known.classes is not None
    assert known.classes.numbers == (1, 3)
    assert known.classes.names == ("soil", "reed, dry")
    np.testing.assert_array_equal(known.classes.labels, LABELS)
    assert HUD.load(places["plain"], device="cpu").classes is None


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What other programs read."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            return dict(file)
    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            return {name: item[()].T for name, item in file.items()}
    return {name: values for name, values in loadmat(path).items() if name[0] != "_"}


@pytest.mark.parametrize("kind", ["npz", "mat 5", "mat 7.3"])
def test_a_stack_holds_maps(
    places: dict[str, Path], truth: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "mat 7.3":
        monkeypatch.setattr(writers, "V5_LARGEST", 0)
    path = tmp_path / f"cubes.{kind[:3]}"
    sample_model(places["model"], path, OPTIONS, seed=4, device="cpu")
    found = arrays(path)
    np.testing.assert_array_equal(found["cubes"], truth[0])
    np.testing.assert_array_equal(found["labels"], truth[1])
    assert found["labels"].dtype == np.uint8
    lines = found["label_names"]
    if kind == "mat 7.3":
        lines = np.array(["".join(map(chr, line)) for line in lines])
    assert [str(name).strip() for name in lines] == list(NAMES)
    sample_model(places["model"], path, OPTIONS, device="cpu", overwrite=True)
    sample_model(places["plain"], path, OPTIONS, device="cpu", overwrite=True)
    assert arrays(path).keys() == {"cubes", "abundances", "endmembers", "wavelengths"}


def test_a_zarr_group_holds_maps(places: dict[str, Path], truth: Any, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "cubes.zarr"
    sample_model(places["model"], path, OPTIONS, seed=4, device="cpu")
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["labels"][:], truth[1])
    assert group["labels"].metadata.dimension_names == ("sample", "row", "column")
    assert group["labels"].attrs["label_names"] == list(NAMES)
    sample_model(places["model"], path, OPTIONS, seed=4, device="cpu", overwrite=True)


def test_maps_beside_a_npy_file(places: dict[str, Path], truth: Any, tmp_path: Path) -> None:
    path, beside = tmp_path / "cubes.npy", tmp_path / "cubes.labels.npy"
    sample_model(places["model"], path, OPTIONS, seed=4, device="cpu")
    np.testing.assert_array_equal(np.load(path), truth[0])
    np.testing.assert_array_equal(np.load(beside), truth[1])
    sample_model(places["model"], path, OPTIONS, seed=5, device="cpu", overwrite=True)
    assert not np.array_equal(np.load(beside), truth[1])
    path.unlink()
    with pytest.raises(InputError, match=r"cubes\.labels\.npy exists"):
        sample_model(places["model"], path, OPTIONS, device="cpu")
    np.save(beside, truth[0][0])
    with pytest.raises(InputError, match=r"cubes\.labels\.npy is no map of generated cubes"):
        sample_model(places["model"], path, OPTIONS, device="cpu", overwrite=True)
    np.testing.assert_array_equal(np.load(beside), truth[0][0])
    sample_model(places["plain"], path, OPTIONS, device="cpu")
    assert beside.is_file()  # it is somebody else's
    beside.unlink()
    sample_model(places["model"], path, OPTIONS, device="cpu", overwrite=True)
    sample_model(places["plain"], path, OPTIONS, device="cpu", overwrite=True)
    assert not beside.exists()  # the maps of other cubes


@pytest.mark.parametrize("suffix", [".hdr", ".tif"])
def test_a_map_beside_one_cube(
    places: dict[str, Path], truth: Any, tmp_path: Path, suffix: str
) -> None:
    if suffix == ".tif":
        pytest.importorskip("rasterio")
    path = tmp_path / f"cube{suffix}"
    sample_model(places["model"], path, ONE, seed=4, device="cpu")
    there = sorted(file.name for file in tmp_path.iterdir())
    scene = load_scene(path, labels=tmp_path / f"cube-classes{suffix}")
    np.testing.assert_array_equal(scene.labels, truth[1][0])
    np.testing.assert_allclose(scene.cube * scene.scale, truth[0][0], rtol=1e-6)
    assert scene.label_names is not None
    assert scene.label_names[0] == "soil"
    sample_model(places["model"], path, ONE, seed=4, device="cpu", overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == there
    sample_model(places["plain"], path, ONE, seed=4, device="cpu", overwrite=True)
    left = [name for name in there if "classes" not in name]
    assert sorted(file.name for file in tmp_path.iterdir()) == left


def test_a_set_has_maps_and_what_is_asked_for(places: dict[str, Path], tmp_path: Path) -> None:
    known = HUD.load(places["model"], device="cpu")
    asked = SampleOptions(samples=3, size=(8, 12), classes=("REED, dry",), shares=(0.75,))
    sample_model(places["model"], tmp_path / "set", asked, seed=2, device="cpu")
    _, maps = known.sample(3, seed=2, size=(8, 12), classes={3: 0.75})
    np.testing.assert_array_equal(np.load(tmp_path / "set" / "maps.npy"), maps)
    half = SampleOptions(samples=3, size=(8, 12), classes=("3",))
    sample_model(places["model"], tmp_path / "set", half, seed=2, device="cpu", overwrite=True)
    _, maps = known.sample(3, seed=2, size=(8, 12), classes={3: 0.5})
    np.testing.assert_array_equal(np.load(tmp_path / "set" / "maps.npy"), maps)


@pytest.mark.parametrize(
    ("classes", "shares", "message"),
    [
        (
            ("soli",),
            (),
            r"--class must be of soil \(1\), reed, dry \(3\), got 'soli'; did you mean 'soil'",
        ),
        (("2",), (), r"--class must be of soil \(1\), .* got 2"),
        (("soil", "1"), (), "--class must name each class once, got soil, 1"),
        (("soil",), (1.5,), "--share must give 1 a share above 0 and at most 1, got 1.5"),
        (("soil", "3"), (0.5, 0.6), "--share must have shares that add up to 1 at most, got 1.1"),
        (("soil",), (0.1, 0.2), "--share must be given once for each --class.*, got 2 for 1"),
        ((), (0.1,), "--share must be given once for each --class.*, got 1 for 0"),
    ],
)
def test_classes_that_cannot_be_asked_for(
    places: dict[str, Path], tmp_path: Path, classes: Any, shares: Any, message: str
) -> None:
    asked = SampleOptions(samples=3, size=(8, 12), classes=classes, shares=shares)
    with pytest.raises(InputError, match=message):
        sample_model(places["model"], tmp_path / "set", asked, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_classes_has_none_to_ask_for(
    places: dict[str, Path], tmp_path: Path
) -> None:
    asked = SampleOptions(samples=3, classes=("soil",))
    with pytest.raises(InputError, match="--class needs a model that was trained with --labels"):
        sample_model(places["plain"], tmp_path / "set", asked, device="cpu")


def test_scenes_whose_labels_cannot_be_used(places: dict[str, Path], tmp_path: Path) -> None:
    source = str(places["scene.npz"])
    with pytest.raises(
        InputError, match=r"--labels must label a pixel, got no labels with .*scene"
    ):
        SceneOptions(labels="scene").load(source)
    np.save(tmp_path / "none.npy", np.zeros((24, 24), int))
    with pytest.raises(InputError, match=r"got 0 everywhere in .*none\.npy"):
        SceneOptions(labels=str(tmp_path / "none.npy")).load(source)
    with pytest.raises(InputError, match="--labels is of one scene, got 2 scenes"):
        fit_models([source, source], tmp_path / "m", scene_options=SceneOptions(labels="scene"))
    assert SceneOptions().load(source).labels is None


def test_labels_of_the_scenes_own_file(places: dict[str, Path], tmp_path: Path) -> None:
    scene = load_scene(places["scene.npz"], labels=places["points.csv"])
    save_scene(scene, tmp_path / "own.npz")
    assert SceneOptions().load(str(tmp_path / "own.npz")).labels is None
    own = SceneOptions(labels="scene").load(str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(own.labels, scene.labels)
    assert own.label_names == ("reed", "soil")
    assert own.labels is not None
    row, column = map(int, np.argwhere(LABELS == 1)[0])
    window = ((row, row + 1), (column, column + 1))
    part = SceneOptions(labels="scene", window=window).load(str(tmp_path / "own.npz"))
    known = classes_of(part)
    assert known is not None
    assert (known.numbers, known.names) == ((2,), ("soil",))


def test_a_run_writes_maps_and_goes_on_with_the_same_labels_only(
    places: dict[str, Path], tmp_path: Path
) -> None:
    source, out = str(places["scene.npz"]), tmp_path / "run"
    how: dict[str, Any] = {
        "scene_options": SceneOptions(labels=str(places["labels.mat"])),
        "model_options": INSTANT,
        "sample_options": SampleOptions(samples=3, size=(8, 12), classes=("soil",), format="mat"),
    }
    wrong = SampleOptions(samples=3, classes=("mud",))
    with pytest.raises(InputError, match="--class must be of soil"):
        run_scene(source, out, **how | {"sample_options": wrong})
    run_scene(source, out, **how)
    maps = np.load(out / "generated" / "maps.npy")
    known = HUD.load(out / "model", device="cpu")
    np.testing.assert_array_equal(
        maps, known.sample(3, seed=0, size=(8, 12), classes={"soil": 0.5})[1]
    )
    one = load_scene(out / "generated" / "cube-001.mat")
    np.testing.assert_array_equal(one.labels, maps[1])
    assert one.label_names == NAMES
    record = (out / "run.json").read_text()
    assert '"labels fingerprint"' in record
    (out / "run.json").write_text(record.replace('"finished"', '"running"', 1))
    other = SceneOptions(labels=str(places["points.csv"]))
    with pytest.raises(InputError, match="unfinished run with labels fingerprint"):
        run_scene(source, out, **how | {"scene_options": other})


def test_the_command_line(places: dict[str, Path], tmp_path: Path) -> None:
    run = CliRunner().invoke
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        words = ["--preset", "instant", "--endmembers", "3", "--device", "cpu"]
        labels = ["--labels", str(places["points.csv"])]
        model = str(tmp_path / "model")
        made = run(app, ["fit", str(places["scene.npz"]), "--out", model, *words, *labels])
        assert made.exit_code == 0, made.output
        asked = ["--class", "soil", "--share", "0.4", "--class", "reed", "--share", "0.2"]
        size = ["--count", "2", "--size", "8", "--device", "cpu"]
        made = run(app, ["sample", model, "--out", str(tmp_path / "set"), *asked, *size])
        assert made.exit_code == 0, made.output
    known = HUD.load(tmp_path / "model", device="cpu")
    _, maps = known.sample(2, size=8, classes={"soil": 0.4, "reed": 0.2})
    np.testing.assert_array_equal(np.load(tmp_path / "set" / "maps.npy"), maps)
    for command in ("evaluate", "compare", "unmix", "endmembers"):
        assert "FILE|scene" not in run(app, [command, "--help"]).output

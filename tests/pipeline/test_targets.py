"""Where `sample_model` writes, by the name: what each kind of file holds, which names are refused before the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat

from hud_fast.diffusion import HUD
from hud_fast.pipeline import SampleOptions, sample_model
from hud_fast.pipeline.cubes import read_cubes
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.stack_files import writing_stack
from hud_fast.scenes import load_scene, save_scene, simulate_scene, writers

OPTIONS = SampleOptions(samples=3, size=(8, 12), sampler_steps=2)
ONE = SampleOptions(samples=1, size=(8, 12), sampler_steps=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("targets") / "model"
    scene = simulate_scene(40, 40, C=12, D=3, seed=0).replace(scale=1000.0)
    HUD.fit(scene, endmembers=3, preset="tiny", steps=1, device="cpu").save(folder)
    return folder


@pytest.fixture(scope="module")
def truth(model: Path) -> tuple[NDArray[Any], NDArray[Any], HUD]:
    known = HUD.load(model, device="cpu")
    cubes, maps = known.sample(3, seed=4, size=(8, 12), steps=2, return_abundances=True)
    return cubes * np.float32(1000), maps, known


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
def test_a_stack_with_all_that_belongs_to_it(
    model: Path, truth: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "mat 7.3":
        monkeypatch.setattr(writers, "V5_LARGEST", 3 * 8 * 12 * 12 * 4 - 1)
    cubes, maps, known = truth
    path = tmp_path / f"cubes.{kind[:3]}"
    assert sample_model(model, path, OPTIONS, seed=4, device="cpu") == (3, 8, 12, 12)
    found = arrays(path)
    assert h5py.is_hdf5(path) == (kind == "mat 7.3")
    assert found.keys() == {"cubes", "abundances", "endmembers", "wavelengths"}
    np.testing.assert_array_equal(found["cubes"], cubes)
    np.testing.assert_array_equal(found["abundances"], maps)
    np.testing.assert_allclose(found["endmembers"] / 1000, known.endmembers, 1e-6)
    np.testing.assert_array_equal(found["wavelengths"].ravel(), known.wavelengths)
    np.testing.assert_array_equal(read_cubes(path), cubes)
    scene = load_scene(path, variable="cubes[2]")
    np.testing.assert_array_equal(scene.cube, cubes[2])
    np.testing.assert_allclose(scene.wavelengths, known.wavelengths)
    with pytest.raises(InputError, match=r"exists: choose another --out"):
        sample_model(model, path, OPTIONS, device="cpu")
    sample_model(model, path, OPTIONS, seed=5, device="cpu", overwrite=True)
    assert not np.array_equal(read_cubes(path), cubes)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["cubes.npz", "cubes.mat"])
def test_a_file_of_somebody_elses_is_not_replaced(model: Path, tmp_path: Path, name: str) -> None:
    path = save_scene(simulate_scene(8, 12, C=12, D=3), tmp_path / name)
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf"{name} is no stack of cubes that hud-fast wrote"):
        sample_model(model, path, OPTIONS, device="cpu", overwrite=True)
    assert path.read_bytes() == before
    path.write_bytes(b"notes")
    with pytest.raises(InputError, match=rf"{name} is no stack of cubes"):
        sample_model(model, path, OPTIONS, device="cpu", overwrite=True)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=rf"{name} is a folder"):
        sample_model(model, path, OPTIONS, device="cpu", overwrite=True)


@pytest.mark.parametrize("name", ["cubes.npz", "cubes.mat", "73.mat"])
def test_a_stack_that_is_cut_short_leaves_nothing(
    truth: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cubes, maps, known = truth
    if name == "73.mat":
        monkeypatch.setattr(writers, "V5_LARGEST", 0)
    with (
        pytest.raises(RuntimeError, match=r"1 of 3 cubes were written"),
        writing_stack(tmp_path / name, known, cubes.shape) as write,
    ):
        write(cubes[:1], maps[:1])

    def stopped() -> None:
        with writing_stack(tmp_path / name, known, cubes.shape) as write:
            write(cubes[:1], maps[:1])
            raise RuntimeError("of the sampler")

    with pytest.raises(RuntimeError, match="of the sampler"):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_one_cube_as_an_envi_file(model: Path, truth: Any, tmp_path: Path) -> None:
    path = tmp_path / "cube.hdr"
    sample_model(model, path, ONE, seed=4, device="cpu")
    scene = load_scene(path)
    np.testing.assert_allclose(scene.cube, truth[0][0], rtol=1e-6)
    np.testing.assert_allclose(scene.wavelengths, truth[2].wavelengths)
    assert sorted(left.name for left in tmp_path.iterdir()) == ["cube.hdr", "cube.img"]
    sample_model(model, path, ONE, seed=5, device="cpu", overwrite=True)
    assert not np.allclose(load_scene(path).cube, truth[0][0])
    np.testing.assert_allclose(read_cubes(path)[0], load_scene(path).cube)
    save_scene(simulate_scene(8, 12, C=12, D=3), path)
    with pytest.raises(InputError, match=r"cube.hdr is no cube that hud-fast generated"):
        sample_model(model, path, ONE, device="cpu", overwrite=True)
    path.unlink()
    with pytest.raises(InputError, match=r"cube.img lies beside cube.hdr and would be read"):
        sample_model(model, path, ONE, device="cpu")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "a.foo",
            ONE,
            r"--out must end in one of \.npy, \.npz, \.mat, \.zarr, \.hdr, \.tif, or be a",
        ),
        (
            "a.hdr",
            OPTIONS,
            r"one cube, and 3 are asked for: give --count 1, .* --format envi, .* got",
        ),
        ("a.tif", OPTIONS, r"a \.tif file holds one cube, and 3 are asked for"),
        (
            "a.npz",
            SampleOptions(format="mat"),
            r"--format mat needs a folder as --out, got .*a\.npz",
        ),
        ("a.hdr", SampleOptions(format="npy"), r"--format npy needs a folder as --out"),
    ],
)
def test_names_that_are_refused_before_the_work(
    tmp_path: Path, name: str, options: SampleOptions, message: str
) -> None:
    with pytest.raises(InputError, match=message):  # before the model is read: there is none
        sample_model(tmp_path / "no model", tmp_path / name, options, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_what_save_scene_cannot_write_is_refused_before_the_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hud_fast import scenes

    def cannot(scene: Any, path: Path) -> None:
        raise ImportError(f"save_scene: {path} needs the package rasterio")

    monkeypatch.setattr(scenes, "save_scene", cannot)
    monkeypatch.setattr(HUD, "sample_batches", None)
    path = tmp_path / "cube.tif"
    with pytest.raises(InputError, match=rf"save_scene: {path} needs the package rasterio"):
        sample_model(model, path, ONE, device="cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v1.5", "2026-11-28.2", "old.set"])
def test_folders_may_have_a_dot(model: Path, tmp_path: Path, name: str) -> None:
    if name == "old.set":  # one that is there
        (tmp_path / name).mkdir()
    sample_model(model, tmp_path / name, ONE, device="cpu", overwrite=True)
    assert read_cubes(tmp_path / name).shape == (1, 8, 12, 12)


def test_stacks_of_other_programs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cubes = rng.random((3, 4, 5, 6)).astype(np.float32)
    np.savez(tmp_path / "a.npz", samples=cubes, bbl=np.array([1, 1, 0, 1, 1, 1]))
    np.testing.assert_array_equal(read_cubes(tmp_path / "a.npz"), cubes[..., [0, 1, 3, 4, 5]])
    np.savez(tmp_path / "b.npz", first=cubes, second=cubes + 1)
    with pytest.raises(InputError, match=r"holds several: first, second"):
        read_cubes(tmp_path / "b.npz")
    np.testing.assert_array_equal(read_cubes(tmp_path / "b.npz", variable="second"), cubes + 1)
    np.testing.assert_array_equal(
        read_cubes(tmp_path / "b.npz", variable="second[1]")[0], cubes[1] + 1
    )
    np.savez(tmp_path / "c.npz", stack=cubes, scene=cubes[0])
    with pytest.raises(InputError, match=r"holds several: stack, scene"):
        read_cubes(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", scene=cubes[0])
    np.testing.assert_array_equal(read_cubes(tmp_path / "d.npz"), cubes[:1])
    np.savez(tmp_path / "e.npz", stack=cubes * 1j)
    with pytest.raises(InputError):
        read_cubes(tmp_path / "e.npz")

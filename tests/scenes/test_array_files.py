"""Scenes in HDF5, netCDF and Zarr files of nobody's layout: which array, which axis, what lies beside it; by rows."""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import products
import pytest
from scipy.io import netcdf_file

from hud_fast.scenes import georeference, hdf5_process, load_scene
from hud_fast.scenes.array_files import ChunkedRows, Filled, Joined, MappedRows
from hud_fast.scenes.hdf5 import HDF5File, HDF5Rows
from hud_fast.scenes.load import open_scene
from hud_fast.scenes.zarr_files import ZarrFile

rng = np.random.default_rng(2)
H, W, C = 23, 17, 31
CUBE = rng.integers(1, 4000, (H, W, C)).astype(np.int16)
WAVELENGTHS = np.linspace(420.0, 2400.0, C)


def h5(path: Path, fill: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def cube_in(path: Path, axes: str, **options: Any) -> Path:
    """The cube alone, its axes in this order."""
    stored = CUBE.transpose(["HWC".index(axis) for axis in axes])
    return h5(path, lambda file: file.create_dataset("a/cube", data=stored, **options))


# Rows


@pytest.mark.parametrize("axes", ["HWC", "CHW", "HCW", "WHC"])
@pytest.mark.parametrize("chunks", [None, (5, 4, 7), (1, 17, 17), (17, 17, 17)])
def test_rows_are_those_of_h5py(tmp_path: Path, axes: str, chunks: Any) -> None:
    path = cube_in(
        tmp_path / "a.h5", axes, chunks=chunks, compression=None if chunks is None else 1
    )
    rows: Any = HDF5File(path).rows("a/cube", axes)
    assert isinstance(rows, MappedRows if chunks is None else HDF5Rows)
    assert (rows.shape, rows.dtype) == (CUBE.shape, CUBE.dtype)
    for cut in (
        slice(0, 6),
        slice(6, 7),
        slice(7, 23),
        slice(3, 3),
        slice(2, 20, 4),
        slice(None),
        slice(20, 99),
    ):
        found = rows[cut]
        np.testing.assert_array_equal(found, CUBE[cut])
        assert found.flags.c_contiguous
        found[...] = -1  # the caller's own: what is kept stays as it is
    np.testing.assert_array_equal(rows.window(slice(4, 9), slice(2, 5)), CUBE[4:9, 2:5])
    again = pickle.loads(pickle.dumps(rows))
    np.testing.assert_array_equal(again[3:8], CUBE[3:8])


@pytest.mark.parametrize("block", [1, 4, 9])
def test_no_chunk_is_unpacked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    path = cube_in(tmp_path / "a.h5", "CHW", chunks=(8, 5, 17), compression=1)
    rows: Any = HDF5File(path).rows("a/cube", "CHW")
    assert rows.chunks == (5, 17)
    boxes: list[Any] = []
    read = HDF5Rows.part
    monkeypatch.setattr(HDF5Rows, "part", lambda rows, box: boxes.append(box[1]) or read(rows, box))
    for start in range(0, H, block):
        np.testing.assert_array_equal(rows[start : start + block], CUBE[start : start + block])
    ends = [end for box in boxes for end in box]
    assert ends == sorted(ends)  # none begins before the last one ended
    assert all(first % 5 == 0 for first, _ in boxes)


def test_what_is_too_large_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cube_in(tmp_path / "a.h5", "HWC", chunks=(23, 17, 31), compression=1)
    rows: Any = HDF5File(path).rows("a/cube", "HWC")
    monkeypatch.setattr("hud_fast.scenes.array_files.KEPT", 0)
    monkeypatch.setattr("hud_fast.scenes.array_files.available_memory", lambda: 0)
    np.testing.assert_array_equal(rows[2:5], CUBE[2:5])
    assert rows._kept is None


def test_numbers_that_stand_for_nothing() -> None:
    values = np.array([[[0, 5], [0, 0], [7, 8]]], np.uint16)
    nan = np.nan
    single, whole = Filled(values, 0.0), Filled(values, 0.0, whole=True)
    np.testing.assert_array_equal(single[0:1], [[[nan, 5], [nan, nan], [7, 8]]])
    np.testing.assert_array_equal(whole.window(slice(0, 1), slice(1, 3)), [[[nan, nan], [7, 8]]])
    for none in (-9999.0, 0.5, 1e36):  # no 16 bits are that
        np.testing.assert_array_equal(Filled(values, none)[0:1], values)
    assert single.dtype == np.float32
    assert Filled(values.astype(">i4"), 0.0).dtype == np.float64
    floats = Filled(np.array([[[-3.4028235e38, 1.0]]], ">f4"), float(np.float32(-3.4028235e38)))
    np.testing.assert_array_equal(floats[0:1], [[[nan, 1.0]]])


def test_joined_cubes(tmp_path: Path) -> None:
    path = cube_in(tmp_path / "a.h5", "HWC", chunks=(4, 17, 31), compression=1)
    rows: Any = HDF5File(path).rows("a/cube", "HWC")
    both = Joined([(rows, np.array([3, 1])), (CUBE, np.array([0]))])
    assert (both.shape, both.chunks) == ((H, W, 3), (4, 17))
    np.testing.assert_array_equal(both[2:9], CUBE[2:9][..., [3, 1, 0]])
    np.testing.assert_array_equal(
        both.window(slice(2, 9), slice(1, 3)), CUBE[2:9, 1:3][..., [3, 1, 0]]
    )


def test_values_behind_a_user_block_are_mapped(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["cube"] = CUBE
    rows: Any = HDF5File(tmp_path / "a.h5").rows("cube", "HWC")
    assert isinstance(rows, MappedRows)
    np.testing.assert_array_equal(rows[:], CUBE)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = cube_in(tmp_path / "a.h5", "HWC", chunks=(5, 17, 31))
    file = open_scene(path)
    h5(path, lambda f: f.create_dataset("a/cube", data=CUBE.astype(np.float32), chunks=(5, 17, 31)))
    with pytest.raises(OSError, match=r"^load_scene: .*a/cube was changed while it was read"):
        file.rows(0, 3)


# Which array, which axis


def test_the_cube_in_a_group_by_its_name(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["data/first"], file["data/second"] = CUBE, CUBE + 1
        file["data/picture"] = np.zeros((H, W, 3), np.uint8)

    path = h5(tmp_path / "a.h5", fill)
    for name in ("data/second", "/data/second"):
        np.testing.assert_array_equal(load_scene(path, variable=name).cube, CUBE + 1)
    with pytest.raises(
        ValueError,
        match=r"`variable` must name the cube, .* data/first 23x17x31, data/second 23x17x31;",
    ):
        load_scene(path)
    with pytest.raises(
        ValueError, match=r"`variable` must be one of data/first 23x17x31, .*, got 'third'"
    ):
        load_scene(path, variable="third")


def test_no_cube(tmp_path: Path) -> None:
    path = h5(tmp_path / "a.h5", lambda file: file.update(x=CUBE[0], words="text"))
    with pytest.raises(ValueError, match=r"`path` must hold a cube .* with x 17x31"):
        load_scene(path)
    with pytest.raises(
        ValueError, match=r"`variable` x must have three axes, or two with layout= and shape="
    ):
        load_scene(path, variable="x")
    path = h5(tmp_path / "b.h5", lambda file: file.update(cube=CUBE > 9))
    with pytest.raises(TypeError, match=r"`variable` cube must hold real numbers, got bool"):
        load_scene(path, variable="cube")


def test_a_matrix_with_layout_and_shape(tmp_path: Path) -> None:
    matrix = CUBE.reshape(-1, C)
    path = h5(
        tmp_path / "a.h5",
        lambda file: file.update(Y=matrix.T, A=np.ones((4, H * W)), M=np.ones((C, 4))),
    )
    np.testing.assert_array_equal(
        load_scene(path, variable="Y", layout="CP", shape=(H, W)).cube, CUBE
    )
    with pytest.raises(
        ValueError, match=r"`layout` CP must meet an array of 2 axes, got shape \(23, 17, 31\)"
    ):
        load_scene(cube_in(tmp_path / "b.h5", "HWC"), layout="CP", shape=(H, W), variable="a/cube")


@pytest.mark.parametrize("axes", ["HWC", "CHW", "HCW", "WHC"])
@pytest.mark.parametrize(
    "names",
    [
        ("y", "x", "band"),
        ("Line", "Sample", "Band_Number"),
        ("lat", "lon", "wavelength_3d"),
        ("", "", "bands"),
    ],
)
def test_axes_by_the_names_of_dimensions(
    tmp_path: Path, axes: str, names: tuple[str, str, str]
) -> None:
    if axes == "WHC" and not names[0]:
        pytest.skip("without names the first of two is the rows")
    path = cube_in(tmp_path / "a.h5", axes)
    with h5py.File(path, "a") as file:
        for i, axis in enumerate(axes):
            file["a/cube"].dims[i].label = names["HWC".index(axis)]
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert scene.details["layout"] == axes


def test_axes_by_the_number_of_wavelengths_or_as_the_user_says(tmp_path: Path) -> None:
    path = cube_in(tmp_path / "a.h5", "CHW")
    np.testing.assert_array_equal(load_scene(path, layout="CHW").cube, CUBE)
    np.testing.assert_array_equal(load_scene(path, wavelengths=WAVELENGTHS).cube, CUBE)
    with h5py.File(path, "a") as file:
        file["wl"] = WAVELENGTHS / 1000
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, CUBE)
    np.testing.assert_allclose(scene.wavelengths, WAVELENGTHS)


@pytest.mark.parametrize("chunks", [None, (5, 9, 11)])
def test_axes_that_nothing_names_are_asked_for_where_the_values_speak_against(
    tmp_path: Path, chunks: Any
) -> None:
    weights, spectra = rng.random((42, 50, 4)), rng.random((4, 40))
    stored = (weights @ spectra + 1e-4 * rng.random((42, 50, 40))).transpose(2, 0, 1)
    path = h5(
        tmp_path / "a.h5", lambda file: file.create_dataset("cube", data=stored, chunks=chunks)
    )
    with pytest.raises(
        ValueError, match=r"array of shape \(40, 42, 50\): its values look like CHW"
    ):
        load_scene(path)


# What lies beside it


@pytest.mark.parametrize("where", ["attribute", "root attribute", "beside", "above", "far"])
def test_wavelengths_and_their_like(tmp_path: Path, where: str) -> None:
    path = cube_in(tmp_path / "a.h5", "HWC")
    lists = {
        "wavelengths": WAVELENGTHS / 1000,
        "fwhm": np.full(C, 0.01),
        "good_wavelengths": np.arange(C) != 4,
    }
    with h5py.File(path, "a") as file:
        for name, numbers in lists.items():
            if "attribute" in where:
                holder = file if where == "root attribute" else file["a/cube"]
                holder.attrs[name] = numbers
                holder.attrs["wavelength_units"] = "um"
            else:
                place = {"beside": "a/", "above": "", "far": "sensor/bands/"}[where]
                file[place + name] = numbers
                if name == "wavelengths":
                    file[place + name].attrs["units"] = "um"
    scene = load_scene(path)
    np.testing.assert_allclose(scene.wavelengths, WAVELENGTHS)
    np.testing.assert_allclose(scene.fwhm, 10.0)  # in the unit of the wavelengths
    np.testing.assert_array_equal(scene.good_bands, np.arange(C) != 4)


def test_a_list_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = cube_in(tmp_path / "a.h5", "HWC")
    with h5py.File(path, "a") as file:
        file["wavelength"] = WAVELENGTHS[:-1]
    with pytest.warns(
        UserWarning, match=r"a list of 30 values in the file is left out, the cube has 31 bands"
    ):
        assert load_scene(path).wavelengths is None


def test_scale_offset_and_missing_values_by_the_cf_conventions(tmp_path: Path) -> None:
    stored = CUBE.copy()
    stored[2, 3, 4] = stored[5, 6] = -1
    path = h5(
        tmp_path / "a.nc", lambda file: file.create_dataset("cube", data=stored, chunks=(5, 17, 31))
    )
    with h5py.File(path, "a") as file:
        file["cube"].attrs.update(
            {"scale_factor": [2e-4], "add_offset": 0.1, "_FillValue": np.int16([-1])}
        )
    scene = load_scene(path)
    gone = stored == -1
    np.testing.assert_array_equal(np.isnan(scene.cube), gone)
    np.testing.assert_allclose(scene.cube[~gone], stored[~gone] * 2e-4 + 0.1, rtol=1e-6)
    assert scene.valid.sum() == H * W - 2
    assert scene.gains is not None
    assert scene.offsets is not None


def test_masks_and_labels_beside_the_cube(tmp_path: Path) -> None:
    mask, labels = rng.random((H, W)) < 0.8, rng.integers(0, 4, (H, W))
    path = cube_in(tmp_path / "a.h5", "HWC")
    with h5py.File(path, "a") as file:
        file["a/mask"], file["gt"] = mask, labels
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.mask, mask)
    np.testing.assert_array_equal(scene.labels, labels)


def test_a_place_whose_rows_run_upwards_or_downwards(tmp_path: Path) -> None:
    path = cube_in(tmp_path / "a.h5", "HWC")
    with h5py.File(path, "a") as file:
        for i, (name, steps) in enumerate(
            {"y": np.arange(H) * 2.0, "x": np.arange(W) * 2.0}.items()
        ):
            file[name] = steps
            file[name].make_scale(name)
            file["a/cube"].dims[i].attach_scale(file[name])
    placed = georeference.affine_of(load_scene(path).geo)
    assert placed is not None
    assert placed[0] == (2, 0, -1, 0, 2, -1)
    with h5py.File(path, "a") as file:
        file["y"][...] = file["y"][()][::-1]
    placed = georeference.affine_of(load_scene(path).geo)
    assert placed is not None
    assert placed[0] == (2, 0, -1, 0, -2, 45)


# Other kinds of file


def test_xarray_s_files_of_every_kind(tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    reflectance = rng.uniform(0.01, 0.6, (H, W, C))
    for name, zarr_format in (("a.nc", 3), ("b.zarr", 3), ("c.zarr", 2)):
        if name.endswith(".zarr"):
            pytest.importorskip("dask")
        truth = products.write_xarray(
            tmp_path / name, reflectance, WAVELENGTHS, zarr_format=zarr_format
        )
        scene = load_scene(tmp_path / name)
        np.testing.assert_array_equal(scene.cube, truth)
        np.testing.assert_allclose(scene.wavelengths, WAVELENGTHS)
        placed = georeference.affine_of(scene.geo)
        assert placed == ((20, 0, 399_990, 0, -20, 5_000_010), products.UTM_32N)
        assert scene.format == ("zarr" if name.endswith(".zarr") else "hdf5")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("unlimited", [False, True])
def test_netcdf_classic(tmp_path: Path, version: int, unlimited: bool) -> None:
    with netcdf_file(tmp_path / "a.nc", "w", version=version) as file:
        file.history = "made"
        for name, size in (("y", H), ("x", W), ("band", C)):
            file.createDimension(name, None if unlimited and name == "y" else size)
        vector = file.createVariable("wavelength", "f8", ("band",))
        vector[:], vector.units = WAVELENGTHS, "nm"
        cube = file.createVariable("cube", "i2", ("y", "band", "x"))
        cube[:] = np.where(CUBE % 7 == 0, -5, CUBE).transpose(0, 2, 1)
        cube._FillValue, cube.scale_factor = np.int16(-5), 0.5
        other = file.createVariable("time", "f4", ("y",))  # a second one, between the records
        other[:] = np.arange(H)
    scene = load_scene(tmp_path / "a.nc")
    np.testing.assert_array_equal(np.isnan(scene.cube), CUBE % 7 == 0)
    np.testing.assert_array_equal(scene.cube[CUBE % 7 != 0], CUBE[CUBE % 7 != 0] * 0.5)
    np.testing.assert_allclose(scene.wavelengths, WAVELENGTHS)
    assert (scene.format, scene.dtype) == ("netcdf", np.int16)
    cut = (tmp_path / "a.nc").read_bytes()[:-300]
    (tmp_path / "b.nc").write_bytes(cut)
    with pytest.raises(OSError, match=r"^load_scene: .*b\.nc"):
        load_scene(tmp_path / "b.nc")


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"CDF\x05", "nccopy -k nc4 a.nc new.nc converts it"),
        (b"\x0e\x03\x13\x01", "HDF4: h4toh5 a.nc new.h5 converts it"),
    ],
)
def test_kinds_that_are_not_read_say_how_to_convert(
    tmp_path: Path, start: bytes, words: str
) -> None:
    (tmp_path / "a.nc").write_bytes(start + bytes(600))
    with pytest.raises(ValueError, match=rf"^load_scene: .*{words}"):
        load_scene(tmp_path / "a.nc")


def test_what_is_no_hdf5_file(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"<html>" * 300)
    with pytest.raises(OSError, match=r"must be a whole \.h5 file, got a broken one"):
        load_scene(tmp_path / "a.h5")


# Zarr


def test_a_zarr_array_alone_and_in_groups(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    for zarr_format in (2, 3):
        path = tmp_path / f"alone{zarr_format}.zarr"
        array = zarr.create_array(
            path, shape=CUBE.shape, dtype="i2", chunks=(5, 8, 31), zarr_format=zarr_format
        )
        array[:] = CUBE
        array.attrs["wavelengths"] = WAVELENGTHS.tolist()
        scene = load_scene(path)
        np.testing.assert_array_equal(scene.cube, CUBE)
        np.testing.assert_allclose(scene.wavelengths, WAVELENGTHS)
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    array = group.create_array(
        "level/cube",
        shape=(C, H, W),
        dtype="i2",
        dimension_names=("band", "y", "x"),
        chunks=(7, 6, 17),
    )
    array[:] = CUBE.transpose(2, 0, 1)
    np.testing.assert_array_equal(load_scene(tmp_path / "g.zarr", variable="level/cube").cube, CUBE)
    rows: Any = ZarrFile(tmp_path / "g.zarr").rows("level/cube", "CHW")
    assert isinstance(rows, ChunkedRows)
    assert rows.chunks == (6, 17)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows))[4:9], CUBE[4:9])


def test_missing_values_in_zarr(tmp_path: Path) -> None:
    xarray, zarr = pytest.importorskip("xarray"), pytest.importorskip("zarr")
    values = CUBE.astype(np.float32)
    values[2, 3] = np.nan
    for zarr_format, kind in ((2, "i2"), (3, "i2"), (3, "f4")):
        path = tmp_path / f"{zarr_format}{kind}.zarr"
        data = xarray.DataArray(values, dims=("y", "x", "band")).to_dataset(name="cube")
        data.to_zarr(
            path,
            zarr_format=zarr_format,
            consolidated=False,
            encoding={"cube": {"dtype": kind, "_FillValue": -77}},
        )
        assert zarr.open_group(path, mode="r")["cube"][2, 3, 0] == -77
        np.testing.assert_array_equal(load_scene(path).cube, values)


def test_folders_that_are_no_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr = pytest.importorskip("zarr")
    with pytest.raises(IsADirectoryError, match=r"must be a file, got the folder"):
        load_scene(tmp_path)
    ours = zarr.open_group(tmp_path / "cubes.zarr", mode="w")  # as `hud-fast sample` writes it
    ours.create_array("generated", shape=(2, 4, 4, 5), dtype="f4")
    with pytest.raises(ValueError, match=r"must hold a cube .* with generated 2x4x4x5"):
        load_scene(tmp_path / "cubes.zarr")
    array = zarr.create_array(tmp_path / "a.zarr", shape=CUBE.shape, dtype="i2", chunks=CUBE.shape)
    array[:] = CUBE
    chunk = next(
        path for path in (tmp_path / "a.zarr").rglob("*") if path.is_file() and path.name == "0"
    )
    shutil.move(chunk, tmp_path / "chunk")
    chunk.symlink_to(tmp_path / "chunk")
    with pytest.raises(OSError, match=r"it holds a link, which is not followed: 0"):
        load_scene(tmp_path / "a.zarr")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(
        ImportError, match=r'needs the package zarr, 3 or newer: pip install "hud-fast\[zarr\]"'
    ):
        load_scene(tmp_path / "cubes.zarr")


# Strangers' files


def test_only_what_lies_in_the_file_is_read(tmp_path: Path) -> None:
    h5(tmp_path / "secret.h5", lambda file: file.update(cube=CUBE))
    (tmp_path / "secret.bin").write_bytes(CUBE.tobytes())

    def fill(file: h5py.File) -> None:
        file["soft"], file["outside"] = h5py.SoftLink("/a"), h5py.ExternalLink("secret.h5", "/cube")
        file.create_dataset(
            "stored", CUBE.shape, "i2", external=[(str(tmp_path / "secret.bin"), 0, CUBE.nbytes)]
        )
        layout = h5py.VirtualLayout(CUBE.shape, "i2")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "cube", CUBE.shape)
        file.create_virtual_dataset("virtual", layout)
        file["groups/up"] = file["/"]

    path = h5(tmp_path / "a.h5", fill)
    with pytest.raises(ValueError, match=r"must hold a cube") as caught:
        load_scene(path)
    for words in (
        "a link, which is not followed",
        "values in another file",
        "a virtual dataset",
        "another name",
    ):
        assert words in str(caught.value)
    for name in ("soft", "outside", "stored", "virtual", "groups/up/stored"):
        with pytest.raises(ValueError, match=r"`variable` must be one of \(none\)"):
            load_scene(path, variable=name)


def test_the_end_of_the_reader_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cube_in(tmp_path / "a.h5", "HWC", chunks=(5, 17, 31))
    file = open_scene(path)

    def end(child: hdf5_process.Child, array: np.ndarray) -> None:
        assert child._process is not None
        child._process.kill()
        child._process.wait()
        read(child, array)

    read = hdf5_process.Child.fill
    with monkeypatch.context() as patch:
        patch.setattr(hdf5_process.Child, "fill", end)
        with pytest.raises(
            OSError, match=r"^load_scene: .*libhdf5 ended while it read it, or came to no end"
        ):
            file.rows(0, 4)
    np.testing.assert_array_equal(file.rows(0, 4), CUBE[:4])


def test_claims_beyond_the_file(tmp_path: Path) -> None:
    path = h5(
        tmp_path / "a.h5",
        lambda f: f.create_dataset("cube", (10**6, 1000, 1000), "f4", chunks=(1, 1000, 1000)),
    )
    with pytest.raises(OSError, match=r"cube would have 4000000000000 bytes"):
        load_scene(path)
    empty = h5(tmp_path / "b.h5", lambda f: f.create_dataset("cube", (9, 9, 9), "f4"))
    with pytest.raises(OSError, match=r"cube has no values"):
        load_scene(empty)


def test_damaged_files_end_in_one_error(tmp_path: Path) -> None:
    path = cube_in(tmp_path / "a.h5", "CHW", chunks=(8, 5, 17), compression=1)
    whole = path.read_bytes()
    for place in range(40, len(whole), len(whole) // 25):
        damaged = bytearray(whole)
        damaged[place : place + 3] = b"\xff\x07\xff"
        (tmp_path / "b.h5").write_bytes(damaged)
        text = what_is_wrong(tmp_path / "b.h5")
        assert text is None or (text.startswith("load_scene: ") and str(tmp_path / "b.h5") in text)


def what_is_wrong(path: Path) -> str | None:
    try:
        load_scene(path, layout="CHW")
    except (OSError, ValueError, TypeError) as error:
        return str(error)
    return None

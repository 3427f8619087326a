"""load_scene on MATLAB files of both kinds: which variable, which axis, what lies beside it, what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from hud_fast.scenes import load_scene, simulate_scene
from hud_fast.scenes.mat_v5 import MatV5, write_v5
from hud_fast.scenes.writers import write_hdf5

rng = np.random.default_rng(0)
CUBE = simulate_scene(24, 30, C=40, D=4, seed=3).cube
# Low rank along its bands and along no other axis, as real scenes are.
ROUGH = simulate_scene(42, 50, C=40, D=4, snr_db=60.0, smoothness=1.0, seed=3).cube


def write(path: Path, version: str, **content: Any) -> Path:
    if version == "7.3":
        write_hdf5(path, {name: np.asarray(value) for name, value in content.items()})
    else:
        savemat(path, content, do_compression=version == "5 compressed")
    return path


versions = pytest.mark.parametrize("version", ["5", "5 compressed", "7.3"])


@versions
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint16", "int16", "uint8", "int32"])
def test_the_only_cube_is_found(tmp_path: Path, version: str, dtype: str) -> None:
    cube = (CUBE * 200).astype(dtype)
    path = write(
        tmp_path / "a.mat", version, hsi=cube, gains=np.ones((1, 40)), rgb=np.ones((24, 30, 3))
    )
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, cube.astype(np.float32))
    assert (scene.variable, scene.format, scene.name) == ("hsi", "mat", "a")
    assert scene.dtype == np.dtype(dtype)
    assert scene.source == path
    assert scene.details["version"] == version.split()[0]


@versions
def test_side_information_by_its_usual_names(tmp_path: Path, version: str) -> None:
    labels = rng.integers(0, 4, (24, 30)).astype(np.uint8)
    mask = np.ones((24, 30))
    mask[0] = 0
    bbl = np.ones((1, 40))
    bbl[0, 5] = 0
    path = write(
        tmp_path / "a.mat",
        version,
        I=CUBE,
        wl=np.linspace(0.4, 2.5, 40)[None],
        fwhm=np.full((40, 1), 0.01),
        bbl=bbl,
        mask=mask,
        field_gt=labels,
    )
    scene = load_scene(path)
    assert scene.wavelengths is not None
    assert scene.fwhm is not None
    assert scene.good_bands is not None
    np.testing.assert_allclose(scene.wavelengths, np.linspace(400, 2500, 40))
    np.testing.assert_allclose(scene.fwhm, 10.0)
    np.testing.assert_array_equal(~scene.good_bands, np.arange(40) == 5)
    np.testing.assert_array_equal(scene.mask, mask == 1)
    np.testing.assert_array_equal(scene.labels, labels)


def test_a_list_of_the_wrong_length_is_left_out_with_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", "5", I=CUBE, wl=np.linspace(0.4, 2.5, 44)[None])
    with pytest.warns(UserWarning, match="a list of 44 values in the file is left out"):
        assert load_scene(path).wavelengths is None


@versions
@pytest.mark.parametrize("layout", ["CP", "PC"])
def test_unmixing_benchmarks_bands_by_pixels(tmp_path: Path, version: str, layout: str) -> None:
    matrix = CUBE.reshape(-1, 40, order="F")  # MATLAB's reshape: column by column
    matrix = matrix.T if layout == "CP" else matrix
    content = {"Y": matrix, "nRow": 24, "nCol": 30, "nBand": 40}
    scene = load_scene(write(tmp_path / "a.mat", version, **content))
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert scene.details["layout"] == layout
    bare = write(tmp_path / "b.mat", version, Y=matrix)
    np.testing.assert_array_equal(load_scene(bare, layout=layout, shape=(24, 30)).cube, CUBE)


@versions
@pytest.mark.parametrize("layout", ["HWC", "CHW", "HCW", "WHC", "CWH", "WCH"])
def test_every_axis_order(tmp_path: Path, version: str, layout: str) -> None:
    turned = CUBE.transpose(["HWC".index(axis) for axis in layout])
    path = write(tmp_path / "a.mat", version, cube=turned)
    np.testing.assert_array_equal(load_scene(path, layout=layout.lower()).cube, CUBE)


def test_a_band_axis_that_the_values_deny_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", "5", cube=ROUGH.transpose(2, 0, 1))
    with pytest.raises(ValueError, match=r"`layout` must be given .*\(40, 42, 50\).* like CHW"):
        load_scene(path)
    # knowing the number of bands settles it
    scene = load_scene(path, wavelengths=np.linspace(400, 2500, 40))
    np.testing.assert_array_equal(scene.cube, ROUGH)
    beside = write(tmp_path / "b.mat", "5", cube=ROUGH.transpose(2, 0, 1), wl=np.arange(400, 440))
    np.testing.assert_array_equal(load_scene(beside).cube, ROUGH)


def test_hdf5_of_other_programs_is_not_turned_round(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        file["cube"] = CUBE
        file.create_group("#refs#")
        file["words"] = "text"
    np.testing.assert_array_equal(load_scene(path).cube, CUBE)


def test_several_cubes_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", "5", first=CUBE, second=CUBE)
    with pytest.raises(
        ValueError, match=r"`variable` must name the cube.*first 24x30x40, second 24x30x40"
    ):
        load_scene(path)
    assert load_scene(path, variable="second").variable == "second"
    with pytest.raises(ValueError, match=r"`variable` must be one of first.*, got 'third'"):
        load_scene(path, variable="third")


@versions
def test_no_cube(tmp_path: Path, version: str) -> None:
    path = write(tmp_path / "a.mat", version, M=np.ones((40, 5)))
    with pytest.raises(ValueError, match=r"`path` must hold a cube .* got .*a.mat with M 40x5"):
        load_scene(path)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", ">u2", "i4", "u4", "i8", "u8", "f4", ">f8"])
def test_v5_as_we_write_it_is_read_by_scipy(tmp_path: Path, dtype: str) -> None:
    content = {
        "cube": (CUBE[:7, :5, :3] * 100).astype(dtype),
        "row": np.arange(3).astype(dtype),
        "matrix": np.asfortranarray(np.arange(300_000).reshape(1000, 300).astype(dtype)),
        "none": np.zeros((0, 3), dtype),
    }
    write_v5(tmp_path / "a.mat", content)
    found, ours = loadmat(tmp_path / "a.mat"), MatV5(tmp_path / "a.mat")
    for name, array in content.items():
        np.testing.assert_array_equal(found[name], np.atleast_2d(array), strict=False)
        np.testing.assert_array_equal(ours.read(name), found[name], strict=True)
        assert found[name].dtype == np.dtype(dtype).newbyteorder("=")
    first = (tmp_path / "a.mat").read_bytes()
    write_v5(tmp_path / "a.mat", content)
    assert (tmp_path / "a.mat").read_bytes() == first


def test_no_cube_but_cells_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    cells = np.array(["a", "b"], dtype=object)
    savemat(path, {"names": cells, "s": {"x": 1.0}, "t": "text"})
    with pytest.raises(ValueError, match=r"with \(none\), names \(cell\), s \(struct\), t \(char"):
        load_scene(path)


def test_complex_numbers_are_no_cube(tmp_path: Path) -> None:
    path = write(tmp_path / "b.mat", "5", cube=CUBE * 1j)
    with pytest.raises(TypeError, match="must hold real numbers, got complex64"):
        load_scene(path)


@pytest.mark.parametrize("version", ["5", "5 compressed"])
def test_every_truncation_of_v5_is_noticed(tmp_path: Path, version: str) -> None:
    whole = write(tmp_path / "whole.mat", version, cube=CUBE[:6, :7, :8], other=np.ones((3, 3)))
    data = whole.read_bytes()
    first_element = 128 + 8 + int.from_bytes(data[132:136], "little")
    path = tmp_path / "cut.mat"
    for size in [*range(1, 400, 7), *range(400, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        if size in (128, first_element):
            continue  # whole elements only: indistinguishable from a shorter file
        with pytest.raises(OSError, match=r"must be a whole .mat file, got a broken one"):
            load_scene(path)


def test_every_truncation_of_v73_is_noticed(tmp_path: Path) -> None:
    data = write(tmp_path / "whole.mat", "7.3", cube=CUBE[:6, :7, :8]).read_bytes()
    path = tmp_path / "cut.mat"
    for size in [*range(20, 600, 53), *range(600, len(data), 311), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(OSError, match=r"must be a whole .mat file, got a broken one"):
            load_scene(path)


def test_damage_inside_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", "5 compressed", cube=CUBE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(bytes(data))
    with pytest.raises(OSError, match=r"must be a whole .mat file"):
        load_scene(path)


def test_not_a_mat_file(tmp_path: Path) -> None:
    path = tmp_path / "page.mat"
    path.write_text("<!DOCTYPE html><title>403</title>" + "x" * 300)
    with pytest.raises(ValueError, match=r"must be a MATLAB file, got .*<!DOCTYPE html>"):
        load_scene(path)


def test_a_v4_file_with_a_matrix(tmp_path: Path) -> None:
    path = tmp_path / "old.mat"
    savemat(path, {"Y": CUBE.reshape(-1, 40, order="F").astype(float)}, format="4")
    np.testing.assert_array_equal(load_scene(path, layout="PC", shape=(24, 30)).cube, CUBE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "XYZ"}, "`layout` must be one of HWC, .* got 'XYZ'"),
        ({"layout": "CP"}, "`path` must hold a cube"),
        ({"variable": "cube", "layout": "CP"}, "`layout` CP must meet an array of 2 axes"),
        ({"wavelengths": np.arange(401, 439)}, "`wavelengths` .* 40 bands, got 38"),
        ({"wavelengths": np.linspace(-1, 5, 40)}, "`wavelengths` must be finite and above 0"),
        ({"good_bands": np.ones(39, bool)}, r"`good_bands` must have shape \(40,\), got \(39,\)"),
        ({"mask": np.ones((30, 24), bool)}, r"`mask` must have shape \(24, 30\), got \(30, 24\)"),
        ({"mask": np.zeros((24, 30), bool)}, "`mask` must leave a valid pixel, got none of 720"),
        ({"labels": np.ones((3, 3), int)}, "`labels` must have the scene's shape"),
        ({"scale": -1.0}, "`scale` must be finite and above 0"),
        ({"rgb_bands": (1, 2, 40)}, "`rgb_bands` must be three bands in 0..39"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: dict, message: str) -> None:
    path = write(tmp_path / "a.mat", "5", cube=CUBE)
    with pytest.raises(ValueError, match=r"^load_scene: .*" + message):
        load_scene(path, **options)


def test_two_axes_need_a_shape_that_fits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", "5", Y=CUBE.reshape(-1, 40))
    with pytest.raises(ValueError, match=r"`shape` must be \(H, W\) with layout PC"):
        load_scene(path, layout="PC")
    with pytest.raises(ValueError, match=r"`shape` must have H . W = 720 pixels, got 24 x 31"):
        load_scene(path, layout="PC", shape=(24, 31))
    with pytest.raises(ValueError, match="`variable` Y must have three axes, or two with layout="):
        load_scene(path, variable="Y")
    with pytest.raises(ValueError, match="`layout` HWC must meet an array of 3 axes"):
        load_scene(path, variable="Y", layout="HWC")

"""load_scene on MATLAB files of both kinds: which variable, which axis, what lies beside it, what is wrong."""

from __future__ import annotations

import itertools
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
        ValueError,
        match=r"`variable` must be one of first 24x30x40, second 24x30x40 in .*a.mat, .* got None",
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
    with pytest.raises(ValueError, match=r"with s.x 1x1, names \(cell\), s \(struct\), t \(char"):
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
    with pytest.raises(
        ValueError, match=r"or a matrix with the 24 x 31 pixels of `shape`.* Y 720x40"
    ):
        load_scene(path, shape=(24, 31))
    with pytest.raises(ValueError, match="`variable` Y must have three axes, or two with layout="):
        load_scene(path, variable="Y")
    with pytest.raises(ValueError, match="`layout` HWC must meet an array of 3 axes"):
        load_scene(path, variable="Y", layout="HWC")


NUMBERS = itertools.count()


def put(place: h5py.Group, refs: h5py.Group, name: str, value: Any) -> None:
    """As MATLAB writes a variable into a v7.3 file: structures are groups, cells are references."""
    if isinstance(value, dict):
        item = place.create_group(name)
        for field, inner in value.items():
            put(item, refs, field, inner)
        kind = "struct"
    elif isinstance(value, list):
        places = []
        for inner in value:
            key = f"r{next(NUMBERS)}"
            put(refs, refs, key, inner)
            places.append(refs[key].ref)
        item = place.create_dataset(
            name, data=np.array([places], h5py.ref_dtype).T, dtype=h5py.ref_dtype
        )
        kind = "cell"
    else:
        item = place.create_dataset(name, data=np.atleast_2d(value).T)
        kind = "double"
    item.attrs["MATLAB_class"] = np.bytes_(kind)


def write_nested(path: Path, version: str, **content: Any) -> Path:
    if version == "7.3":
        with h5py.File(path, "w") as file:
            refs = file.create_group("#refs#")
            for name, value in content.items():
                put(file, refs, name, value)
        return path

    def as_scipy(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: as_scipy(inner) for name, inner in value.items()}
        if isinstance(value, list):
            cells = np.empty((1, len(value)), object)
            for i, inner in enumerate(value):
                cells[0, i] = as_scipy(inner)
            return cells
        return value

    return write(path, version, **as_scipy(content))


CENTRES = np.linspace(400, 2400, 40)


@versions
def test_a_cube_in_a_structure_with_what_lies_beside_it(tmp_path: Path, version: str) -> None:
    mask = np.ones((24, 30))
    mask[3] = 0
    hsi = {
        "Data": CUBE,
        "RGB": CUBE[..., :3],
        "valid_mask": mask,
        "info": {"wavelength": CENTRES, "mask": np.zeros((24, 30))},  # a mask of something else
    }
    lidar = {"info": {"wavelength": np.arange(5.0)}, "x": {"y": np.ones((3, 3))}}
    path = write_nested(tmp_path / "a.mat", version, lidar=lidar, hsi=hsi, other=np.ones((3, 4)))
    for options in ({}, {"variable": "hsi.Data"}):
        scene = load_scene(path, **options)
        np.testing.assert_array_equal(scene.cube, CUBE)
        assert scene.variable == "hsi.Data"
        assert scene.wavelengths is not None
        np.testing.assert_allclose(scene.wavelengths, CENTRES)
        np.testing.assert_array_equal(scene.valid, mask == 1)
    with pytest.raises(
        ValueError, match=r"`variable` must be one of .*hsi\.Data 24x30x40.*got 'hsi' \(str"
    ):
        load_scene(path, variable="hsi")


@versions
def test_cells_of_cubes(tmp_path: Path, version: str) -> None:
    content = {"cubes": [CUBE, 2 * CUBE, {"deep": [3 * CUBE]}]}
    path = write_nested(tmp_path / "a.mat", version, **content)
    with pytest.raises(
        ValueError, match=r"`variable` must be one of cubes\{1\} 24x30x40, cubes\{2\} 24x"
    ):
        load_scene(path)
    np.testing.assert_array_equal(load_scene(path, variable="cubes{2}").cube, 2 * CUBE)
    deep = load_scene(path, variable="cubes{3}.deep{1}")
    np.testing.assert_array_equal(deep.cube, 3 * CUBE)


@versions
def test_a_variable_of_its_own_goes_before_those_in_structures(
    tmp_path: Path, version: str
) -> None:
    path = write_nested(tmp_path / "a.mat", version, s={"Data": 2 * CUBE}, cube=CUBE)
    assert load_scene(path).variable == "cube"


def test_arrays_of_structures(tmp_path: Path) -> None:
    items = np.zeros((1, 2), dtype=[("Data", object), ("n", object)])
    items[0, 0], items[0, 1] = (CUBE, 1.0), (2 * CUBE, "two")
    savemat(tmp_path / "5.mat", {"s": items})
    with h5py.File(tmp_path / "73.mat", "w") as file:
        refs, group = file.create_group("#refs#"), file.create_group("s")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for i in range(2):
            put(refs, refs, f"r{i}", (i + 1) * CUBE)
        places = np.array([[refs["r0"].ref], [refs["r1"].ref]], h5py.ref_dtype)
        group.create_dataset("Data", data=places, dtype=h5py.ref_dtype)
    for name in ("5.mat", "73.mat"):
        np.testing.assert_array_equal(
            load_scene(tmp_path / name, variable="s(2).Data").cube, 2 * CUBE
        )


@versions
def test_a_cycle_of_cells_comes_to_an_end(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.mat"
    if version != "7.3":
        deep: Any = np.ones((2, 2))
        for _ in range(20):
            deep = {"s": deep}
        path = write_nested(path, version, cube=CUBE, deep=deep)
    else:
        with h5py.File(write_nested(path, version, cube=CUBE, c=[[1.0]]), "a") as file:
            (inner,) = (item for item in file["#refs#"].values() if item.dtype == h5py.ref_dtype)
            inner[...] = file["c"].ref
    assert load_scene(path).variable == "cube"
    with pytest.raises(ValueError, match=r"`variable` must be one of cube 24x30x40.* got 'none'"):
        load_scene(path, variable="none")


@versions
def test_of_a_stack_one_cube_is_named(tmp_path: Path, version: str) -> None:
    stack = np.stack([CUBE, 2 * CUBE, 3 * CUBE])
    path = write(tmp_path / "a.mat", version, cubes=stack, wavelengths=CENTRES)
    with pytest.raises(
        ValueError, match=r"one cube of the stack cubes 3x24x30x40: cubes\[0\] to cubes\[2\]"
    ):
        load_scene(path)
    with pytest.raises(ValueError, match=r"cubes\[\.\.\.,0\] to cubes\[\.\.\.,39\] .* got 'cubes'"):
        load_scene(path, variable="cubes")
    with pytest.raises(ValueError, match=r"one cube of the stack .* got 'cubes\[3\]'"):
        load_scene(path, variable="cubes[3]")
    scene = load_scene(path, variable="cubes[1]")
    np.testing.assert_array_equal(scene.cube, 2 * CUBE)
    assert scene.wavelengths is not None
    last = write(tmp_path / "b.mat", version, cubes=np.moveaxis(stack, 0, -1), wavelengths=CENTRES)
    np.testing.assert_array_equal(load_scene(last, variable="cubes[...,2]").cube, 3 * CUBE)
    one = write(tmp_path / "c.mat", version, cubes=stack[:1], cube=np.ones((2, 2)))
    np.testing.assert_array_equal(load_scene(one).cube, CUBE)
    three = write(tmp_path / "d.mat", version, cube=CUBE)
    with pytest.raises(ValueError, match=r"must have four axes .* got 'cube\[0\]'"):
        load_scene(three, variable="cube[0]")


@versions
def test_a_matrix_is_the_scene_where_the_other_holds_its_abundances(
    tmp_path: Path, version: str
) -> None:
    shares = rng.dirichlet(np.ones(4), 24 * 30).T
    matrix = CUBE.transpose(2, 1, 0).reshape(40, -1)
    path = write(tmp_path / "a.mat", version, A=shares, M=np.ones((40, 4)), Y=matrix)
    scene = load_scene(path, shape=(24, 30))
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert scene.variable == "Y"
    both = write(tmp_path / "b.mat", version, A=3 * shares, Y=matrix)
    with pytest.raises(ValueError, match=r"`variable` must be one of A 4x720, Y 40x720"):
        load_scene(both, shape=(24, 30))
    maps = shares.reshape(4, 30, 24).transpose(2, 1, 0)
    cube = write(tmp_path / "c.mat", version, abundances=maps, Y=matrix)
    with pytest.raises(ValueError, match=r"`variable` Y must have three axes, or two with layout="):
        load_scene(cube)  # not the maps for a scene of four bands
    np.testing.assert_array_equal(load_scene(cube, shape=(24, 30)).cube, CUBE)
    alone = write(tmp_path / "d.mat", version, abundances=maps)
    assert load_scene(alone).C == 4


@pytest.mark.parametrize(
    ("bands", "found"),
    [
        (np.linspace(400, 2400, 40), True),
        (np.linspace(0.4, 2.4, 40), True),
        (np.arange(1.0, 41), False),  # their numbers
        (np.linspace(2400, 400, 40), False),
        (np.linspace(400, 1000, 31), False),
        (40.0, False),
    ],
)
def test_bands_are_wavelengths_where_they_can_be_nothing_else(
    tmp_path: Path, bands: Any, found: bool
) -> None:
    scene = load_scene(write(tmp_path / "a.mat", "7.3", rad=CUBE, bands=bands))
    assert (scene.wavelengths is not None) == found
    if found:
        assert scene.wavelengths is not None
        np.testing.assert_allclose(scene.wavelengths, CENTRES)

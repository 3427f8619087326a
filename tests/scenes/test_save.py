"""save_scene: what goes into each kind of file, what `like` carries over, what is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, whosmat

from hud_fast.scenes import Scene, load_scene, save_scene, simulate_scene

rng = np.random.default_rng(0)
COUNTS = rng.integers(500, 9000, (6, 7, 5)).astype(np.uint16)
CENTRES = np.linspace(400.0, 900.0, 5)
SUFFIXES = [".mat", ".hdr", ".npy", ".npz"]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".img", ".dat", ".bil", ".bip", ".bsq"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int32", "uint32", "float32", "float64", ">i2", ">f4"]
)
def test_values_and_dtype_come_back(tmp_path: Path, suffix: str, dtype: str) -> None:
    cube = (COUNTS % 250).astype(dtype)
    scene = Scene(cube, dtype=dtype, wavelengths=CENTRES)
    path = save_scene(scene, tmp_path / f"a{suffix}")
    read = load_scene(path)
    np.testing.assert_array_equal(read.cube, scene.cube)
    assert read.dtype is not None
    assert read.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    if suffix != ".npy":
        assert read.wavelengths is not None
        np.testing.assert_allclose(read.wavelengths, CENTRES)
    if suffix in (".bil", ".bip", ".bsq"):
        assert read.details["interleave"] == suffix[1:]
    if suffix == ".hdr" and dtype.startswith(">"):
        assert read.dtype == np.dtype(dtype)  # the byte order too


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    bands=st.integers(2, 9),
    suffix=st.sampled_from(SUFFIXES),
    interleave=st.sampled_from(["bsq", "bil", "bip"]),
    scale=st.sampled_from([1.0, 5000.0, 0.25]),
)
def test_any_shape_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    bands: int,
    suffix: str,
    interleave: str,
    scale: float,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    cube = np.random.default_rng(height).integers(1, 999, (height, width, bands))
    scene = Scene(cube / scale, scale=scale, dtype="int16")
    path = save_scene(scene, folder / f"a{suffix}", interleave=interleave)
    if suffix == ".mat" and width * height == 1:
        return  # MATLAB has no trailing axes of length one
    read = load_scene(path, layout="HWC" if suffix in (".mat", ".npy") else None, scale=scale)
    np.testing.assert_allclose(read.cube, scene.cube, rtol=1e-6)


def test_npz_keeps_every_field(tmp_path: Path) -> None:
    scene = simulate_scene(8, 9, C=6, D=3).replace(
        name="plot 7",
        fwhm=np.full(6, 10.0),
        good_bands=[1, 1, 0, 1, 1, 1],
        mask=rng.random((8, 9)) > 0.2,
        labels=rng.integers(0, 3, (8, 9)),
        label_names=("soil", "tree"),
        rgb_bands=(4, 3, 1),
        scale=2.5,
        geo={"map info": "{UTM, 1, 1, 5, 6, 7, 7}"},
        variable="hsi",
        ignore_value=-1.0,
    )
    read = load_scene(save_scene(scene, tmp_path / "a.npz"))
    valid = scene.valid
    np.testing.assert_allclose(read.cube[valid], scene.cube[valid], rtol=1e-6)
    for field in ("name", "label_names", "rgb_bands", "scale", "geo", "variable", "ignore_value"):
        assert getattr(read, field) == getattr(scene, field), field
    for field in ("wavelengths", "fwhm", "good_bands", "mask", "labels"):
        np.testing.assert_array_equal(getattr(read, field), getattr(scene, field), field)
    assert read.simulated
    assert read.endmember_count == 3
    assert read.truth is not None
    assert scene.truth is not None
    np.testing.assert_array_equal(read.truth.endmembers, scene.truth.endmembers)
    np.testing.assert_array_equal(read.truth.abundances, scene.truth.abundances)


def test_mat_v5_keeps_name_dtype_and_what_lies_beside(tmp_path: Path) -> None:
    scene = Scene(
        COUNTS,
        variable="paviaU",
        dtype="uint16",
        wavelengths=CENTRES,
        good_bands=[1, 1, 0, 1, 1],
        labels=COUNTS[..., 0] % 4,
        mask=COUNTS[..., 1] > 5000,
    )
    path = save_scene(scene, tmp_path / "a.mat")
    assert ("paviaU", (6, 7, 5), "uint16") in whosmat(path)
    content = loadmat(path)
    np.testing.assert_array_equal(content["paviaU"][scene.valid], COUNTS[scene.valid])
    read = load_scene(path)
    for field in ("wavelengths", "good_bands", "mask", "labels"):
        np.testing.assert_array_equal(getattr(read, field), getattr(scene, field), field)


def test_mat_v73_is_as_matlab_writes_it(tmp_path: Path) -> None:
    path = save_scene(Scene(COUNTS, dtype="uint16"), tmp_path / "a.mat", version="7.3")
    start = path.read_bytes()[:128]
    assert start.startswith(b"MATLAB 7.3 MAT-file")
    assert start[124:] == b"\x00\x02IM"
    with h5py.File(path) as file:
        assert file["cube"].shape == (5, 7, 6)  # turned round
        assert file["cube"].attrs["MATLAB_class"] == b"uint16"
    read = load_scene(path)
    np.testing.assert_array_equal(read.cube, COUNTS)
    # and what came from a v7.3 file goes into one
    again = save_scene(read.cube[:3], tmp_path / "b.mat", like=read)
    assert load_scene(again).details["version"] == "7.3"


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mat", {}),
        (".mat", {"version": "7.3"}),
        (".hdr", {"interleave": "bip", "byte_order": "big"}),
        (".hdr", {"interleave": "bsq"}),
        (".npy", {}),
        (".npz", {}),
    ],
)
def test_a_generated_cube_lands_in_the_same_kind_of_file(
    tmp_path: Path, suffix: str, options: dict
) -> None:
    real = Scene(
        COUNTS, variable="hsi", dtype="uint16", wavelengths=CENTRES, good_bands=[1, 0, 1, 1, 1]
    )
    source = load_scene(save_scene(real, tmp_path / f"real{suffix}", **options), scale=100.0)
    generated = source.cube[:3, :4] * 1.01
    path = save_scene(generated, tmp_path / "new", like=source)  # not even a suffix is needed
    assert path.suffix == suffix
    read = load_scene(path, scale=1.0)
    np.testing.assert_array_equal(read.cube, np.rint(generated * np.float64(100.0)))
    assert read.dtype == source.dtype
    assert read.variable == source.variable
    assert read.details == source.details
    if suffix != ".npy":
        np.testing.assert_allclose(read.wavelengths, CENTRES)  # type: ignore[arg-type]
        np.testing.assert_array_equal(read.good_bands, real.good_bands)
    assert read.labels is None
    assert read.mask is None


def test_like_an_unmixing_benchmark(tmp_path: Path) -> None:
    scene = Scene(COUNTS, variable="Y", format="mat", details={"layout": "CP"}, dtype="uint16")
    path = save_scene(scene.cube[:4], tmp_path / "a.mat", like=scene)
    content = loadmat(path)
    assert content["Y"].shape == (5, 28)
    assert (content["nRow"].item(), content["nCol"].item(), content["nBand"].item()) == (4, 7, 5)
    np.testing.assert_array_equal(content["Y"][:, 1], COUNTS[1, 0])  # column by column
    np.testing.assert_array_equal(load_scene(path).cube, COUNTS[:4])


def test_a_scene_like_another_keeps_its_own_maps(tmp_path: Path) -> None:
    like = load_scene(save_scene(Scene(COUNTS, dtype="uint16"), tmp_path / "a.hdr"))
    scene = Scene(COUNTS, mask=COUNTS[..., 0] > 5000, wavelengths=CENTRES, dtype="float32")
    read = load_scene(save_scene(scene, tmp_path / "b", like=like))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read.mask, scene.mask)
    np.testing.assert_array_equal(read.wavelengths, CENTRES)


def test_integers_are_rounded_and_clipped(tmp_path: Path) -> None:
    cube = np.array([100.4, 100.6, -3.0, 70000.0, 1e30]).reshape(1, 1, 5)
    path = save_scene(cube, tmp_path / "a.npy", dtype="uint16")
    assert np.load(path).ravel().tolist() == [100, 101, 0, 65535, 65535]
    for dtype in ("int64", "uint64", "int32", "int8"):
        values = np.load(save_scene(cube, tmp_path / "b.npy", dtype=dtype)).ravel()
        assert values[4] > 0.99 * np.iinfo(dtype).max, dtype
        assert values[2] == (0 if dtype == "uint64" else -3)


def test_rounding_that_would_spoil_the_scene_is_refused(tmp_path: Path) -> None:
    reflectance = COUNTS / 10000.0
    with pytest.raises(ValueError, match="`dtype` must hold the scene's values to 1 %, got uint16"):
        save_scene(reflectance, tmp_path / "a.npy", dtype="uint16")
    assert not (tmp_path / "a.npy").exists()
    save_scene(Scene(reflectance, scale=10000.0), tmp_path / "a.npy", dtype="uint16")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), COUNTS)


def test_missing_values_in_integer_files(tmp_path: Path) -> None:
    cube = COUNTS.astype(np.float32)
    cube[0, 0] = np.nan
    values = np.load(save_scene(Scene(cube, dtype="int16"), tmp_path / "a.npy"))
    assert (values[0, 0] == 0).all()
    scene = Scene(cube, dtype="int16", ignore_value=-9999)
    assert (np.load(save_scene(scene, tmp_path / "b.npy"))[0, 0] == -9999).all()


def test_types_a_format_lacks(tmp_path: Path) -> None:
    scene = Scene(COUNTS % 100, dtype="int8")
    assert load_scene(save_scene(scene, tmp_path / "a.hdr")).dtype == np.int16
    assert load_scene(save_scene(scene, tmp_path / "a.mat")).dtype == np.int8
    half = Scene(COUNTS, dtype="float16")
    assert load_scene(save_scene(half, tmp_path / "b.mat")).dtype == np.float32
    with pytest.raises(ValueError, match="`dtype` must be one that envi files know, got int8"):
        save_scene(scene, tmp_path / "a.hdr", dtype="int8")


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("a.tif", {}, ValueError, r"`path` must end in one of \.mat, .*a\.tif"),
        ("a", {}, ValueError, "`path` must end in one of"),
        ("a.npy", {"dtype": "complex64"}, TypeError, "`dtype` must be of real numbers"),
        ("a.npy", {"dtype": "nonsense"}, TypeError, "`dtype` must be a data type, got 'nonsense'"),
        ("a.hdr", {"interleave": "tiled"}, ValueError, "`interleave` must be bsq, bil or bip"),
        ("a.bil", {"interleave": "bsq"}, ValueError, "`interleave` must agree with a.bil"),
        ("a.hdr", {"byte_order": "mixed"}, ValueError, "`byte_order` must be 'little' or 'big'"),
        ("a.mat", {"version": "4"}, ValueError, "`version` must be '5' or '7.3', got '4'"),
        ("a.mat", {"variable": "_x"}, ValueError, "`variable` must be a MATLAB name, got '_x'"),
        ("a.mat", {"variable": "1 x"}, ValueError, "`variable` must be a MATLAB name"),
        (
            "a.mat",
            {"like": Scene(COUNTS[..., :4])},
            ValueError,
            "`scene` must have C = 4 bands as in `like`, got 5",
        ),
    ],
)
def test_wrong_options(
    tmp_path: Path, name: str, options: dict, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=r"^save_scene: .*" + message):
        save_scene(COUNTS, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_wrong_cubes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^save_scene: `cube` must have shape .*\(2, 6, 7, 5\)"):
        save_scene(np.stack([COUNTS, COUNTS]), tmp_path / "a.npy")
    with pytest.raises(TypeError, match=r"^save_scene: `cube` must hold real numbers"):
        save_scene(COUNTS * 1j, tmp_path / "a.npy")


def test_a_simulated_scene_says_so_in_its_header(tmp_path: Path) -> None:
    path = save_scene(simulate_scene(8, 8, C=5, D=2), tmp_path / "a.hdr")
    assert "simulated scene" in path.read_text()

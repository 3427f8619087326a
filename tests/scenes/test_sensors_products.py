"""Products of each sensor, in the layout that the agencies write: values, bands, masks and places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import products
import pytest

from hud_fast.pipeline.cubes import choose_format
from hud_fast.scenes import Scene, georeference, load_scene, save_scene
from hud_fast.scenes.load import open_scene

rng = np.random.default_rng(1)
H, W, C = 23, 17, 31
CUBE = rng.uniform(0.02, 0.6, (H, W, C))
WAVELENGTHS = np.linspace(420.0, 2400.0, C)
MISSING = np.zeros((H, W), bool)
MISSING[3:6, 4] = True


def values(scene: Scene) -> np.ndarray:
    """The cube with NaN where it is not valid."""
    return np.where(scene.valid[..., None], scene.cube, np.nan)


def write(kind: str, path: Path, **options: Any) -> np.ndarray:
    if kind != "hypso":
        pytest.importorskip("netCDF4")
    truth: np.ndarray = getattr(products, f"write_{kind}")(path, CUBE, WAVELENGTHS, **options)
    return truth


PRODUCTS = {
    "emit": ("a.nc", "EMIT", 8.5, {"missing": MISSING, "chunks": (10, 17, 8)}),
    "prisma": ("a.he5", "PRISMA", 11.0, {"pad": MISSING}),
    "aviris": ("a.nc", "AVIRIS", 7.5, {"missing": MISSING, "chunks": (4, 9, 17)}),
    "pace": ("a.nc", "PACE OCI", None, {"missing": MISSING}),
    "hypso": ("a.nc", "HYPSO", 3.3, {}),
    "neon": ("a.h5", "NEON AOP", 5.8, {"missing": MISSING}),
    "tanager": ("a.h5", "Tanager", 5.0, {"missing": MISSING}),
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_a_product_is_read_as_it_is_meant(tmp_path: Path, kind: str) -> None:
    name, sensor, width, options = PRODUCTS[kind]
    pytest.importorskip("netCDF4")
    truth = write(kind, tmp_path / name, **options)
    scene = load_scene(tmp_path / name)
    np.testing.assert_allclose(values(scene), truth, rtol=1e-6)
    np.testing.assert_allclose(scene.wavelengths, WAVELENGTHS, rtol=1e-6)
    if width is None:
        assert scene.fwhm is None
    else:
        np.testing.assert_allclose(scene.fwhm, width, rtol=1e-6)
    assert scene.details["sensor"] == sensor
    assert scene.name == "a"
    # Rows are the same, however many are read at a time.
    file = open_scene(tmp_path / name)
    for rows in (1, 7, 23):
        blocks = np.concatenate([block for _, block in file.blocks(rows)])
        np.testing.assert_array_equal(blocks[scene.valid], scene.cube[scene.valid])


@pytest.mark.parametrize("kind", ["emit", "aviris", "pace"])
def test_xarray_finds_the_same_numbers(tmp_path: Path, kind: str) -> None:
    xarray = pytest.importorskip("xarray")
    write(kind, tmp_path / "a.nc", missing=MISSING)
    scene = load_scene(tmp_path / "a.nc")
    group, _, name = str(scene.variable).rpartition("/")
    with xarray.open_dataset(tmp_path / "a.nc", group=group or None, engine="netcdf4") as data:
        array = data[name].transpose(
            ..., data[name].dims[0] if kind == "aviris" else data[name].dims[2]
        )
        np.testing.assert_allclose(values(scene), array.values, rtol=1e-6)


# EMIT


def test_emit_s_lookup_table_is_followed_as_by_a_loop(tmp_path: Path) -> None:
    table_x, table_y = (rng.integers(0, size + 1, (29, 33)) for size in (W, H))
    table_x[table_y == 0] = 0
    table_y[table_x == 0] = 0
    write("emit", tmp_path / "a.nc", glt=(table_x, table_y))
    scene = load_scene(tmp_path / "a.nc")
    assert scene.geo is None  # the transform is the map's
    lookup = scene.lookup
    assert lookup is not None
    fractions = rng.random((H, W, 2)).astype(np.float32)
    expected = np.full((29, 33, 2), np.nan, np.float32)
    for i in range(29):
        for j in range(33):
            if table_x[i, j] > 0:
                expected[i, j] = fractions[table_y[i, j] - 1, table_x[i, j] - 1]
    np.testing.assert_array_equal(lookup.apply(fractions), expected)
    placed = georeference.affine_of(lookup.geo)
    assert placed is not None
    np.testing.assert_allclose(placed[0], (0.0005, 0, 10, 0, -0.0005, 45), atol=1e-12)
    assert placed[1] == products.GEOGRAPHIC


def test_emit_s_lookup_table_beyond_the_scene_is_damage(tmp_path: Path) -> None:
    table = np.full((3, 3), H + 1)
    write("emit", tmp_path / "a.nc", glt=(np.ones((3, 3)), table))
    with pytest.raises(OSError, match=r"points beyond the scene"):
        load_scene(tmp_path / "a.nc")


def test_emit_s_bad_bands_and_radiance(tmp_path: Path) -> None:
    good = np.ones(C)
    good[10:13] = 0
    write("emit", tmp_path / "a.nc", good=good, name="radiance")
    scene = load_scene(tmp_path / "a.nc")
    np.testing.assert_array_equal(scene.good_bands, good == 1)
    assert scene.variable == "radiance"
    assert load_scene(tmp_path / "a.nc", variable="/radiance").lookup is not None


FLAGS = {
    "Cloud flag": rng.random((H, W)) < 0.1,
    "Cirrus flag": rng.random((H, W)) < 0.1,
    "Water flag": rng.random((H, W)) < 0.1,
    "Spacecraft Flag": np.zeros((H, W)),
    "Dilated Cloud Flag": rng.random((H, W)) < 0.1,
    "AOD550": rng.random((H, W)),
    "H2O (g cm-2)": rng.random((H, W)),
    "Aggregate Flag": np.where(MISSING, -9999, rng.random((H, W)) < 0.2),
}


def test_emit_s_mask_file_is_its_aggregate_flag(tmp_path: Path) -> None:
    write("emit", tmp_path / "a.nc")
    products.write_emit_mask(tmp_path / "mask.nc", FLAGS)
    scene = load_scene(tmp_path / "a.nc", mask=tmp_path / "mask.nc")
    np.testing.assert_array_equal(scene.mask, FLAGS["Aggregate Flag"] == 0)
    rest = {
        name: FLAGS[name]
        for name in ("Cloud flag", "Cirrus flag", "Water flag", "Dilated Cloud Flag", "AOD550")
    }
    products.write_emit_mask(tmp_path / "newer.nc", rest | {"SpecTf-Cloud Flag": MISSING})
    scene = load_scene(tmp_path / "a.nc", mask=tmp_path / "newer.nc")
    clouds = FLAGS["Cloud flag"] | FLAGS["Cirrus flag"] | FLAGS["Dilated Cloud Flag"] | MISSING
    np.testing.assert_array_equal(scene.mask, ~clouds)


def test_mask_files_that_say_nothing_of_clouds(tmp_path: Path) -> None:
    write("emit", tmp_path / "a.nc")
    products.write_emit_mask(tmp_path / "mask.nc", {"AOD550": FLAGS["AOD550"]})
    with pytest.raises(
        ValueError,
        match=r"^load_scene: `mask` must be an EMIT mask with flags of clouds, got AOD550",
    ):
        load_scene(tmp_path / "a.nc", mask=tmp_path / "mask.nc")
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["valid"] = ~MISSING
    np.testing.assert_array_equal(
        load_scene(tmp_path / "a.nc", mask=tmp_path / "mine.h5").mask, ~MISSING
    )
    with h5py.File(tmp_path / "mine.h5", "a") as file:
        file["other"] = ~MISSING
    with pytest.raises(ValueError, match=r"one fitting variable, got other, valid"):
        load_scene(tmp_path / "a.nc", mask=tmp_path / "mine.h5")


# PRISMA


def test_prisma_s_bands_that_are_on_and_their_overlap(tmp_path: Path) -> None:
    centres = np.r_[np.linspace(400, 980, 12), np.linspace(940, 2490, C - 12)]
    truth = products.write_prisma(tmp_path / "a.he5", CUBE, centres, split=12, off=3)
    scene = load_scene(tmp_path / "a.he5")
    assert scene.shape == (H, W, C)  # of C + 6 in the file
    np.testing.assert_allclose(scene.wavelengths, centres, rtol=1e-6)
    np.testing.assert_allclose(scene.cube, truth, rtol=1e-6)
    with h5py.File(tmp_path / "a.he5") as file:  # the formula, by hand, for one number
        cube = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_Cube"]
        low, high = file.attrs["L2ScaleSwirMin"], file.attrs["L2ScaleSwirMax"]
        number = low + cube[4, 0, 5] / 65535 * (high - low)
    np.testing.assert_allclose(scene.cube[4, 5, -1], number, rtol=1e-6)


def test_prisma_s_error_matrices(tmp_path: Path) -> None:
    errors = np.zeros(CUBE.shape)
    errors[..., 20] = rng.random((H, W)) < 0.8  # deep absorption: the band is bad
    errors[7, 3, 2], errors[9, 1, 30] = 1, 4
    errors[MISSING] = 1
    write("prisma", tmp_path / "a.he5", errors=errors, pad=MISSING)
    scene = load_scene(tmp_path / "a.he5")
    np.testing.assert_array_equal(scene.good_bands, np.arange(C) != 20)
    expected = ~MISSING
    expected[7, 3] = expected[9, 1] = False
    np.testing.assert_array_equal(scene.valid, expected)


@pytest.mark.parametrize("centres", [True, False])
def test_prisma_s_corners(tmp_path: Path, centres: bool) -> None:
    write("prisma", tmp_path / "a.he5", centres=centres)
    scene = load_scene(tmp_path / "a.he5")
    placed = georeference.affine_of(scene.geo)
    half = 15 if centres else 0
    assert placed is not None
    assert placed[0] == (30, 0, 500_000 - half, 0, -30, 5_000_000 + half)
    rasterio = pytest.importorskip("rasterio")
    assert rasterio.crs.CRS.from_wkt(placed[1]).to_epsg() == 32632


def test_prisma_without_a_place_or_with_one_that_does_not_fit(tmp_path: Path) -> None:
    write("prisma", tmp_path / "a.he5", level="2C")
    assert load_scene(tmp_path / "a.he5").geo is None
    write("prisma", tmp_path / "b.he5")
    with h5py.File(tmp_path / "b.he5", "a") as file:
        file.attrs["Product_URcorner_easting"] = 600_000.0
    with pytest.warns(
        UserWarning, match=r"the georeference is left out, its corners lie 100000 x 660 m apart"
    ):
        assert load_scene(tmp_path / "b.he5").geo is None


def test_prisma_without_its_scale_is_damage(tmp_path: Path) -> None:
    write("prisma", tmp_path / "a.he5")
    with h5py.File(tmp_path / "a.he5", "a") as file:
        del file.attrs["L2ScaleSwirMax"]
    with pytest.raises(OSError, match=r"has the scale .* to None for Swir"):
        load_scene(tmp_path / "a.he5")


# The others


def test_neon_keeps_its_numbers_its_factor_and_its_place(tmp_path: Path) -> None:
    write("neon", tmp_path / "a.h5")
    scene = load_scene(tmp_path / "a.h5")
    assert scene.dtype == np.int16
    assert scene.ignore_value == -9999
    reflectance = load_scene(tmp_path / "a.h5", scale="auto")
    np.testing.assert_allclose(reflectance.cube, CUBE, atol=5.1e-5)
    water = ((WAVELENGTHS >= 1340) & (WAVELENGTHS <= 1445)) | (
        (WAVELENGTHS >= 1790) & (WAVELENGTHS <= 1955)
    )
    np.testing.assert_array_equal(scene.good_bands, ~water)
    assert scene.geo is not None
    placed = georeference.affine_of(scene.geo)
    assert placed == (
        (1, 0, 358_000, 0, -1, 4_301_000),
        'PROJCS["UTM Zone 18, Northern Hemisphere"]',
    )


def test_tanager_s_two_geometries_and_its_flags(tmp_path: Path) -> None:
    good = np.ones(C)
    good[3] = 0
    write("tanager", tmp_path / "a.h5", good=good, missing=MISSING)
    scene = load_scene(tmp_path / "a.h5")
    np.testing.assert_array_equal(scene.good_bands, good == 1)
    np.testing.assert_array_equal(scene.mask, ~MISSING)
    placed = georeference.affine_of(scene.geo)
    assert placed is not None
    assert placed[0] == (30, 0, 500_000, 0, -30, 4_000_000)
    assert str(placed[1]).startswith('PROJCS["WGS 84 / UTM zone 13S"')
    truth = products.write_tanager(
        tmp_path / "b.h5", CUBE, WAVELENGTHS, kind="SWATHS", name="toa_radiance"
    )
    scene = load_scene(tmp_path / "b.h5")
    np.testing.assert_array_equal(scene.cube, truth)
    assert scene.geo is None


def test_aviris_s_place_is_that_of_its_coordinates(tmp_path: Path) -> None:
    netCDF4 = pytest.importorskip("netCDF4")
    write("aviris", tmp_path / "a.nc")
    placed = georeference.affine_of(load_scene(tmp_path / "a.nc").geo)
    assert placed is not None
    np.testing.assert_allclose(placed[0], (3.2, 0, 499_998.4, 0, -3.2, 4_000_001.6), rtol=1e-12)
    assert placed[1] == products.UTM_32N
    with netCDF4.Dataset(tmp_path / "a.nc", "a") as file:  # a turned map: coordinates cannot say it
        file["transverse_mercator"].GeoTransform = "499998.4 2.4 1.8 4000001.6 1.8 -2.4"
    placed = georeference.affine_of(load_scene(tmp_path / "a.nc").geo)
    assert placed is not None
    np.testing.assert_allclose(placed[0], (2.4, 1.8, 499_998.4, 1.8, -2.4, 4_000_001.6), rtol=1e-9)


@pytest.mark.parametrize("kind", ["hypso", "neon"])
def test_what_a_product_says_is_not_said_again(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("netCDF4")
    write(kind, tmp_path / "a.h5")
    with pytest.raises(
        ValueError, match=r"^load_scene: `layout` must not be given for a product of"
    ):
        load_scene(tmp_path / "a.h5", layout="HWC")


def test_another_array_of_a_product(tmp_path: Path) -> None:
    write("prisma", tmp_path / "a.he5")
    name = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_Cube"
    scene = load_scene(tmp_path / "a.he5", variable=name, layout="HCW")
    with h5py.File(tmp_path / "a.he5") as file:
        np.testing.assert_array_equal(scene.cube, file[name][()].transpose(0, 2, 1))


@pytest.mark.parametrize(
    "name", ["EMIT_L2A_RFL_001.nc", "PRS_L2D_STD.he5", "NEON_reflectance.h5", "tanager_sr.h5"]
)
def test_a_product_is_known_by_what_it_holds_and_not_by_its_name(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / name, "w") as file:
        file["reflectance"] = CUBE
    scene = load_scene(tmp_path / name)
    np.testing.assert_allclose(scene.cube, CUBE, rtol=1e-6)
    assert scene.variable == "reflectance"
    assert "sensor" not in scene.details


def test_a_scene_whose_kind_is_not_written_is_saved_as_another(tmp_path: Path) -> None:
    write("neon", tmp_path / "a.h5")
    scene = load_scene(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"^save_scene: `path` must end in one of"):
        save_scene(scene, tmp_path / "copy", like=scene)
    again = load_scene(save_scene(scene, tmp_path / "copy.hdr", like=scene))
    np.testing.assert_array_equal(values(again), values(scene))
    assert again.dtype == scene.dtype
    assert choose_format("auto", scene) in ("npy", "geotiff")

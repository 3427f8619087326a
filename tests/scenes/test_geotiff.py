"""GeoTIFF and ERDAS files: written by rasterio and read by us, and the other way round."""

from __future__ import annotations

import pickle
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hud_fast.scenes import Scene, load_scene, save_scene
from hud_fast.scenes.load import open_scene

rasterio = pytest.importorskip("rasterio")

from geo_products import CRS, counts, write_geotiff, write_tiff  # noqa: E402

rng = np.random.default_rng(0)
CUBE = rng.uniform(0.01, 0.9, (70, 33, 12)).astype(np.float32)
COUNTS = counts(CUBE)
CENTRES, WIDTHS = np.linspace(400, 2400, 12), np.full(12, 8.5)


def opened(path: Path) -> Any:
    """Of rasterio, also where the picture lies nowhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"]
)
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"interleave": "band", "compress": "lzw"},
        {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"},
        {"driver": "COG"},
        {"bigtiff": "yes", "endianness": "big"},
    ],
)
def test_reads_what_rasterio_writes(tmp_path: Path, dtype: str, layout: dict[str, Any]) -> None:
    values = (CUBE * 100).astype(dtype)
    path = write_tiff(tmp_path / "a.tif", values, **layout)
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, values.astype(np.float32))
    assert scene.dtype == np.dtype(dtype)
    assert scene.format == "geotiff"
    path.rename(tmp_path / "a.data")  # by its content
    assert load_scene(tmp_path / "a.data").shape == CUBE.shape


def test_rows_are_read_lazily_in_threads_and_other_processes(tmp_path: Path) -> None:
    file = open_scene(write_geotiff(tmp_path, CUBE, CENTRES, WIDTHS))
    cube: Any = pickle.loads(pickle.dumps(file.raw.cube))
    assert cube.shape == CUBE.shape
    np.testing.assert_array_equal(cube[10:13], COUNTS[10:13])
    np.testing.assert_array_equal(cube[0:20:7], COUNTS[0:20:7])
    np.testing.assert_array_equal(cube[19:4:-7], COUNTS[19:4:-7])
    assert cube[5:5].shape == (0, 33, 12)
    got: dict[int, Any] = {}

    def work(i: int) -> None:
        got[i] = cube[8 * i : 8 * i + 8]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(np.concatenate([got[i] for i in range(8)]), COUNTS[:64])


def test_a_chunk_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"tiled": True, "blockxsize": 32, "blockysize": 32, "nodata": -32768, "compress": "lzw"}
    file = open_scene(write_tiff(tmp_path / "a.tif", COUNTS, **how))
    cube, read = file.raw.cube, []
    original = type(cube)._read  # type: ignore[attr-defined]
    monkeypatch.setattr(
        type(cube), "_read", lambda self, *rows: read.append(rows) or original(self, *rows)
    )
    got = [cube[start : start + 10] for start in range(0, 70, 10)]
    np.testing.assert_array_equal(np.concatenate(got), COUNTS)
    assert [rows for rows, _ in read] == [
        (0, 32),
        (0, 64),
        (32, 70),
    ]  # those that span two bring both
    assert cube[0:64].dtype == np.float32
    got[0][:] = 0  # the caller's own
    np.testing.assert_array_equal(cube[0:10], COUNTS[:10])


def enum(numbers: Any, unit: str) -> list[dict[str, str]]:
    return [{"wavelength": f"{n:.6g}", "wavelength_units": unit} for n in numbers]


PLACES: dict[str, dict[str, Any]] = {
    "imagery": {"imagery": (list(CENTRES / 1e3), list(WIDTHS / 1e3))},
    "nm": {"tags": [t | {"fwhm": "8.5"} for t in enum(CENTRES, "Nanometers")]},
    "um": {"tags": [t | {"fwhm": "0.0085"} for t in enum(CENTRES / 1e3, "Micrometers")]},
    "envi": {
        "domains": {
            "ENVI": {
                "wavelength": "{" + ", ".join(f"{c:.6g}" for c in CENTRES) + "}",
                "wavelength_units": "Nanometers",
                "fwhm": "{" + ", ".join(f"{c:.6g}" for c in WIDTHS) + "}",
            }
        }
    },
}


@pytest.mark.parametrize("place", PLACES)
def test_wavelengths_in_each_place(tmp_path: Path, place: str) -> None:
    scene = load_scene(write_tiff(tmp_path / "a.tif", COUNTS, **PLACES[place]))
    np.testing.assert_allclose(scene.wavelengths, CENTRES, rtol=1e-5)
    np.testing.assert_allclose(scene.fwhm, WIDTHS, rtol=1e-5)


def test_wavelengths_of_a_header_beside_and_of_names(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", COUNTS, names=[f"Band {c:.3f} nm" for c in CENTRES])
    np.testing.assert_allclose(load_scene(path).wavelengths, CENTRES, rtol=1e-5)
    listed = ", ".join(f"{c / 1e3 + 0.001:.6f}" for c in CENTRES)
    text = f"ENVI\nwavelength units = Micrometers\nwavelength = {{{listed}}}\nbbl = {{{'1, ' * 11}0}}\n"
    (tmp_path / "a.hdr").write_text(text)
    scene = load_scene(path)  # which comes first
    np.testing.assert_allclose(scene.wavelengths, CENTRES + 1, rtol=1e-5)
    assert scene.good_bands is not None
    assert scene.good_bands.tolist() == [True] * 11 + [False]
    assert scene.band_names is not None
    assert scene.band_names[0] == "Band 400.000 nm"
    (tmp_path / "a.hdr").write_text("BYTEORDER I\n")
    with pytest.warns(UserWarning, match=r"a\.hdr is left out"):
        np.testing.assert_allclose(load_scene(path).wavelengths, CENTRES, rtol=1e-5)


def test_names_scales_and_no_data(tmp_path: Path) -> None:
    values = COUNTS.copy()
    values[3, 4] = -32768  # a pixel
    values[5, 6, 2] = -32768  # a value
    names = [f"b{i}" for i in range(12)]
    gains, offsets = list(np.linspace(1e-4, 2e-4, 12)), [0.5] * 12
    path = write_tiff(
        tmp_path / "a.tif", values, nodata=-32768, scales=gains, offsets=offsets, names=names
    )
    scene = load_scene(path)
    assert scene.band_names == tuple(names)
    expected = values * np.array(gains) + 0.5
    expected[3, 4], expected[5, 6, 2] = np.nan, np.nan
    np.testing.assert_allclose(scene.cube, expected, rtol=1e-6)
    assert np.argwhere(~scene.valid).tolist() == [[3, 4], [5, 6]]
    assert scene.ignore_value == -32768
    again = save_scene(
        scene, tmp_path / "b.tif"
    )  # the same numbers, but for the pixel that lacks one band's
    with rasterio.open(again) as file:
        assert file.dtypes[0] == "int16"
        assert file.descriptions == tuple(names)
        np.testing.assert_allclose(file.scales, gains)
        values[5, 6] = -32768
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), values)


def test_one_scale_for_all_bands_is_the_scenes(tmp_path: Path) -> None:
    scene = load_scene(write_tiff(tmp_path / "a.tif", COUNTS, scales=[1e-4] * 12))
    assert scene.scale == 10_000
    np.testing.assert_allclose(scene.cube, COUNTS / 1e4, rtol=1e-6)
    with rasterio.open(save_scene(scene, tmp_path / "b.tif")) as file:
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), COUNTS)
        assert file.scales == (1e-4,) * 12


def test_zero_as_no_data_needs_all_bands(tmp_path: Path) -> None:
    values = COUNTS.copy()
    values[3, 4], values[5, 6, 2] = 0, 0
    scene = load_scene(write_tiff(tmp_path / "a.tif", values, nodata=0))
    assert np.argwhere(~scene.valid).tolist() == [[3, 4]]
    assert scene.cube[5, 6, 2] == 0


def test_a_no_data_value_that_the_type_cannot_hold(tmp_path: Path) -> None:
    values = COUNTS.astype(np.uint16)
    path = write_tiff(tmp_path / "a.tif", values)
    content = path.read_bytes()
    marked = write_tiff(tmp_path / "b.tif", values, nodata=60001).read_bytes()
    path.write_bytes(marked.replace(b"60001\0", b"-9999\0"))
    assert content != path.read_bytes()
    assert load_scene(path).valid.all()


def test_mask_and_alpha_are_no_bands(tmp_path: Path) -> None:
    seen = rng.random((70, 33)) > 0.2
    np.testing.assert_array_equal(
        load_scene(write_tiff(tmp_path / "a.tif", COUNTS, mask=seen)).valid, seen
    )
    values = np.concatenate([COUNTS.astype(np.uint16), seen[..., None] * np.uint16(65535)], 2)
    path = write_tiff(tmp_path / "b.tif", values, photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:12], rasterio.enums.ColorInterp.alpha]
    scene = load_scene(path)
    assert scene.C == 12
    np.testing.assert_array_equal(scene.valid, seen)
    np.testing.assert_array_equal(scene.cube[seen], COUNTS[seen])


@pytest.mark.parametrize("bands", [3, 4])
def test_a_photograph_is_told(tmp_path: Path, bands: int) -> None:
    path = write_tiff(
        tmp_path / "a.tif", (CUBE[..., :bands] * 255).astype(np.uint8), photometric="rgb"
    )
    with pytest.warns(UserWarning, match="is a picture in colours"):
        height, width, count = load_scene(path).shape
    assert (height, width, count) == (70, 33, bands)


@pytest.mark.parametrize(
    "transform",
    [
        (30, 0, 6e5, 0, -30, 4e6),
        (30, 0, 6e5, 0, -20, 4e6),
        (30 * 0.8, 30 * 0.6, 6e5, 30 * 0.6, -30 * 0.8, 4e6),  # turned by 36.9 degrees
        (30 * 0.8, -30 * 0.6, 6e5, -30 * 0.6, -30 * 0.8, 4e6),
        (30, 0, 6e5, 0, 30, 4e6),  # rows go up
    ],
)
@pytest.mark.parametrize("crs", [CRS, "EPSG:4326", "EPSG:3035"])
def test_place_through_all_formats(tmp_path: Path, transform: tuple[float, ...], crs: str) -> None:
    """From rasterio's file to ours, to an ENVI header that GDAL reads, to ours again."""
    scene = load_scene(
        write_tiff(tmp_path / "a.tif", COUNTS, transform=rasterio.Affine(*transform), crs=crs)
    )
    header = save_scene(scene, tmp_path / "b.hdr")
    twice = save_scene(load_scene(header), tmp_path / "c.tif")
    for path in (twice, header.with_suffix(".img")):
        with opened(path) as file:
            np.testing.assert_allclose(tuple(file.transform)[:6], transform, atol=1e-6)
            assert file.crs == rasterio.crs.CRS.from_string(crs)
            np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), COUNTS)


@pytest.mark.parametrize("turned", [36.9, -36.9])
def test_gdal_turns_envi_headers_as_we_do(tmp_path: Path, turned: float) -> None:
    from hud_fast.scenes.georeference import affine_of

    info = f"{{UTM, 1, 1, 600000, 4000000, 30, 30, 32, North, WGS-84, units=Meters, rotation={turned}}}"
    header = save_scene(Scene(CUBE, geo={"map info": info}), tmp_path / "a.hdr")
    placed = affine_of({"map info": info})
    assert placed is not None
    with rasterio.open(header.with_suffix(".img")) as file:
        np.testing.assert_allclose(tuple(file.transform)[:6], placed[0], atol=1e-6)


def test_envi_names_of_coordinate_systems(tmp_path: Path) -> None:
    for info, expected in (
        ("UTM, 1, 1, 600000, 4000000, 30, 30, 32, North, WGS-84, units=Meters", "EPSG:32632"),
        ("UTM, 1, 1, 600000, 4000000, 30, 30, 19, South, WGS-84", "EPSG:32719"),
        ("UTM, 1, 1, 600000, 4000000, 30, 30, 16, North, North America 1983", "EPSG:26916"),
        ("Geographic Lat/Lon, 1, 1, 9.5, 48, 1e-3, 1e-3, WGS-84, units=Degrees", "EPSG:4326"),
    ):
        scene = Scene(CUBE, geo={"map info": f"{{{info}}}"})
        with rasterio.open(save_scene(scene, tmp_path / "a.tif")) as file:
            assert file.crs == rasterio.crs.CRS.from_string(expected)
    unknown = Scene(CUBE, geo={"map info": "{My Island Grid, 1, 1, 6, 4, 30, 30}"})
    with pytest.warns(UserWarning, match="coordinate system is left out.*My Island Grid"):
        save_scene(unknown, tmp_path / "a.tif")


def test_places_that_have_no_words_are_told(tmp_path: Path) -> None:
    sheared = rasterio.Affine(30, 10, 6e5, 0, -30, 4e6)
    with pytest.warns(UserWarning, match="place on the map is left out.*no upright or turned"):
        assert load_scene(write_tiff(tmp_path / "a.tif", COUNTS, transform=sheared)).geo is None
    points = [
        rasterio.control.GroundControlPoint(r, c, 6e5 + c, 4e6 - r)
        for r in (0, 60)
        for c in (0, 30)
    ]
    path = write_tiff(tmp_path / "b.tif", COUNTS, placed=False, gcps=points, crs=CRS)
    with pytest.warns(UserWarning, match="4 ground control points and no transform"):
        assert load_scene(path).geo is None
    assert load_scene(write_tiff(tmp_path / "c.tif", COUNTS, placed=False)).geo is None


def test_what_we_write_says_all(tmp_path: Path) -> None:
    scene = Scene(
        CUBE,
        wavelengths=CENTRES,
        fwhm=WIDTHS,
        good_bands=np.arange(12) != 5,
        mask=rng.random((70, 33)) > 0.1,
        details={"command": "hud-fast unmix x"},
    )
    path = save_scene(scene, tmp_path / "a.tif")
    with opened(path) as file:
        assert file.descriptions[0] == "400 nm"
        assert file.tags(2, ns="IMAGERY") == {
            "CENTRAL_WAVELENGTH_UM": "0.581818181818",
            "FWHM_UM": "0.0085",
        }
        assert file.tags()["command"] == "hud-fast unmix x"
        assert np.isnan(file.nodata)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.compression.value == "DEFLATE"
    again = load_scene(path)
    np.testing.assert_allclose(again.wavelengths, CENTRES)
    np.testing.assert_allclose(again.fwhm, WIDTHS)
    np.testing.assert_array_equal(again.good_bands, scene.good_bands)
    np.testing.assert_array_equal(again.valid, scene.valid)
    np.testing.assert_array_equal(again.cube[again.valid], CUBE[scene.valid])
    assert again.band_names is None
    assert list(tmp_path.iterdir()) == [path]  # no .aux.xml beside it


def test_cubes_are_tiled_band_by_band_and_like_is_kept(tmp_path: Path) -> None:
    wide = rng.uniform(0.01, 0.9, (70, 33, 40)).astype(np.float32)
    original = load_scene(
        write_geotiff(tmp_path, wide, np.linspace(400, 2400, 40), np.full(40, 8.0))
    )
    path = save_scene(original.cube[:20, :20], tmp_path / "new", like=original)
    assert path.name == "new.tif"
    with opened(path) as file:
        assert file.interleaving.value == "BAND"
        assert file.dtypes[0] == "int16"
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), counts(wide)[:20, :20])
    np.testing.assert_allclose(load_scene(path).wavelengths, original.wavelengths)


def test_through_a_lookup_table(tmp_path: Path) -> None:
    from hud_fast.scenes.georeference import Lookup, of_affine

    rows = rng.integers(-1, 70, (300, 45)).astype(np.int32)
    columns = np.where(rows < 0, -1, rng.integers(0, 33, rows.shape)).astype(np.int32)
    wkt = rasterio.crs.CRS.from_string(CRS).to_wkt()
    geo = of_affine((30, 0, 6e5, 0, -30, 4e6), wkt)
    scene = Scene(CUBE, lookup=Lookup(rows, columns, geo))
    with rasterio.open(save_scene(scene, tmp_path / "map.tif")) as file:
        got = np.moveaxis(file.read(), 0, 2)
        assert file.crs == rasterio.crs.CRS.from_string(CRS)
        assert file.transform.c == 6e5
    there = rows >= 0
    assert got.shape == (300, 45, 12)
    np.testing.assert_array_equal(got[there], CUBE[rows[there], columns[there]])
    assert np.isnan(got[~there]).all()


def test_rows_in_any_portions(tmp_path: Path) -> None:
    from hud_fast.scenes.geotiff import writing_rows

    facts = Scene(np.ones((1, 33, 3)), name="field")
    with writing_rows(tmp_path / "a.tif", facts, (70, 33, 2), ["soil", "tree"]) as put:
        for start, stop in ((50, 70), (0, 7), (7, 50)):
            put(slice(start, stop), CUBE[start:stop, :, :2])
    with opened(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), CUBE[..., :2])
        assert file.descriptions == ("soil", "tree")

    def give_up() -> None:
        with writing_rows(tmp_path / "b.tif", facts, (70, 33, 2), ["soil", "tree"]) as put:
            put(slice(0, 7), CUBE[:7, :, :2])
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        give_up()
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_erdas_files(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.img", COUNTS, driver="HFA", names=[f"b{i}" for i in range(12)])
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, COUNTS)
    assert (scene.format, scene.geo is not None) == ("erdas", True)
    lan = tmp_path / "b.lan"
    head = np.zeros(64, np.uint16)
    head[:3] = np.frombuffer(b"HEAD74", np.uint16)
    head[3:5] = 2, 12  # 16 bits, bands
    head[8:12] = np.array([33, 70], np.uint32).view(np.uint16)
    lan.write_bytes(head.tobytes() + COUNTS.transpose(0, 2, 1).astype(np.uint16).tobytes())
    np.testing.assert_array_equal(load_scene(lan).cube, COUNTS)


def test_broken_files(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", COUNTS, interleave="band")
    content = path.read_bytes()
    for bad in (b"II*\0" + bytes(100), b"nothing", content[:5000], b"<VRTDataset/>"):
        path.write_bytes(bad)
        with pytest.raises(
            OSError, match=r"^load_scene: `path` must be a whole \.tif file, .*a\.tif"
        ):
            load_scene(path)
    packed = write_tiff(tmp_path / "b.tif", COUNTS, compress="deflate")
    broken = bytearray(packed.read_bytes())
    broken[len(broken) // 2 :] = bytes(len(broken) - len(broken) // 2)
    packed.write_bytes(broken)
    with pytest.raises(OSError, match=r"must be a whole \.tif file, .*b\.tif"):
        load_scene(packed)


def test_pages_complex_numbers_and_options_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    page = {"driver": "GTiff", "height": 70, "width": 33, "count": 1, "dtype": "int16"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(3):
            with rasterio.open(path, "w", append_subdataset=i > 0, **page) as file:
                file.write(COUNTS[..., i], 1)
    with pytest.raises(ValueError, match="one picture with all bands, got 3 pages"):
        load_scene(path)
    with pytest.raises(TypeError, match="must hold real numbers, got complex64"):
        load_scene(write_tiff(tmp_path / "a.tif", CUBE.astype(np.complex64)))
    with pytest.raises(ValueError, match="must have up to 5000 bands, got 5001"):
        load_scene(write_tiff(tmp_path / "c.tif", np.zeros((1, 2, 5001), np.uint8)))
    with pytest.raises(ValueError, match="`layout` must not be given"):
        load_scene(write_tiff(tmp_path / "b.tif", COUNTS), layout="CHW")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", COUNTS)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    for call in (lambda: load_scene(path), lambda: save_scene(CUBE, tmp_path / "b.tif")):
        with pytest.raises(ImportError, match=r'pip install "hud-fast\[geo\]"'):
            call()
    assert list(tmp_path.iterdir()) == [path]

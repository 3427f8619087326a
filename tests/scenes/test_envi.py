"""ENVI files: against the spectral package's own reader and writer, and every way a header can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spectral.io import envi

from hud_fast.scenes import Scene, load_scene, save_scene

rng = np.random.default_rng(0)
CUBE = rng.integers(1, 4000, (6, 7, 5)).astype(np.int16)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("byte_order", [0, 1])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8", "u2", "u4", "i8", "u8"])
def test_reads_what_spectral_writes(
    tmp_path: Path, interleave: str, byte_order: int, dtype: str
) -> None:
    cube = (CUBE % 200).astype(dtype)
    header = tmp_path / "a.hdr"
    envi.save_image(
        str(header), cube, interleave=interleave, byteorder=byte_order, dtype=np.dtype(dtype)
    )
    scene = load_scene(header)
    np.testing.assert_array_equal(scene.cube, cube.astype(np.float32))
    assert scene.dtype is not None
    assert scene.dtype.newbyteorder("=") == np.dtype(dtype)
    assert scene.details["interleave"] == interleave
    np.testing.assert_array_equal(load_scene(tmp_path / "a.img").cube, scene.cube)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_spectral_reads_what_we_write(tmp_path: Path, interleave: str, byte_order: str) -> None:
    path = save_scene(
        CUBE, tmp_path / "a.hdr", dtype="int16", interleave=interleave, byte_order=byte_order
    )
    image = envi.open(str(path))
    np.testing.assert_array_equal(np.asarray(image.open_memmap(interleave="bip")), CUBE)
    assert image.metadata["byte order"] == str(int(byte_order == "big"))


def write_header(tmp_path: Path, data_bytes: int | None = 6 * 7 * 5 * 2, **changes: str) -> Path:
    fields = {
        "samples": "7", "lines": "6", "bands": "5", "header offset": "0",
        "data type": "2", "interleave": "bsq", "byte order": "0",
    } | {key.replace("_", " "): value for key, value in changes.items()}  # fmt: skip
    path = tmp_path / "b.hdr"
    path.write_text("ENVI\n" + "".join(f"{k} = {v}\n" for k, v in fields.items() if v != "-"))
    if data_bytes is not None:
        content = np.ascontiguousarray(CUBE.transpose(2, 0, 1)).tobytes() + bytes(100)
        (tmp_path / "b.img").write_bytes(content[:data_bytes])
    return path


@pytest.mark.parametrize(
    ("unit", "centres", "expected"),
    [
        ("Nanometers", "400, 500, 600, 700, 800", 400.0),
        ("Micrometers", "0.4, 0.5, 0.6, 0.7, 0.8", 400.0),
        ("um", "0.4, 0.5, 0.6, 0.7, 0.8", 400.0),
        ("Unknown", "0.4, 0.5, 0.6, 0.7, 0.8", 400.0),
        ("-", "400, 500, 600, 700, 800", 400.0),
        ("Wavenumber", "25000, 20000, 16666, 14285, 12500", 400.0),
        ("Angstroms", "4000, 5000, 6000, 7000, 8000", 400.0),
    ],
)
def test_wavelength_units(tmp_path: Path, unit: str, centres: str, expected: float) -> None:
    path = write_header(tmp_path, wavelength_units=unit, wavelength="{" + centres + "}")
    scene = load_scene(path)
    assert scene.wavelengths is not None
    assert scene.wavelengths[0] == pytest.approx(expected)


def test_everything_in_the_header(tmp_path: Path) -> None:
    wkt = 'PROJCS["UTM_11N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984"]],UNIT["Meter",1.0]]'
    path = write_header(
        tmp_path,
        wavelength_units="Nanometers",
        Wavelength="{\n 400, 500,\n 600, 700, 800}",
        fwhm="{10, 10, 11, 11, 12}",
        bbl="{1, 1, 0, 1, 1}",
        default_bands="{3, 2, 1}",
        reflectance_scale_factor="10000",
        map_info="{UTM, 1, 1, 579717.18, 3714550.7, 16.9, 16.9, 11, North, WGS-84}",
        coordinate_system_string="{" + wkt + "}",
    )
    scene = load_scene(path, scale="auto")
    assert scene.scale == 10000.0
    assert scene.rgb_bands == (2, 1, 0)
    assert scene.good_bands is not None
    assert scene.fwhm is not None
    assert scene.geo is not None
    assert scene.good_bands.tolist() == [True, True, False, True, True]
    assert scene.fwhm.tolist() == [10.0, 10.0, 11.0, 11.0, 12.0]
    assert scene.geo["coordinate system string"] == "{" + wkt + "}"  # letter for letter
    again = load_scene(save_scene(scene, tmp_path / "c.hdr"), scale="auto")
    np.testing.assert_allclose(again.cube, scene.cube, rtol=1e-6)
    assert again.geo == scene.geo
    assert (again.scale, again.rgb_bands, again.dtype) == (10000.0, (2, 1, 0), scene.dtype)
    np.testing.assert_array_equal(again.good_bands, scene.good_bands)


def test_the_data_ignore_value_masks_pixels(tmp_path: Path) -> None:
    cube = CUBE.copy()
    cube[1, 2] = -9999
    cube[3, 3, 0] = -9999  # no sensor's value: the pixel is not whole
    cube[2, 2, 2] = -9999  # the bad band
    scene = Scene(cube.astype(np.float32), dtype="int16", good_bands=[1, 1, 0, 1, 1])
    path = save_scene(scene, tmp_path / "a.hdr")
    path.write_text(path.read_text() + "data ignore value = -9999\n")
    read = load_scene(path)
    assert read.ignore_value == -9999.0
    assert read.mask is not None
    assert sorted(zip(*np.nonzero(~read.mask), strict=True)) == [(1, 2), (3, 3)]
    again = load_scene(save_scene(read, tmp_path / "again.hdr"))
    np.testing.assert_array_equal(again.mask, read.mask)


def test_a_data_ignore_value_that_may_be_data_masks_whole_pixels_only(tmp_path: Path) -> None:
    cube = CUBE.copy()
    cube[1, 2] = 7
    cube[3, 3, 0] = 7  # one band by chance: still a pixel
    cube[4, 4, [0, 1, 3, 4]] = 7  # all but the bad band
    scene = Scene(cube.astype(np.float32), dtype="int16", good_bands=[1, 1, 0, 1, 1])
    path = save_scene(scene, tmp_path / "a.hdr")
    path.write_text(path.read_text() + "data ignore value = 7\n")
    mask = load_scene(path).mask
    assert mask is not None
    assert sorted(zip(*np.nonzero(~mask), strict=True)) == [(1, 2), (4, 4)]


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint8", "float32", "int32"])
def test_a_mask_survives_without_an_ignore_value(tmp_path: Path, dtype: str) -> None:
    mask = np.ones((6, 7), bool)
    mask[2:4, 1] = False
    scene = Scene((CUBE % 200).astype(np.float32), mask=mask, dtype=dtype)
    read = load_scene(save_scene(scene, tmp_path / "a.hdr"))
    np.testing.assert_array_equal(read.mask, mask)
    np.testing.assert_array_equal(read.cube[mask], scene.cube[mask])


def test_micrometres_are_written_back_as_such(tmp_path: Path) -> None:
    path = write_header(
        tmp_path, wavelength_units="Micrometers", wavelength="{0.4, 0.5, 0.6, 0.7, 0.8}"
    )
    written = save_scene(load_scene(path), tmp_path / "c.hdr")
    header = envi.read_envi_header(str(written))
    assert header["wavelength units"] == "Micrometers"
    assert header["wavelength"] == ["0.4", "0.5", "0.6", "0.7", "0.8"]


@pytest.mark.parametrize("name", ["s", "s.dat", "s.DAT", "s.bsq", "s.img.hdr"])
def test_data_files_by_their_many_names(tmp_path: Path, name: str) -> None:
    path = write_header(tmp_path)
    if name == "s.img.hdr":  # header named after the data file
        header, data = tmp_path / name, tmp_path / "s.img"
    else:
        header, data = tmp_path / "s.hdr", tmp_path / name
    path.rename(header)
    (tmp_path / "b.img").rename(data)
    for start in (header, data):
        np.testing.assert_array_equal(load_scene(start).cube, CUBE.astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": "-"}, "`bands` must be a whole number, got None"),
        ({"lines": "six"}, "`lines` must be a whole number, got 'six'"),
        ({"samples": "0"}, "`samples` must be 1 or more, got 0"),
        ({"data_type": "6"}, "`data type` must be one of .* got '6'"),
        ({"interleave": "tiled"}, "`interleave` must be bsq, bil or bip, got 'tiled'"),
        ({"byte_order": "7"}, "`byte order` must be 0 or 1, got 7"),
        ({"file_type": "ENVI Spectral Library"}, "must be an ENVI image"),
        ({"file_type": "JPEG2000"}, "`file type` must be ENVI Standard or TIFF, got 'JPEG2000'"),
        ({"major_frame_offsets": "{-1, 0}"}, "`major frame offsets` must be two numbers of bytes"),
    ],
)
def test_wrong_headers(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=r"^load_scene: .*" + message):
        load_scene(write_header(tmp_path, **changes))


def test_a_header_without_data(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must have its data file beside the header"):
        load_scene(write_header(tmp_path, data_bytes=None))


def test_data_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(bytes(100))
    with pytest.raises(FileNotFoundError, match=r"must have its ENVI header beside it.*a\.hdr"):
        load_scene(tmp_path / "a.img")


def test_data_that_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"must have all its data, got .* 419 bytes .* asks for 420"):
        load_scene(write_header(tmp_path, data_bytes=419))


def test_a_header_offset_counts(tmp_path: Path) -> None:
    path = write_header(tmp_path, header_offset="10")
    data = tmp_path / "b.img"
    data.write_bytes(b"0123456789" + data.read_bytes())
    np.testing.assert_array_equal(load_scene(path).cube, CUBE.astype(np.float32))


@pytest.mark.parametrize("content", [b"not a header\n", bytes(range(256)), b"samples = 3\nENVI\n"])
def test_not_a_header(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.hdr"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"must be an ENVI header .* which begins with"):
        load_scene(path)


def test_a_band_of_nan_ignore_values(tmp_path: Path) -> None:
    cube = CUBE.astype(np.float32)
    cube[0, 0] = np.nan
    path = save_scene(cube, tmp_path / "a.hdr")
    assert not load_scene(path).valid[0, 0]
    assert load_scene(path).valid.sum() == 41


def test_no_stale_data_file_is_read_after_writing(tmp_path: Path) -> None:
    save_scene(CUBE, tmp_path / "a.hdr")  # a.img
    like = Scene(CUBE, details={"data suffix": ".dat"}, format="envi", dtype="float32")
    save_scene(CUBE * 2, tmp_path / "a.hdr", like=like)
    np.testing.assert_array_equal(load_scene(tmp_path / "a.hdr").cube, CUBE * 2.0)
    (tmp_path / "b.img").write_bytes(b"someone else's")
    for name in ("b.hdr", "b.dat"):
        with pytest.raises(FileExistsError, match=r"^save_scene: .* b\.img lies beside it"):
            save_scene(like, tmp_path / name)
    assert (tmp_path / "b.img").read_bytes() == b"someone else's"

"""ENVI and ESRI headers as people have them: read right, or refused with the true reason. Nothing silently."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hud_fast.scenes import Scene, envi, geotiff, load_scene, readers, save_scene
from hud_fast.scenes.envi_header import parsed
from hud_fast.scenes.raw import RawScene, Reader

rng = np.random.default_rng(0)
H, W, C = 6, 7, 5
CUBE = rng.integers(1, 4000, (H, W, C)).astype(np.int16)
CENTRES = np.array([400.0, 500.0, 600.0, 700.0, 800.0])
WAVELENGTHS = "wavelength = {400, 500, 600, 700, 800}"
AXES = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}


def write(
    folder: Path,
    *extra: str,
    name: str = "a",
    data: bytes | None = None,
    suffix: str = ".img",
    encoding: str = "utf-8",
    lead: str = "",
    **fields: Any,
) -> Path:
    """A BSQ file of int16 and its header."""
    all_fields = {
        "samples": W, "lines": H, "bands": C, "header offset": 0, "file type": "ENVI Standard", "data type": 2,
        "interleave": "bsq", "byte order": 0,
    } | {key.replace("_", " "): value for key, value in fields.items()}  # fmt: skip
    text = lead + "\n".join(["ENVI", *(f"{k} = {v}" for k, v in all_fields.items()), *extra]) + "\n"
    (folder / f"{name}.hdr").write_bytes(text.encode(encoding))
    content = np.ascontiguousarray(CUBE.transpose(2, 0, 1)).tobytes() if data is None else data
    (folder / f"{name}{suffix}").write_bytes(content)
    return folder / f"{name}.hdr"


def same(path: Path) -> Scene:
    """Loads with these values, and says nothing."""
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, CUBE)
    return scene


# text


@pytest.mark.parametrize(
    "changes",
    [
        {"encoding": "latin-1", "extra": ["description = {Gr\u00f6\u00dfe in \u00b5m}", WAVELENGTHS]},
        {"encoding": "gbk", "extra": ["description = {\u9ad8\u5149\u8c31}", WAVELENGTHS]},
        {"encoding": "utf-16", "extra": [WAVELENGTHS]},
        {"lead": "\ufeff", "extra": [WAVELENGTHS]},
        {"lead": "\n\n", "extra": ["", "; a comment = {", WAVELENGTHS]},
        {"extra": [WAVELENGTHS + " ; nm"]},
        {"data type": "2 ; int16", "lines": "6.0", "interleave": "BSQ ; as ever", "extra": [WAVELENGTHS]},
        {"extra": ["wavelength =", "{400, 500,", "; here, too", "600, 700, 800}"]},
        {"extra": ["Wavelength = {400 500 600 700 800}"]},
        {"extra": ["wavelengths = {400, 500, 600, 700, 800,}"]},
        {"encoding": "latin-1", "extra": ["wavelength units = \u00b5m", "wavelength = {.4,.5,.6,.7,.8}"]},
    ],
)  # fmt: skip
def test_texts_that_other_programs_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    scene = same(write(tmp_path, *changes.pop("extra"), **changes))
    assert scene.wavelengths is not None
    np.testing.assert_allclose(scene.wavelengths, CENTRES)


def test_a_brace_that_is_never_closed_ends_before_the_next_field(tmp_path: Path) -> None:
    extra = ["description = {cut", "sensor type = x", WAVELENGTHS, "fwhm = {10, 11,", "12, 13, 14"]
    with pytest.warns(UserWarning, match="a brace is never closed: description, fwhm, in .*a.hdr"):
        scene = load_scene(write(tmp_path, *extra))
    np.testing.assert_array_equal(scene.wavelengths, CENTRES)
    np.testing.assert_array_equal(scene.fwhm, [10, 11, 12, 13, 14])


def test_a_field_that_stands_twice(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="twice, the last one is taken: interleave"):
        load_scene(write(tmp_path, "interleave = bil"))


@pytest.mark.parametrize("line", ["1a = {", "a =\n{", "a = {", "{", "=", "= {}"])
def test_a_hostile_text_takes_the_time_of_its_length(line: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed("ENVI\n" + f"{line}\n" * 9000 + "b = {1}\n", Path("a.hdr"))


@pytest.mark.parametrize(
    ("extra", "said", "field"),
    [
        ("wavelength = {400, 500}", "`wavelength` is left out: 2 values for 5 bands", "wavelengths"),
        ("wavelength = {a, b, c, d, e}", "`wavelength` is left out: could not", "wavelengths"),
        ("fwhm = {1, 2}", "`fwhm` is left out: 2 values for 5 bands", "fwhm"),
        ("bbl = {1, 0}", "`bbl` is left out: 2 values for 5 bands", "good_bands"),
        ("bbl = {0, 0, 0, 0, 0}", "`bbl` is left out: it flags every band bad", "good_bands"),
        ("band names = {a, b}", "`band names` is left out: 2 names for 5 bands", "band_names"),
        ("data ignore value = None", "`data ignore value` is left out: 'None'", "ignore_value"),
        ("data gain values = {1, 2}", "`data gain values` is left out: 2 values", "gains"),
        ("data gain values = {1, 2, 3, 4, 0}", "`data gain values` are left out", "gains"),
        ("data reflectance gain values = {1}", "`data reflectance gain values` are left", "gains"),
    ],
)  # fmt: skip
def test_what_only_describes_is_left_out_where_it_is_wrong(
    tmp_path: Path, extra: str, said: str, field: str
) -> None:
    path = write(tmp_path, extra)
    with pytest.warns(UserWarning, match=said):
        scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert getattr(scene, field) is None


def test_display_fields_are_for_the_eye_alone(tmp_path: Path) -> None:
    assert same(write(tmp_path, "default bands = {red, green, blue}")).rgb_bands is None


def test_the_users_wavelengths_overrule_wrong_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "wavelength = {400, 500}")
    with pytest.warns(UserWarning, match="2 values for 5 bands"):
        scene = load_scene(path, wavelengths=CENTRES)
    np.testing.assert_array_equal(scene.wavelengths, CENTRES)


# where the numbers are


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize(
    ("major", "minor"), [((128, 0), (0, 0)), ((3, 5), (1, 7)), ((0, 4), (2, 0))]
)
def test_frame_offsets(
    tmp_path: Path, interleave: str, major: tuple[int, int], minor: tuple[int, int]
) -> None:
    axes = CUBE.transpose(AXES[interleave])
    data = bytes(9)
    for frame in axes:
        lines = (bytes(minor[0]) + line.tobytes() + bytes(minor[1]) for line in frame)
        data += bytes(major[0]) + b"".join(lines) + bytes(major[1])
    fields = {
        "interleave": interleave,
        "header_offset": 9,
        "major_frame_offsets": f"{{{major[0]}, {major[1]}}}",
        "minor_frame_offsets": f"{{{minor[0]}, {minor[1]}}}",
    }
    same(write(tmp_path, data=data, **fields))
    path = write(tmp_path, data=data + b"x", **fields)
    with pytest.raises(OSError, match="must have the frames that its header says"):
        load_scene(path)


def test_another_data_type_than_the_headers(tmp_path: Path) -> None:
    path = write(tmp_path, data=CUBE.astype("f4").tobytes())
    with pytest.raises(
        OSError, match=r"840 bytes where the header asks for 420 .*numbers of 4 bytes"
    ):
        load_scene(path)
    path = write(tmp_path, data=CUBE.astype("u1").tobytes(), header_offset=0)
    with pytest.raises(OSError, match=r"210 bytes where .* 420 .*numbers of 1 bytes"):
        load_scene(path)


def test_a_longer_file_is_told(tmp_path: Path) -> None:
    data = np.ascontiguousarray(CUBE.transpose(2, 0, 1)).tobytes() + bytes(31)
    path = write(tmp_path, data=data)
    with pytest.warns(UserWarning, match=r"the last 31 bytes are left out, got .* 451 .* 420"):
        scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, CUBE)


def test_two_files_for_one_header(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "a").write_bytes(bytes(99))
    with pytest.warns(UserWarning, match=r"a\.img is read for .*a\.hdr, of a, a\.img"):
        scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, CUBE)
    (tmp_path / "a").write_bytes(bytes(420))
    with pytest.raises(ValueError, match=r"must be the data file where several may .* a, a\.img"):
        load_scene(path)
    same(tmp_path / "a.img")
    assert not load_scene(tmp_path / "a", no_data="none").cube.any()


def test_the_one_other_file_of_the_stem(tmp_path: Path) -> None:
    path = write(tmp_path, suffix=".int")
    (tmp_path / "a.txt").write_text("notes")
    scene = same(path)
    assert save_scene(scene, tmp_path / "b.hdr").with_suffix(".int").is_file()
    (tmp_path / "a.foo").write_bytes(bytes(420))
    with pytest.raises(ValueError, match=r"must be the data file .* a\.foo, a\.int"):
        load_scene(path)


@pytest.mark.parametrize("suffix", [".img", ".img.gz", ".gz", ".dat"])
def test_packed_data(tmp_path: Path, suffix: str) -> None:
    content = np.ascontiguousarray(CUBE.transpose(2, 0, 1)).tobytes()
    packed = write(tmp_path, data=gzip.compress(content), suffix=suffix, file_compression=1)
    same(packed)
    same(tmp_path / f"a{suffix}")
    write(tmp_path, data=gzip.compress(content[:-1]), suffix=suffix, file_compression=1)
    with pytest.raises(OSError, match="419 bytes where the header asks for 420"):
        load_scene(packed)
    write(tmp_path, data=gzip.compress(content)[:-20], suffix=suffix, file_compression=1)
    with pytest.raises(OSError, match=r"must be a whole .* file, got a broken one"):
        load_scene(packed)


def test_packed_data_hold_no_more_than_they_can(tmp_path: Path) -> None:
    path = write(tmp_path, data=gzip.compress(bytes(99)), file_compression=1, lines=10**6)
    with pytest.raises(OSError, match="packed ones cannot hold"):
        load_scene(path)


def test_a_header_that_says_packed_of_plain_data(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"`file compression` is left out: a\.img is not packed"):
        scene = load_scene(write(tmp_path, file_compression=1))
    np.testing.assert_array_equal(scene.cube, CUBE)


# TIFFs


@pytest.mark.parametrize("kind", ["TIFF", "ENVI Standard"])
def test_a_tiff_goes_to_its_reader_and_gets_the_headers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    suffix = ".tif" if kind == "TIFF" else ".img"
    extra = [WAVELENGTHS, "fwhm = {9, 9, 9, 9, 9}", "band names = {a, b, c, d, e}"]
    path = write(tmp_path, *extra, data=b"II*\0" + bytes(416), suffix=suffix, file_type=kind)

    def read(file: Path, _: Any) -> RawScene:
        assert file == path.with_suffix(suffix)
        return RawScene(cube=CUBE, format="geotiff", dtype=CUBE.dtype, band_names=tuple("ABCDE"))

    tiff = Reader(
        "geotiff", lambda file, _: file.suffix in (".tif", ".img"), read, frozenset(), (".tif",)
    )
    monkeypatch.setattr(readers, "READERS", (tiff, *readers.READERS))
    monkeypatch.setattr(geotiff, "read", read)
    for start in (path, path.with_suffix(suffix)):
        scene = same(start)
        np.testing.assert_array_equal(scene.wavelengths, CENTRES)
        np.testing.assert_array_equal(scene.fwhm, np.full(5, 9.0))
        assert scene.band_names == tuple("ABCDE")


def test_a_header_of_other_bands_says_nothing_of_a_tiff(tmp_path: Path) -> None:
    path = write(tmp_path, "bbl = {1, 1, 1, 1}", bands=4)
    raw = RawScene(cube=CUBE, format="geotiff", dtype=CUBE.dtype)
    with pytest.warns(
        UserWarning, match=r"a\.hdr is left out: `bands` must be 5 as in a\.img, got 4"
    ):
        envi.add_header(raw, path.with_suffix(".img"))
    assert raw.good_bands is None


# calibration


def test_gains_and_offsets_are_applied_and_go_back(tmp_path: Path) -> None:
    gains, offsets = np.linspace(1e-4, 3e-4, C), np.linspace(0, -0.1, C)
    path = write(
        tmp_path,
        "data gain values = {" + ", ".join(map(repr, gains.tolist())) + "}",
        "data offset values = {" + ", ".join(map(repr, offsets.tolist())) + "}",
        "data ignore value = -99",
    )
    meant = CUBE * gains + offsets
    scene = load_scene(path)
    np.testing.assert_allclose(scene.cube, meant, rtol=1e-6, atol=1e-7)
    again = save_scene(scene.replace(mask=CUBE[..., 0] > 100), tmp_path / "b.hdr")
    counts = np.fromfile(tmp_path / "b.img", "<i2").reshape(C, H, W).transpose(1, 2, 0)
    valid = CUBE[..., 0] > 100
    np.testing.assert_array_equal(counts[valid], CUBE[valid])
    assert (counts[~valid] == -99).all()
    np.testing.assert_array_equal(load_scene(again).gains, gains)
    np.testing.assert_array_equal(load_scene(again).cube[valid], scene.cube[valid])
    # a cube that is generated like it
    new = save_scene(scene.cube[:2] * 0.5, tmp_path / "new", like=scene)
    np.testing.assert_allclose(load_scene(new).cube, meant[:2] * 0.5, atol=3e-4)
    assert load_scene(new).dtype == np.dtype("<i2")
    # formats and types without gains hold what the numbers mean
    for name, options in (
        ("c.hdr", {"dtype": "float32"}),
        ("c.npz", {}),
        ("c.mat", {}),
        ("c.npy", {}),
    ):
        plain = load_scene(save_scene(scene, tmp_path / name, **options))
        np.testing.assert_allclose(plain.cube, meant, rtol=1e-6, atol=1e-7)
        assert plain.gains is None
        assert plain.dtype == np.float32


def test_gains_and_a_reflectance_scale_factor_are_not_applied_twice(tmp_path: Path) -> None:
    extra = ["data gain values = {.5, .5, .5, .5, .5}", "reflectance scale factor = 100"]
    with pytest.warns(UserWarning, match="`reflectance scale factor` is left out: the gains"):
        scene = load_scene(write(tmp_path, *extra), scale="auto")
    np.testing.assert_allclose(scene.cube, CUBE / CUBE.max(), rtol=1e-6)


@pytest.mark.parametrize("scale", [None, "auto", 50.0])
def test_the_reflectance_scale_factor_goes_from_file_to_file(tmp_path: Path, scale: Any) -> None:
    scene = load_scene(write(tmp_path, "reflectance scale factor = 10000"), scale=scale)
    assert scene.scale == {None: 1.0, "auto": 10000.0}.get(scale, scale)
    for name in ("b.hdr", "b.npz"):
        again = load_scene(save_scene(scene, tmp_path / name), scale="auto")
        np.testing.assert_allclose(again.cube, CUBE / 10000.0, rtol=1e-6)
    new = save_scene(scene.cube[:3], tmp_path / "new", like=scene)
    np.testing.assert_allclose(load_scene(new, scale="auto").cube, CUBE[:3] / 10000.0, rtol=1e-6)


def test_names_and_widths_go_from_header_to_header(tmp_path: Path) -> None:
    scene = same(write(tmp_path, "band names = {a, B 2, c\u00fc, d, e}", "fwhm = {1, 2, 3, 4, 5}"))
    assert scene.band_names == ("a", "B 2", "c\u00fc", "d", "e")
    again = load_scene(save_scene(scene, tmp_path / "b.hdr"))
    assert again.band_names == scene.band_names
    np.testing.assert_array_equal(again.fwhm, [1, 2, 3, 4, 5])
    odd = load_scene(
        save_scene(
            scene.replace(name="x = {1", band_names=("a}", "b=1, 2", *"cde")), tmp_path / "c.hdr"
        )
    )
    assert odd.band_names == ("a)", "b-1- 2", "c", "d", "e")


# ESRI


@pytest.mark.parametrize("layout", ["BSQ", "BIL", "BIP"])
@pytest.mark.parametrize("dtype", ["<u1", "<u2", ">i2", "<f4"])
def test_esri_headers_as_gdal_reads_them(tmp_path: Path, layout: str, dtype: str) -> None:
    rasterio = pytest.importorskip("rasterio")
    cube = (CUBE % 200).astype(dtype)
    kind = {"u": "UNSIGNEDINT", "i": "SIGNEDINT", "f": "FLOAT"}[np.dtype(dtype).kind]
    data = tmp_path / f"a.{layout.lower()}"
    data.write_bytes(
        bytes(5) + np.ascontiguousarray(cube.transpose(AXES[layout.lower()])).tobytes()
    )
    (tmp_path / "a.hdr").write_text(
        f"BYTEORDER {'M' if dtype[0] == '>' else 'I'}\nLAYOUT {layout}\nNROWS {H}\nNCOLS {W}\nNBANDS {C}\n"
        f"NBITS {8 * cube.itemsize}\nPIXELTYPE {kind}\nSKIPBYTES 5\nULXMAP 500\nULYMAP 900\nXDIM 20\nYDIM 10\n"
    )
    for start in (data, tmp_path / "a.hdr"):
        scene = load_scene(start)
        np.testing.assert_array_equal(scene.cube, cube)
    with rasterio.open(data) as image:
        np.testing.assert_array_equal(image.read().transpose(1, 2, 0), cube)
        corner = image.transform
    assert scene.geo is not None
    parts = scene.geo["map info"].strip("{}").split(",")
    assert [float(part) for part in parts[1:7]] == [1, 1, corner.c, corner.f, corner.a, -corner.e]


def test_esri_rows_with_gaps_and_no_data(tmp_path: Path) -> None:
    rows = np.zeros((H, 80), np.uint8)
    rows[:, :75] = np.pad(
        (CUBE % 200).astype("u1").transpose(0, 2, 1), ((0, 0), (0, 0), (0, 8))
    ).reshape(H, 75)
    rows[0, :75].reshape(C, 15)[:, 0] = 255
    (tmp_path / "a.bil").write_bytes(rows.tobytes())
    words = f"nrows {H}\nncols {W}\nnbands {C}\nbandrowbytes 15\ntotalrowbytes 80\nnodata 255\n"
    (tmp_path / "a.hdr").write_text(words)
    scene = load_scene(tmp_path / "a.hdr")
    np.testing.assert_array_equal(scene.cube[1:], (CUBE % 200)[1:])
    assert scene.mask is not None
    assert (~scene.mask).nonzero()[0].tolist() == [0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("NBITS 16", "NBITS 1"), "`NBITS` must be 8, 16 or 32"),
        (("LAYOUT BIL", "LAYOUT X"), "`LAYOUT` must be BIL, BIP or BSQ, got 'X'"),
        (("NROWS 6", "NROWS six"), "`NROWS` must be a whole number, got 'six'"),
        (("NROWS 6\n", ""), "`NROWS` must be a whole number, got None"),
    ],
)
def test_broken_esri_headers_are_called_so(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    text = "BYTEORDER I\nLAYOUT BIL\nNROWS 6\nNCOLS 7\nNBANDS 5\nNBITS 16\n".replace(*change)
    (tmp_path / "a.hdr").write_text(text)
    (tmp_path / "a.bil").write_bytes(bytes(420))
    with pytest.raises(ValueError, match=said + r".*\(an ESRI header\)"):
        load_scene(tmp_path / "a.hdr")

"""Libraries of spectra: read as people have them, resampled as SPy does, written so that SPy opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from safetensors.numpy import save_file
from spectral import BandResampler
from spectral.io import envi

from hud_fast.scenes import Library, Scene, read_library, save_scene, simulate_scene
from hud_fast.scenes.library import without_bad_bands

RNG = np.random.default_rng(0)
SPECTRA = RNG.uniform(0.1, 0.9, (3, 6))
NM = np.array([400.0, 500.0, 600.0, 700.0, 850.0, 1000.0])
NAMES = ("dry soil", "water", "vegetation")


def same(library: Library, spectra: Any = SPECTRA, names: Any = NAMES, nm: Any = NM) -> bool:
    """Within what the text of a file keeps."""
    assert library.names == tuple(names)
    np.testing.assert_allclose(library.spectra, spectra, rtol=1e-6)
    if nm is None:
        assert library.wavelengths is None
    else:
        np.testing.assert_allclose(library.wavelengths, nm, rtol=1e-6)
    return True


@pytest.mark.parametrize(("unit", "factor"), [("Nanometers", 1.0), ("Micrometers", 1e-3)])
def test_a_library_that_spy_wrote(tmp_path: Path, unit: str, factor: float) -> None:
    header = {
        "wavelength": list(NM * factor),
        "fwhm": [10 * factor] * 6,
        "wavelength units": unit,
        "spectra names": list(NAMES),
    }
    envi.SpectralLibrary(SPECTRA, header).save(str(tmp_path / "soils"))
    for name in ("soils.sli", "soils.hdr"):
        library = read_library(tmp_path / name)
        assert same(library)
        assert library.fwhm is not None
        np.testing.assert_allclose(library.fwhm, 10)


@pytest.mark.parametrize("suffix", [".sli", ".hdr"])
def test_spy_opens_what_is_saved(tmp_path: Path, suffix: str) -> None:
    names = ("dry, loamy {A}", *NAMES[1:])
    path = Library(SPECTRA, names, NM, np.full(6, 12.5)).save(tmp_path / f"own{suffix}")
    assert path == tmp_path / "own.hdr"
    opened = envi.open(str(path))
    assert np.array_equal(opened.spectra, SPECTRA)
    assert opened.names == ["dry- loamy (A)", *NAMES[1:]]
    assert opened.bands.centers == NM.tolist()
    assert opened.bands.bandwidths == [12.5] * 6
    assert opened.bands.band_unit == "Nanometers"
    again = read_library(tmp_path / "own.sli")
    assert np.array_equal(again.spectra, SPECTRA)
    assert np.array_equal(again.wavelengths, NM)


def test_an_envi_library_with_offset_scale_and_missing_values(tmp_path: Path) -> None:
    values = np.round(SPECTRA * 1e4).astype(">i2")
    values[1, 2] = -9999
    (tmp_path / "big.sli").write_bytes(b"x" * 32 + values.tobytes())
    (tmp_path / "big.hdr").write_text(
        "ENVI\nsamples = 6\nlines = 3\nbands = 1\nheader offset = 32\nfile type = ENVI Spectral Library\n"
        "data type = 2\ninterleave = bsq\nbyte order = 1\nreflectance scale factor = 10000\n"
        "data ignore value = -9999\nspectra names = { dry, loam, water, vegetation }\n"
    )
    with pytest.warns(UserWarning, match=r"the 4 names in .* are left out, it has 3 spectra"):
        library = read_library(tmp_path / "big.sli")
    expected = np.round(SPECTRA * 1e4) / 1e4
    expected[1, 2] = np.nan
    np.testing.assert_allclose(library.spectra, expected)
    assert library.scale == 1e4
    assert library.wavelengths is None
    (tmp_path / "big.sli").write_bytes(b"x" * 60)
    with pytest.raises(OSError, match=r"big\.sli has 60 bytes where the header asks for 68"):
        read_library(tmp_path / "big.hdr")


def columns(head: str, nm: Any = NM, mark: str = ",") -> str:
    rows = [mark.join(f"{v:.9g}" for v in (x, *y)) for x, y in zip(nm, SPECTRA.T, strict=True)]
    return "\n".join([head, *rows]) + "\n"


def in_rows(head: str) -> str:
    rows = [",".join([n, *(f"{v:.9g}" for v in y)]) for n, y in zip(NAMES, SPECTRA, strict=True)]
    return "\n".join([head, *rows] if head else rows) + "\n"


PLAIN = ("endmember_1", "endmember_2", "endmember_3")
TEXTS = {
    "ours": (columns("wavelength_nm," + ",".join(NAMES)), NAMES, NM),
    "um": (columns("Wavelength (um)," + ",".join(NAMES), NM / 1e3), NAMES, NM),
    "bands": (columns("band," + ",".join(NAMES), np.arange(1, 7)), NAMES, None),
    "comment": (columns("# wavelength_nm," + ",".join(NAMES)), NAMES, NM),
    "no names": (columns("wavelength_nm,,,"), PLAIN, NM),
    "tabs": (columns("Wavelength [nm]\t" + "\t".join(NAMES), mark="\t"), NAMES, NM),
    "spaces": (columns("nm soil water tree", mark=" "), ("soil", "water", "tree"), NM),
    "semicolons": (
        columns("Wavelength nm;" + ";".join(NAMES), mark=";").replace(".", ","),
        NAMES,
        NM,
    ),
    "quoted": (columns('wavelength_nm,"soil, dry",b,c'), ("soil, dry", "b", "c"), NM),
    "rows": (in_rows("name," + ",".join(f"{x:g}" for x in NM)), NAMES, NM),
    "rows um": (in_rows("name," + ",".join(f"{x / 1e3:g} um" for x in NM)), NAMES, NM),
    "rows without wavelengths": (in_rows("name,b1,b2,b3,b4,b5,b6"), NAMES, None),
    "rows without heading": (in_rows(""), NAMES, None),
    "numbers alone": ("\n".join(" ".join(f"{v:.9g}" for v in y) for y in SPECTRA), PLAIN, None),
    "named columns": (
        "a,b,c\n" + "\n".join(",".join(f"{v:.9g}" for v in y) for y in SPECTRA.T),
        ("a", "b", "c"),
        None,
    ),
    "envi plot": (
        "ENVI ASCII Plot File [Mon Mar 4 10:00:00 2019]\nColumn 1: Wavelength (Nanometers)\n"
        + columns("Column 2: dry soil\nColumn 3: water\nColumn 4: vegetation", mark="  "),
        NAMES,
        NM,
    ),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text(tmp_path: Path, kind: str) -> None:
    text, names, nm = TEXTS[kind]
    (tmp_path / "spectra.csv").write_text(text, encoding="utf-8")
    assert same(read_library(tmp_path / "spectra.csv"), names=names, nm=nm)


def test_wavelengths_by_their_size_are_said_so(tmp_path: Path) -> None:
    path = tmp_path / "spectra.txt"
    path.write_text(columns("wavelength,a,b,c", NM / 1e3))
    with pytest.warns(UserWarning, match=r"0\.4 to 1 without a unit are taken for micrometres"):
        assert same(read_library(path), names="abc")
    path.write_text(columns("x,a,b,c"))
    with pytest.warns(UserWarning, match=r"taken for wavelengths in nm \(400 to 1000\)"):
        assert same(read_library(path), names="abc")


ASTER = """Name: Brown to dark brown gravelly loam
Type: Soil
Class: Alfisol
Particle Size: Unknown
Sample No.: 87P3665
Owner: Dept. of Earth and Planetary Science: Spectroscopy
Wavelength Range: All
Measurement: Directional (10\u00b0) hemispherical reflectance
First Column: X
Second Column: Y
X Units: Wavelength (micrometers)
Y Units: Reflectance (percent)
First X Value: 1.0000
Last X Value: 0.4000
Number of X Values: 6
Additional Information: none

"""


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_an_aster_text(tmp_path: Path, encoding: str) -> None:
    rows = zip(NM[::-1] / 1e3, SPECTRA[0, ::-1] * 100, strict=True)
    text = ASTER + "\n".join(f" {x:.4f}\t{y:.7f} " for x, y in rows) + "\n"
    path = tmp_path / "soil.alfisol.all.spectrum.txt"
    path.write_bytes(text.encode(encoding))
    library = read_library(path)
    name = ("Brown to dark brown gravelly loam",)
    assert same(library, SPECTRA[:1, ::-1], name, NM[::-1])
    assert library.scale == 100
    fitted = library.resample(Scene(np.ones((1, 1, 6)), wavelengths=NM))
    np.testing.assert_allclose(fitted.spectra, SPECTRA[:1], rtol=0.2)  # bands of the same centres


def test_a_usgs_text_is_one_spectrum(tmp_path: Path) -> None:
    path = tmp_path / "splib07a_Soil.txt"
    path.write_text(" splib07a Record=1: Soil DV13\n -1.23e34\n 0.25\n 0.5\n")
    library = read_library(path)
    np.testing.assert_array_equal(library.spectra, [[np.nan, 0.25, 0.5]])
    assert library.names == ("Soil DV13",)


def test_numpy_and_matlab(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SPECTRA)
    assert same(read_library(tmp_path / "a.npy"), names=PLAIN, nm=None)
    np.savez(tmp_path / "a.npz", spectra=SPECTRA, names=np.array(NAMES), wavelengths=NM / 1e3)
    with pytest.warns(UserWarning, match="micrometres"):
        assert same(read_library(tmp_path / "a.npz"))
    letters = np.array([list(name.ljust(12).encode()) for name in NAMES], np.uint8)  # as USGS has
    scipy.io.savemat(tmp_path / "a.mat", {"M": SPECTRA.T, "A": np.ones((3, 50)), "names": letters})
    assert same(read_library(tmp_path / "a.mat"), nm=None)
    # the other way round, where the wavelengths say so
    scipy.io.savemat(tmp_path / "b.mat", {"lib": SPECTRA, "wavelength": NM})
    assert same(read_library(tmp_path / "b.mat"), names=PLAIN)
    scipy.io.savemat(tmp_path / "c.mat", {"one": SPECTRA.T, "two": SPECTRA.T})
    with pytest.raises(ValueError, match=r"or variable= name it, got one 6x3, two 6x3"):
        read_library(tmp_path / "c.mat")
    assert same(read_library(tmp_path / "c.mat", variable="two"), names=PLAIN, nm=None)
    scene = simulate_scene(4, 5, C=8, D=2)
    save_scene(scene, tmp_path / "scene.npz")
    assert scene.truth is not None
    np.testing.assert_array_equal(
        read_library(tmp_path / "scene.npz").spectra, scene.truth.endmembers
    )


def test_folders(tmp_path: Path) -> None:
    Library(SPECTRA, NAMES, NM).save(tmp_path / "unmixed" / "endmembers.csv")
    assert same(read_library(tmp_path / "unmixed"))
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    tensors = {"endmembers": SPECTRA.astype(np.float32), "wavelengths": NM}
    save_file(tensors, model / "statistics.safetensors")
    (model / "config.json").write_text('{"format": "hud_fast model"}')
    for folder in (model, model.parent):
        assert same(read_library(folder), names=PLAIN)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"must be a folder with endmembers\.csv, a model"):
        read_library(tmp_path / "empty")


WRONG = {
    "words.csv": ("soil and water\n", r"it holds no row of numbers"),
    "ragged.csv": ("wavelength_nm,a\n400,0.1\n500,0.2,0.3\n", r"row 2 of its table has 3 cells"),
    "open.csv": ("1,2\n3,4\n0,6\n", r"its 3 rows of 2 numbers must have a heading"),
    "text.csv": ("wavelength_nm,a,b\n400,0.1,0.2\n500,x,0.3\n", r"numbers only: .*'x'"),
    "bytes.txt": ("400 \0 1\n", r"it is no text"),
    "nm.csv": ("wavelength_nm,a\n-400,0.1\n500,0.2\n", r"wavelengths must be finite and above 0"),
    "lib.xlsx": ("x", r"its name must end in one of \.sli, \.hdr"),
    "scene.hdr": ("ENVI\nsamples = 3\nfile type = ENVI Standard\n", r"file type must be ENVI Spec"),
    "none.sli": ("x", r"must have its ENVI header beside it"),
    "bad.npy": ("x", r"a whole \.npy file, got a broken one"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_library(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(WRONG[name][0])
    with pytest.raises((ValueError, OSError), match=rf"^read_library: `path` .*{WRONG[name][1]}"):
        read_library(tmp_path / name)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"read_library: `path` must be a file or folder"):
        read_library(tmp_path / "nothing.sli")


FIELDS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"spectra": np.ones(3)}, ValueError, r"`spectra` must have shape \(D, C\)"),
    ({"spectra": np.array([["a"]])}, TypeError, r"must hold real numbers, got dtype"),
    ({"spectra": [[np.nan], [1.0]]}, ValueError, r"got none in endmember_1"),
    ({"spectra": [[np.inf]]}, ValueError, r"got infinity"),
    ({"spectra": np.ones((2, 3)), "names": ["a"]}, ValueError, r"each of the 2 spectra, got 1"),
    ({"spectra": np.ones((2, 3)), "names": "ab"}, TypeError, r"a sequence of names"),
    ({"spectra": np.ones((2, 3)), "fwhm": [1, 2]}, ValueError, r"each of the 3 bands, got 2"),
]


@pytest.mark.parametrize(("fields", "error", "message"), FIELDS)
def test_fields(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Library(**fields)


FINE = np.linspace(380, 1100, 181)
FINE_SPECTRA = np.cumsum(RNG.normal(0, 0.01, (4, 181)), axis=1) + 0.5
BANDS = np.array([450.0, 560.0, 655.0, 865.0, 1000.0])
WIDTHS = np.array([60.0, 55.0, 30.0, 30.0, 8.0])


@pytest.mark.parametrize("own", [None, np.full(181, 6.0)])
def test_resampling_is_spys(own: Any) -> None:
    library = Library(FINE_SPECTRA, (), FINE, own)
    found = library.resample(BANDS, fwhm=WIDTHS)
    spy = BandResampler(FINE, BANDS, own, WIDTHS)
    expected = np.stack([spy(spectrum) for spectrum in FINE_SPECTRA])
    np.testing.assert_allclose(found.spectra, expected, atol=1e-6)
    bands = np.array([450.0, 560.0, 655.0, 780.0, 900.0])
    scene = Scene(np.ones((2, 2, 5)), wavelengths=bands)  # widths by distance
    spy = BandResampler(FINE, bands, own)
    expected = np.stack([spy(spectrum) for spectrum in FINE_SPECTRA])
    np.testing.assert_allclose(library.resample(scene).spectra, expected, atol=1e-6)


def test_the_order_of_bands_does_not_matter() -> None:
    library = Library(FINE_SPECTRA, (), FINE)
    expected = library.resample(BANDS, fwhm=WIDTHS).spectra
    turned = Library(FINE_SPECTRA[:, ::-1], (), FINE[::-1])
    np.testing.assert_allclose(turned.resample(BANDS, fwhm=WIDTHS).spectra, expected, atol=1e-12)
    other = library.resample(BANDS[::-1], fwhm=WIDTHS[::-1]).spectra
    np.testing.assert_allclose(other[:, ::-1], expected, atol=1e-12)


def test_own_bands_and_flat_spectra_stay() -> None:
    uneven = np.array([400.0, 405, 420, 500, 501, 700])
    library = Library(SPECTRA, (), uneven)
    assert np.array_equal(library.resample(uneven).spectra, SPECTRA)
    assert np.array_equal(library.resample(uneven, fwhm=np.full(6, 5.0)).spectra, SPECTRA)
    flat = Library(np.full((1, 181), 0.3), (), FINE)
    np.testing.assert_allclose(flat.resample(BANDS, fwhm=WIDTHS).spectra, 0.3, rtol=1e-12)


def test_bands_without_coverage_are_named() -> None:
    # water vapour between 800 and 950 nm is cut out, and one spectrum ends at 1000 nm
    keep = (FINE < 800) | (FINE > 950)
    spectra = FINE_SPECTRA.copy()
    spectra[2, FINE > 1001] = np.nan
    library = Library(spectra[:, keep], (), FINE[keep])
    bands = np.append(BANDS, [1050.0, 1500.0])
    widths = np.append(WIDTHS, [10.0, 10.0])
    message = (
        r"got 3 of 7 that do not, counted from 0: 3 \(865\.0 nm\), 5 \(1050\.0 nm\), 6 \(1500\.0"
    )
    with pytest.raises(ValueError, match=message):
        library.resample(bands, fwhm=widths)
    found, covered = library.resample(bands, fwhm=widths, mask=True)
    assert covered.tolist() == [True, True, True, False, True, False, False]
    assert np.array_equal(np.isnan(found.spectra), np.broadcast_to(~covered, (4, 7)))
    with pytest.raises(
        ValueError, match=r"must meet the library, of 380\.0 to 1100\.0 nm, got 1500"
    ):
        library.resample([1500.0], fwhm=[10.0])


def test_a_library_without_wavelengths_has_the_scenes_bands() -> None:
    good = np.array([True, True, False, True, True, True])
    scene = Scene(np.ones((2, 2, 6)), wavelengths=NM, good_bands=good)
    for given in (scene, without_bad_bands(scene)):
        for spectra in (SPECTRA, SPECTRA[:, good]):
            found = Library(spectra).resample(given)
            assert np.array_equal(found.spectra, SPECTRA[:, good])
            assert np.array_equal(found.wavelengths, NM[good])
        message = r"the library has no wavelengths, so it must have the scene's 5 good bands"
        with pytest.raises(ValueError, match=message + r" \(or all 6\), got 4"):
            Library(SPECTRA[:, :4]).resample(given)
    with pytest.raises(ValueError, match=r"seem to lie in its columns"):
        Library(SPECTRA[:, good].T).resample(scene)
    with pytest.raises(ValueError, match=r"scene has no wavelengths"):
        Library(SPECTRA, (), NM).resample(Scene(np.ones((2, 2, 4))))
    with pytest.raises(ValueError, match=r"`bands` must be a scene where the library has no wave"):
        Library(SPECTRA).resample(NM)
    # with wavelengths on both sides these decide
    found = Library(FINE_SPECTRA, (), FINE).resample(scene)
    assert np.array_equal(found.wavelengths, NM[good])


def test_bands_left_out_do_not_widen_their_neighbours() -> None:
    centres = 400 + 10.0 * np.arange(30)
    good = np.ones(30, bool)
    good[[7, 15, 16, 17]] = False
    spectra = RNG.uniform(0.1, 0.9, (2, 30))
    scene = Scene(np.ones((1, 1, 30)), wavelengths=centres, good_bands=good)
    found = Library(spectra, (), centres).resample(scene)
    np.testing.assert_allclose(found.spectra, spectra[:, good], atol=1e-12)


def test_saving(tmp_path: Path) -> None:
    library = Library(SPECTRA, NAMES, NM)
    assert np.array_equal(np.load(library.save(tmp_path / "a.npy")), SPECTRA)
    assert same(read_library(library.save(tmp_path / "a.csv")))
    with pytest.raises(ValueError, match=r"Library\.save: `path` must end in one of \.sli"):
        library.save(tmp_path / "a.tif")
    assert repr(library) == "Library(3 spectra, 6 bands, 400-1000 nm: dry soil, water, vegetation)"
    many = Library(np.ones((20, 3)))
    assert repr(many).endswith("endmember_4 and 16 more)")

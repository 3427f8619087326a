"""What counts as wavelengths, in which unit, and where they are found. Every drop is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from hud_fast.scenes import load_scene, save_scene
from hud_fast.scenes.raw import RawScene
from hud_fast.scenes.wavelengths import are_band_numbers, close_gaps, nanometres, widths

NM = np.linspace(400.0, 2400.0, 30)
CUBE = np.random.default_rng(0).random((4, 5, 30)).astype(np.float32)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (NM, "Nanometers"), (NM, "[nm]"), (NM, None), (NM, "Unknown"), (NM / 1e3, "\u03bcm"), (NM / 1e3, None),
        (NM / 1e3, "MICRONS"), (1e7 / NM, "1/cm"), (1e7 / NM, "cm^-1"), (1e7 / NM, "cm\u207b\u00b9"),
        (1e7 / NM, "Wavenumber (cm-1)"[:10]), (NM * 10, "Angstroms"), (NM / 1e6, "mm"), (NM / 1e9, "m"),
        (NM / 1e9, None),
    ],
)  # fmt: skip
def test_units(values: NDArray[np.float64], unit: str | None) -> None:
    found = nanometres(values, unit)
    assert found is not None
    np.testing.assert_allclose(found, NM)


@pytest.mark.parametrize(
    ("values", "unit", "said"),
    [
        (NM / 1e3, "Nanometers", "0.4 to 2.4, which is micrometres, where the unit says Nanometers"),
        (NM, "Micrometers", "400 to 2400, which is nm, where the unit says Micrometers"),
        (NM / 1e3, "cm-1", "0.4 to 2.4, which is micrometres"),
    ],
)  # fmt: skip
def test_a_unit_that_cannot_be(values: NDArray[np.float64], unit: str, said: str) -> None:
    with pytest.warns(UserWarning, match=said):
        found = nanometres(values, unit)
    assert found is not None
    np.testing.assert_allclose(found, NM)


@pytest.mark.parametrize(
    ("values", "unit", "said"),
    [
        (np.arange(1, 31), None, "are band numbers, 1 to 30"),
        (np.arange(30), "nm", "are band numbers, 0 to 29"),
        (np.arange(1, 31), "Micrometers", "are band numbers"),
        (np.r_[4:108, 113:154], None, "are band numbers, 4 to 153"),
        (NM, "Index", "are in Index, which is no length"),
        (np.zeros(30), "nm", "are not above 0"),
        (np.full(30, np.nan), None, "are not above 0"),
        (np.ones(30), None, "are all 1"),
    ],
)
def test_what_is_none(values: NDArray[np.float64], unit: str | None, said: str) -> None:
    with pytest.warns(UserWarning, match=said):
        assert nanometres(values, unit) is None


def test_thermal_sensors_may_have_whole_micrometres() -> None:
    assert not are_band_numbers([8, 9, 10, 11, 12], "um")
    found = nanometres([8, 9, 10, 11, 12], "um")
    assert found is not None
    assert found[0] == 8000


@pytest.mark.parametrize(
    ("values", "unit", "centres", "expected"),
    [
        ([10.0, 12.0], "nm", [500.0, 600.0], [10, 12]),
        ([0.01, 0.012], None, [0.5, 0.6], [10, 12]),
        ([200.0, 200.0], "cm-1", [20000.0, 10000.0], [5, 20]),  # 1e7 / v^2 * dv
        ([10.0, 12.0], "Nanometers", None, [10, 12]),
        ([0.01, 0.012], "um", None, [10, 12]),
        ([0.01, 0.012], None, None, [10, 12]),
    ],
)
def test_widths(values: list[float], unit: str | None, centres: Any, expected: list[float]) -> None:
    nm = None if centres is None else nanometres(centres, unit)
    found = widths(values, unit, centres, nm)
    assert found is not None
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(("values", "unit"), [([10.0, 12.0], "um"), ([0.01, 0.012], "nm")])
def test_widths_in_another_unit_than_the_centres(values: list[float], unit: str) -> None:
    centres = np.array([500.0, 600.0]) / (1e3 if unit == "um" else 1)
    with pytest.warns(UserWarning, match="band widths .* are taken for"):
        found = widths(values, unit, centres, nanometres(centres, unit))
    np.testing.assert_allclose(found, [10, 12])  # type: ignore[arg-type]


def test_widths_of_zero_become_their_neighbours() -> None:
    with pytest.warns(UserWarning, match=r"1 band widths \(fwhm\) are not above 0"):
        assert widths([10, 0, 14]).tolist() == [10, 12, 14]  # type: ignore[union-attr]
    with pytest.warns(UserWarning, match="left out: none is above 0"):
        assert widths([0, 0, 0]) is None


def header(folder: Path, *lines: str) -> Path:
    path = save_scene(CUBE, folder / "a.hdr")
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))
    return path


def listed(values: NDArray[np.float64]) -> str:
    return "{" + ", ".join(map(repr, values.tolist())) + "}"


def test_bands_without_a_wavelength_are_flagged_bad(tmp_path: Path) -> None:
    centres = NM.copy()
    centres[[0, 1, 10]] = 0  # as in exports of PRISMA
    path = header(tmp_path, "wavelength units = nm", f"wavelength = {listed(centres)}")
    with pytest.warns(
        UserWarning, match=r"bands 0, 1, 10 \(from 0\) have no wavelength and are fl"
    ):
        scene = load_scene(path)
    assert scene.wavelengths is not None
    assert scene.good_bands is not None
    assert np.flatnonzero(~scene.good_bands).tolist() == [0, 1, 10]
    np.testing.assert_allclose(scene.wavelengths[scene.good_bands], NM[scene.good_bands])
    np.testing.assert_allclose(scene.wavelengths[[0, 1, 10]], [NM[2], NM[2], NM[10]])
    assert scene.drop_bad_bands().C == 27
    with pytest.warns(UserWarning, match="they get one between their neighbours'"):
        kept = load_scene(path, good_bands=np.ones(30, bool))
    assert kept.good_bands is not None
    assert kept.good_bands.all()


def test_bands_that_are_bad_already_stay_so() -> None:
    raw = RawScene(cube=CUBE[..., :3], format="envi", dtype=CUBE.dtype)
    raw.wavelengths, raw.good_bands = np.array([400.0, np.nan, 600.0]), [False, True, True]
    with pytest.warns(UserWarning, match=r"bands 1 \(from 0\)"):
        close_gaps(raw, flag=True)
    np.testing.assert_array_equal(raw.good_bands, [False, False, True])
    np.testing.assert_array_equal(raw.wavelengths, [400, 500, 600])


def rows(*columns: Any, mark: str = " ") -> str:
    return "\n".join(mark.join(str(cell) for cell in row) for row in zip(*columns, strict=True))


INDEX = range(30)
FWHM = np.full(30, 10.0)


@pytest.mark.parametrize(
    ("text", "fwhm"),
    [
        (rows(NM), False),
        (rows(range(1, 31), NM, mark=","), False),
        (rows(INDEX, NM / 1e3, FWHM / 1e3), True),  # ISOFIT
        (rows(NM, FWHM, mark="\t"), True),
        ("wavelength\n" + rows(NM), False),
        ("Band;Center Wavelength (nm);FWHM (nm)\n" + rows(INDEX, NM, FWHM, mark=";"), True),
        ("name,min,max,wavelength_nm,fwhm\n" + rows(INDEX, NM - 5, NM + 5, NM, FWHM, mark=","), True),
        ("# nm\n\n" + rows(NM) + "\n# end\n", False),
        ("\ufeff" + rows(NM), False),
        ("; ENVI ASCII\n" + rows(NM) + "\n", False),
        (rows([f"B{i}" for i in INDEX], NM, mark=","), False),
        (rows(NM, NM / 1e3), False),  # the same twice
        (rows(1e7 / NM, NM / 1e3), False),  # and so
        (rows(NM, np.linspace(8, 12, 30)), None),  # widths that grow
        (rows(NM, np.arange(30) % 2), False),
        (",".join(map(str, NM)), False),
        ("\n".join(" ".join(map(str, NM[i : i + 8])) for i in range(0, 30, 8)), False),
        ("\n".join(" ".join(map(str, NM[i : i + 10])) for i in range(0, 30, 10)), False),
        (rows(INDEX, [f"{x:.2f}".replace(".", ",") for x in NM], mark=";"), False),
        ("wl fwhm e0\n" + rows(NM, FWHM, FWHM * 7), True),
    ],
)  # fmt: skip
def test_files_of_wavelengths(tmp_path: Path, text: str, fwhm: bool | None) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    (tmp_path / "w.txt").write_text(text, encoding="utf-8")
    scene = load_scene(tmp_path / "a.npy", wavelengths=tmp_path / "w.txt")
    assert scene.wavelengths is not None
    np.testing.assert_allclose(scene.wavelengths, NM, atol=0.006)
    if fwhm is None:
        np.testing.assert_allclose(scene.fwhm, np.linspace(8, 12, 30))  # type: ignore[arg-type]
    elif fwhm:
        assert scene.fwhm is not None
        np.testing.assert_allclose(scene.fwhm, FWHM)
    else:
        assert scene.fwhm is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rows(NM - 5, NM + 5), r"got several that can be it of column 1 \(395 to 2395\), column 2"),
        (rows(INDEX, INDEX), "got none that can be it of column 1"),
        ("a b\n" + rows(NM - 5, NM + 5), r"got several that can be it of a \(395 to 2395\), b"),
        (rows(range(1, 31)), "band centres in nm or micrometres, got values that are band numbers"),
        (rows(NM) + "\nend of file", "line 31 is no number: end of file"),
        ("no numbers\nat all", "it holds no number"),
        ("", "must be a file|0 bytes|holds no number"),
    ],
)
def test_files_that_leave_it_open(tmp_path: Path, text: str, said: str) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    (tmp_path / "w.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"^load_scene: `wavelengths` must be .*{said}"):
        load_scene(tmp_path / "a.npy", wavelengths=tmp_path / "w.txt")


def test_other_files_of_wavelengths(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    np.save(tmp_path / "w.npy", np.stack([np.arange(30), NM / 1e3, FWHM / 1e3], axis=1))
    savemat(tmp_path / "w.mat", {"w": NM})
    path = header(tmp_path, f"wavelength = {listed(NM)}", f"fwhm = {listed(FWHM)}")
    for file in (tmp_path / "w.npy", tmp_path / "w.mat", path):
        scene = load_scene(tmp_path / "a.npy", wavelengths=file)
        np.testing.assert_allclose(scene.wavelengths, NM)  # type: ignore[arg-type]
        assert (scene.fwhm is None) == (file.suffix == ".mat")


def test_words_are_no_wavelengths(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    with pytest.raises(TypeError, match="`wavelengths` must hold numbers"):
        load_scene(tmp_path / "a.npy", wavelengths=["a"] * 30)
    with pytest.raises(ValueError, match="`wavelengths` must be finite and above 0, got -1"):
        load_scene(tmp_path / "a.npy", wavelengths=-np.ones(30))


def test_flags_in_a_file_of_several_columns_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    (tmp_path / "bbl.txt").write_text(rows(INDEX, [1] * 30))
    with pytest.raises(ValueError, match="`good_bands` must be a file of one column, got 2"):
        load_scene(tmp_path / "a.npy", good_bands=tmp_path / "bbl.txt")
    (tmp_path / "bbl.txt").write_text("bbl # flags\n" + rows([1] * 29 + [0]))
    scene = load_scene(tmp_path / "a.npy", good_bands=tmp_path / "bbl.txt")
    assert scene.drop_bad_bands().C == 29


def test_widths_of_a_mat_file_come_back(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"cube": CUBE, "wavelengths": NM, "fwhm": FWHM})
    np.testing.assert_array_equal(load_scene(tmp_path / "a.mat").fwhm, FWHM)

"""One crop of Indian Pines in every format that people have: the same abundances from all of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles import fcls_by_enumeration
from scipy.io import savemat

import hud_fast as hud
from hud_fast import cli
from hud_fast.scenes import load_scene

CENTRES = np.linspace(
    402.0, 2478.0, 200
)  # rising, as PRISMA's are sorted; nowhere near 0, which it leaves out
WIDTHS = np.full(200, 10.0)
ENDMEMBERS = [(0, 0), (7, 30), (21, 12), (38, 3)]
EXACT = 1e-6  # worst measured: 1.5e-7, of shares in float32
STEPS = 2e-4  # PRISMA's 16 bits hold ten thousandths to 5e-6 only; worst measured: 3.9e-5

Array = NDArray[Any]


@pytest.fixture(scope="module")
def crop(indian_pines: NDArray[np.float32]) -> Array:  # (40, 36, 200)
    """Ten thousandths, so that 16-bit products hold them exactly."""
    return indian_pines[52:92, 40:76].astype(np.float64) / 1e4


@pytest.fixture(scope="module")
def spectra(crop: Array) -> Array:  # (D, C)
    return np.stack([crop[place] for place in ENDMEMBERS])


@pytest.fixture(scope="module")
def expected(crop: Array, spectra: Array) -> Array:  # (H, W, D)
    # the triangle of A = QR stands for A: the same distances, but for what no mixture can reach
    Q, R = np.linalg.qr(spectra.T)
    short = crop.reshape(-1, 200) @ Q
    found = np.stack([fcls_by_enumeration(pixel, R.T) for pixel in short])
    return found.reshape(*crop.shape[:2], -1)


def emit(folder: Path, crop: Array) -> Path:
    pytest.importorskip("netCDF4")
    from products import write_emit

    write_emit(folder / "a.nc", crop, CENTRES, chunks=(16, 16, 200))
    return folder / "a.nc"


def prisma(folder: Path, crop: Array) -> Path:
    from products import write_prisma

    write_prisma(folder / "a.he5", crop, CENTRES)
    return folder / "a.he5"


def enmap(folder: Path, crop: Array) -> Path:
    pytest.importorskip("rasterio")
    from geo_products import write_enmap

    return write_enmap(folder, crop, CENTRES, WIDTHS)


def geotiff(folder: Path, crop: Array) -> Path:
    pytest.importorskip("rasterio")
    from geo_products import write_geotiff

    return write_geotiff(folder, crop, CENTRES, WIDTHS)


def envi(folder: Path, crop: Array) -> Path:
    import spectral

    words = {"wavelength": CENTRES.tolist(), "wavelength units": "Nanometers"}
    counts = np.rint(crop * 1e4).astype(np.uint16)
    spectral.envi.save_image(
        str(folder / "a.hdr"),
        counts,
        dtype=np.uint16,
        interleave="bil",
        metadata=words | {"reflectance scale factor": 10000},
    )
    return folder / "a.hdr"


def mat(folder: Path, crop: Array) -> Path:
    savemat(folder / "a.mat", {"crop": crop}, do_compression=True)
    return folder / "a.mat"


def zarr(folder: Path, crop: Array) -> Path:
    pytest.importorskip("zarr")
    pytest.importorskip("dask")
    from products import write_xarray

    write_xarray(folder / "a.zarr", crop, CENTRES)
    return folder / "a.zarr"


def xarray(folder: Path, crop: Array) -> Path:
    pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    from products import write_xarray

    write_xarray(folder / "a.nc", crop, CENTRES)
    return folder / "a.nc"


WRITERS = [emit, prisma, enmap, geotiff, envi, mat, zarr, xarray]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_each_format_gives_the_same_abundances(
    tmp_path: Path,
    crop: Array,
    spectra: Array,
    expected: Array,
    write: Callable[[Path, Array], Path],
) -> None:
    scene = load_scene(write(tmp_path, crop), scale="auto" if write is envi else None)
    assert scene.shape == (40, 36, 200)
    assert scene.good_bands is None or scene.good_bands.all()
    if write is not mat:
        np.testing.assert_allclose(scene.wavelengths, CENTRES, rtol=1e-6)
    found = hud.unmix(scene, spectra).abundances
    np.testing.assert_allclose(found, expected, atol=STEPS if write is prisma else EXACT, rtol=0)


def test_an_array_of_xarray_gives_the_same(
    tmp_path: Path, crop: Array, spectra: Array, expected: Array
) -> None:
    library = pytest.importorskip("xarray")
    pytest.importorskip("hud_fast.xarray")
    with library.open_dataset(xarray(tmp_path, crop), engine="netcdf4") as data:
        array = data["reflectance"].load()
    found = array.hud.unmix(spectra).transpose("y", "x", "endmember")
    np.testing.assert_allclose(found, expected, atol=EXACT, rtol=0)
    found = hud.unmix(hud.Scene.from_xarray(array), spectra).abundances
    np.testing.assert_allclose(found, expected, atol=EXACT, rtol=0)


@pytest.mark.parametrize("write", [emit, enmap], ids=lambda write: write.__name__)
@pytest.mark.parametrize("in_parts", [False, True])
def test_from_the_command_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    crop: Array,
    spectra: Array,
    expected: Array,
    write: Callable[[Path, Array], Path],
    in_parts: bool,
) -> None:
    """Both the whole crop, and of a part of it the same maps' part, read as a scene too large for memory is."""
    np.save(tmp_path / "spectra.npy", spectra)
    command = ["unmix", str(write(tmp_path, crop)), "--endmembers", str(tmp_path / "spectra.npy")]
    command += ["--format", "npy", "--no-figures", "--out", str(tmp_path / "out")]
    if in_parts:
        unmixing = "hud_fast.pipeline.unmix"
        calls = []
        parts = importlib.import_module(unmixing).unmix_parts
        monkeypatch.setattr(f"{unmixing}.unmix_parts", lambda *a: calls.append(a) or parts(*a))
        monkeypatch.setattr("hud_fast.pipeline.memory.Need.fits", lambda _: False)
        command += ["--window", "5:38,4:", "--every", "2"]
        expected = expected[5:38:2, 4::2]
    assert cli.main(command) == 0
    found = np.load(tmp_path / "out" / "abundances.npy")
    np.testing.assert_allclose(found, expected, atol=EXACT, rtol=0)
    if in_parts:
        assert len(calls) == 1

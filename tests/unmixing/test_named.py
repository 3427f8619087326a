"""xarray in, xarray out: against the NumPy path, xarray's own equality and rioxarray's coordinate systems."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

import hud_fast as hud

xarray = pytest.importorskip("xarray")

import hud_fast.xarray  # noqa: E402

SCENE = hud.simulate_scene(20, 24, C=18, D=3, seed=0)
WKT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]]'
)
GEO = {
    "map info": "{Geographic Lat/Lon, 1, 1, 10.0, 50.0, 0.5, 0.25, WGS-84, units=Degrees}",
    "coordinate system string": "{" + WKT + "}",
}
ARRAY = SCENE.replace(geo=GEO, fwhm=np.full(18, 9.0), scale=10.0).to_xarray()
ENDS = hud.vca(SCENE.cube, 3, seed=0)
ORDERS = [("y", "x", "band"), ("band", "y", "x"), ("x", "band", "y")]


@pytest.mark.parametrize("order", ORDERS)
def test_endmembers_are_those_of_numpy(order: tuple[str, ...]) -> None:
    plain = np.moveaxis(ARRAY.transpose(*order).values, order.index("band"), -1)
    found = ARRAY.transpose(*order).hud.endmembers(3, seed=0)
    assert found.dims == ("endmember", "band")
    np.testing.assert_array_equal(found, hud.vca(plain, 3, seed=0))
    for name in ("wavelength", "fwhm"):
        xarray.testing.assert_identical(
            found[name].reset_coords(drop=True), ARRAY[name].reset_coords(drop=True)
        )


@pytest.mark.parametrize("order", ORDERS)
def test_abundances_are_those_of_numpy_with_all_coordinates(order: tuple[str, ...]) -> None:
    given = ARRAY.transpose(*order)
    found = given.hud.unmix(ARRAY.hud.endmembers(3, seed=0))
    assert found.dims == (*(name for name in order if name != "band"), "endmember")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(
        found.transpose("y", "x", "endmember"), hud.fcls(SCENE.cube, ENDS)
    )
    for name in ("y", "x", "spatial_ref"):
        xarray.testing.assert_identical(found[name].variable, ARRAY[name].variable)


def test_names_of_endmembers_are_kept_and_plain_spectra_taken() -> None:
    named = ARRAY.hud.endmembers(3, seed=0).assign_coords(endmember=["soil", "tree", "road"])
    found = ARRAY.hud.unmix(named.transpose("band", "endmember"))
    assert found.endmember.values.tolist() == ["soil", "tree", "road"]
    for ends in (ENDS, ENDS.tolist() and np.asarray(ENDS, np.float64)):
        np.testing.assert_allclose(ARRAY.hud.unmix(ends), found, atol=1e-6)


def test_nothing_is_read_before_it_is_asked_for() -> None:
    array = pytest.importorskip("dask.array")
    reads = []

    def read(block: np.ndarray) -> np.ndarray:
        reads.append(block.shape)
        return block

    values = array.from_array(SCENE.cube, chunks=(8, 24, 7))
    counted = values.map_blocks(read, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    given = ARRAY.copy(data=counted)
    found = given.transpose("band", "y", "x").hud.unmix(ENDS)
    assert reads == []
    assert found.chunks == ((8, 8, 4), (24,), (3,))
    found[:8].compute()
    assert sorted(set(reads)) == [(8, 24, 4), (8, 24, 7)]  # the first rows only
    reads.clear()
    np.testing.assert_array_equal(found.compute(), hud.fcls(SCENE.cube, ENDS))
    assert len(reads) == 9  # each chunk once


def test_chunks_are_solved_in_one_thread_each_and_travel_to_processes(monkeypatch) -> None:
    import torch

    from hud_fast.unmixing import named

    seen = []

    def spied(pixels, *_, **__):
        seen.append(torch.get_num_threads())
        return fcls(pixels, ENDS)

    fcls = hud.fcls
    dask = pytest.importorskip("dask")
    before = torch.get_num_threads()
    lazy = ARRAY.chunk({"y": 5})
    sent = pickle.loads(pickle.dumps(lazy.hud.unmix(ENDS)))
    np.testing.assert_array_equal(sent.compute(), fcls(SCENE.cube, ENDS))
    monkeypatch.setattr(named, "fcls", spied)
    with dask.config.set(scheduler="threads", num_workers=2):
        lazy.hud.unmix(ENDS).compute()
    assert set(seen[1:]) == {1}  # the first is asked for the kind of result
    assert torch.get_num_threads() == before


def test_missing_pixels_are_missing() -> None:
    counts = (ARRAY * 1000).round().astype(np.int16).assign_attrs(_FillValue=-9999)
    counts[3, 4, 5] = -9999
    found = counts.hud.unmix(ENDS * 1000)
    assert found.dtype.kind == "f"
    assert found.isnull().any("endmember").values.nonzero() == (np.array([3]), np.array([4]))
    ends = counts.hud.endmembers(3, seed=0)
    assert (ends > 0).all()
    some = ARRAY.copy(data=np.where(np.arange(18) == 2, np.nan, SCENE.cube)[:, :, :])
    assert some.hud.unmix(ENDS).isnull().all()


def test_what_does_not_fit_is_refused() -> None:
    ends = ARRAY.hud.endmembers(3, seed=0)
    other = ends.assign_coords(wavelength=ends.wavelength + np.where(np.arange(18) == 7, 40.0, 0))
    with pytest.raises(ValueError, match=r"wavelengths, got .* nm at band 7"):
        ARRAY.hud.unmix(other)
    with pytest.raises(
        ValueError, match=r"^hud\.unmix: `endmembers` must have shape \(D, C\) with C = 18"
    ):
        ARRAY.hud.unmix(ENDS[:, 1:])
    with pytest.raises(ValueError, match=r"^hud\.endmembers: `array` must have one axis of bands"):
        ARRAY.rename(band="feature").drop_vars(["wavelength", "fwhm"]).hud.endmembers(3)
    with pytest.raises(TypeError, match="`return_status` must be left out"):
        ARRAY.hud.unmix(ENDS, return_status=True)


def test_a_table_of_pixels() -> None:
    table = ARRAY.stack(pixel=("y", "x")).transpose("pixel", "band")
    found = table.hud.unmix(ENDS)
    assert found.dims == ("pixel", "endmember")
    xarray.testing.assert_equal(
        found.unstack("pixel").transpose("y", "x", "endmember"), ARRAY.hud.unmix(ENDS)
    )


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # affine's, of rioxarray's use
def test_the_coordinate_system_is_one_to_rioxarray(tmp_path) -> None:
    pytest.importorskip("rioxarray")
    found = ARRAY.hud.unmix(ENDS)
    assert found.rio.crs.to_epsg() == 4326
    path = tmp_path / "a.tif"
    found.transpose("endmember", "y", "x").rio.to_raster(path)
    import rasterio

    with rasterio.open(path) as file:
        assert (file.count, file.crs.to_epsg()) == (3, 4326)
        assert file.transform[:6] == (0.5, 0.0, 10.0, 0.0, -0.25, 50.0)


def test_the_accessor_comes_with_its_module_alone() -> None:
    code = "import hud_fast, xarray; print(hasattr(xarray.DataArray, 'hud')); import hud_fast.xarray; " \
           "import hud_fast.unmixing.named as n; n.register(); print(hasattr(xarray.DataArray, 'hud'))"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]

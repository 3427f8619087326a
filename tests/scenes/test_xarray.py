"""Scenes from and to xarray's DataArrays: conventions of the readers that people have, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from hud_fast.scenes import Scene, simulate_scene

xarray = pytest.importorskip("xarray")

CUBE = simulate_scene(10, 12, C=6, D=3, seed=0).cube
CENTRES = np.array([450.0, 550.0, 650.0, 750.0, 740.0, 900.0])  # they need not increase
CF = {"units": "\u00b5m", "standard_name": "radiation_wavelength"}
WKT = 'PROJCS["WGS 84 / UTM zone 32N",GEOGCS["WGS 84"]]'
GEO = {
    "map info": "{WGS 84 / UTM zone 32N, 1, 1, 300000, 5000000, 30, 30, units=Meters}",
    "coordinate system string": "{" + WKT + "}",
}


def array(dims: tuple[str, ...] = ("y", "x", "band"), **coordinates: object):
    places = {"y": 0, "lat": 0, "downtrack": 0, "x": 1, "lon": 1, "crosstrack": 1}
    cube = CUBE.transpose([places.get(name, 2) for name in dims])
    return xarray.DataArray(cube, coordinates, dims)


def test_there_and_back() -> None:
    mask = np.ones((10, 12), bool)
    mask[3, 4] = False
    scene = Scene(
        CUBE, "field", wavelengths=CENTRES, fwhm=np.full(6, 8.5), good_bands=np.arange(6) != 3,
        mask=mask, labels=np.arange(120).reshape(10, 12), geo=GEO, scale=10000.0,
    )  # fmt: skip
    made = scene.to_xarray()
    assert made.dims == ("y", "x", "band")
    assert made.wavelength.attrs["units"] == "nm"
    assert np.isnan(made[3, 4]).all()
    assert int(np.isnan(made).sum()) == 6
    back = Scene.from_xarray(made.transpose("band", "x", "y"))
    np.testing.assert_array_equal(back.cube[mask], CUBE[mask])
    np.testing.assert_array_equal(back.valid, scene.valid)
    np.testing.assert_array_equal(back.wavelengths, CENTRES)
    np.testing.assert_array_equal(back.fwhm, scene.fwhm)
    np.testing.assert_array_equal(back.good_bands, scene.good_bands)
    assert (back.name, back.scale, back.geo) == ("field", 10000.0, GEO)
    made[0, 0, 0] = -1  # a copy where pixels are masked
    assert scene.cube[0, 0, 0] == CUBE[0, 0, 0]


@pytest.mark.parametrize(
    "given",
    [
        array(("band", "y", "x"), wavelength=("band", CENTRES, {"units": "nm"})),  # rioxarray and a table
        array(("downtrack", "crosstrack", "bands"), wavelengths=("bands", CENTRES / 1000, {"units": "um"})),  # EMIT
        array(("lat", "lon", "wavelength"), wavelength=("wavelength", CENTRES, {"units": "nanometers"})),  # HyperCoast
        array(("x", "spectral", "y"), centre=("spectral", CENTRES / 1000, CF)),
        array(("y", "x", "band"), band=("band", CENTRES, {"units": "nm"})),
    ],
    ids=["rioxarray", "emit", "hypercoast", "cf", "band in nm"],
)  # fmt: skip
def test_conventions(given) -> None:
    for scene in (Scene.from_xarray(given), Scene(given)):
        np.testing.assert_array_equal(scene.cube, CUBE)
        np.testing.assert_allclose(scene.wavelengths, CENTRES, rtol=1e-12)


def test_numbers_of_bands_are_no_wavelengths() -> None:
    given = array(("band", "y", "x"), band=("band", np.arange(1, 7)))
    assert Scene.from_xarray(given).wavelengths is None


@pytest.mark.parametrize(("values", "unit"), [(CENTRES, "nm"), (CENTRES / 1000, "um")])
def test_a_missing_unit_is_told(values: np.ndarray, unit: str) -> None:
    given = array(wavelength=("band", values))
    with pytest.warns(
        UserWarning, match=rf"`wavelength` has no attribute units, .* taken for {unit}"
    ):
        scene = Scene.from_xarray(given)
    np.testing.assert_allclose(scene.wavelengths, CENTRES)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (array(wavelength=("band", CENTRES, {"units": "cm-1"})), ValueError, "units nm or um, got 'cm-1'"),
        (array(wavelength=("band", list("abcdef"))), TypeError, "`wavelength` must hold numbers"),
        (array(("y", "x", "feature")), ValueError, "one axis of bands, called band, bands"),
        (CUBE, TypeError, r"^Scene\.from_xarray: `array` must be an xarray\.DataArray, got ndarray"),
        (array().to_dataset(name="a"), TypeError, r"must be an xarray\.DataArray, got Dataset"),
    ],
)  # fmt: skip
def test_what_is_refused(given, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        Scene.from_xarray(given)


def test_no_data_is_masked() -> None:
    given = (array() * 1000).round().astype(np.int16).assign_attrs(_FillValue=-9999)
    given[2, 3, 4] = -9999
    scene = Scene.from_xarray(given)
    assert scene.ignore_value == -9999
    assert np.argwhere(~scene.valid).tolist() == [[2, 3]]


def test_fields_given_count() -> None:
    given = array(wavelength=("band", CENTRES, {"units": "nm"}))
    scene = Scene.from_xarray(given, wavelengths=CENTRES + 1, name="b")
    assert (scene.wavelengths[0], scene.name) == (451.0, "b")


@pytest.mark.parametrize("left_out", ["nothing", "GeoTransform", "coordinates"])
def test_the_place(left_out: str) -> None:
    made = Scene(CUBE, geo=GEO, layout="HWC").to_xarray()
    np.testing.assert_array_equal(made.x[:2], [300015.0, 300045.0])
    np.testing.assert_array_equal(made.y[:2], [4999985.0, 4999955.0])
    made.spatial_ref.attrs.pop(left_out, None)
    if left_out == "coordinates":
        made = made.drop_vars(["x", "y"])
    assert Scene.from_xarray(made).geo == GEO


def test_a_slice_has_its_own_place() -> None:
    made = Scene(CUBE, geo=GEO, layout="HWC").to_xarray()
    part = Scene.from_xarray(made[2:, 3:])
    assert part.geo["map info"].startswith("{WGS 84 / UTM zone 32N, 1, 1, 300090, 4999940, 30, 30")


def test_a_place_that_cannot_be_kept_is_told() -> None:
    made = Scene(CUBE, geo=GEO, layout="HWC").to_xarray()[[0, 1, 3]]  # not evenly apart
    del made.spatial_ref.attrs["GeoTransform"]
    with pytest.warns(
        UserWarning, match="the place is left out, the coordinates y, x and spatial_ref"
    ):
        assert Scene.from_xarray(made).geo is None
    with pytest.warns(UserWarning, match="the place is left out, `geo` must have a map info"):
        Scene(CUBE, geo={"map info": "{nonsense}"}, layout="HWC").to_xarray()

"""Small files in the true layout of each product, written by the reference library of its kind: for tests of readers.

Each takes a cube (H, W, C) of reflectance and its wavelengths in nm, and returns what the file means: the values that
an exact reader finds, (H, W, C) float64 with NaN where there is nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
UTM_32N = 'PROJCS["WGS 84 / UTM zone 32N",GEOGCS["WGS 84"]]'
GEOGRAPHIC = 'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]]]'


def write_emit(
    path: Path,
    cube: Array,
    wavelengths: ArrayLike,
    *,
    good: ArrayLike | None = None,
    glt: tuple[Array, Array] | None = None,  # columns, rows, from 1
    missing: Array | None = None,  # (H, W)
    name: str = "reflectance",
    chunks: tuple[int, int, int] | None = None,
) -> Array:
    """EMIT L2A_RFL; without `glt` the map is the scene itself."""
    import netCDF4

    H, W, C = cube.shape
    values = cube.astype(np.float32)
    if missing is not None:
        values = np.where(missing[..., None], np.float32(-9999), values)
    if glt is None:
        glt = np.meshgrid(np.arange(1, W + 1), np.arange(1, H + 1))
    with netCDF4.Dataset(path, "w") as file:
        sizes = {"downtrack": H, "crosstrack": W, "bands": C}
        sizes |= {"ortho_y": glt[0].shape[0], "ortho_x": glt[0].shape[1]}
        for dim, size in sizes.items():
            file.createDimension(dim, size)
        file.geotransform = np.array([10.0, 0.0005, 0.0, 45.0, 0.0, -0.0005])
        file.spatial_ref = GEOGRAPHIC
        options = {"zlib": True, "complevel": 1, "chunksizes": chunks}
        main = file.createVariable(
            name, "f4", ("downtrack", "crosstrack", "bands"), fill_value=-9999.0, **options
        )
        main[:] = values
        main.units = "unitless"
        bands = file.createGroup("sensor_band_parameters")
        for key, numbers in (("wavelengths", wavelengths), ("fwhm", np.full(C, 8.5))):
            vector = bands.createVariable(key, "f4", ("bands",), fill_value=-9999.0)
            vector[:] = numbers
            vector.units = "nm"
        flags = bands.createVariable("good_wavelengths", "u1", ("bands",))
        flags[:] = np.ones(C) if good is None else good
        location = file.createGroup("location")
        for key in ("lat", "lon"):
            location.createVariable(key, "f8", ("downtrack", "crosstrack"), fill_value=-9999.0)[
                :
            ] = 1.0
        for key, table in zip(("glt_x", "glt_y"), glt, strict=True):
            location.createVariable(key, "i4", ("ortho_y", "ortho_x"), fill_value=0)[:] = table
    return np.where(values == -9999, np.nan, values.astype(np.float64))


def write_emit_mask(path: Path, flags: dict[str, Array]) -> None:
    """EMIT L2A_MASK with these bands."""
    import netCDF4

    height, width = next(iter(flags.values())).shape
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in {"downtrack": height, "crosstrack": width, "bands": len(flags)}.items():
            file.createDimension(dim, size)
        mask = file.createVariable(
            "mask", "f4", ("downtrack", "crosstrack", "bands"), fill_value=-9999.0
        )
        mask[:] = np.stack(list(flags.values()), -1)
        names = file.createGroup("sensor_band_parameters").createVariable(
            "mask_bands", str, ("bands",)
        )
        for i, name in enumerate(flags):
            names[i] = name


def write_prisma(
    path: Path,
    cube: Array,
    wavelengths: ArrayLike,
    *,
    split: int | None = None,  # bands of the VNIR cube; by default a third
    off: int = 2,  # bands of each cube that are off
    errors: Array | None = None,  # (H, W, C)
    pad: Array | None = None,  # (H, W), pixels that show nothing
    centres: bool = True,  # what the corners are of
    level: str = "2D",
) -> Array:
    """PRISMA: descending bands, (row, band, column), 16 bits between a least and a largest value."""
    H, W, C = cube.shape
    centre = np.asarray(wavelengths, np.float64)
    split = C // 3 if split is None else split
    out = np.empty(cube.shape)
    with h5py.File(path, "w") as file:
        fields = file.create_group(f"HDFEOS/SWATHS/PRS_L{level}_HCO/Data Fields")
        for part, bands in (("Vnir", slice(0, split)), ("Swir", slice(split, C))):
            low, high = float(cube[..., bands].min()), float(cube[..., bands].max())
            low, high = np.float32(low - 0.01), np.float32(high + 0.01)
            numbers = np.rint((cube[..., bands] - low) / (high - low) * 65535).clip(1, 65535)
            if pad is not None:
                numbers[pad] = 0
            out[..., bands] = np.float64(low) + numbers / 65535 * (
                np.float64(high) - np.float64(low)
            )
            dark = np.zeros((H, W, off))
            stored = np.concatenate([numbers[..., ::-1], dark], -1).transpose(0, 2, 1)
            key = part.upper()
            fields.create_dataset(
                f"{key}_Cube",
                data=stored.astype(np.uint16),
                chunks=(min(H, 5), stored.shape[1], W),
                compression=1,
            )
            wrong = np.zeros(cube.shape) if errors is None else errors
            wrong = np.concatenate([wrong[..., bands][..., ::-1], dark + 1], -1).transpose(0, 2, 1)
            fields.create_dataset(
                f"{key}_PIXEL_L2_ERR_MATRIX", data=wrong.astype(np.uint8), compression=1
            )
            file.attrs[f"List_Cw_{part}"] = np.r_[centre[bands][::-1], np.zeros(off)].astype(
                np.float32
            )
            file.attrs[f"List_Fwhm_{part}"] = np.r_[
                np.full(len(centre[bands]), 11.0), np.zeros(off)
            ].astype(np.float32)
            file.attrs[f"L2Scale{part}Min"], file.attrs[f"L2Scale{part}Max"] = low, high
        if level == "2D":
            file.attrs["Epsg_Code"] = np.uint32(32632)
            less = 1 if centres else 0
            east = {"L": 500_000.0, "R": 500_000.0 + 30 * (W - less)}
            north = {"U": 5_000_000.0, "L": 5_000_000.0 - 30 * (H - less)}
            for a in "UL":
                for b in "LR":
                    file.attrs[f"Product_{a}{b}corner_easting"] = east[b]
                    file.attrs[f"Product_{a}{b}corner_northing"] = north[a]
    if pad is not None:
        out[pad] = np.nan
    return out


def write_aviris(
    path: Path,
    cube: Array,
    wavelengths: ArrayLike,
    *,
    missing: Array | None = None,
    chunks: tuple[int, int, int] | None = None,
) -> Array:
    """AVIRIS-3 L2A_RFL_ORT: (wavelength, northing, easting)."""
    import netCDF4

    H, W, C = cube.shape
    values = cube.astype(np.float32)
    if missing is not None:
        values = np.where(missing[..., None], np.float32(-9999), values)
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("northing", H)
        file.createDimension("easting", W)
        for name, steps in (
            ("northing", 4_000_000.0 - 3.2 * np.arange(H)),
            ("easting", 500_000.0 + 3.2 * np.arange(W)),
        ):
            file.createVariable(name, "f8", (name,))[:] = steps
        mapping = file.createVariable("transverse_mercator", "S1", ())
        mapping.spatial_ref = UTM_32N
        mapping.GeoTransform = "499998.4 3.2 0 4000001.6 0 -3.2"
        group = file.createGroup("reflectance")
        group.createDimension("wavelength", C)
        for name, numbers in (("wavelength", wavelengths), ("fwhm", np.full(C, 7.5))):
            vector = group.createVariable(name, "f4", ("wavelength",))
            vector[:] = numbers
            vector.units = "nm"
        main = group.createVariable(
            "reflectance",
            "f4",
            ("wavelength", "northing", "easting"),
            fill_value=-9999.0,
            zlib=True,
            chunksizes=chunks,
        )
        main[:] = values.transpose(2, 0, 1)
        main.grid_mapping = "transverse_mercator"
    return np.where(values == -9999, np.nan, values.astype(np.float64))


def write_pace(
    path: Path, cube: Array, wavelengths: ArrayLike, *, missing: Array | None = None
) -> Array:
    """PACE OCI L2 SFREFL: 16 bits with scale and offset."""
    import netCDF4

    H, W, C = cube.shape
    numbers = np.rint((cube - 0.5) / 2e-5).clip(-32000, 32000).astype(np.int16)
    if missing is not None:
        numbers[missing] = -32767
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in {"number_of_lines": H, "pixels_per_line": W, "wavelength_3d": C}.items():
            file.createDimension(dim, size)
        bands = file.createGroup("sensor_band_parameters")
        vector = bands.createVariable("wavelength_3d", "f8", ("wavelength_3d",))
        vector[:] = wavelengths
        vector.units = "nm"
        bands.createVariable("wavelength", "i4", ("wavelength_3d",))[:] = (
            np.arange(C) + 300
        )  # of other products
        place = file.createGroup("navigation_data")
        for key in ("latitude", "longitude"):
            place.createVariable(key, "f4", ("number_of_lines", "pixels_per_line"))[:] = 1.0
        data = file.createGroup("geophysical_data")
        main = data.createVariable(
            "rhos",
            "i2",
            ("number_of_lines", "pixels_per_line", "wavelength_3d"),
            fill_value=-32767,
            zlib=True,
        )
        main.setncatts({"scale_factor": 2e-5, "add_offset": 0.5})
        main.set_auto_maskandscale(False)
        main[:] = numbers
        data.createVariable("l2_flags", "i4", ("number_of_lines", "pixels_per_line"))[:] = 0
    return np.where(numbers == -32767, np.nan, numbers * 2e-5 + 0.5)


def write_hypso(path: Path, cube: Array, wavelengths: ArrayLike) -> Array:
    """HYPSO L1: bands as attributes of the cube."""
    import netCDF4

    H, W, C = cube.shape
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in {"lines": H, "samples": W, "bands": C}.items():
            file.createDimension(dim, size)
        file.createGroup("navigation").createVariable("latitude", "f4", ("lines", "samples"))[:] = (
            1.0
        )
        main = file.createGroup("products").createVariable(
            "Lt", "f4", ("lines", "samples", "bands"), zlib=True
        )
        main[:] = cube
        main.wavelengths = np.asarray(wavelengths, np.float64)
        main.fwhm = np.full(C, 3.3)
    return cube.astype(np.float32).astype(np.float64)


def write_neon(
    path: Path, cube: Array, wavelengths: ArrayLike, *, missing: Array | None = None
) -> Array:
    """NEON AOP reflectance: values in ten thousandths."""
    numbers = np.rint(cube * 10_000).astype(np.int16)
    if missing is not None:
        numbers[missing] = -9999
    with h5py.File(path, "w") as file:
        group = file.create_group("SERC/Reflectance")
        main = group.create_dataset("Reflectance_Data", data=numbers, chunks=True, compression=1)
        main.attrs["Scale_Factor"] = np.array([10_000.0])
        main.attrs["Data_Ignore_Value"] = np.array([-9999.0])
        group.attrs["Band_Window_1_Nanometers"] = np.array([1340, 1445])
        group.attrs["Band_Window_2_Nanometers"] = np.array([1790, 1955])
        bands = group.create_group("Metadata/Spectral_Data")
        bands["Wavelength"] = np.asarray(wavelengths, np.float32)
        bands["Wavelength"].attrs["Units"] = "Nanometers"
        bands["FWHM"] = np.full(cube.shape[2], 5.8, np.float32)
        place = group.create_group("Metadata/Coordinate_System")
        place["Map_Info"] = np.bytes_(
            "UTM,  1.000,  1.000,  358000.000,  4301000.000,  1.0000000000e+000,  1.0000000000e+000,  18,  North,  "
            "WGS-84,  units=Meters, 0"
        )
        place["Coordinate_System_String"] = np.bytes_('PROJCS["UTM Zone 18, Northern Hemisphere"]')
        place["EPSG Code"] = np.bytes_("32618")
        group["Metadata/Ancillary_Imagery/Slope"] = np.zeros(cube.shape[:2], np.float32)
    return np.where(numbers == -9999, np.nan, numbers.astype(np.float64))


def write_tanager(
    path: Path,
    cube: Array,
    wavelengths: ArrayLike,
    *,
    good: ArrayLike | None = None,
    missing: Array | None = None,
    kind: str = "GRIDS",
    name: str = "surface_reflectance",
) -> Array:
    """Tanager: (band, y, x), bands as attributes, the place in HDF-EOS's text."""
    H, W, C = cube.shape
    values = cube.astype(np.float32)
    if missing is not None:
        values = np.where(missing[..., None], np.float32(-9999), values)
    words = (
        "GROUP=SwathStructure\nEND_GROUP=SwathStructure\nGROUP=GridStructure\n\tGROUP=GRID_1\n"
        f'\t\tGridName="HYP"\n\t\tXDim={W}\n\t\tYDim={H}\n\t\tUpperLeftPointMtrs=(500000.000000,4000000.000000)\n'
        f"\t\tLowerRightMtrs=({500000 + 30 * W:.6f},{4000000 - 30 * H:.6f})\n\t\tProjection=HE5_GCTP_UTM\n"
        "\t\tZoneCode=-13\n\t\tSphereCode=12\n\tEND_GROUP=GRID_1\nEND_GROUP=GridStructure\nEND\n"
    )
    with h5py.File(path, "w") as file:
        fields = file.create_group(f"HDFEOS/{kind}/HYP/Data Fields")
        main = fields.create_dataset(
            name, data=values.transpose(2, 0, 1), chunks=(min(C, 7), min(H, 6), W), compression=1
        )
        main.attrs["wavelengths"], main.attrs["fwhm"] = (
            np.asarray(wavelengths, np.float64),
            np.full(C, 5.0),
        )
        main.attrs["wavelengths_units"] = "nm"
        main.attrs["good_wavelengths"] = (
            np.ones(C, np.uint8) if good is None else np.asarray(good, np.uint8)
        )
        main.attrs["_FillValue"] = np.float32(-9999)
        nothing = np.zeros((H, W), np.uint8) if missing is None else missing.astype(np.uint8)
        fields["nodata_pixels"] = nothing
        fields["beta_cloud_mask"] = np.ones((H, W), np.uint8)
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(words)
    return np.where(values == -9999, np.nan, values.astype(np.float64))


def write_xarray(path: Path, cube: Array, wavelengths: ArrayLike, *, zarr_format: int = 3) -> Array:
    """A Dataset of (band, y, x) in a Zarr group, or (another suffix) a netCDF-4 file, as xarray writes it."""
    import xarray

    H, W = cube.shape[:2]
    array = xarray.DataArray(
        cube.astype(np.float32).transpose(2, 0, 1),
        dims=("band", "y", "x"),
        coords={
            "wavelength": ("band", np.asarray(wavelengths), {"units": "nm"}),
            "y": 5_000_000.0 - 20.0 * np.arange(H),
            "x": 400_000.0 + 20.0 * np.arange(W),
            "spatial_ref": ((), 0, {"crs_wkt": UTM_32N, "spatial_ref": UTM_32N}),
        },
        attrs={"grid_mapping": "spatial_ref"},
    )
    data = array.to_dataset(name="reflectance")
    if path.suffix == ".zarr":
        data.chunk({"y": 7}).to_zarr(path, zarr_format=zarr_format, consolidated=zarr_format == 2)
    else:
        data.to_netcdf(path, engine="netcdf4")
    return cube.astype(np.float32).astype(np.float64)

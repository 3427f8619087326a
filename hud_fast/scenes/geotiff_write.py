"""Writing GeoTIFF files: whole scenes, and pictures that come by rows.

Pictures of few bands, such as maps, become cloud-optimised ones (COG) with overviews. Cubes are tiled band by
band: the tiles of a COG hold all bands of a pixel, hundreds of MB in a cube.
"""

from __future__ import annotations

import contextlib
import errno
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hud_fast._files import MARK, atomic_path
from hud_fast._text import printable
from hud_fast.scenes import gdal, georeference, values
from hud_fast.scenes.scene import Scene

if TYPE_CHECKING:
    from hud_fast.scenes.writers import Options

Put: TypeAlias = Callable[[slice, NDArray[Any]], None]

MOST_COG_BANDS = 32
TILE, CUBE_TILE = 256, 64  # pixels a side; rows that come in multiples of them are packed once
ROWS_A_BLOCK = 256
FULL = "the disk is full, or the file too large for it"
DATUMS = {"WGS-84": 32600, "NORTH AMERICA 1983": 26900, "NORTH AMERICA 1927": 26700}  # of UTM, EPSG


@contextlib.contextmanager
def writing_rows(
    path: Path,
    facts: Scene,
    shape: tuple[int, int, int],
    names: Sequence[str] | None = None,
    *,
    dtype: DTypeLike = np.float32,
    nodata: float | None = np.nan,
    scaling: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    function: str = "save_scene",
) -> Iterator[Put]:
    """Write a GeoTIFF of which some rows come at a time; it appears when the block ends well.

    Parameters
    ----------
    path
        The file, .tif.
    facts : Scene
        Whose pictures these are: where they lie on the map, what they are called. Where it has a `lookup`, rows are
        the sensor's, and the file is the map: the rows are kept in a file until the last is there.
    shape : (H, W, D)
        Of all rows that come.
    names : sequence of D str, optional
        Names of the bands. By default the bands are the scene's own (D = C), with wavelengths and widths.
    dtype, nodata
        Of the file.
    scaling : two (D,) arrays, optional
        Scale and offset of each band, for who reads the file: meaning = value * scale + offset.
    function
        Which is named in errors.

    Yields
    ------
    callable
        ``put(rows, values)`` takes a slice of rows and their (n, W, D) values. Each row once, in any order;
        multiples of `TILE` rows, from the top, cost least.
    """
    lookup, parent = facts.lookup, path.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    gdal.rasterio(function)
    with (
        atomic_path(path) as final,
        tempfile.TemporaryDirectory(prefix=f".{path.name}-{MARK}", dir=parent) as name,
    ):
        folder, size = Path(name), (lookup.rows.shape if lookup is not None else shape[:2])
        rows_file, cog = folder / "rows.tif", shape[2] <= MOST_COG_BANDS
        profile = _profile(size, shape[2], np.dtype(dtype), nodata, cog)
        with _open(function, rows_file, profile) as (file, put):
            with gdal.environment(function):
                _describe(file, facts, names, scaling)
            if lookup is None:
                yield put
            else:
                seen = np.lib.format.open_memmap(
                    folder / "rows.npy", "w+", np.dtype(dtype), shape=shape
                )
                yield seen.__setitem__
                for start in range(0, size[0], ROWS_A_BLOCK):
                    rows = slice(start, min(start + ROWS_A_BLOCK, size[0]))
                    part = georeference.Lookup(lookup.rows[rows], lookup.columns[rows], None)
                    put(rows, part.apply(seen, 0 if nodata is None else nodata))
        _check_whole(function, rows_file)
        if cog:
            _copy_as_cog(function, rows_file, folder / "cog.tif")
            rows_file = folder / "cog.tif"
            _check_whole(function, rows_file)
        rows_file.replace(final)


def write_geotiff(scene: Scene, path: Path, options: Options) -> Path:
    """A scene's cube with all that GDAL has a place for; in map geometry where the scene has a lookup table."""
    dtype = options.dtype.newbyteorder("=")
    nodata: float | None = np.nan
    if dtype.kind != "f":
        nodata = scene.ignore_value
        if nodata is None and not (scene.valid.all() and scene.lookup is None):
            nodata = values.default_ignore_value(dtype)
    cube, scale = scene.cube, scene.scale
    gains = np.full(scene.C, 1.0 / scale)
    offsets = np.zeros(scene.C)
    own = scene.gains, scene.offsets
    if dtype.kind != "f" and any(one is not None for one in own):  # as the file had them
        gain = np.ones(scene.C) if scene.gains is None else scene.gains
        offset = np.zeros(scene.C) if scene.offsets is None else scene.offsets
        cube = ((cube * np.float64(scale) - offset) / gain).astype(np.float32)
        gains, offsets, scale = gain / scene.scale, offset / scene.scale, 1.0
    written = values.file_values(cube, scene.valid, scale, dtype, nodata)
    plain = bool((gains == 1).all() and (offsets == 0).all())
    with writing_rows(
        path,
        scene,
        scene.shape,
        dtype=dtype,
        nodata=nodata,
        scaling=None if plain else (gains, offsets),
    ) as put:
        for start in range(0, scene.H, ROWS_A_BLOCK):
            rows = slice(start, min(start + ROWS_A_BLOCK, scene.H))
            put(rows, written[rows])
    return path


def _profile(
    size: tuple[int, ...], bands: int, dtype: np.dtype[Any], nodata: float | None, passing: bool
) -> dict[str, Any]:
    """How the file is laid out; quickly packed where it is `passing`."""
    tile = TILE if passing else CUBE_TILE
    return {
        "driver": "GTiff",
        "height": size[0],
        "width": size[1],
        "count": bands,
        "dtype": dtype.name,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": tile,
        "blockysize": tile,
        "interleave": "band",
        "compress": "deflate",
        "zlevel": 1 if passing else 6,
        "predictor": 3 if dtype.kind == "f" else 2,
        "photometric": "minisblack",  # three or four bands of bytes are no picture in colours
        "bigtiff": "if_safer",
    }


@contextlib.contextmanager
def _open(function: str, path: Path, profile: Mapping[str, Any]) -> Iterator[tuple[Any, Put]]:
    """A new dataset, and what writes rows of it, from whatever thread."""
    with gdal.environment(function):
        file = gdal.opened(function, path, "w", **profile)

    def put(rows: slice, block: NDArray[Any]) -> None:  # (n, W, D)
        bands = np.ascontiguousarray(np.moveaxis(block, 2, 0), file.dtypes[0])
        with _writing(function):
            file.write(bands, window=((rows.start, rows.stop), (0, file.width)))

    try:
        yield file, put
    except BaseException:
        with contextlib.suppress(OSError), gdal.environment(function):
            file.close()
        raise
    with _writing(function):
        file.close()


@contextlib.contextmanager
def _writing(function: str) -> Iterator[None]:
    """GDAL's environment; what it has to say of a disk that takes no more names neither disk nor file."""
    try:
        with gdal.environment(function):
            yield
    except OSError as error:
        raise OSError(errno.ENOSPC, f"{FULL} ({error})") from error


def _copy_as_cog(function: str, source: Path, target: Path) -> None:
    with _writing(function):
        gdal.rasterio(function).shutil.copy(
            source.absolute(),
            target.absolute(),
            driver="COG",
            compress="deflate",
            predictor="yes",
            blocksize=TILE,
            overview_resampling="average",  # of shares that add up to one, the average does
            bigtiff="if_safer",
        )


def _check_whole(function: str, path: Path) -> None:
    """Refuse a file that lacks a tile: GDAL goes on, and says nothing in the end, when the disk is full."""
    length = path.stat().st_size
    try:
        with gdal.environment(function), gdal.opened(function, path, driver="GTiff") as file:
            whole = all(start > 0 and start + size <= length for start, size in _tiles(file))
    except OSError:
        whole = False
    if not whole:
        raise OSError(errno.ENOSPC, FULL)


def _tiles(file: Any) -> Iterator[tuple[int, int]]:
    """Where in the file each tile lies, and its size; (0, 0) for one that was never written."""
    height, width = file.block_shapes[0]
    across, down = -(-file.width // width), -(-file.height // height)
    bands = file.count if file.interleaving.value == "BAND" else 1
    for band in range(1, bands + 1):
        for x, y in np.ndindex(across, down):
            start, size = (
                file.get_tag_item(f"BLOCK_{what}_{x}_{y}", "TIFF", bidx=band)
                for what in ("OFFSET", "SIZE")
            )
            yield int(start or 0), int(size or 0)


def _describe(
    file: Any,
    facts: Scene,
    names: Sequence[str] | None,
    scaling: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> None:
    """Names, wavelengths, place and origin: all before the first value, so that they lie at the file's start."""
    from rasterio import Affine

    from hud_fast import __version__

    geo = facts.geo if facts.lookup is None else facts.lookup.geo
    placed = georeference.affine_of(geo)
    if placed is not None:
        file.transform = Affine(*placed[0])
        crs = _crs(geo, placed[1])
        if crs is not None:
            file.crs = crs
    tags = {"TIFFTAG_SOFTWARE": f"hud_fast {__version__}", "hud_fast_version": __version__}
    tags["scene"] = printable(facts.name)
    if command := facts.details.get("command"):
        tags["command"] = printable(command)
    if facts.simulated:
        tags["simulated"] = "yes"
    file.update_tags(**tags)
    if scaling is not None:
        file.scales, file.offsets = (tuple(map(float, one)) for one in scaling)
    if names is None:
        names = facts.band_names
        if names is None and facts.wavelengths is not None:
            names = [f"{centre:.10g} nm" for centre in facts.wavelengths]
        _write_wavelengths(file, facts)
        if factor := facts.details.get("reflectance scale factor"):
            file.update_tags(ns="ENVI", reflectance_scale_factor=factor)
    if names is not None:
        file.descriptions = tuple(names)


def _write_wavelengths(file: Any, facts: Scene) -> None:
    """Where GDAL and QGIS look for them, in micrometres."""
    for band in range(file.count):
        words = {}
        if facts.wavelengths is not None:
            words["CENTRAL_WAVELENGTH_UM"] = f"{facts.wavelengths[band] / 1e3:.12g}"
        if facts.fwhm is not None:
            words["FWHM_UM"] = f"{facts.fwhm[band] / 1e3:.12g}"
        if words:
            file.update_tags(band + 1, ns="IMAGERY", **words)
        if facts.good_bands is not None:
            file.update_tags(band + 1, bbl=int(facts.good_bands[band]))


def _crs(geo: Mapping[str, str] | None, wkt: str | None) -> Any:
    """The coordinate system, of its text or of what "map info" says; None, told, where neither is understood."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    code = None if wkt else _epsg((geo or {}).get("map info", ""))
    try:
        if wkt:
            return CRS.from_wkt(wkt)
        if code is not None:
            return CRS.from_epsg(code)
    except CRSError:
        pass
    name = (geo or {}).get("map info", "").strip().strip("{}").split(",")[0].strip()
    if wkt or name.lower() not in ("arbitrary", ""):
        warnings.warn(
            f"save_scene: the coordinate system is left out, one of GDAL's is needed, got {printable(wkt or name, 80)}",
            UserWarning,
            stacklevel=2,
        )
    return None


def _epsg(info: str) -> int | None:
    """The code of the coordinate systems that ENVI's "map info" names in its own words."""
    parts = [part.strip() for part in info.strip().strip("{}").split(",")]
    words = [part.upper() for part in parts[7:] if "=" not in part]
    if parts[0].lower().startswith("geographic"):
        return 4326 if "WGS-84" in words else None
    if parts[0].upper() != "UTM" or len(words) < 3 or not re.fullmatch(r"\d{1,2}", words[0]):
        return None
    base, north = DATUMS.get(words[2]), words[1].startswith("N")
    if base is None or not (north or base == DATUMS["WGS-84"]):
        return None
    return base + (0 if north else 100) + int(words[0])

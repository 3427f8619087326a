"""GDAL, by way of rasterio: kept to the one file that it is given, with no network and no files beside it.

rasterio is an extra, ``pip install "hud-fast[geo]"``, and is imported where it is first needed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hud_fast._text import printable

# GDAL would look for overviews, masks, world files and statistics in files of like names, and write some.
SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64 << 20,  # bytes; by default a twentieth of the machine
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
}
_warnings_are_global = threading.Lock()


def rasterio(function: str) -> Any:
    """The package, or the error that says how to get it."""
    try:
        import rasterio
        import rasterio.shutil
    except ImportError as error:
        raise ImportError(
            f'{function}: GeoTIFF files need the package rasterio: pip install "hud-fast[geo]"'
        ) from error
    return rasterio


class _Complaints(logging.Handler):
    """What GDAL reports in this thread. Without it, that goes to the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread and record.levelno >= logging.ERROR:
            self.errors.append(record.getMessage())


@contextlib.contextmanager
def environment(function: str) -> Iterator[None]:
    """GDAL set as above for this thread; its errors as an OSError with the first reason that it gave."""
    package = rasterio(function)
    log, complaints = logging.getLogger("rasterio"), _Complaints()
    log.addHandler(complaints)
    try:
        with package.Env(**SETTINGS):
            yield
    except (package.errors.RasterioError, package._err.CPLE_BaseError) as error:
        told = complaints.errors or [str(error.__cause__ or error)]
        raise OSError(printable(told[0], 300)) from error
    finally:
        log.removeHandler(complaints)


def opened(function: str, path: Path, mode: str = "r", **how: Any) -> Any:
    """A dataset, within `environment`. That a picture lies nowhere on the map is no reason for a warning."""
    package = rasterio(function)
    with _warnings_are_global, warnings.catch_warnings():
        warnings.simplefilter("ignore", package.errors.NotGeoreferencedWarning)
        # A whole path: words of GDAL's own ("/vsicurl/", "GTIFF_DIR:") begin none.
        return package.open(path.absolute(), mode, **how)

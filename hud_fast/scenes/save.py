"""save_scene: write a scene, or a cube like a scene, as the kind of file that its name says.

Every file is written under a temporary name and renamed when it is whole: a full disk, a missing permission
or a crash leaves the old file or none, never a part.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from hud_fast._checks import check_path
from hud_fast._files import user_path
from hud_fast.scenes import checks, envi, geotiff_write, values, writers
from hud_fast.scenes.given import is_plain
from hud_fast.scenes.scene import Scene

SUFFIX_OF = {"mat": ".mat", "envi": ".hdr", "npy": ".npy", "npz": ".npz", "geotiff": ".tif"}
FORMAT_OF = {
    ".mat": "mat", ".npy": "npy", ".npz": "npz", ".hdr": "envi",
    **dict.fromkeys(envi.DATA_SUFFIXES, "envi"), ".tif": "geotiff", ".tiff": "geotiff",
}  # fmt: skip
# Types that a format does not know, and the nearest that it does.
NEAREST = {
    "envi": {"int8": "int16", "float16": "float32", "float128": "float64"},
    "mat": {"float16": "float32", "float128": "float64"},
    "geotiff": {"float16": "float32", "float128": "float64"},
}
# What a cube without it has as the scene that it is like.
OF_BANDS = ("wavelengths", "fwhm", "good_bands", "rgb_bands", "band_names", "gains", "offsets")


def save_scene(
    scene: Scene | ArrayLike,
    path: str | os.PathLike[str],
    *,
    like: Scene | None = None,
    dtype: DTypeLike | None = None,
    variable: str | None = None,
    interleave: Literal["bsq", "bil", "bip"] | None = None,
    byte_order: Literal["little", "big"] | None = None,
    version: Literal["5", "7.3"] | None = None,
) -> Path:
    """Write a scene or a cube.

    Parameters
    ----------
    scene : Scene or (H, W, C) array
        What to write. Values go into the file times the scene's `scale`.
    path
        Its suffix gives the format: .mat, .hdr (ENVI; the data goes beside it), .npy, .npz (keeps every
        field of the scene), .tif (GeoTIFF; a scene with a `lookup` is written in the map's geometry). Without a
        suffix: the format of `like`.
    like : Scene, optional
        A scene to take the file's ways from: bands and wavelengths, scale, data type, variable name,
        interleave, byte order, .mat version and layout. For cubes generated from it.
    dtype
        Data type in the file; by default that of the file which the scene (or `like`) came from, else
        float32. Integers are rounded and clipped. With that of the file, gains and offsets of an ENVI file are kept;
        otherwise, and in other formats, what its numbers mean is written.
    variable
        Name in a .mat file; by default the scene's, else "cube".
    interleave, byte_order
        For ENVI; by default the scene's, else "bil" and "little".
    version
        For .mat; by default the scene's, else "5" ("7.3" from 2 GiB on).

    Returns
    -------
    Path
        The file written; for ENVI the header.

    Raises
    ------
    OSError
        If it cannot be written. Nothing half-written stays.
    ValueError
        If shape, suffix or an option is wrong, or an integer type would spoil the values.
    TypeError
        If the cube or `dtype` is not of real numbers.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> real = Scene(np.full((4, 5, 3), 0.5), wavelengths=[450.0, 550.0, 650.0], dtype="float32")
    >>> save_scene(np.full((2, 2, 3), 0.25), folder / "new.hdr", like=real).name
    'new.hdr'
    """
    check_path("save_scene", "path", path)
    if like is not None and not isinstance(like, Scene):
        raise TypeError(f"save_scene: `like` must be a Scene, got {type(like).__name__}")
    written = _as_scene(scene, like)
    target, kind = _target(user_path(path), like)
    own_type = written.dtype or np.float32
    if kind not in ("envi", "geotiff") and values.keeps_gains(written, np.dtype(own_type)):
        own_type = np.float32  # without its gains, what the integers mean is no integer
    number = values.real_dtype(dtype if dtype is not None else own_type)
    nearest = NEAREST.get(kind, {}).get(number.name)
    if nearest is not None and dtype is not None:
        raise ValueError(f"save_scene: `dtype` must be one that {kind} files know, got {number}")
    number = np.dtype(nearest) if nearest is not None else number
    if variable is not None and not isinstance(variable, str):
        raise TypeError(f"save_scene: `variable` must be a name, got {type(variable).__name__}")
    if kind == "mat" and variable is not None and not writers.is_matlab_name(variable):
        raise ValueError(f"save_scene: `variable` must be a MATLAB name, got {variable!r}")
    own = written.variable or ""  # of a file that another program wrote, or of an .npz: any text
    options = writers.Options(
        dtype=number,
        variable=variable
        if variable is not None
        else (own if writers.is_matlab_name(own) else "cube"),
        interleave=_interleave(interleave, target, written),
        byte_order=_byte_order(byte_order, number),
        version=version if version is not None else written.details.get("version", "5"),
    )
    if not isinstance(options.version, str) or options.version not in ("5", "7.3"):
        raise ValueError(f"save_scene: `version` must be '5' or '7.3', got {version!r}")
    write = {
        "mat": writers.write_mat,
        "envi": writers.write_envi,
        "npy": writers.write_npy,
        "npz": writers.write_npz,
        "geotiff": geotiff_write.write_geotiff,
    }[kind]
    try:
        return write(written, target, options)
    except OSError as error:
        reason = error.strerror or str(error)
        told = type(error)(f"save_scene: `path` must be writable, got {target}: {reason}")
        told.errno = error.errno
        raise told from error


def _as_scene(scene: Scene | ArrayLike, like: Scene | None) -> Scene:
    """The scene to write, with what it lacks taken from `like`."""
    if isinstance(scene, Scene):
        cube_scene = scene
    else:
        cube: Any = checks.real_cube("save_scene", scene) if is_plain(scene) else scene
        cube_scene = Scene(cube, name="generated", layout=None if like is None else "HWC")
        if like is not None:
            cube_scene = cube_scene.replace(scale=like.scale, ignore_value=like.ignore_value)
    if like is None:
        return cube_scene
    if cube_scene.C != like.C:
        raise ValueError(
            f"save_scene: `scene` must have C = {like.C} bands as in `like`, got {cube_scene.C}"
        )
    missing: dict[str, Any] = {
        field: getattr(like, field) for field in OF_BANDS if getattr(cube_scene, field) is None
    }
    return cube_scene.replace(
        **missing,
        variable=like.variable or cube_scene.variable,
        dtype=like.dtype or cube_scene.dtype,
        format=like.format,
        details={**cube_scene.details, **like.details},
        simulated=cube_scene.simulated or like.simulated,
    )


def _target(path: Path, like: Scene | None) -> tuple[Path, str]:
    """The file to write and its format."""
    kind = FORMAT_OF.get(path.suffix.lower())
    if kind is None and path.suffix == "" and like is not None and like.format in SUFFIX_OF:
        kind = like.format
        path = path.with_name(path.name + SUFFIX_OF[kind])
    if kind is None:
        raise ValueError(
            f"save_scene: `path` must end in one of {', '.join(FORMAT_OF)}, got {path}"
        )
    if path.is_dir():
        raise IsADirectoryError(f"save_scene: `path` must be a file, got the folder {path}")
    return path, kind


def _interleave(given: str | None, path: Path, scene: Scene) -> str:
    by_name = path.suffix.lower().lstrip(".")
    if given is None:
        if by_name in envi.INTERLEAVES:
            return by_name
        return scene.details.get("interleave", "bil")
    word = given.lower() if isinstance(given, str) else ""
    if word not in envi.INTERLEAVES:
        raise ValueError(f"save_scene: `interleave` must be bsq, bil or bip, got {given!r}")
    if by_name in envi.INTERLEAVES and by_name != word:
        raise ValueError(f"save_scene: `interleave` must agree with {path.name}, got {given!r}")
    return word


def _byte_order(given: str | None, dtype: np.dtype[Any]) -> str:
    if given is None:
        return "big" if dtype.byteorder == ">" else "little"
    if not isinstance(given, str) or given not in ("little", "big"):
        raise ValueError(f"save_scene: `byte_order` must be 'little' or 'big', got {given!r}")
    return given

"""SceneFile: a scene that is open and not read yet. Everything but the values is at hand; they come by rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import checks, trust
from hud_fast.scenes.raw import RawScene, float_cube, float_rows
from hud_fast.scenes.scene import Scene


@dataclass(eq=False)
class SceneFile:
    """A scene's file, its side information checked against its size.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from hud_fast.scenes.load import open_scene
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "field.npy"
    >>> np.save(path, np.ones((4, 5, 3), np.uint16))
    >>> file = open_scene(path)
    >>> file.shape, file.rows(1, 3).shape
    ((4, 5, 3), (2, 5, 3))
    """

    raw: RawScene
    path: Path
    facts: Scene  # all that is known of the scene, with a cube of one row that holds nothing
    mask: NDArray[np.bool_] | None  # (H, W), True = valid
    labels: NDArray[np.integer[Any]] | None  # (H, W)
    stored_scale: float

    @classmethod
    def of(
        cls, raw: RawScene, path: Path, mask: NDArray[Any] | None, stored_scale: float
    ) -> SceneFile:
        """The file's parts, each checked against the cube."""
        height, width, bands = raw.cube.shape
        valid = checks.flags("load_scene", "mask", raw.mask, (height, width))
        extra = checks.flags("load_scene", "mask", mask, (height, width))
        if extra is not None:
            valid = extra if valid is None else valid & extra
        truth = raw.fields.pop("truth", None)
        facts = Scene(
            cube=np.empty((1, width, bands), np.float32),
            wavelengths=checks.positive_per_band(
                "load_scene", "wavelengths", raw.wavelengths, bands
            ),
            fwhm=checks.positive_per_band("load_scene", "fwhm", raw.fwhm, bands),
            good_bands=checks.flags("load_scene", "good_bands", raw.good_bands, (bands,)),
            rgb_bands=checks.rgb_bands("load_scene", raw.rgb_bands, bands),
            ignore_value=raw.ignore_value,
            geo=raw.geo,
            format=raw.format,
            source=path,
            variable=raw.variable,
            dtype=raw.dtype,
            details=raw.details,
            gains=raw.gains,
            offsets=raw.offsets,
            band_names=raw.band_names,
            lookup=raw.lookup,
            truth=truth,
            **raw.fields,
        )
        labels = checks.labels("load_scene", raw.labels, (height, width))
        return cls(raw, path, facts, valid, labels, stored_scale)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, bands = self.raw.cube.shape
        return height, width, bands

    @property
    def good_bands(self) -> NDArray[np.bool_] | None:  # (C,)
        return self.facts.good_bands

    @property
    def valid(self) -> NDArray[np.bool_] | None:  # (H, W)
        return self.mask

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:  # (n, W, C)
        """These rows' values in file units (with the file's gains and offsets). NaN where a pixel is masked."""
        return self.window(slice(start, stop), slice(0, self.shape[1]))

    def window(self, rows: slice, columns: slice) -> NDArray[np.float32]:  # (n, m, C)
        """The same of a rectangle."""
        values = float_rows(self.raw, rows, columns)
        if self.mask is not None:
            values[~self.mask[rows, columns]] = np.nan
        return values

    def blocks(self, rows: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:  # (n, W, C)
        """All rows, so many at a time."""
        for start in range(0, self.shape[0], rows):
            stop = min(start + rows, self.shape[0])
            yield slice(start, stop), self.rows(start, stop)

    def load(self, scale: float | str | None = None) -> Scene:
        """The scene in memory. `scale` as in `load_scene`."""
        trust.check_memory(self.path, 4 * int(np.prod(self.shape)))
        with trust.whole(self.path):
            cube = float_cube(self.raw)
        with trust.named(self.path):
            scene = self.facts.replace(
                cube=cube,
                mask=self.mask,
                labels=self.labels,
                good_bands=_without_empty_bands(cube, self.facts.good_bands),
            )
            height, width = cube.shape[:2]
            if not scene.valid.any():
                raise ValueError(
                    f"load_scene: `mask` must leave a valid pixel, got none of {height * width} that is unmasked "
                    f"and finite in every good band in {self.path}"
                )
        return _scaled(scene, scale, self.raw.reflectance_factor, self.stored_scale)


def _without_empty_bands(
    cube: NDArray[np.float32], good: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:  # (C,)
    """Bands without a single finite value are flagged bad: they would make every pixel invalid."""
    first = np.isfinite(cube[:: max(1, cube.shape[0] // 16)]).any(axis=(0, 1))
    if first.all():
        return good
    some = np.asarray(np.isfinite(cube).any(axis=(0, 1)))
    if some.all() or not some.any():
        return good
    return some if good is None else good & some


def _scaled(scene: Scene, scale: float | str | None, factor: float | None, stored: float) -> Scene:
    """The scene with its cube divided by the scale asked for."""
    if isinstance(scale, str) and scale == "auto":
        number = factor or (stored if stored != 1.0 else None)
        if number is None:
            keep = slice(None) if scene.good_bands is None else scene.good_bands
            number = float(scene.valid_pixels[:, keep].max())
        if not (np.isfinite(number) and number > 0):
            raise ValueError(
                f"load_scene: `scale` must be a number here: with 'auto', the largest value is {number}"
            )
    elif isinstance(scale, str):
        raise TypeError(f"load_scene: `scale` must be a number, 'auto' or None, got {scale!r}")
    else:
        number = stored if scale is None else checks.positive("load_scene", "scale", scale)
    if number == 1.0:
        return scene
    return scene.replace(cube=scene.cube / np.float32(number), scale=number)

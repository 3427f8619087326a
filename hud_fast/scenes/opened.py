"""SceneFile: a scene that is open and not read yet. Everything but the values is at hand; they come by rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import checks, trust
from hud_fast.scenes.gdal_rows import GdalRows
from hud_fast.scenes.no_data import Choice, NoData, Scan
from hud_fast.scenes.part import PartRows
from hud_fast.scenes.raw import ROWS_A_BLOCK, RawScene, float_rows, meaning
from hud_fast.scenes.scene import Scene

LARGEST_BLOCK = 1 << 28  # bytes, of float32


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
    no_data: Choice = "auto"
    _found: NoData | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        raw: RawScene,
        path: Path,
        stored_scale: float,
        no_data: Choice = "auto",
    ) -> SceneFile:
        """The file's parts, each checked against the cube."""
        if no_data != "auto":
            source = raw.cube.whole if isinstance(raw.cube, PartRows) else raw.cube
            if isinstance(source, GdalRows):  # which leaves out what the file declares
                source.nodata = None
            raw.ignore_value = None if no_data == "none" else float(no_data)
        height, width, bands = raw.cube.shape
        valid = checks.flags("load_scene", "mask", raw.mask, (height, width))
        truth = raw.fields.pop("truth", None)
        facts = Scene(
            cube=np.empty((1, width, bands), np.float32),
            layout="HWC",
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
            zeros_are_data=no_data == "none" or bool(raw.fields.pop("zeros_are_data", False)),
            **raw.fields,
        )
        labels = checks.labels("load_scene", raw.labels, (height, width))
        return cls(raw, path, facts, valid, labels, stored_scale, no_data)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, bands = self.raw.cube.shape
        return height, width, bands

    @property
    def found(self) -> NoData:
        """The pixels and bands without data, found in one pass over the file, when first asked for."""
        if self._found is None:
            scan = self._scan()
            with trust.whole(self.path):
                for start in range(0, self.shape[0], self._step):
                    scan.feed(start, np.asarray(self.raw.cube[start : start + self._step]))
            self._keep(scan.result())
        assert self._found is not None
        return self._found

    @property
    def good_bands(self) -> NDArray[np.bool_] | None:  # (C,)
        """As in `Scene`: without those that have no value in any pixel."""
        empty, good = self.found.empty, self.facts.good_bands
        if not empty.any():
            return good
        return ~empty if good is None else good & ~empty

    @property
    def valid(self) -> NDArray[np.bool_] | None:  # (H, W)
        """False where a pixel is masked or without data; None: nowhere. A single missing value is another matter."""
        missing = self.found.missing
        if missing is None:
            return self.mask
        return ~missing if self.mask is None else self.mask & ~missing

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:  # (n, W, C)
        """These rows' values in file units (with the file's gains and offsets). NaN where masked or without data."""
        found = self.found
        values = float_rows(self.raw, slice(start, stop))
        values[..., found.empty] = np.nan
        if (valid := self.valid) is not None:
            values[~valid[start:stop]] = np.nan
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
            cube = self._read()
        with trust.named(self.path):
            scene = self.facts.replace(
                cube=cube, mask=self.valid, labels=self.labels, good_bands=self.good_bands
            )
            height, width = cube.shape[:2]
            if not scene.valid.any():
                raise ValueError(
                    f"load_scene: `mask` must leave a valid pixel, got none of {height * width} that is unmasked, "
                    f"finite in every good band and not without data in {self.path}{self._all_alike()}"
                )
        return _scaled(scene, scale, self.raw.reflectance_factor, self.stored_scale)

    def scale_of(self, scale: float | str | None) -> float:
        """The number to divide by that `load_scene` would take.

        Raises
        ------
        ValueError
            "auto" where the file states no factor: the largest value is known after the scene was read only.
        """
        if isinstance(scale, str):
            number = self.raw.reflectance_factor
            if number is None and self.stored_scale != 1.0:
                number = self.stored_scale
            if number is None:
                raise ValueError(
                    "load_scene: `scale` must be a number for a scene read in parts that states no factor, got 'auto'"
                )
            return number
        return self.stored_scale if scale is None else checks.positive("load_scene", "scale", scale)

    def _all_alike(self) -> str:
        """Where all pixels hold one number: say so, who keeps them knows why."""
        if sum(self.found.found.values()) < self.shape[0] * self.shape[1]:
            return ""
        return " (all hold the same number in every band: no_data='none' keeps them)"

    @property
    def _step(self) -> int:
        """Rows to read at once: whole chunks of the file, where they are not too large."""
        tall = getattr(self.raw.cube, "chunks", (1,))[0]
        rows = max(tall, ROWS_A_BLOCK // tall * tall)
        return rows if 4 * rows * self.shape[1] * self.shape[2] <= LARGEST_BLOCK else ROWS_A_BLOCK

    def _scan(self) -> Scan:
        return Scan(
            self.shape,
            self.raw.cube.dtype,
            good_bands=self.facts.good_bands,
            mask=self.mask,
            declared=self.raw.ignore_value,
            search=not self.facts.zeros_are_data,
        )

    def _read(self) -> NDArray[np.float32]:  # (H, W, C), C-contiguous
        """The whole cube's meaning, by blocks of rows, looked through on the way."""
        out = np.empty(self.shape, np.float32)
        scan = None if self._found is not None else self._scan()
        for start in range(0, len(out), self._step):
            values = np.asarray(self.raw.cube[start : start + self._step])
            if scan is not None:
                scan.feed(start, values)
            out[start : start + self._step] = meaning(self.raw, values)
        if scan is not None:
            self._keep(scan.result())
        return out

    def _keep(self, found: NoData) -> None:
        """Remember and tell."""
        self._found = found
        found.tell(stacklevel=3)
        if self.no_data not in ("auto", "none") and not found.declared:
            warnings.warn(
                f"load_scene: no pixel is left out by `no_data` = {self.no_data:.10g}: {self.path} does not hold it so",
                UserWarning,
                stacklevel=3,
            )
        if self.facts.ignore_value is None and found.found:
            self.facts = self.facts.replace(ignore_value=float(next(iter(found.found))))


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

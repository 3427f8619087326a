"""Counts of a Specim (or Headwall) camera made reflectance by its white and dark references.

    reflectance = (counts - dark) / (white - dark), by column and band, references averaged over their lines

and times the white's integration time over the scene's, where both headers say one (``tint``). In a capture folder the
references lie beside NAME.hdr as WHITEREF_NAME and DARKREF_NAME; WHITEDARKREF_NAME, if there, is the white's own dark.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import readers
from hud_fast.scenes.raw import RawScene, Request, float_rows

ROWS_A_BLOCK = 64
LARGEST_HEADER = 1 << 20  # bytes
TINT = re.compile(rb"^\s*tint\s*=\s*\{?\s*([0-9.eE+-]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(eq=False)
class Calibrated:
    """Reflectance, by rows, of a cube of counts."""

    counts: RawScene
    dark: NDArray[np.float64]  # (W, C)
    factor: NDArray[np.float64]  # (W, C), NaN where a detector is dead
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C)."""
        return self.counts.cube.shape

    @property
    def chunks(self) -> tuple[int, int]:
        """As of the counts."""
        found: tuple[int, int] = getattr(self.counts.cube, "chunks", (1, self.shape[1]))
        return found

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C)
        values = (float_rows(self.counts, rows) - self.dark) * self.factor
        return values.astype(np.float32)


def calibrated(raw: RawScene, path: Path, white: Path | None, dark: Path | None) -> RawScene:
    """The scene in reflectance, by the references given or by those beside it; as it is where there are none.

    Where white is no brighter than dark, a detector is dead: its values are missing.

    Raises
    ------
    ValueError
        If only one reference can be had, or one has other columns or bands than the scene.
    """
    asked = white is not None or dark is not None
    for name, reference in (("white", white), ("dark", dark)):
        if reference is not None and not reference.is_file():
            raise FileNotFoundError(
                f"load_scene: `{name}` must be an existing file, got {reference}"
            )
    white, dark = white or _beside(path, "WHITEREF_"), dark or _beside(path, "DARKREF_")
    if white is None or dark is None:
        if asked:
            name, other = ("white", "dark") if white is None else ("dark", "white")
            raise ValueError(
                f"load_scene: `{name}` must be given with `{other}` (or lie beside the scene), got None"
            )
        return raw
    own_dark = _beside(path, "WHITEDARKREF_") or dark
    levels = {one: _level(raw, one) for one in (white, dark, own_dark)}
    span = levels[white] - levels[own_dark]
    times = _integration_time(path), _integration_time(white)
    ratio = times[1] / times[0] if times[0] and times[1] else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(span > 0, ratio / span, np.nan)
    return dataclasses.replace(
        raw,
        cube=Calibrated(raw, levels[dark], factor),
        dtype=np.dtype(np.float32),
        gains=None,
        offsets=None,
        ignore_value=None,
        reflectance_factor=None,
        details={**raw.details, "white reference": white.name, "dark reference": dark.name},
    )


def _level(raw: RawScene, path: Path) -> NDArray[np.float64]:  # (W, C)
    """The mean over a reference's lines."""
    reference = readers.read(path, Request())
    lines, *rest = reference.cube.shape
    if rest != list(raw.cube.shape[1:]) or not lines:
        raise ValueError(
            f"load_scene: `white` and `dark` must have the scene's {raw.cube.shape[1:]} columns and bands, got "
            f"{tuple(rest)} in {path}"
        )
    total = np.zeros(rest)
    for start in range(0, lines, ROWS_A_BLOCK):
        block = float_rows(reference, slice(start, min(start + ROWS_A_BLOCK, lines)))
        total += block.sum(axis=0, dtype=np.float64)
    return total / lines


def _header(path: Path) -> Path:
    """The header of an ENVI file."""
    return path if path.suffix.lower() == ".hdr" else path.with_suffix(".hdr")


def _beside(path: Path, prefix: str) -> Path | None:
    """The header of a reference that lies beside the scene's."""
    header = _header(path)
    reference = header.with_name(prefix + header.name)
    return reference if reference.is_file() else None


def _integration_time(path: Path) -> float | None:
    """As the header says it."""
    try:
        with _header(path).open("rb") as file:
            found = TINT.search(file.read(LARGEST_HEADER))
        return float(found[1]) if found else None
    except (OSError, ValueError):
        return None

"""``hud-fast endmembers``: a scene's endmembers as a library, and where in the scene they lie."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_write
from hud_fast.pipeline.device import chosen_device
from hud_fast.pipeline.endmembers import Endmembers
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.memory import of_unmixing
from hud_fast.pipeline.model import named_endmembers
from hud_fast.pipeline.options import ModelOptions, SceneOptions
from hud_fast.pipeline.places import check_free, check_writable, lock_beside
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.truth import against_truth

if TYPE_CHECKING:
    from hud_fast.scenes import Scene

SUFFIXES = (".sli", ".csv", ".npy")


def extract_endmembers(
    source: str,
    out: str | os.PathLike[str],
    *,
    scene_options: SceneOptions | None = None,
    model_options: ModelOptions | None = None,
    truth: str | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Find a scene's endmembers, write them to `out` and their places to ``<out's stem>-positions.csv``.

    The columns of the positions: name; row and column, from 0; x and y of the pixel's centre in the scene's map
    coordinates; dominant_share, the share of valid pixels in which no other endmember has a larger FCLS abundance;
    mean_abundance over the valid pixels. Row to y are empty for kept spectra, which are no pixels.

    Returns
    -------
    dict
        ``scene``, ``endmembers`` (a dictionary each, of these columns), ``spectra`` and ``positions`` (paths), and
        ``truth``, see `against_truth`.

    Raises
    ------
    InputError
        The scene cannot be read, or `out` is taken, of an unknown kind, or cannot be written.
    """
    from hud_fast.scenes import Library
    from hud_fast.unmixing import solve

    options = model_options or ModelOptions()
    options.check_endmembers()
    reporter = reporter or Reporter()
    device = chosen_device("endmembers", options.device)
    target = Path(out)
    positions = target.with_name(f"{target.stem}-positions.csv")
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out must end in one of {', '.join(SUFFIXES)}, got {target}")
    header = [target.with_suffix(".hdr")] if target.suffix.lower() == ".sli" else []
    for path in (target, positions, *header):
        if path.is_dir():
            raise InputError(f"{path} is a folder: --out must be a file")
        check_free(path, overwrite)
    with reporter.stage("Reading the scene"):
        scene = (scene_options or SceneOptions()).load(source)
    own = scene.source if scene.format == "envi" and header else None
    if own is not None and own.with_suffix("").resolve() == target.with_suffix("").resolve():
        raise InputError(f"{header[0]} is the scene's own header: choose another --out")
    check_writable(target.parent)
    with lock_beside(target):
        of_unmixing(scene.shape).check("endmembers", reporter)
        found = named_endmembers(scene, options, reporter)
        with reporter.stage("Solving the abundances"):
            cube, valid = scene.on(device)
            solved = solve(cube, found.spectra, "fcls").masked_fill(~valid[..., None], np.nan)
            abundances = solved.cpu().numpy()
        known, renamed = against_truth(scene, found.spectra, abundances, truth)
        names = found.renamed(renamed)
        table = places(scene, found, names, abundances)
        spectra = found.spectra.astype(np.float64)
        Library(spectra, names, scene.wavelengths, scene.fwhm).save(target)
        with atomic_write(positions, "w") as file:
            rows = csv.DictWriter(file, list(table[0]), lineterminator="\n")
            rows.writeheader()
            rows.writerows(table)
    result = {"scene": scene.name, "endmembers": table, "spectra": str(target)}
    result["positions"] = str(positions)
    return result if known is None else {**result, "truth": known}


def places(
    scene: Scene,
    found: Endmembers,
    names: tuple[str, ...],
    abundances: NDArray[np.float32],  # (H, W, D)
) -> list[dict[str, Any]]:
    """Where each endmember lies, and how much of the scene it explains."""
    from hud_fast.scenes.georeference import affine_of

    rows = abundances[scene.valid]
    dominant = np.bincount(rows.argmax(axis=1), minlength=len(names)) / len(rows)
    means = rows.mean(axis=0, dtype=np.float64)
    # the coordinates of a scene in its sensor's own geometry are those of another grid
    placed = affine_of(scene.geo) if scene.lookup is None else None
    table = []
    for d, name in enumerate(names):
        place = pixel_of(scene, found.spectra[d]) if d >= found.given else None
        row, column = place or (None, None)
        x = y = None
        if placed is not None and place is not None:
            a, b, c, e, f, g = placed[0]
            right, down = place[1] + 0.5, place[0] + 0.5
            x, y = a * right + b * down + c, e * right + f * down + g
        table.append(
            {
                "name": name,
                "row": row,
                "column": column,
                "x": x,
                "y": y,
                "dominant_share": float(dominant[d]),
                "mean_abundance": float(means[d]),
            }
        )
    return table


def pixel_of(
    scene: Scene,
    spectrum: NDArray[np.float32],  # (C,)
) -> tuple[int, int] | None:
    """The first valid pixel with exactly this spectrum: endmembers that were found are pixels of the scene."""
    same = scene.valid & (scene.cube[..., 0] == spectrum[0])
    rows, columns = np.nonzero(same)
    hits = np.flatnonzero((scene.cube[rows, columns] == spectrum).all(axis=1))
    return None if not len(hits) else (int(rows[hits[0]]), int(columns[hits[0]]))

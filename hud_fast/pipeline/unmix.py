"""``hud-fast unmix``: endmembers and abundances of a scene, with figures and the reconstruction error."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import MARK, atomic_write, sweep
from hud_fast.pipeline.cubes import SUFFIX, choose_format
from hud_fast.pipeline.device import chosen_device
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.figures import NotDrawn, drawing
from hud_fast.pipeline.memory import of_unmixing
from hud_fast.pipeline.model import named_endmembers
from hud_fast.pipeline.options import ModelOptions, SceneOptions
from hud_fast.pipeline.places import lock
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import write_json
from hud_fast.pipeline.truth import against_truth

if TYPE_CHECKING:
    from hud_fast.scenes import Scene

RECORD, STAGED = "unmixing.json", "unmixing"
FILES = re.compile(rf"{RECORD}|abundances\.(npy|mat|hdr|img|npz)|endmembers\.(npy|csv)")
FIGURES = ("abundance_maps", "endmembers", "residual_map")


def unmix_scene(
    source: str,
    out: str | os.PathLike[str],
    *,
    scene_options: SceneOptions | None = None,
    model_options: ModelOptions | None = None,
    method: str | None = None,
    truth: str | None = None,
    kind: str = "auto",
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Unmix a scene into `out` and return the numbers that ``unmixing.json`` holds.

    Writes ``abundances.npy`` (H, W, D), the same in the scene's own kind of file, ``endmembers.npy``
    (D, C), ``endmembers.csv`` (a column each, under its name, wavelengths first), ``unmixing.json`` and
    ``figures/``. Abundances of masked pixels are NaN; endmembers are in the scene's unit as it was read, so that
    abundances times endmembers give the scene.

    Parameters
    ----------
    source : str
        A scene file or a catalogue name.
    out : path
        Folder of the results.
    scene_options, model_options
        The choices; by default those of the command line.
    method : {"fcls", "nnls", "ucls"}, optional
        As in `hud_fast.unmix`; by default what the options' encoder says.
    truth : str, optional
        Spectra to compare with, see `against_truth`; endmembers found in the scene get their names.
    kind : str
        Kind of file for the abundances.
    overwrite : bool
        Write into a folder that is not empty.
    reporter : Reporter, optional
        Told of each stage.

    Raises
    ------
    InputError
        The scene cannot be read, or `out` is taken or cannot be written.
    NotDrawn
        All files are there, but for a figure.
    """
    from hud_fast.unmixing import METHODS, check_count_of, solve, unmixing_summary

    options = model_options or ModelOptions()
    options.check_endmembers()
    method = method or {"linear": "ucls"}.get(options.encoder, options.encoder)
    if method not in METHODS:
        raise InputError(f"--method must be one of {', '.join(METHODS)}, got {method}")
    device = chosen_device("unmix", options.device)
    reporter = reporter or Reporter()
    folder = Path(out)
    _check_room(folder, overwrite)
    with reporter.stage("Reading the scene"):
        scene = (scene_options or SceneOptions()).load(source)
    kind = choose_format(kind, scene)
    with lock(folder) as held:  # after the scene: a mistyped name leaves no empty folder behind
        for written in (STAGED, *(f"figures/{name}.png" for name in FIGURES)):
            sweep(folder / written)
        of_unmixing(scene.shape).check("unmix", reporter)
        found = named_endmembers(scene, options, reporter)
        endmembers = found.spectra
        check_count_of("unmix", len(endmembers), scene.C)
        with reporter.stage("Solving the abundances"):
            cube, valid = scene.on(device)
            solved = solve(cube, endmembers, method).masked_fill(~valid[..., None], np.nan)
            summary = unmixing_summary(cube, endmembers, solved, mask=valid)
            abundances = solved.cpu().numpy()
        numbers: dict[str, Any] = {
            "scene": scene.name,
            "endmembers": len(endmembers),
            "names": [],
            "method": method,
            "library": options.library,
            "keep": options.keep,
            "scale": scene.scale,
            "seed": options.seed,
            **summary,
        }
        known, renamed = against_truth(scene, endmembers, abundances, truth)
        names = found.renamed(renamed)
        numbers |= {"names": list(names)} | ({} if known is None else {"truth": known})
        with reporter.stage("Writing and drawing"):
            held.check()
            with TemporaryDirectory(prefix=f".{STAGED}-{MARK}", dir=folder) as name:
                staged = Path(name)
                _write(staged, scene, endmembers, abundances, names, kind)
                write_json(staged / RECORD, numbers)
                _check_room(folder, overwrite=True)  # what came meanwhile
                for file in sorted(staged.iterdir(), key=lambda path: path.name != RECORD):
                    file.replace(folder / file.name)  # the record first: by it the others are ours
            undrawn = _draw(folder / "figures", scene, endmembers, abundances, names)
        held.check()
    if undrawn:
        raise NotDrawn(folder, undrawn)
    return numbers


def _check_room(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that is taken, or where files of our names are not of an earlier call."""
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    if any(not name.startswith(".") for name in names) and not overwrite:
        raise InputError(
            f"{folder} is not empty: choose another --out, or give --overwrite to write into it"
        )
    record: Any = None
    with contextlib.suppress(OSError, ValueError):
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    ours = isinstance(record, dict) and record.keys() >= {"scene", "endmembers", "seed"}
    for name in (*filter(FILES.fullmatch, names), *(f"figures/{name}.png" for name in FIGURES)):
        path = folder / name
        if os.path.lexists(path) and not (ours and path.is_file() and not path.is_symlink()):
            raise InputError(
                f"{folder} holds {name}, which no earlier unmix wrote and this one would replace: choose another "
                f"--out, or move {name} away"
            )


def _write(
    folder: Path,
    scene: Scene,
    endmembers: NDArray[np.float32],  # (D, C)
    abundances: NDArray[np.float32],  # (H, W, D)
    names: tuple[str, ...],
    kind: str,
) -> None:
    from hud_fast.scenes import Library, save_scene
    from hud_fast.unmixing import maps_scene

    for name, array in (("abundances", abundances), ("endmembers", endmembers)):
        with atomic_write(folder / f"{name}.npy") as file:
            np.save(file, array)
    suffix = SUFFIX[kind]
    if suffix is not None:
        save_scene(maps_scene(scene, abundances, names), folder / f"abundances{suffix}")
    library = Library(endmembers.astype(np.float64), names, scene.wavelengths, scene.fwhm)
    library.save(folder / "endmembers.csv")


def _draw(
    folder: Path,
    scene: Scene,
    endmembers: NDArray[np.float32],  # (D, C)
    abundances: NDArray[np.float32],  # (H, W, D)
    names: tuple[str, ...],
) -> dict[str, str]:
    """Draw the figures; why some could not be."""
    from hud_fast import report

    # "1" says as much as "endmember_1", in less room
    labels = [name.removeprefix("endmember_") for name in names]
    shares = np.nanmean(abundances.reshape(-1, len(endmembers)), axis=0)
    figures = {
        "abundance_maps": lambda: report.abundance_maps(
            abundances, report.title_of(scene, "abundance maps"), labels
        ),
        "endmembers": lambda: report.endmembers(scene, endmembers, shares, labels),
        "residual_map": lambda: report.residual_map(scene, abundances @ endmembers),
    }
    undrawn: dict[str, str] = {}
    for name in FIGURES:
        with drawing(name, undrawn):
            report.save_figure(figures[name](), folder / f"{name}.png")
    return undrawn

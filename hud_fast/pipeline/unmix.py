"""``hud-fast unmix``: endmembers and abundances of a scene, with figures and the reconstruction error."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import replace
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
from hud_fast.pipeline.large import Unmixed, Writing, kind_by_rows, thinner, unmix_parts
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
FILES = re.compile(rf"{RECORD}|abundances\.(npy|mat|hdr|img|npz|tif)|endmembers\.(npy|csv)")
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
    figures: bool = True,
    scheduler: str | None = None,
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
    figures : bool
        Draw them.
    scheduler : str, optional
        Address of a dask scheduler, whose workers then read and solve the scene; they must see its file under the
        same path. Without it a scene that does not fit into memory is taken in parts by this process.
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
    from hud_fast.unmixing import METHODS

    options, scene_options = model_options or ModelOptions(), scene_options or SceneOptions()
    options.check_endmembers()
    method = method or {"linear": "ucls"}.get(options.encoder, options.encoder)
    if method not in METHODS:
        raise InputError(f"--method must be one of {', '.join(METHODS)}, got {method}")
    reporter = reporter or Reporter()
    folder = Path(out)
    _check_room(folder, overwrite)
    with reporter.stage("Reading the scene"):
        file = scene_options.open(source)
        large = scheduler is not None or not of_unmixing(file.shape).fits()
        scene = None if large else scene_options.read(file)
    facts = file.facts if scene is None else scene
    wish, kind = kind, choose_format(kind, facts)
    if large:
        kind = kind_by_rows(wish, kind)
    with lock(folder) as held:  # after the scene: a mistyped name leaves no empty folder behind
        for written in (STAGED, *(f"figures/{name}.png" for name in FIGURES)):
            sweep(folder / written)
        with TemporaryDirectory(prefix=f".{STAGED}-{MARK}", dir=folder) as name:
            staged = Path(name)
            if scene is None:
                done = unmix_parts(
                    file,
                    source,
                    scene_options,
                    options,
                    method,
                    truth,
                    Writing(staged, file, kind),
                    scheduler,
                    reporter,
                )
            else:
                done = _in_memory(scene, options, method, truth, reporter)
            numbers: dict[str, Any] = {
                "scene": done.shown.name,
                "part": done.shown.details.get("part"),
                "endmembers": len(done.found.spectra),
                "names": list(done.found.names),
                "method": method,
                "library": options.library,
                "keep": options.keep,
                "scale": done.shown.scale,
                "seed": options.seed,
                **done.numbers,
            }
            with reporter.stage("Writing and drawing" if figures else "Writing"):
                held.check()
                if scene is not None:
                    _write(staged, scene, done.abundances, done.found.names, kind)
                _write_endmembers(staged, done)
                write_json(staged / RECORD, numbers)
                _check_room(folder, overwrite=True)  # what came meanwhile
                for path in sorted(staged.iterdir(), key=lambda path: path.name != RECORD):
                    path.replace(folder / path.name)  # the record first: by it the others are ours
                undrawn = _draw(folder / "figures", thinner(done)) if figures else {}
        held.check()
    if undrawn:
        raise NotDrawn(folder, undrawn)
    return numbers


def _in_memory(
    scene: Scene, options: ModelOptions, method: str, truth: str | None, reporter: Reporter
) -> Unmixed:
    from hud_fast.unmixing import check_count_of, solve, unmixing_summary

    device = chosen_device("unmix", options.device)
    of_unmixing(scene.shape).check("unmix", reporter)
    found = named_endmembers(scene, options, reporter)
    check_count_of("unmix", len(found.spectra), scene.C)
    with reporter.stage("Solving the abundances"):
        cube, valid = scene.on(device)
        solved = solve(cube, found.spectra, method).masked_fill(~valid[..., None], np.nan)
        zeros = scene.zeros_are_data
        numbers: dict[str, Any] = {
            **unmixing_summary(cube, found.spectra, solved, mask=valid, zeros_are_data=zeros)
        }
        abundances = solved.cpu().numpy()
    known, renamed = against_truth(scene, found.spectra, abundances, truth)
    if known is not None:
        numbers["truth"] = known
    return Unmixed(numbers, scene, abundances, replace(found, names=found.renamed(renamed)))


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
    abundances: NDArray[np.float32],  # (H, W, D)
    names: tuple[str, ...],
    kind: str,
) -> None:
    from hud_fast.scenes import save_scene
    from hud_fast.unmixing import maps_scene

    with atomic_write(folder / "abundances.npy") as file:
        np.save(file, abundances)
    suffix = SUFFIX[kind]
    if suffix is not None:
        save_scene(maps_scene(scene, abundances, names), folder / f"abundances{suffix}")


def _write_endmembers(folder: Path, done: Unmixed) -> None:
    from hud_fast.scenes import Library

    found, shown = done.found, done.shown
    with atomic_write(folder / "endmembers.npy") as file:
        np.save(file, found.spectra)
    library = Library(found.spectra.astype(np.float64), found.names, shown.wavelengths, shown.fwhm)
    library.save(folder / "endmembers.csv")


def _draw(folder: Path, done: Unmixed) -> dict[str, str]:
    """Draw the figures; why some could not be."""
    from hud_fast import report

    scene, abundances, endmembers = done.shown, done.abundances, done.found.spectra
    # "1" says as much as "endmember_1", in less room
    labels = [name.removeprefix("endmember_") for name in done.found.names]
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

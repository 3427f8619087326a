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
from hud_fast.pipeline.model import find_endmembers
from hud_fast.pipeline.options import ModelOptions, SceneOptions
from hud_fast.pipeline.places import lock
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import write_json

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
    kind: str = "auto",
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Unmix a scene into `out` and return the numbers that ``unmixing.json`` holds.

    Writes ``abundances.npy`` (H, W, D), the same in the scene's own kind of file, ``endmembers.npy``
    (D, C), ``endmembers.csv`` (a column each, wavelengths first), ``unmixing.json`` and ``figures/``.
    Abundances of masked pixels are NaN.

    Raises
    ------
    InputError
        The scene cannot be read, or `out` is taken or cannot be written.
    NotDrawn
        All files are there, but for a figure.
    """
    from hud_fast.diffusion.preparation import abundances_of
    from hud_fast.unmixing import unmixing_summary

    options = model_options or ModelOptions()
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
        endmembers = find_endmembers(scene, options, reporter)
        with reporter.stage("Solving the abundances"):
            solved = abundances_of(scene, endmembers, encoder=options.encoder, device=device)
            cube, valid = scene.on(device)
            summary = unmixing_summary(cube, endmembers, solved, mask=valid)
            abundances = solved.cpu().numpy()
        numbers: dict[str, Any] = {
            "scene": scene.name,
            "endmembers": len(endmembers),
            "encoder": options.encoder,
            "seed": options.seed,
            **summary,
        }
        with reporter.stage("Writing and drawing"):
            held.check()
            with TemporaryDirectory(prefix=f".{STAGED}-{MARK}", dir=folder) as name:
                staged = Path(name)
                _write(staged, scene, endmembers, abundances, kind)
                write_json(staged / RECORD, numbers)
                _check_room(folder, overwrite=True)  # what came meanwhile
                for file in sorted(staged.iterdir(), key=lambda path: path.name != RECORD):
                    file.replace(folder / file.name)  # the record first: by it the others are ours
            undrawn = _draw(folder / "figures", scene, endmembers, abundances)
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
    ours = isinstance(record, dict) and record.keys() >= {"scene", "endmembers", "encoder"}
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
    kind: str,
) -> None:
    from hud_fast.scenes import Scene, save_scene

    for name, array in (("abundances", abundances), ("endmembers", endmembers)):
        with atomic_write(folder / f"{name}.npy") as file:
            np.save(file, array)
    suffix = SUFFIX[kind]
    if suffix is not None:
        # The maps lie where the scene lies: they keep its map coordinates.
        maps = Scene(
            abundances,
            name=f"{scene.name}, abundances",
            geo=scene.geo,
            variable="abundances",
            layout="HWC",
        )
        save_scene(maps, folder / f"abundances{suffix}")
    axis, label = np.arange(1, endmembers.shape[1] + 1), "band"
    if scene.wavelengths is not None:
        axis, label = scene.wavelengths, "wavelength_nm"
    header = ",".join([label, *(f"endmember_{d + 1}" for d in range(len(endmembers)))])
    with atomic_write(folder / "endmembers.csv", "w") as file:
        table = np.column_stack([axis, endmembers.T * scene.scale])
        np.savetxt(file, table, delimiter=",", header=header, comments="", fmt="%.7g")


def _draw(
    folder: Path,
    scene: Scene,
    endmembers: NDArray[np.float32],  # (D, C)
    abundances: NDArray[np.float32],  # (H, W, D)
) -> dict[str, str]:
    """Draw the figures; why some could not be."""
    from hud_fast import report

    shares = np.nanmean(abundances.reshape(-1, len(endmembers)), axis=0)
    figures = {
        "abundance_maps": lambda: report.abundance_maps(
            abundances, report.title_of(scene, "abundance maps")
        ),
        "endmembers": lambda: report.endmembers(scene, endmembers, shares),
        "residual_map": lambda: report.residual_map(scene, abundances @ endmembers),
    }
    undrawn: dict[str, str] = {}
    for name in FIGURES:
        with drawing(name, undrawn):
            report.save_figure(figures[name](), folder / f"{name}.png")
    return undrawn

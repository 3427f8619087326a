"""``hud-fast unmix``: endmembers and abundances of a scene, with figures and the reconstruction error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_write
from hud_fast.pipeline.cubes import SUFFIX, choose_format
from hud_fast.pipeline.device import chosen_device
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.model import find_endmembers
from hud_fast.pipeline.options import ModelOptions, SceneOptions
from hud_fast.pipeline.places import check_writable
from hud_fast.pipeline.progress import Reporter
from hud_fast.pipeline.rundir import write_json

if TYPE_CHECKING:
    from hud_fast.scenes import Scene


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
    """
    from hud_fast.diffusion.preparation import abundances_of
    from hud_fast.unmixing import unmixing_summary

    options = model_options or ModelOptions()
    device = chosen_device("unmix", options.device)
    reporter = reporter or Reporter()
    folder = Path(out)
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InputError(
            f"{folder} is not empty: choose another --out, or give --overwrite to write into it"
        )
    with reporter.stage("Reading the scene"):
        scene = (scene_options or SceneOptions()).load(source)
    check_writable(folder)  # after the scene: a mistyped name leaves no empty folder behind
    kind = choose_format(kind, scene)
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
        _write(folder, scene, endmembers, abundances, kind)
        _draw(folder / "figures", scene, endmembers, abundances)
        write_json(folder / "unmixing.json", numbers)
    return numbers


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
            abundances, name=f"{scene.name}, abundances", geo=scene.geo, variable="abundances"
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
) -> None:
    from hud_fast import report

    shares = np.nanmean(abundances.reshape(-1, len(endmembers)), axis=0)
    figures = {
        "abundance_maps": report.abundance_maps(
            abundances, report.title_of(scene, "abundance maps")
        ),
        "endmembers": report.endmembers(scene, endmembers, shares),
        "residual_map": report.residual_map(scene, abundances @ endmembers),
    }
    for name, figure in figures.items():
        report.save_figure(figure, folder / f"{name}.png")

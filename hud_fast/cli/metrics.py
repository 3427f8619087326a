"""``hud-fast metrics``: prints what ``hud_fast.evaluate`` finds. (``hud-fast evaluate`` is `quality`.)"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import General, Reading

Norm = StrEnum("Norm", "pixel block")


def metrics(
    generated: Annotated[
        Path,
        typer.Argument(
            metavar="GENERATED",
            help="Generated cubes: a run's folder, a folder of cubes, a .npy, .npz or .mat stack, a .zarr group, or "
            "one cube.",
            show_default=False,
        ),
    ],
    real: Annotated[
        str,
        typer.Argument(
            metavar="REAL", help="The real scene: a file or a catalogue name.", show_default=False
        ),
    ],
    reading: Annotated[Reading, "variable layout shape mask no_data"],
    general: General,
    block: Annotated[
        int | None,
        typer.Option(min=1, help="Compare tiles of this size; by default whole cubes."),
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Step between windows of the real scene.")] = 1,
    norm: Annotated[
        Norm, typer.Option(help="pixel: mean of per-pixel cosines. block: one cosine a block.")
    ] = Norm.pixel,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers here.")
    ] = None,
) -> None:
    """Compare generated cubes with the real scene.

    Point fidelity (are the spectra right?), block diversity (are the cubes new in space?), their ratio,
    a check for copies of the scene, and the same numbers for real data against real data. Of a run's
    folder also whether the cubes pass for real: borders, grain, variety.

    [bold]Example[/]

        hud-fast metrics runs/indian-pines indian-pines --json numbers.json
    """
    from hud_fast.pipeline import measure

    numbers = measure(
        generated,
        real,
        scene_options=reading.options(),
        block=block,
        stride=stride,
        norm="block" if norm is Norm.block else "pixel",
        seed=general.seed,
        device=general.prepare(),
        json_file=json,
        reporter=terminal.reporter(),
    )
    terminal.say_numbers(numbers)
    if json is not None:
        terminal.say(f"All numbers: {json}")

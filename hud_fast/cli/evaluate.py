"""``hud-fast evaluate``, and the table that it prints: what ``hud_fast.quality`` finds. (``hud_fast.evaluate`` is
behind ``hud-fast metrics``.)"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import GENERAL, General, Model, Reading, Sampling, SceneArg

if TYPE_CHECKING:
    from rich.table import Table


def evaluate(
    scene: SceneArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")],
    model: Model,
    sampling: Annotated[Sampling, "samples size sampler sampler_steps"],
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, help="Resamples behind the 95 % intervals; 0: none.", rich_help_panel=GENERAL
        ),
    ] = 1000,
    *,
    reading: Annotated[Reading, "-labels"],
    general: General,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--resume",
            help="Start afresh, or go on with an unfinished evaluation in the folder.",
            rich_help_panel=GENERAL,
        ),
    ] = False,
) -> None:
    """How good the generator is: one half of the scene trains, the other is the ceiling.

    Compares spectra, diversity, distributions and spatial structure of the abundances of generated
    cubes with real blocks that the generator never saw, looks for copies of the training half, and gives
    95 % intervals. The folder gets model/, generated/, evaluation.json (with settings, times, memory and
    machine), figures/ and run.json. If the command is interrupted, the same command goes on.

    [bold]Example[/]

        hud-fast evaluate indian-pines --preset small --out evaluations/indian-pines
    """
    from hud_fast.pipeline import evaluate_scene

    evaluation = evaluate_scene(
        scene,
        out,
        scene_options=reading.options(),
        model_options=model.options(general),
        sample_options=sampling.options(),
        bootstrap=bootstrap,
        overwrite=overwrite,
        command=shlex.join(["hud-fast", *sys.argv[1:]]),
        reporter=terminal.reporter(),
    )
    say_quality(evaluation)
    terminal.say(f"All numbers: {out / 'evaluation.json'}")


def say_quality(evaluation: Mapping[str, Any]) -> None:
    """Print the table, as wide as it needs where no terminal sets the width."""
    realism = evaluation.get("realism")
    terminal.show(quality_table(evaluation), *([realism_table(realism)] if realism else []))
    notes = [*evaluation["quality"]["notes"], *evaluation.get("notes", [])]
    for note in [*notes, *(realism or {}).get("notes", [])]:
        terminal.say(f"Note: {note}")


# name of the value -> (words, digits, factor, unit); those of the abundances are means over endmembers
_VALUES: dict[str, tuple[str, int, float, str]] = {
    "point_fidelity": ("Point fidelity F_p", 5, 1, ""),
    "block_diversity": ("Block diversity D_b", 5, 1, ""),
    "ratio": ("D_b / F_p", 5, 1, ""),
    "angle_to_training": ("Angle to the training half", 2, 1, " deg"),
    "angle_to_held_out": ("Angle to the held-out half", 2, 1, " deg"),
    "histogram_distance": ("Abundances to the held-out half, W1", 4, 1, ""),
    "histogram_to_training": ("Abundances to the training half, W1", 4, 1, ""),
    "near_zeros": ("Abundances below 0.001", 1, 100, " %"),
    "spectrum_distance": ("Power spectra to the held-out half", 1, 1, " dB"),
    "spectrum_to_training": ("Power spectra to the training half", 1, 1, " dB"),
}
_ROWS = {"generated": "generated", "held_out": "held out (ceiling)", "training": "training"}


def quality_table(evaluation: Mapping[str, Any]) -> Table:
    """Every value with its interval: generated, held out, training."""
    from rich.table import Table

    quality = evaluation["quality"]
    h, w = quality["settings"]["block"]
    counts = ", ".join(f"{quality[row]['blocks']} {words}" for row, words in _ROWS.items())
    table = Table(
        title=terminal.literal(
            f"{evaluation['scene']}, blocks of {h} x {w}: {counts}; 95 % intervals in brackets"
        ),
        title_justify="left",
    )
    table.add_column("")
    for words in _ROWS.values():
        table.add_column(words, justify="right")
    for name, (words, digits, factor, unit) in _VALUES.items():
        cells = []
        for row in _ROWS:
            value = quality[row][name]
            if value is not None and "mean" in value:
                value = value["mean"]
            cells.append(_cell(value, digits, factor, unit))
        table.add_row(words, *cells)
    table.add_row("Near copies of training windows", *(_copies(quality[row]) for row in _ROWS))
    table.add_row(
        "Nearer to training than the held-out 5 %",
        *(
            _cell((quality[row]["copies"] or {}).get("nearer_than_held_out"), 1, 100, " %")
            for row in _ROWS
        ),
    )
    return table


def realism_table(realism: Mapping[str, Any]) -> Table:
    """Whether the blocks pass for blocks of the training half: generated, held out, that half's own."""
    from rich.table import Table

    from hud_fast.report.realism import SPACES, measures

    rows = {"generated": "generated", "held_out": "held out (ceiling)", "real": "training"}
    table = Table(title="Do they pass for blocks of the training half?", title_justify="left")
    table.add_column("")
    for words in rows.values():
        table.add_column(words, justify="right")
    for measure in measures(realism, list(rows)):
        for cells, space in zip(measure.cells, SPACES.values(), strict=False):
            where = f", {space}" if len(measure.cells) > 1 else ""
            table.add_row(measure.name + where, *cells)
    return table


def _cell(value: Mapping[str, Any] | None, digits: int, factor: float, unit: str) -> str:
    if value is None:
        return "-"
    text = f"{factor * value['value']:.{digits}f}{unit}"
    if value["interval"] is not None:
        low, high = (f"{factor * end:.{digits}f}" for end in value["interval"])
        text += rf" \[{low}, {high}]"
    return text


def _copies(row: Mapping[str, Any]) -> str:
    copies = row["copies"]
    if copies is None:
        return "-"
    expected = copies["expected_share"] * row["blocks"]
    text = f"{copies['near_copies']} of {row['blocks']} (expected {expected:.1f})"
    return text if copies["conclusive"] else f"{text}, inconclusive"

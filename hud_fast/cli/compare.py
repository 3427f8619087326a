"""``hud-fast compare``: the paper's experiment, every method under one roof."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import GENERAL, MODEL, General, Reading

# Names of ``hud_fast.comparison`` and ``hud_fast.baselines``: listed here so that --help need not import torch.
Protocol = StrEnum("Protocol", "sound paper both")
Budget = StrEnum("Budget", "micro demo paper")
METHODS = ("vae", "wgan-gp", "mprnet", "ud", "ubf", "hud")


def compare(
    scenes: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENE...",
            help="Scene files or names from the catalogue. A name whose file cannot be had becomes a row "
            "[bold]not at hand[/].",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")],
    methods: Annotated[
        str,
        typer.Option(
            metavar="all|none|NAME,...",
            help=f"Which of {', '.join(METHODS)}; none: the control rows alone.",
            rich_help_panel=MODEL,
        ),
    ] = "all",
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="sound: one half of the scene trains, the other judges. paper: the whole scene does both, on "
            "the authors' scale.",
            rich_help_panel=MODEL,
        ),
    ] = Protocol.sound,
    budget: Annotated[
        Budget,
        typer.Option(
            help="Sizes and steps. micro: seconds, to try the command. demo: minutes a method on a CPU. paper: the "
            "authors', on a GPU.",
            rich_help_panel=MODEL,
        ),
    ] = Budget.demo,
    samples: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Cubes a method; by default 64 (sound) and 8 (paper).",
            rich_help_panel=MODEL,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="RGB pictures whose abundances UBF learns, in place of the scene's own.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    authors_scale: Annotated[
        bool,
        typer.Option(
            "--authors-scale",
            help="Leave the spectra of UD and UBF in [0, 1] where all else is in [-1, 1], as the authors' code does: "
            "it explains their rows.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, help="Resamples behind the 95 % intervals; 0: none.", rich_help_panel=GENERAL
        ),
    ] = 200,
    *,
    reading: Annotated[Reading, "-labels"],
    general: General,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--resume",
            help="Make anew what the folder holds of these scenes and methods, or keep it.",
            rich_help_panel=GENERAL,
        ),
    ] = False,
) -> None:
    """Compare HUD with VAE, WGAN-GP, MPRNet, UnmixDiff and UBF: one protocol, control rows, intervals.

    Each scene is cut in two; every method trains on one half, and its cubes are judged by the other half.
    Beside them stand real blocks, shuffled pixels, one mean spectrum and near copies: a measure that puts these
    in the wrong order is marked. The folder gets comparison.json, tables.csv, tables.tex, report.html, figures/
    and every model. The same command goes on where it stopped; with more scenes or methods it adds them.

    [bold]Examples[/]

        hud-fast compare indian-pines pavia-university-crop --out runs/compare

        hud-fast compare indian-pines --protocol paper --budget paper --device cuda --out runs/paper
    """
    from hud_fast.comparison import ComparisonOptions, compare_scenes

    chosen = {"all": METHODS, "none": ()}.get(
        methods.strip().lower(), tuple(name.strip() for name in methods.split(","))
    )
    result = compare_scenes(
        scenes,
        out,
        options=ComparisonOptions(
            methods=tuple(chosen),
            protocols=("sound", "paper") if protocol is Protocol.both else (protocol.value,),
            budget=budget.value,
            samples=samples,
            seed=general.seed,
            device=general.prepare(),
            bootstrap=bootstrap,
            images=None if images is None else str(images),
            authors_scale=authors_scale,
        ),
        scene_options=reading.options(),
        overwrite=overwrite,
        command=shlex.join(["hud-fast", *sys.argv[1:]]),
        reporter=terminal.reporter(),
    )
    _say(result)
    terminal.say(f"Tables and figures: {out / 'report.html'}")


def _say(result: dict[str, Any]) -> None:
    """Print where HUD stands and what a reader must know; the numbers are in the page."""
    from rich.table import Table

    from hud_fast.comparison.tables import notes_of, tables_of

    for table in tables_of(result):
        if table.key == "standing":
            shown = Table(title=terminal.literal(table.title), title_justify="left")
            for column in ("", *table.columns):
                shown.add_column(terminal.literal(column))
            for name, entries in table.lines:
                shown.add_row(*map(terminal.literal, (name, *(one.text for one in entries))))
            terminal.show(shown)
    for note in notes_of(result):
        terminal.say(f"Note: {note}")

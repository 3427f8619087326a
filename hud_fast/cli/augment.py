"""``hud-fast augment``: what labelled cubes are worth to classifiers with a few real labels."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import (
    GENERAL,
    GENERATE,
    MODEL,
    General,
    Preset,
    Reading,
    SceneArg,
    size_of,
)

if TYPE_CHECKING:
    from hud_fast.augmentation import AugmentationResult

# Names of ``hud_fast.augmentation``: listed here so that --help need not import torch.
CLASSIFIERS = ("svm", "cnn", "transformer")
ROWS = (
    *("real", "flips", "mixtures", "pseudo", "spread"),
    *("hud-classifier", "hud-majority", "hud", "both"),
)
TEST = "The test"


def augment(
    scene: SceneArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")],
    per_class: Annotated[
        list[int] | None,
        typer.Option(
            min=2,
            help="Real labels of each class; may be given several times. By default 5, 10 and 20.",
            show_default=False,
            rich_help_panel=TEST,
        ),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            min=1,
            help="How often fields and labels are drawn; the intervals are over draws.",
            rich_help_panel=TEST,
        ),
    ] = 10,
    classifiers: Annotated[
        str,
        typer.Option(
            metavar="all|NAME,...",
            help=f"Which of {', '.join(CLASSIFIERS)}.",
            rich_help_panel=TEST,
        ),
    ] = "all",
    rows: Annotated[
        str,
        typer.Option(
            metavar="all|NAME,...",
            help=f"What is added to the real labels, of {', '.join(ROWS)}; real, nothing, must be among them.",
            rich_help_panel=TEST,
        ),
    ] = "all",
    added: Annotated[
        int,
        typer.Option(min=2, help="Windows of each class that a row adds.", rich_help_panel=TEST),
    ] = 100,
    classifier_steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Training steps of cnn and transformer, instead of their own: few, to try the command.",
            rich_help_panel=TEST,
        ),
    ] = None,
    preset: Annotated[
        Preset,
        typer.Option(
            help="Of the generator. instant: patches, seconds a draw. The others train a network for every draw and "
            "number of labels.",
            rich_help_panel=MODEL,
        ),
    ] = Preset.instant,
    endmembers: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="By default as hud-fast run chooses, on the train side.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Training steps of the generator, instead of the preset's.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    cubes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Generated cubes a draw; of a class that is rare in them a few more are asked for.",
            rich_help_panel=GENERATE,
        ),
    ] = 24,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|ROWSxCOLUMNS",
            help="Of a cube; by default the training window, 32.",
            rich_help_panel=GENERATE,
        ),
    ] = None,
    *,
    reading: Reading,
    general: General,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--resume",
            help="Make anew what the folder holds, or go on with it.",
            rich_help_panel=GENERAL,
        ),
    ] = False,
) -> None:
    """Test what labelled cubes add to a few real labels, by classifiers on fields that nothing has trained on.

    In each draw whole fields train or test. Endmembers, generator and classifiers see the train side alone; a check
    fails where a test pixel's spectrum has trained. Beside HUD's labelled cubes stand what anybody has without a
    generator, and the same spread labels on real pixels. The folder gets augment.json, tables.md, tables.csv,
    report.html and figures/. The same command goes on where it stopped.

    [bold]Examples[/]

        hud-fast augment indian-pines --out runs/augment

        hud-fast augment scene.hdr --labels gt.mat --per-class 10 --draws 5 --out runs/augment
    """
    from hud_fast.augmentation import AugmentationOptions, augment_scene

    defaults = AugmentationOptions()
    result = augment_scene(
        scene,
        out,
        options=AugmentationOptions(
            per_class=tuple(per_class) if per_class else defaults.per_class,
            draws=draws,
            preset=preset.value,
            endmembers=endmembers,
            classifiers=_names(classifiers, CLASSIFIERS),
            rows=_names(rows, ROWS),
            added=added,
            cubes=cubes,
            size=size_of("--size", size),
            steps=steps,
            classifier_steps=classifier_steps,
            seed=general.seed,
            device=general.prepare(),
        ),
        scene_options=reading.options(),
        overwrite=overwrite,
        command=shlex.join(["hud-fast", *sys.argv[1:]]),
        reporter=terminal.reporter(),
    )
    _say(result)
    terminal.say(f"Tables and figures: {out / 'report.html'}")


def _names(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if text.strip().lower() == "all":
        return known
    return tuple(name.strip() for name in text.split(","))


def _say(result: AugmentationResult) -> None:
    """Print overall accuracies, what HUD's cubes add by every comparison, and what they rest on."""
    from rich.table import Table

    for table in result.tables():
        if not table.key.startswith("rows-"):
            continue
        kept = [i for i, name in enumerate(table.columns) if name.endswith("OA")]
        shown = Table(title=terminal.literal(f"{table.title}, in per cent"), title_justify="left")
        for column in ("", *(table.columns[i] for i in kept)):
            shown.add_column(terminal.literal(column))
        for name, entries in table.lines:
            cells = [f"{entries[i].text} ({entries[i].interval})" for i in kept]
            shown.add_row(
                *map(terminal.literal, (name, *(cell.removesuffix(" ()") for cell in cells)))
            )
        terminal.show(shown)
    for line in result.headline():
        terminal.say(line)

"""``hud-fast fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hud_fast.cli import terminal


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name from the catalogue; [bold]hud-fast info[/] lists them.",
            show_default=False,
        ),
    ],
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FOLDER", help="Take the file from here instead of its canonical address."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep the file here instead of the cache (HUD_FAST_CACHE)."),
    ] = None,
) -> None:
    """Get a public scene, checksum-verified, and print where it lies.

    A copy in the folder HUD_FAST_DATA, or fetched before, is used without the network.

    [bold]Example[/]

        hud-fast fetch salinas --mirror https://example.org/scenes
    """
    from hud_fast.scenes import fetch as fetch_scene

    with terminal.reporter().stage(f"Fetching {name}") as progress:
        path = fetch_scene(name, mirror=mirror, folder=folder, progress=progress)
    terminal.say(str(path))

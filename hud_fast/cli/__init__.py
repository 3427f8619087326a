"""The command ``hud-fast``: one module a command, and the options, ends and processes that they share.

Nothing heavy is imported until a command runs, so that ``--help`` answers at once. Commands check their
arguments, call the pipeline, and say what they made; the work itself is in ``hud_fast.pipeline``.
"""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from hud_fast.cli import (
    augment,
    bench,
    compare,
    endmembers,
    evaluate,
    fetch,
    fit,
    info,
    metrics,
    run,
    sample,
    terminal,
    unmix,
)
from hud_fast.cli.options import expanded

COMMANDS = (
    *(run.run, fit.fit, sample.sample, unmix.unmix, endmembers.endmembers),
    *(metrics.metrics, evaluate.evaluate, compare.compare, augment.augment),
    *(bench.bench, fetch.fetch, info.info),
)


def unwrap(text: str) -> str:
    """Join the lines of each paragraph, so that the terminal's width decides where they break.

    Examples
    --------
    >>> unwrap("One\\ntwo.\\n\\n    code\\n    more\\n")
    'One two.\\n\\n    code\\n    more'
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(p if p.startswith("    ") else " ".join(p.split()) for p in paragraphs)


app = typer.Typer(
    name="hud-fast",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=unwrap("""Generate new hyperspectral cubes that look and measure like a scene you have.

One scene is unmixed into a few pure spectra (endmembers) and maps of their shares (abundances); a
diffusion model learns the maps; new maps are drawn and mixed back into spectra (HUD, arXiv
2506.02601).

Start here, about ten minutes on two CPU cores:

    hud-fast run indian-pines --out runs/indian-pines
"""),
)
for _command in COMMANDS:
    app.command(help=unwrap(_command.__doc__ or ""))(expanded(_command))


def _version(wanted: bool) -> None:
    if wanted:
        from hud_fast import __version__

        print(f"hud-fast {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback",
            help="Show the full Python traceback of an error. May stand anywhere in the command.",
        ),
    ] = False,
) -> None:
    del version, traceback  # --version exits, --traceback is taken out by `main`


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 2 bad input, 1 failed, 130 Ctrl-C, 143 SIGTERM."""
    return terminal.guard(app, arguments)

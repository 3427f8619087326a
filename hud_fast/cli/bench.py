"""``hud-fast bench``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import GENERAL


def bench(
    groups: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Which groups, with commas between: fcls, cosine_max, window_search, simplex, "
            "fused, levels, scaling, notes; all by default.",
            show_default=False,
        ),
    ] = "",
    only: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="Only cases with this in their name.", show_default=False
        ),
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Few cases on small inputs: a check, no record.")
    ] = False,
    gpu: Annotated[
        bool,
        typer.Option(
            "--gpu",
            help="Time the GPU kernels; their groups are gpu_memory, gpu_diffusion, gpu_fcls, gpu_cosine_max, "
            "gpu_window_search, gpu_simplex, gpu_fused. With --quick also without a GPU: a rehearsal.",
        ),
    ] = False,
    headline: Annotated[
        bool, typer.Option("--headline", help="Only the cases of the short tables.")
    ] = False,
    compile: Annotated[
        bool,
        typer.Option("--compile", help="With --gpu: time torch.compile's versions, too."),
    ] = False,
    limit: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Begin no further case of a group that has taken so long.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="CPU threads of every provider; by default 1, with --gpu all cores.",
            rich_help_panel=GENERAL,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for results.json and the scaling plots."),
    ] = None,
) -> None:
    """Time the kernels on this machine, beside what else there is, with each one's error.

    The package, its plain torch version, peers (the extra bench: SPAMS, FAISS, oneDAL, quadprog) and the
    memory's speed take turns on the same input. What is not installed is said to be so. Real scenes are
    used where HUD_FAST_DATA has them. All groups take about 20 minutes.

    The exit code is 1 where an answer of the package was wrong; no time is ever judged.

    [bold]Examples[/]

        hud-fast bench --quick

        hud-fast bench --groups fcls,simplex --threads 2 --out bench
    """
    from hud_fast._limits import available_cores
    from hud_fast.bench import run as suite
    from hud_fast.bench.show import heading, tables
    from hud_fast.pipeline.places import check_json

    names = [name.strip() for name in groups.split(",") if name.strip()]
    suite.choose_cases(
        names, quick, only, gpu, headline
    )  # a mistake is told before anything is written
    if out is not None:
        check_json(out / "results.json", "cases")

    def keep(results: Mapping[str, Any]) -> None:
        if out is not None:
            suite.write_results(results, out / "results.json")

    with terminal.reporter().stage("Benchmarks") as progress:
        results = suite.run_groups(
            names,
            only=only,
            quick=quick,
            gpu=gpu,
            headline=headline,
            compile=compile,
            limit=math.inf if limit is None else limit,
            thread_count=threads or (available_cores() if gpu else 1),
            progress=progress,
            each=keep,
        )
    terminal.say(heading(results))
    terminal.show(*tables(results))
    if out is not None:
        from hud_fast.bench.plots import save_plots

        for path in (out / "results.json", *save_plots(results, out)):
            terminal.say(str(path))
    wrong = suite.faults(results)
    if wrong:
        raise RuntimeError("wrong or missing answers: " + "; ".join(wrong))

"""What the user sees: bars at a terminal, lines elsewhere; every end of a command has its code and line."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import warnings
from typing import Any

import pytest
import typer
from rich.console import Console
from rich.table import Table

from hud_fast.cli.terminal import (
    PlainReporter,
    RichReporter,
    explain,
    guard,
    literal,
    reporter,
    say,
    show,
)
from hud_fast.diffusion.memory import OutOfMemory
from hud_fast.pipeline import InputError, Reporter
from hud_fast.scenes.trust import TooLarge


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_are_few() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainReporter(stream, clock).stage("Training") as progress:
        for i in range(400):
            clock.now = i / 4
            progress(i, 400)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Training ..."
    assert lines[1] == "Training: 30 %, about 1 min 10 s left"
    assert lines[-1] == "Training: done in 1 min 40 s"
    assert len(lines) == 5


def test_time_left_of_a_resumed_stage_counts_from_where_it_began() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainReporter(stream, clock).stage("Training") as progress:
        progress(900, 1000)
        clock.now = 50.0
        progress(950, 1000)
    assert "95 %, about 50 s left" in stream.getvalue()


def test_bars_at_a_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    with RichReporter(console).stage("Training [b]") as progress:
        progress(1, 2)
        progress(2, 2)
    text = stream.getvalue()
    assert "Training [b]" in text
    assert "time left" in text
    assert text.rstrip().endswith("s")


EVIL = "\x1b]0;owned\x07\x1b[31m\udce9 \u202e"
CLEAN = "?]0;owned??[31m? ?"


@pytest.mark.parametrize("rich", [False, True])
def test_nothing_steers_the_terminal(rich: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, width=100)
    shown = RichReporter(console) if rich else PlainReporter(stream)
    shown.say(f"scene {EVIL}\nnext")
    with shown.stage(EVIL):
        pass
    assert f"scene {CLEAN}\nnext" in stream.getvalue()
    assert f"{CLEAN}: done" in stream.getvalue()
    assert not {"\x1b", "\x07", "\udce9", "\u202e"} & set(stream.getvalue())


def test_results_notes_and_errors_do_not_steer_it(capsys: pytest.CaptureFixture[str]) -> None:
    def command(**_: Any) -> None:
        say(EVIL)
        warnings.warn_explicit(EVIL, UserWarning, "hud_fast/x.py", 1, module="hud_fast.x")
        raise ValueError(EVIL)

    assert guard(command, []) == 2  # type: ignore[arg-type]  # called as an app is
    assert capsys.readouterr() == (f"{CLEAN}\n", f"Note: {CLEAN}\nError: {CLEAN}\n")


def test_a_letter_that_the_stream_lacks_does_not_end_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    assert guard(lambda **_: say("plain\xe9"), []) == 0  # type: ignore[arg-type]
    assert stream.buffer.getvalue() == b"plain?\n"  # type: ignore[attr-defined]


def test_names_in_tables_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=literal(f"[bold]a[/x] {EVIL}"), min_width=60)
    table.add_column(literal("[red]"))
    table.add_row(literal("[/]"))
    show(table)
    shown = capsys.readouterr().out
    assert f"[bold]a[/x] {CLEAN}" in shown
    assert "[red]" in shown
    assert "[/]" in shown


def test_the_reporter_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(reporter(), PlainReporter)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(reporter(), RichReporter)


def test_the_librarys_reporter_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Reporter()
    quiet.say("x")
    with quiet.stage("y") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


ENDS: list[tuple[BaseException, int, str]] = [
    (KeyboardInterrupt(), 130, "Interrupted. Give the same command again to go on."),
    (typer.Abort(), 130, "Interrupted. Give"),
    (InputError("no cube"), 2, "Error: no cube"),
    (ValueError("a\nb"), 2, "Error: a b"),
    (TypeError("wrong"), 2, "Error: wrong"),
    (RuntimeError("loss is not finite"), 1, "Error: loss is not finite"),
    (OSError(errno.ENOSPC, "No space left on device", "f"), 1, "f: No space left on device. Free"),
    (PermissionError(errno.EACCES, "Permission denied", "f"), 1, "Error: f: Permission denied"),
    (OutOfMemory("HUD: out of memory; lower it"), 1, "Error: HUD: out of memory; lower it"),
    (TooLarge("load_scene: a.mat needs 9 GB"), 1, "Error: load_scene: a.mat needs 9 GB"),
    (MemoryError(), 1, "Error: not enough memory"),
    (KeyError("k"), 1, "Error: KeyError: 'k' (this is a fault of hud-fast"),
    (SystemExit(3), 3, ""),
]


@pytest.mark.parametrize(("error", "code", "text"), ENDS)
def test_every_end_has_a_code_and_a_line(error: BaseException, code: int, text: str) -> None:
    found, line = explain(error, ["run", "x"])
    assert found == code
    assert text in line
    assert "\n" not in line


def test_only_some_commands_go_on() -> None:
    assert explain(KeyboardInterrupt(), ["metrics"])[1] == "Interrupted."


def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    old: Any = sys.stdout
    monkeypatch.setattr(sys, "stdout", old)
    assert explain(BrokenPipeError(), ["info"]) == (0, "")
    sys.stdout.close()


def test_libraries_are_told_before_they_are_loaded() -> None:
    """What they read once: nothing that a command needs has been imported when it is set."""
    code = (
        "import os, sys, hud_fast.cli as cli; assert not {'numpy', 'torch'} & set(sys.modules);"
        "cli.main(['--help']); assert os.environ['GOMP_SPINCOUNT'] == '7';"
        " assert os.environ['OPENBLAS_NUM_THREADS'] == '1'"
    )
    kept = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    environment = {**kept, "GOMP_SPINCOUNT": "7"}  # what is set stays
    subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, check=True, capture_output=True
    )

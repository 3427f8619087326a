"""What the user sees: one line a stage, a progress bar with the time left, errors in one line.

At a terminal, stages that report progress get a bar. Elsewhere (a log file, a pipe) the same stages
give plain lines: one when a stage begins, one every half minute, one when it ends. Results go to
standard output, progress and errors to standard error, so that output can be piped.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import typer

from hud_fast._limits import available_cores, limit_memory
from hud_fast._text import printable
from hud_fast._torchrun import announced
from hud_fast.cli.together import together
from hud_fast.pipeline.errors import InputError, one_line
from hud_fast.pipeline.progress import Progress, Reporter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

# Not exported by typer itself, and at home in another package from version to version.
ClickException: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)
STOPPED = 130  # exit code after Ctrl-C, as of a shell
# What libraries read when they are loaded, so that their threads do not wait long for one that another program has set
# aside: torch's looks for work this many times before it sleeps, NumPy's products are one thread's.
BESIDE_OTHERS = {"GOMP_SPINCOUNT": "1000", "OPENBLAS_NUM_THREADS": "1"}
RESUMABLE = (
    "run",
    "fit",
    "evaluate",
    "compare",
    "augment",
)  # commands that go on where they stopped

LINE_EVERY = 30.0  # seconds between lines where there is no terminal
TABLE_WIDTH = 160  # columns of a table that goes to a file
RECENT = 4  # lines over which the speed is taken: the machine may get busier


class PlainReporter(Reporter):
    """Plain lines, for log files and pipes."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock

    def say(self, text: str) -> None:
        print(_clean(text), file=self.stream, flush=True)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        start = last = self.clock()
        seen: deque[tuple[float, int]] = deque(maxlen=RECENT)

        def progress(done: int, total: int) -> None:
            nonlocal last
            now = self.clock()
            if not seen:
                seen.append((start, done))  # a resumed stage does not begin at 0
            if now - last < LINE_EVERY or total <= 0:
                return
            last = now
            before, there = seen[0]
            left = ""
            if done > there:
                left = f", about {_time((now - before) * (total - done) / (done - there))} left"
            seen.append((now, done))
            self.say(f"{name}: {100 * done // total} %{left}")

        self.say(f"{name} ...")
        yield progress
        self.say(f"{name}: done in {_time(self.clock() - start)}")


class RichReporter(Reporter):
    """A progress bar with the time left, replaced by one line when the stage ends."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        self.console.print(_clean(text), highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        from rich import progress as rich_progress

        start = time.monotonic()
        bar = rich_progress.Progress(
            rich_progress.SpinnerColumn(),
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.TaskProgressColumn(),
            rich_progress.TextColumn("{task.fields[left]}"),
            rich_progress.TimeRemainingColumn(compact=True),
            rich_progress.TextColumn("so far"),
            rich_progress.TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        task = bar.add_task(_clean(name), total=None, left="")
        begun = False

        def progress(done: int, total: int) -> None:
            nonlocal begun
            if not begun:  # a resumed stage begins at `done`: that was not fast, it was earlier
                bar.reset(task, completed=done, total=total, left="time left")
                begun = True
            bar.update(task, completed=done, total=total)

        with bar:
            yield progress
        self.say(f"{name}: done in {_time(time.monotonic() - start)}")


def reporter() -> Reporter:
    """Return the reporter that suits standard error: bars at a terminal, lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    return RichReporter(console) if console.is_terminal else PlainReporter(sys.stderr)


def say(text: str) -> None:
    """Print a result."""
    print(_clean(text), flush=True)


def say_numbers(metrics: Mapping[str, Any]) -> None:
    """Print the key numbers, one a line, each with what it means and what real data give."""
    from hud_fast.report.realism import realism_line
    from hud_fast.report.words import key_numbers

    for number in key_numbers(metrics):
        beside = ", ".join(f"{label} {value}" for label, value in number.references)
        say(f"{number.name + ':':<28}{number.value}" + (f"   ({beside})" if beside else ""))
    realism = metrics.get("realism")
    if realism:
        say(f"{'Told from real (AUC):':<28}{realism_line(realism)}")
    for note in [*(metrics.get("notes") or []), *(realism or {}).get("notes", [])]:
        say(f"Note: {note}")


def literal(text: str) -> Text:
    """Words of a table that came from outside: "[bold]" in a scene's name is no markup, and "[/]" no error of it."""
    from rich.text import Text

    return Text(_clean(text))


def show(*tables: Table) -> None:
    """Print tables, as wide as they need where no terminal sets the width."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=TABLE_WIDTH)
    for table in tables:
        console.print(table)


def prepare(device: str, threads: int | None) -> str | None:
    """Set threads, quieten libraries, and return the device as ``HUD`` takes it.

    Raises
    ------
    InputError
        A GPU is asked for and there is none.
    """
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    import torch

    # more than that would only wait for one another
    torch.set_num_threads(threads or min(torch.get_num_threads(), available_cores()))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here; use --device cpu or auto")
    return None if device == "auto" else device


def guard(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run `app`; turn every way in which it can end into an exit code and one line for people."""
    for name, value in BESIDE_OTHERS.items():
        os.environ.setdefault(name, value)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    full = "--traceback" in arguments
    arguments = [word for word in arguments if word != "--traceback"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a letter that it cannot show must not end the work
            stream.reconfigure(errors="replace")
    try:
        several = announced()
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        return 2
    if several:
        return together(lambda: _attempt(app, arguments, full), _command(arguments))
    try:
        with _told_by_signals():
            code, text = _attempt(app, arguments, full)
    finally:
        limit_memory(None)  # of a command, not of the process that may call the next one
    if text:
        print(text if full else _clean(text), file=sys.stderr, flush=True)
    return code


class Stopped(BaseException):
    """The system, a batch queue or a closed terminal asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def _told_by_signals() -> Iterator[None]:
    """`Stopped` for the signals that would end the process without a word; one that is ignored (nohup) stays so."""

    def stop(number: int, _: object) -> None:
        raise Stopped(number)

    found = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    ours = [one for one in found if one is not None and signal.getsignal(one) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        ours = []  # Python lets only the main one set them
    for one in ours:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one in ours:
            signal.signal(one, signal.SIG_DFL)


def _attempt(app: typer.Typer, arguments: list[str], full: bool) -> tuple[int, str]:
    """The exit code of `app`, and the line that tells why it is not 0; with `full`, errors come as they are."""
    with warnings.catch_warnings():
        # Libraries' warnings are for programmers; ours are for users and come as a note.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"hud_fast(\.|$)")
        warnings.showwarning = _note
        try:
            code = app(args=arguments, prog_name="hud-fast", standalone_mode=False)
            if code == STOPPED:  # typer catches Ctrl-C itself, from some version on
                raise KeyboardInterrupt
            return (code if isinstance(code, int) else 0), ""
        except BaseException as error:
            if full and not isinstance(error, SystemExit):
                raise
            return explain(error, arguments)


def _command(arguments: list[str]) -> str:
    return next((word for word in arguments if not word.startswith("-")), "")


def explain(error: BaseException, arguments: list[str]) -> tuple[int, str]:
    """Return the exit code for an error and the line that tells it.

    Examples
    --------
    >>> explain(ValueError("vca: `D` must be at most 3, got 5"), ["unmix"])
    (2, 'Error: vca: `D` must be at most 3, got 5')
    >>> explain(KeyboardInterrupt(), ["run"])[0]
    130
    """
    again = " Give the same command again to go on." if _command(arguments) in RESUMABLE else ""
    match error:
        case SystemExit():
            return (error.code if isinstance(error.code, int) else 0), ""
        case KeyboardInterrupt() | typer.Abort():
            return STOPPED, f"Interrupted.{again}"
        case Stopped():
            return 128 + error.number, f"Stopped by {error}.{again}"  # as of a shell
        case ClickException():
            return _usage(error)
        case ValueError() | TypeError():
            return 2, f"Error: {one_line(error)}"
        case MemoryError():
            from hud_fast.diffusion.memory import OutOfMemory
            from hud_fast.scenes.trust import TooLarge

            if isinstance(error, (OutOfMemory, TooLarge)):  # it names the setting, or the file
                return 1, f"Error: {one_line(error)}"
            return 1, "Error: not enough memory: try a smaller scene, fewer --samples or --size"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return 1, f"Error: {one_line(error)}. Free some space.{again}"
        case BrokenPipeError():  # the reader of our output has left, as `head` does
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  kept open until exit
            return 0, ""
        case OSError() | RuntimeError():
            return 1, f"Error: {one_line(error)}"
        case _:
            kind = type(error).__name__
            return 1, (
                f"Error: {kind}: {one_line(error)} (this is a fault of hud-fast; give the command "
                "again with --traceback and report what it prints)"
            )


def _usage(error: Any) -> tuple[int, str]:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2, ""
    context = getattr(error, "ctx", None)
    where = f"{context.command_path if context else 'hud-fast'} --help"
    text = " ".join(str(error.format_message()).split())
    return int(error.exit_code), f"Error: {text} (see {where})"


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    text = " ".join(str(message).split())
    print(f"Note: {_clean(text)}", file=sys.stderr, flush=True)


def _clean(text: str) -> str:
    """The text, of several lines perhaps, without what would steer the terminal."""
    return "\n".join(map(printable, text.split("\n")))


def _time(seconds: float) -> str:
    from hud_fast.report.machine import time_text

    return time_text(seconds)

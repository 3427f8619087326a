"""What an input may do: end in a result or in one clear error, and touch nothing on the way.

One clear error is an exception of a kind that callers expect, whose text begins with the public function that was
called, names the argument or the file, fits on a screen and is no library's dump (`unclear`). Everything else is a
fault, as are the things that `Guard` watches: memory beyond `ROOM` and `MULTIPLE` times the input's size, files opened
outside of the input's folder, anything written or deleted, code run from a file.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

import hud_fast as hud

SECONDS = 10.0  # of processor time for one input
ROOM = 64 << 20  # bytes that any input may take
MULTIPLE = 1100  # times its size, on top: deflate packs 1,032 bytes into one
CANARY = b"canary canary canary"  # in files that no input may reach
LONGEST = 2000  # characters of an error's text

# What became of an input. The first two are allowed.
RESULT, REFUSED, UNCLEAR, WRONG, MEMORY, OUTSIDE, WRITTEN, CODE, SIGNAL, HANG = OUTCOMES = (
    "a result",
    "one clear error",
    "an unclear error",
    "a wrong result",
    "too much memory",
    "a file outside opened",
    "a file written or deleted",
    "code of a file run",
    "a signal",
    "a hang",
)
ALLOWED = (RESULT, REFUSED)

EXPECTED = (ValueError, TypeError, OSError, RuntimeError, MemoryError)
DUMP = re.compile(
    r"Traceback|enforce fail|allow_pickle|INTERNAL ASSERT|exception raised from|incompatible function"
)
ADDRESS = re.compile(
    r"\bat 0x[0-9a-f]{5,}"
)  # of an object that a library made; a caller's own may be shown
READER = "hdf5_child.py"  # the process of the package in which libhdf5 reads
EVENTS = """
os.remove os.rename os.rmdir os.link os.symlink os.truncate os.chmod os.chown os.utime shutil.rmtree
pickle.find_class os.system os.exec os.posix_spawn os.fork subprocess.Popen socket.connect ctypes.dlopen
"""
CHANGES, RUNS = (frozenset(line.split()) for line in EVENTS.strip().splitlines())


class Wrong(Exception):
    """A result that cannot be right."""


def unclear(error: BaseException, words: tuple[str, ...], *, file: bool) -> str | None:
    """Why an error is not one clear error; None where it is one."""
    text = str(error)
    function, colon, rest = text.partition(": ")
    if not isinstance(error, EXPECTED) or isinstance(error, UnicodeError):
        return "of another kind"
    if not colon or not (function == "Preset" or hasattr(hud, function.split(".")[0])):
        return "does not begin with the function's name"
    if "`" not in rest and not any(word in rest for word in words):
        return "names neither argument nor file"
    if len(text) > LONGEST:
        return f"{len(text)} characters"
    if dump := DUMP.search(text) or (file and ADDRESS.search(text)):
        return f"a dump: {dump.group()}"
    if not all(c.isprintable() or c == "\n" for c in text):
        return "control characters"
    return None


def place(error: BaseException) -> str:
    """The innermost line of the package that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/hud_fast/" in f.filename] or frames[-1:]
    return f"{ours[-1].filename.rpartition('/hud_fast/')[2]}:{ours[-1].lineno}" if ours else ""


def out_of_memory(error: BaseException | None) -> bool:
    """Whether lack of memory is what an error, or the one behind it, tells of."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


class Guard:
    """Runs inputs in this process and watches them; made once, in a process that is there for nothing else."""

    def __init__(self, folder: Path, outside: Path, room: int = ROOM) -> None:
        self.folder, self.room = str(folder), room
        self.seen: tuple[str, str] | None = None
        self.armed = False
        self.watch_canaries(outside)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        sys.addaudithook(self._hear)

    def run(
        self, call: Callable[[], object], words: tuple[str, ...], size: int | None = None
    ) -> tuple[str, str, str]:
        """What became of one input: the outcome, why, and the line of the package.

        An error must have one of `words`, names of arguments or files; `size` is that of the files, where there are.
        """
        self.seen = None
        before = listing(self.folder)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + self.room + MULTIPLE * (size or 0), hard))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        self.armed = True
        try:
            call()
            found = RESULT, "", ""
        except Wrong as error:
            found = WRONG, str(error), ""
        except Exception as error:
            self.armed = False
            found = self._judge(error, words, size is not None)
        self.armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        if self.seen is None and self.canary_opened():
            self.seen = OUTSIDE, "a canary"
        if self.seen is None and listing(self.folder) != before:
            self.seen = WRITTEN, "the input's folder has changed"
        return (*self.seen, found[2]) if self.seen else found

    def _judge(self, error: Exception, words: tuple[str, ...], file: bool) -> tuple[str, str, str]:
        why = unclear(error, words, file=file)
        behind = error.__cause__ or error.__context__
        if out_of_memory(error if why else behind if file else None):
            return MEMORY, f"{type(error).__name__}: {error}"[:300], place(error)
        if why:
            return UNCLEAR, f"{why}: {type(error).__name__}: {error}"[:300], place(error)
        return REFUSED, "", ""

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.armed or self.seen is not None:
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, (str, bytes)):
                return
            name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
            if name == os.devnull:
                return
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.seen = WRITTEN, f"open for writing: {name}"
            elif not name.startswith((self.folder, "/proc/", "/sys/fs/cgroup/", *OWN)):
                self.seen = OUTSIDE, name
        elif event in CHANGES:
            self.seen = WRITTEN, f"{event} {arguments[:1]}"
        elif event in RUNS and not (event == "subprocess.Popen" and READER in str(arguments[1])):
            self.seen = CODE, f"{event} {arguments[:2]}"

    def watch_canaries(self, outside: Path) -> None:
        """The libraries open files from C, unseen by Python: the kernel watches a folder of canaries."""
        libc = ctypes.CDLL(None, use_errno=True)
        self.canaries = libc.inotify_init1(os.O_NONBLOCK)
        libc.inotify_add_watch(self.canaries, os.fsencode(outside), 0x20)  # IN_OPEN

    def canary_opened(self) -> bool:
        try:
            return bool(os.read(self.canaries, 4096))
        except BlockingIOError:
            return False


def listing(folder: str) -> list[tuple[str, int, int]]:
    """Every file below a folder, with its size and time."""
    found = []
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            found += listing(entry.path)
        stat = entry.stat(follow_symlinks=False)
        found.append((entry.path, stat.st_size, stat.st_mtime_ns))
    return sorted(found)


# Modules that are imported on first use.
OWN = (sys.base_prefix, *(str(Path(m.__file__).parents[1]) for m in (hud, torch)))

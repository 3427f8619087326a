"""The command line in several processes: one voice, one exit code, nobody left waiting.

Every process keeps quiet but the first. At the end each leaves word in the store where they met: the others end with
the first one's exit code, after it has spoken (torchrun ends all of them as soon as one has failed). A failure of
another process alone, which breaks what the first one waits for, is told by that process.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hud_fast._torchrun import told

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

EVERYWHERE = ("run", "fit", "sample", "evaluate")  # commands that all processes work on
LOOK = 0.05  # seconds between two looks at the store
ALONE = 20.0  # seconds after which a process that failed takes it that no other one did
LEAVING = 20.0  # seconds that the first one waits for the others to have read its exit code

Work = Callable[[], tuple[int, str]]


def together(work: Work, command: str) -> int:
    """Run `work`, which returns an exit code and a line for people, in all processes; return the code of all."""
    from hud_fast.diffusion import processes

    first = told("RANK") == 0
    try:
        store = processes.meet()
        shared = command in EVERYWHERE
        with processes.starting(store) if shared else contextlib.nullcontext():
            code, text = _outcome(work, first) if first or shared else (0, "")
            return _agree(store, code, text)
    except (RuntimeError, ValueError) as error:  # they did not meet, or a process died
        if first:
            _say(f"Error: {' '.join(str(error).split())}")
        return 1


def _outcome(work: Work, first: bool) -> tuple[int, str]:
    try:
        with contextlib.nullcontext() if first else _silence():
            return work()
    except BaseException:  # --traceback
        return 1, traceback.format_exc()


def _agree(store: Store, code: int, text: str) -> int:
    """The exit code of all processes, once the one that has to say why has said it."""
    from hud_fast.diffusion import processes

    rank, count = told("RANK"), told("WORLD_SIZE")
    if rank == 0:
        if code and store.check(["failed"]):
            code = int(store.get("failed"))  # what broke here was another one's failure
        elif text:
            _say(text)
        store.set("code", str(code))
        if code:
            processes.leave()  # others that wait for us in an exchange learn it now
        _wait(store, [f"left {other}" for other in range(1, count)], LEAVING)
        return code
    if _wait(store, ["code"], ALONE if code else None):
        code = int(store.get("code"))
    else:
        store.set("failed", str(code))
        _say(f"Process {rank} of {count}: {text}")
    store.set(f"left {rank}", "")
    return code


def _wait(store: Store, keys: list[str], seconds: float | None) -> bool:
    """Whether all of `keys` came in time. Looks again and again: a wait in the store would not hear Ctrl-C."""
    end = None if seconds is None else time.monotonic() + seconds
    while not store.check(keys):
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(LOOK)
    return True


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

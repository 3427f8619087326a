"""Several processes as one: torchrun starts N copies of the program, each does its share, the first one speaks.

Inside `starting` the processes form a group; outside of it, and in a program that runs alone, every function here does
the obvious thing for one process. All processes must come to the same calls in the same order.

    torchrun --nproc-per-node=2 -m hud_fast fit SCENE --out DIR

or, in a script that torchrun starts,

    with processes.starting():
        model = HUD.fit(scene)                             # all train, all have the model
        cubes = model.sample(64)                           # all sample, the first has the cubes
        processes.by_first(model.save)("model/")

Objects travel between CPUs (gloo), also where GPUs reduce their gradients (NCCL). They are pickled: they come
from processes of the same program.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Store, rendezvous  # type: ignore[attr-defined]

from hud_fast._torchrun import announced, told

P = ParamSpec("P")
T = TypeVar("T")

MEETING = timedelta(minutes=10)  # until all processes have come
# The others wait while the first writes or measures. One that dies ends the others through torchrun, not through this.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Group:
    """The processes that work together."""

    rank: int
    count: int
    cpu: dist.ProcessGroup | None  # carries CPU tensors; None: the default group does
    gpus_for_all: bool  # whether each process of this machine can have a GPU for itself


class LostProcess(RuntimeError):
    """Another process has ended in the middle of the work."""


_group: Group | None = None
_first_only = (
    False  # in what the first process does for all: the others are not there for an exchange
)


def rank() -> int:
    """Number of this process, 0 for the first; 0 outside of `starting`."""
    return 0 if _group is None else _group.rank


def count() -> int:
    """How many processes work together; 1 outside of `starting`."""
    return 1 if _group is None else _group.count


def is_first() -> bool:
    """Whether this process prints and writes."""
    return rank() == 0


def meet() -> Store:
    """Where the processes that torchrun started leave words for one another; all of them must come.

    Raises
    ------
    ValueError
        A variable of torchrun's that is not a number.
    RuntimeError
        The first process cannot be reached.
    """
    places = rendezvous("env://", told("RANK"), told("WORLD_SIZE"), timeout=MEETING)
    store: Store = next(places)[0]
    return store


@contextlib.contextmanager
def starting(store: Store | None = None) -> Iterator[None]:
    """Form the group for the block: the one that torchrun announced, or torch's default group if there is one.

    CPUs talk through gloo, GPUs through NCCL; process i of a machine takes its GPU i. One process, or a second call
    inside the first, changes nothing.

    Parameters
    ----------
    store : Store, optional
        From `meet`, where they have met already.

    Raises
    ------
    ValueError
        A variable of torchrun's that is not a number.
    RuntimeError
        The other processes did not come.

    Examples
    --------
    >>> with starting():
    ...     rank(), count(), on_first(lambda: "read once")
    (0, 1, 'read once')
    """
    global _group
    ours = not (dist.is_available() and dist.is_initialized())
    if _group is not None or (ours and not announced()):
        yield
        return
    _group = _formed(store or meet()) if ours else _joined()
    try:
        yield
    finally:
        if ours:
            leave()
        _group = None


def leave() -> None:
    """Close this process's connections to the others: whoever waits for it gets an error."""
    global _group
    _group = None
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _formed(store: Store) -> Group:
    number, total = told("RANK"), told("WORLD_SIZE")
    local, here = told("LOCAL_RANK", number), told("LOCAL_WORLD_SIZE", total)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    enough = gpus >= here  # else only the CPU is of use
    if enough:
        torch.cuda.set_device(local)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if enough else "gloo",
        store=store,
        rank=number,
        world_size=total,
        timeout=PATIENCE,
    )
    return Group(number, total, None, gpus_for_all=enough)


def _joined() -> Group:
    """Of a default group that the caller made: it may carry no CPU tensors."""
    cpu = dist.new_group(backend="gloo", timeout=PATIENCE)
    return Group(dist.get_rank(), dist.get_world_size(), cpu, gpus_for_all=True)


def check_device(caller: str, device: torch.device) -> None:
    """RuntimeError unless every process can have `device` for itself."""
    if _group is None or device.type == "cpu":
        return
    if not _group.gpus_for_all:
        raise RuntimeError(
            f"{caller}: `device` must be cpu where processes are more than GPUs, got {device} with "
            f"{torch.cuda.device_count()} GPUs: use --device cpu, or start fewer processes"
        )
    if device.index not in (None, torch.cuda.current_device()):
        raise RuntimeError(
            f"{caller}: `device` must be cuda, this process's own GPU, where there are several "
            f"processes, got {device}"
        )


def by_first(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate `function` to run in the first process; its result, or what it raised, is everybody's.

    Where one such function calls another, the first process is there already.

    Examples
    --------
    >>> @by_first
    ... def read(path):
    ...     return f"what is in {path}"
    >>> read("notes.txt")
    'what is in notes.txt'
    """

    @functools.wraps(function)
    def shared(*args: P.args, **kwargs: P.kwargs) -> T:
        return on_first(functools.partial(function, *args, **kwargs))

    return shared


def on_first(function: Callable[[], T]) -> T:
    """Run `function` as `by_first` does.

    Examples
    --------
    >>> on_first(lambda: 1 + 1)
    2
    """
    global _first_only
    if _group is None or _first_only:
        return function()
    result: Any = None
    failure: Exception | None = None
    message = [b""]
    if _group.rank == 0:
        _first_only = True
        try:
            result = function()
            message = [pickle.dumps((result, None))]
        except Exception as error:
            failure = error
            message = [pickle.dumps((None, _portable(error)))]
        finally:
            _first_only = False
    with _exchange():
        dist.broadcast_object_list(message, 0, group=_group.cpu, device=torch.device("cpu"))
    if _group.rank != 0:
        result, failure = pickle.loads(message[0])
    if failure is not None:
        raise failure
    answer: T = result
    return answer


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """What gloo raises where another process is gone, as `LostProcess`. Its text depends on how that one went."""
    try:
        yield
    except RuntimeError as error:
        if type(error) is not RuntimeError:  # a GPU's, or NCCL's: they say more themselves
            raise
        raise LostProcess(
            "another process has ended in the middle of the work (killed, or out of memory?)"
        ) from error


def _portable(error: Exception) -> Exception:
    """`error`, or what of it can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def mean(tensor: Tensor) -> Tensor:
    """The mean of a floating-point tensor over the processes, in place, with the same bits in all of them.

    Examples
    --------
    >>> mean(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    if _group is not None:
        group = _group.cpu if tensor.device.type == "cpu" else None
        with _exchange():
            dist.all_reduce(tensor, group=group)
        tensor /= _group.count
    return tensor


def everybodys(mine: T) -> list[T]:
    """What each process has, in the order of their ranks, for all of them; also in a default group without `starting`.

    In what `on_first` runs, the first process is alone.

    Examples
    --------
    >>> everybodys("mine")
    ['mine']
    """
    together = dist.is_available() and dist.is_initialized()
    if _first_only or not together:
        return [mine]
    gathered: list[Any] = [None] * dist.get_world_size()
    with _exchange():
        dist.all_gather_object(gathered, mine, group=None if _group is None else _group.cpu)
    return gathered


def in_turn(mine: Iterator[T]) -> Iterator[T]:
    """Items made by all processes in turn, for the first one; the others help and get nothing.

    Item k is the next of process ``k % count()``. They are made at the same time, one a process, so that is what is in
    memory. What one process raises while it makes its item, all raise.

    Parameters
    ----------
    mine : iterator
        This process's items, never None; on the CPU.

    Examples
    --------
    >>> list(in_turn(iter("abc")))
    ['a', 'b', 'c']
    """
    if _group is None:
        yield from mine
        return
    more = True
    while more:
        items, more = _round(lambda: next(mine, None))
        try:
            yield from (item for item in items if item is not None)
        except BaseException:
            if more:  # closed before the end: the others must not wait for a round that never comes
                with contextlib.suppress(Exception):
                    _round(lambda: None)
            raise


def _round(make: Callable[[], T | None]) -> tuple[list[T | None], bool]:
    """One item of each process, at the first; whether there may be more."""
    assert _group is not None
    made: tuple[T | None, Exception | None]
    try:
        made = make(), None
    except Exception as error:
        made = None, _portable(error)
    gathered: list[Any] | None = [None] * _group.count if _group.rank == 0 else None
    with _exchange():
        dist.gather_object(made, gathered, 0, group=_group.cpu)

    def verdict() -> bool:
        for number, (_, failure) in enumerate(gathered or []):
            if failure is not None:
                failure.add_note(f"in process {number}")
                raise failure
        return all(item is not None for item, _ in gathered or [])

    more = on_first(verdict)
    return [item for item, _ in gathered or []], more

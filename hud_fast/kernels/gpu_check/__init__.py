"""Which GPU kernels this very machine has proved: each operation against the CPU's float64 answer, in a child process.

Kernels run by themselves where, and only where, a check on this card with this driver, torch, Triton and build has
found them right: `verdict` keeps what was found, `asking` and `child` are the two processes, `examine` looks at one
operation, `cases` and `searches` say what is asked of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

from hud_fast.kernels._backend import GPU_KERNELS, REGISTERED
from hud_fast.kernels.gpu_check import verdict
from hud_fast.kernels.gpu_check.asking import ask
from hud_fast.kernels.gpu_check.verdict import GPUCheck, Operation

__all__ = ["OPERATIONS", "GPUCheck", "Operation", "check_gpu", "ensure", "known", "needed"]

# Safest first: no reduction; reductions in one tile; certified; a wrong answer would be silent; the whole in a graph.
OPERATIONS = (
    "normal_noise",
    "q_sample",
    "sampler_step",
    "sampler_step_at",
    "log_project",
    "log_standardize",
    "simplex_softmax",
    "standardized_softmax",
    "softmax_decode",
    "fcls",
    "cosine_max",
    "window_search",
    "graphs",
)
Progress = Callable[[int, int], None]


def check_gpu(
    device: str | torch.device | None = None,
    *,
    again: bool = False,
    progress: Progress | None = None,
    each: Callable[[GPUCheck], None] | None = None,
) -> GPUCheck:
    """Ask a GPU whether each kernel gives the CPU's float64 answer there, and keep the verdict; about half a minute.

    Sizes with tails, starts off an access's boundary, several dtypes, outputs that were poisoned and fenced before,
    three runs equal to the bit, graphs captured and replayed; in a child process with a time limit for each operation,
    so that an illegal address or a hang costs that process alone. From then on proven operations use the kernels and
    the others torch, in this process and in those to come on this card with this driver, torch, Triton and build.

    Parameters
    ----------
    device : str or torch.device, optional
        The GPU; None takes the current one.
    again : bool
        Make the check even where there is a verdict on file.
    progress : callable, optional
        Called as progress(operations done, operations in all).
    each : callable, optional
        Called with the verdict so far after each operation, where a check is made.

    Returns
    -------
    GPUCheck
        card, driver, torch, triton, build, and for each operation whether it is proven, or why not; `table()` is text.

    Raises
    ------
    RuntimeError
        Where torch sees no GPU.
    ValueError
        For a device that is no GPU.

    Examples
    --------
    >>> import torch, hud_fast as hud
    >>> if torch.cuda.is_available():
    ...     print(hud.check_gpu().table())
    """
    chosen = _gpu(device)
    key = verdict.key_of(chosen.index)
    found = None if again else verdict.on_file(key)
    if found is not None:
        return found
    with verdict.alone(key):
        found = None if again else verdict.on_file(key)  # another process may have made it by now
        return _make(chosen, key, progress, each) if found is None else found


def needed(device: str | torch.device | None) -> bool:
    """Whether `ensure` would make a check: a GPU that has no verdict on file, and no HUD_FAST_GPU_KERNELS."""
    if os.environ.get(GPU_KERNELS) or not torch.cuda.is_available():
        return False
    if device is not None and torch.device(device).type != "cuda":
        return False
    try:
        return verdict.on_file(verdict.key_of(_gpu(device).index)) is None
    except Exception:  # a card that cannot even be named: nothing to ask it
        return False


def ensure(
    device: str | torch.device | None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Make the check where it is `needed`; whatever comes of it, nothing is raised.

    Parameters
    ----------
    device : str or torch.device or None
        Where the work will be done; None is the GPU where there is one.
    progress : callable, optional
        Called as progress(operations done, operations in all) while the check is made.
    say : callable, optional
        Told in one line what was proven and what stays with torch, if a check was made.
    """
    if not needed(device):
        return
    try:
        line = check_gpu(device, progress=progress).line()
    except Exception as error:  # torch can do without: a check must not cost anybody their run
        line = f"GPU kernels: the check could not be made ({error}); torch does all"
    if say is not None:
        say(line)


def known() -> list[GPUCheck]:
    """The verdicts on file for this machine's GPUs, one for each kind of card."""
    keys = dict.fromkeys(verdict.key_of(number) for number in range(torch.cuda.device_count()))
    found = (verdict.on_file(key) for key in keys)
    return [check for check in found if check is not None]


def _gpu(device: str | torch.device | None) -> torch.device:
    """The GPU meant, with its number."""
    if not torch.cuda.is_available():
        raise RuntimeError("check_gpu: torch sees no GPU here")
    chosen = torch.device("cuda" if device is None else device)
    if chosen.type != "cuda":
        raise ValueError(f"check_gpu: `device` must be a GPU, as 'cuda' or 'cuda:1', got {device}")
    return torch.device("cuda", torch.cuda.current_device()) if chosen.index is None else chosen


def _make(
    device: torch.device,
    key: tuple[str, ...],
    progress: Progress | None,
    each: Callable[[GPUCheck], None] | None,
) -> GPUCheck:
    found: dict[str, Operation] = {}
    lasting = True
    if progress is not None:
        progress(0, len(OPERATIONS))
    for answer in ask(str(device), OPERATIONS):
        known = REGISTERED.get(answer.operation)
        backend = answer.operation if known is None else known.on_gpu
        found[answer.operation] = Operation(
            backend, not answer.why, answer.why, round(answer.seconds, 3)
        )
        lasting = lasting and answer.lasting
        if progress is not None:
            progress(len(found), len(OPERATIONS))
        if each is not None:
            each(_so_far(key, found))
    check = _so_far(key, found)
    verdict.keep(check, lasting=lasting)
    return check


def _so_far(key: tuple[str, ...], found: dict[str, Operation]) -> GPUCheck:
    card, driver, version, triton, build = key
    return GPUCheck(card, driver, version, triton, build, dict(found))

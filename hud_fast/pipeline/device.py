"""Where a job's work is done, and what goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hud_fast.pipeline.progress import Reporter

if TYPE_CHECKING:
    import torch

ROOM = 4  # times the arrays themselves: what a search makes of them


def chosen_device(
    caller: str, device: str | torch.device | None, reporter: Reporter | None = None
) -> torch.device:
    """The device meant by `device`; None is the GPU where there is one.

    With a `reporter`, a GPU that has never been asked is now asked which kernels it can run: half a minute, once.
    """
    from hud_fast.diffusion.checks import available_device
    from hud_fast.kernels import gpu_check

    where = available_device(caller, device)
    if reporter is not None and gpu_check.needed(where):
        said: list[str] = []
        with reporter.stage("Checking the GPU's kernels, once for this machine") as progress:
            gpu_check.ensure(where, progress, said.append)
        for line in said:
            reporter.say(f"  {line}")
    return where


def to_measure(device: torch.device, *arrays: Any) -> tuple[Any, ...]:
    """Arrays where they are measured: as tensors on a GPU that has room, else as they are.

    Examples
    --------
    >>> import numpy as np, torch
    >>> to_measure(torch.device("cpu"), np.ones(2))
    (array([1., 1.]),)
    """
    import torch

    if device.type == "cpu":
        return arrays
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if ROOM * sum(array.nbytes for array in arrays) > free:
            return arrays
    return tuple(torch.as_tensor(array).to(device) for array in arrays)

"""Where a job's work is done, and what goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROOM = 4  # times the arrays themselves: what a search makes of them


def chosen_device(caller: str, device: str | torch.device | None) -> torch.device:
    """The device meant by `device`; None is the GPU where there is one."""
    from hud_fast.diffusion.checks import available_device

    return available_device(caller, device)


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

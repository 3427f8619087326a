"""Checks of plain arguments, with the error texts of the public face."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch

from hud_fast._checks import check_count, check_pair
from hud_fast.diffusion import processes
from hud_fast.diffusion.presets import PRECISIONS

whole = check_count


def available_device(caller: str, device: str | torch.device | None) -> torch.device:
    """The device meant by `device`; None is the GPU where there is one."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
    except TypeError as error:
        raise TypeError(
            f"{caller}: `device` must be a torch device, got {type(device).__name__}"
        ) from error
    except RuntimeError as error:
        raise RuntimeError(f"{caller}: `device` must be a torch device, got {device!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise RuntimeError(f"{caller}: `device` must be cpu or cuda, got {device}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            f"{caller}: `device` must be available, got {device} but torch sees no GPU"
        )
    processes.check_device(caller, device)
    return device


def check_precision(caller: str, value: Any) -> Literal["float32", "bfloat16"]:
    """`value` if it names a precision of the network."""
    if not (isinstance(value, str) and value in PRECISIONS):
        raise ValueError(
            f"{caller}: `precision` must be one of {', '.join(PRECISIONS)}, got {value!r}"
        )
    return cast(Literal["float32", "bfloat16"], value)


def window_size(
    caller: str, size: int | tuple[int, int] | None, default: int, least: int
) -> tuple[int, int]:
    """Rows and columns of a sample."""
    return check_pair(caller, "size", default if size is None else size, least=least)

"""Checks of plain arguments, with the error texts of the public face."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from hud_fast.diffusion import processes
from hud_fast.diffusion.presets import PRECISIONS


def whole(caller: str, argument: str, value: Any, *, least: int, most: int | None = None) -> int:
    """`value` as a plain int between `least` and `most`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{caller}: `{argument}` must be an int, got {type(value).__name__}")
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{caller}: `{argument}` must be {limits}, got {value}")
    return int(value)


def available_device(caller: str, device: str | torch.device | None) -> torch.device:
    """The device meant by `device`; None is the GPU where there is one."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
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
    if value not in PRECISIONS:
        raise ValueError(
            f"{caller}: `precision` must be one of {', '.join(PRECISIONS)}, got {value!r}"
        )
    return value  # type: ignore[no-any-return]


def window_size(
    caller: str, size: int | tuple[int, int] | None, default: int, least: int
) -> tuple[int, int]:
    """Rows and columns of a sample."""
    pair = (default, default) if size is None else size
    pair = (pair, pair) if isinstance(pair, (int, np.integer)) else pair
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{caller}: `size` must be an int or a pair (rows, columns), got {size!r}")
    rows, columns = (whole(caller, "size", value, least=least) for value in pair)
    return rows, columns

"""What torchrun tells each of the processes that it starts, without importing torch."""

from __future__ import annotations

import os

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def announced() -> bool:
    """Whether torchrun, or another starter that sets its variables, started several processes.

    Raises
    ------
    ValueError
        WORLD_SIZE is not a number.
    """
    if any(not os.environ.get(name) for name in VARIABLES):
        return False
    return told("WORLD_SIZE") > 1


def told(name: str, default: int | None = None) -> int:
    """The number in a variable of torchrun's; `default` where it is not set."""
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError:
        raise ValueError(f"torchrun: {name} must be a whole number, got {text!r}") from None

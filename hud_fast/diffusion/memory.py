"""Out of memory, said in words: which setting to lower."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


class OutOfMemory(MemoryError):
    """A device's lack of memory; the message ends with the setting to lower."""


@contextlib.contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turn any device's lack of memory into an `OutOfMemory` that ends with `advice`.

    Examples
    --------
    >>> with enough_memory("take a smaller cake"):
    ...     raise torch.OutOfMemoryError("CUDA out of memory")
    Traceback (most recent call last):
    ...
    hud_fast.diffusion.memory.OutOfMemory: HUD: out of memory; take a smaller cake
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # on a CPU torch says it with a plain RuntimeError
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not known and "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(f"HUD: out of memory; {advice}") from error

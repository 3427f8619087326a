"""A few answers of a GPU's search against all candidates in float64, in plain torch on its device.

A candidate wrongly pruned would be a silent fault. So the first answers of a prepared search are looked at, and again
each time `EVERY_*` more have been given: each look reads one word back from the device; its cost stands beside it.
"""

from __future__ import annotations


def spread(count: int, wanted: int, turn: int) -> list[int]:
    """Up to `wanted` places among `count`, evenly apart, others for another `turn`."""
    step = max(1, count // wanted)
    return [(turn * 7919 + k * step) % count for k in range(min(count, wanted))]

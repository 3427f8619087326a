"""One search in a process of its own: prints the bytes it held beyond its input and output.

``python -m hud_fast.bench.peak QUERIES LIMIT`` (LIMIT in bytes, 0 for none).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

P, C, D = 50_000, 103, 9


def peak() -> int:
    """Most bytes that this process has held.

    Linux's own count: `getrusage` begins with what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    from hud_fast.report.machine import peak_memory

    return peak_memory()["cpu"]


def main(count: int, limit: int) -> int:
    """Search once; return the bytes."""
    from hud_fast.kernels import cosine_max

    rng = np.random.default_rng(0)
    endmembers = rng.random((D, C), dtype=np.float32)
    # Written in place, a few rows at a time: a peak before the search would hide the search's own.
    reference, query = np.empty((P, C), np.float32), np.empty((count, C), np.float32)
    for rows in (reference, query):
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096]
            shares = rng.random((len(part), D), dtype=np.float32) ** 4
            np.matmul(shares, endmembers, out=part)
    cosine_max(query[:16], reference[:64])  # libraries loaded, threads started
    before = peak()
    options: Any = {"memory_limit": limit} if limit else {}
    value, index = cosine_max(query, reference, **options)
    return max(0, peak() - before - value.nbytes - index.nbytes)


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2])))

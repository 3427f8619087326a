"""Running a test on every instruction-set level and backend this machine has, and asserting which one ran.

A process tests the CPU kernels, or with HUD_FAST_TEST_BACKEND=triton in the environment the Triton kernels: they are
then the default, and the same tests run on them. With TRITON_INTERPRET=1 that needs no GPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from hud_fast.kernels import get_isa, isa_levels, set_isa

TESTED = os.environ.get("HUD_FAST_TEST_BACKEND", "cpu")
if TESTED == "cpu":
    LEVELS = isa_levels()
    PATHS = [*(("cpu", level) for level in LEVELS), ("torch", "")]
else:
    os.environ["HUD_FAST_BACKEND"] = TESTED
    LEVELS = [""]
    PATHS = [(TESTED, "")]
SLOW = TESTED != "cpu"  # the interpreter is: gradients along random directions only, fewer draws
every_backend = pytest.mark.parametrize("backend", sorted({path[0] for path in PATHS}))
cpu_only = pytest.mark.skipif(
    TESTED != "cpu", reason="about the CPU kernels' ways and instructions"
)
every_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: "-".join(filter(None, path)))
every_level = pytest.mark.parametrize("level", LEVELS)


@contextlib.contextmanager
def running(level: str) -> Iterator[None]:
    """Force an instruction-set level inside a with block; "" leaves it."""
    before = get_isa()
    if level:
        set_isa(level)
    try:
        yield
        assert not level or get_isa() == level
    finally:
        set_isa(before)

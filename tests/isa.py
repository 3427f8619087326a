"""Running a test on every instruction-set level and backend this machine has, and asserting which one ran."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from hud_fast.kernels import get_isa, isa_levels, set_isa

PATHS = [("cpu", level) for level in isa_levels()] + [("torch", "")]
every_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: "-".join(filter(None, path)))
every_level = pytest.mark.parametrize("level", isa_levels())


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

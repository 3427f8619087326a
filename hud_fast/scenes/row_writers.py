"""ENVI images whose rows come some at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_path
from hud_fast.scenes import values as values_
from hud_fast.scenes import writers
from hud_fast.scenes.scene import Scene


@contextlib.contextmanager
def writing_envi_rows(
    path: Path,
    facts: Scene,
    shape: tuple[int, int, int],
) -> Iterator[Callable[[slice, NDArray[Any]], None]]:
    """Write a header and float32 numbers beside it, pixel by pixel (BIP); both appear when the block ends well.

    Yields ``put(rows, values)``, which takes the (n, W, D) values of the next rows. `facts` says where the image lies
    and what its bands are called; `shape` is that of all rows.
    """
    options = writers.Options(np.dtype(np.float32), "", "bip", "little", "")
    ignore = values_.default_ignore_value(options.dtype)
    fields = writers.envi_fields(facts, options, ignore)
    fields |= {"lines": shape[0], "samples": shape[1], "bands": shape[2]}
    with atomic_path(path) as header, atomic_path(path.with_suffix(".img")) as data:
        writers.write_header(header, fields)
        with data.open("wb") as file:

            def put(rows: slice, values: NDArray[Any]) -> None:
                del rows  # they come in turn
                known = np.where(np.isnan(values), np.float32(ignore), values)
                file.write(np.ascontiguousarray(known, dtype="<f4").data)

            yield put
        if data.stat().st_size != 4 * int(np.prod(shape)):
            raise RuntimeError(f"{path.name}: not all of {shape[0]} rows were written")

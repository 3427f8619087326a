"""Stacks of cubes in files of named arrays (.mat, .npz): all of one at once. `tables` reads single cubes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed, printable
from hud_fast.scenes import mat, numpy_files, tables, trust


def read_stack(path: Path, variable: str | None = None) -> NDArray[np.float32] | None:
    """The stack of cubes that a .mat or .npz file holds, (B, h, w, C); None where it holds none, or another is named.

    Without the bands that a list beside it calls bad.

    Raises
    ------
    OSError
        A broken file.
    ValueError
        Several that may be meant.
    TypeError
        Values that are no real numbers.
    """
    trust.check_regular(path)
    with trust.whole(path):
        file: mat.VariableFile = (
            mat.open_mat(path) if path.suffix.lower() == ".mat" else numpy_files.Npz(path)
        )
        if isinstance(file, numpy_files.Npz) and file.is_ours:
            return None
        if variable is None:
            found = tables.stacks(file)
            single = tables.candidates(file, None, None) if found else []
            if len(found) + len(single) > 1:
                raise ValueError(
                    f"load_scene: `variable` must name what is meant, {path} holds several: "
                    f"{listed([*found, *single])}; got None"
                )
            if not found:
                return None
            variable = found[0]
        if len(file.shapes.get(variable, ())) != 4:
            return None
        values = file.read(variable)
        if values.dtype.kind not in "fiu":
            raise TypeError(
                f"load_scene: `variable` {printable(variable, 60)} must hold real numbers, got {values.dtype} in {path}"
            )
        good = tables.good_bands(file, variable, values.shape[-1])
    return np.ascontiguousarray(values if good is None else values[..., good], np.float32)

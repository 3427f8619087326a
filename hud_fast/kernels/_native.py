"""The compiled module ``hud_fast._C``: loaded once, with an error that says what to do where it is missing."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch

from hud_fast._limits import available_cores

try:
    from hud_fast import _C as _module
except ImportError as error:
    if importlib.util.find_spec("hud_fast._C") is not None:
        raise ImportError(
            f"hud_fast._C is built but cannot be loaded ({error}). Where a library or memory is missing, provide it; "
            "else run `pip install .` in the project's root, with the Python and torch that are to use it."
        ) from error
    raise ImportError(
        "hud_fast._C is not built: you are importing the source tree, or the build failed. Run "
        "`pip install .` in the project's root, and run tests with `pytest`, not `python -m pytest`."
    ) from error

C: Any = _module
C.limit_threads(available_cores())

# A forked child has none of its parent's threads, and torch's operations, of which the package makes use, would wait
# for them for ever. So it works with one, as the workers of torch's DataLoader do.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def isa_levels() -> list[str]:
    """Instruction-set levels that this build and this processor have, from the plainest to the widest."""
    return list(C.isa_levels())


def get_isa() -> str:
    """The level that runs now."""
    return str(C.isa())


def set_isa(name: str) -> None:
    """Choose the instruction-set level of all CPU kernels in this process.

    Parameters
    ----------
    name : {"baseline", "avx2", "avx512"}
        One of `isa_levels()`. The default is the widest; the environment variable ``HUD_FAST_ISA`` sets it at import.

    Raises
    ------
    ValueError
        Where the build or the processor does not have that level.

    Examples
    --------
    >>> from hud_fast import set_isa
    >>> set_isa("baseline")
    """
    levels = isa_levels()
    if not isinstance(name, str) or name not in levels:
        raise ValueError(
            f"set_isa: `name` must be one of {', '.join(levels)} on this machine, got {name!r}"
        )
    C.set_isa(name)


def build_config() -> dict[str, Any]:
    """What was compiled in, and what runs.

    Returns
    -------
    dict
        ``isa`` (active level), ``isa_levels``, ``compiler``, ``cuda`` (toolkit version
        or None), ``cuda_architectures``.

    Examples
    --------
    >>> from hud_fast import build_config
    >>> "baseline" in build_config()["isa_levels"]
    True
    """
    return {
        "isa": get_isa(),
        "isa_levels": isa_levels(),
        "compiler": C.compiler,
        "cuda": C.cuda_version or None,
        "cuda_architectures": C.cuda_architectures or None,
    }


_wanted = os.environ.get("HUD_FAST_ISA")
if _wanted:
    if _wanted not in isa_levels():
        raise ImportError(
            f"HUD_FAST_ISA must be one of {', '.join(isa_levels())} on this machine, got {_wanted!r}"
        )
    C.set_isa(_wanted)

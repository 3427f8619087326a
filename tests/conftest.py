"""Fixtures shared by the whole suite: where the real scenes lie, and how hypothesis runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Small arrays on a shared machine: one thread is several times faster than two that wait for each other. Tests of
# threading set their own count.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

pytest_plugins = ["gpu_session"]

settings.register_profile(
    "suite",
    deadline=None,  # shared machines: a slow example is not a failure
    max_examples=int(os.environ.get("HUD_FAST_EXAMPLES", "25")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def interpreted_loops() -> Iterator[None]:
    """Triton's interpreter counts loops with NumPy 2.4 and later, too.

    Before 3.7 it asks for the int of an array of one value, which only arrays without an axis have since.
    """
    from hud_fast.kernels._backend import interpreting

    if not interpreting():
        yield
        return
    from triton.runtime import interpreter

    patched = interpreter._patch_lang_tensor

    def patch_tensor(tensor: Any, scope: Any) -> None:
        patched(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_lang_tensor", patch_tensor)
        yield


@pytest.fixture(scope="session", autouse=True)
def few_trial_blocks() -> Iterator[None]:
    """Patches weighed by two trial blocks: most trainings here are there for something else."""
    from hud_fast.diffusion import patch_weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_weights, "ROUNDS", 1)
        patch.setattr(patch_weights, "TRIALS", 2)
        patch.setattr(patch_weights, "STEERING_TRIALS", 2)
        yield


DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_data_dir() -> Path | None:
    """The folder of real scenes (HUD_FAST_DATA, else ../shared/data), or None where there is none."""
    folder = Path(os.environ.get("HUD_FAST_DATA", DEFAULT_DATA))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    folder = real_data_dir()
    if folder is None:
        pytest.skip("no real scenes here: set HUD_FAST_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def indian_pines(data_dir: Path) -> NDArray[np.float32]:
    """The Indian Pines cube, (145, 145, 200) float32, raw sensor counts."""
    from scipy.io import loadmat

    cube = loadmat(data_dir / "indian_pines" / "Indian_pines_corrected.mat")
    return cube["indian_pines_corrected"].astype(np.float32)

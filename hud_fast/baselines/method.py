"""What a method of a comparison is: HUD and its rivals alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hud_fast.baselines.training import Progress
from hud_fast.baselines.windows import Scaling
from hud_fast.scenes import Scene


class Method(Protocol):
    """A class whose objects are models of one scene."""

    name: ClassVar[str]  # in commands and folders
    title: ClassVar[str]  # in tables
    source: ClassVar[str]
    generates: ClassVar[bool]  # False: reconstructs training windows

    @classmethod
    def fit(
        cls,
        scene: Scene,
        *,
        budget: str = ...,
        seed: int = ...,
        device: Any = ...,
        scaling: Scaling | None = ...,
        settings: Mapping[str, Any] | None = ...,
        checkpoint_dir: str | os.PathLike[str] | None = ...,
        resume: bool = ...,
        progress: Progress | None = ...,
    ) -> Self: ...

    def sample(
        self, n: int, *, seed: int = ..., first: int = ..., progress: Progress | None = ...
    ) -> NDArray[np.float32]: ...

    def summary(self) -> dict[str, Any]: ...

    def save(self, folder: str | os.PathLike[str]) -> None: ...

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: Any = ...) -> Self: ...

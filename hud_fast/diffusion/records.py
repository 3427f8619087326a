"""What a saved folder says, read as if a stranger had written it: each value of its kind and in its range.

A checksum tells damage, not intent: who writes a folder by hand computes it, too. So nothing is built that is larger
than what the files hold, and no value comes through that would make samples of NaN.
"""

from __future__ import annotations

import math
import operator
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._text import printable
from hud_fast.diffusion.checkpoint import DamagedFileError
from hud_fast.diffusion.network import Denoiser
from hud_fast.diffusion.presets import PRESETS, Preset
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.schedule import NoiseSchedule

MOST_TIMES = (
    100_000  # of the diffusion: a table of so many numbers is made, where the paper has 1000
)


LARGEST = 1e6  # of weights and of a latent space's statistics: far beyond are none, and sums of them overflow


class Record:
    """Named values of a folder; each method gives one, or raises `DamagedFileError` naming it.

    Examples
    --------
    >>> Record("HUD.load", Path("m"), {"D": 3}).whole("D", least=4)
    Traceback (most recent call last):
    ...
    hud_fast.diffusion.checkpoint.DamagedFileError: HUD.load: m is damaged (`D` must be a whole number from 4, got 3)
    """

    def __init__(self, caller: str, folder: Path, values: Any) -> None:
        self.caller, self.folder, self.values = caller, folder, values

    def damaged(self, why: object) -> DamagedFileError:
        """The error to raise."""
        return DamagedFileError(f"{self.caller}: {self.folder} is damaged ({printable(why, 400)})")

    def _take(self, name: str, kinds: tuple[type, ...], good: Any, must: str) -> Any:
        value = self.values.get(name)
        # True is no number here
        if isinstance(value, bool) and bool not in kinds:
            value = repr(value)
        if not isinstance(value, kinds) or not good(value):
            shown = value if isinstance(value, (int, float, str)) else type(value).__name__
            got = printable(shown, 80) if name in self.values else "nothing"
            raise self.damaged(f"`{name}` must be {must}, got {got}")
        return value

    def whole(self, name: str, *, least: int = 0, most: int | None = None) -> int:
        """A whole number in a range."""
        span = f"from {least}" + ("" if most is None else f" to {most}")
        top = math.inf if most is None else most
        value: int = self._take(name, (int,), lambda v: least <= v <= top, f"a whole number {span}")
        return value

    def positive(self, name: str) -> float:
        """A finite number above 0."""
        must = "a positive number"
        return float(self._take(name, (int, float), lambda v: 0 < v <= sys.float_info.max, must))

    def text(self, name: str, among: tuple[str, ...] = ()) -> str:
        """A text, of those in `among` where they are given."""
        must = f"one of {', '.join(among)}" if among else "a text"
        value: str = self._take(name, (str,), lambda v: not among or v in among, must)
        return value

    def flag(self, name: str) -> bool:
        """True or False."""
        value: bool = self._take(name, (bool,), lambda _: True, "true or false")
        return value

    def part(self, name: str) -> Record:
        """Values inside the values."""
        return Record(
            self.caller, self.folder, self._take(name, (dict,), lambda _: True, "a record")
        )

    def wholes(self, name: str, count: int, most: int) -> tuple[int, ...]:
        """So many whole numbers from 0 to `most`."""

        def good(values: list[Any]) -> bool:
            return len(values) == count and all(
                type(value) is int and 0 <= value <= most for value in values
            )

        must = f"{count} whole numbers from 0 to {most}"
        return tuple(self._take(name, (list,), good, must))

    def texts(self, name: str) -> tuple[str, ...]:
        """Any number of texts."""
        must = "a list of texts"
        return tuple(
            self._take(name, (list,), lambda v: all(isinstance(one, str) for one in v), must)
        )

    def numbers(self, name: str) -> dict[str, float]:
        """Numbers, or nothing, by name."""
        return dict(self._take(name, (dict,), _is_numbers, "numbers by name"))

    def history(self, name: str) -> list[dict[str, float]]:
        """A training's entries: step, loss and seconds at least."""

        def good(entries: list[Any]) -> bool:
            needed = {"step", "loss", "seconds"}
            return all(_is_numbers(one) and one.keys() >= needed for one in entries)

        return list(self._take(name, (list,), good, "a list of step, loss and seconds"))

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        most: float | None = None,
    ) -> Tensor:
        """A tensor of finite numbers, none beyond `most`; -1 in `shape` is any length from 1."""
        value = self._tensor(name, shape, dtype)
        if not bool(value.isfinite().all()):
            raise self.damaged(f"`{name}` must be finite, got NaN or infinity")
        if most is not None and bool((value.abs() > most).any()):
            raise self.damaged(f"`{name}` must be at most {most:g}, got more")
        return value

    def maps(self, name: str, D: int) -> Tensor:  # (H, W, D)
        """Abundance maps: a pixel is finite or, masked, NaN; some are finite."""
        value = self._tensor(name, (-1, -1, D), torch.float32)
        kept = value.isfinite().all(dim=-1)
        if not bool(kept.any()) or not bool(value[~kept].isnan().all()):
            raise self.damaged(f"`{name}` must be finite, or NaN in masked pixels")
        return value

    def whole_map(
        self, name: str, size: tuple[int, ...], among: tuple[int, ...]
    ) -> NDArray[np.int32]:
        """A map of 0 and of the numbers in `among`."""
        value = self._tensor(name, size, torch.int32).numpy()
        if not np.isin(value, (0, *among)).all():
            raise self.damaged(f"`{name}` must hold 0 and the classes' numbers, got others")
        return value

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        def good(value: Tensor) -> bool:
            fits = len(value.shape) == len(shape) and all(
                n == m or (m == -1 and n > 0) for n, m in zip(value.shape, shape, strict=True)
            )
            return fits and value.dtype == dtype

        sides = ", ".join("any" if n == -1 else str(n) for n in shape)
        value: Tensor = self._take(name, (Tensor,), good, f"{dtype} of shape ({sides})")
        return value

    def preset(self, name: str) -> Preset:
        """A preset whose values have the kinds and ranges that a preset has."""
        values = self.part(name).values
        like = PRESETS["tiny"].to_dict()
        known = {field.name for field in fields(Preset)}
        for key, value in values.items():
            if key in known and not _like(value, like[key]):
                raise self.damaged(
                    f"`{name}.{key}` is of the wrong kind or not finite: {value!r:.80}"
                )
        try:
            preset = Preset.from_dict(values)
            if preset.T > MOST_TIMES:
                raise ValueError(f"`{name}.T` must be at most {MOST_TIMES}, got {preset.T}")
            NoiseSchedule.of(preset)
        except (TypeError, ValueError) as error:
            raise self.damaged(error) from error
        return preset

    def weights(
        self, preset: Preset, D: int, *, K: int = 0, buffers: bool, where: str
    ) -> dict[str, Tensor]:
        """The values as weights of the network of `preset`, once that is known to be no larger than they are."""
        given: dict[str, Tensor] = self.values
        widest = max((max(value.shape, default=0) for value in given.values()), default=0)
        blocks = preset.layers * len(preset.widths)
        if blocks <= len(given) and max(D + K, *preset.widths) <= widest:
            with torch.device("meta"):  # shapes without memory
                network = Denoiser(preset, D, Prior.normal(D + K), K=K)
            wanted = network.state_dict() if buffers else dict(network.named_parameters())
            shapes = ({k: v.shape for k, v in tensors.items()} for tensors in (given, wanted))
            if operator.eq(*shapes) and all(v.is_floating_point() for v in given.values()):
                if all(bool((value.abs() <= LARGEST).all()) for value in given.values()):
                    return given
                raise self.damaged(f"{where} holds NaN or a number beyond {LARGEST:g}")
        raise self.damaged(f"{where} is of another network")


def _is_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        one is None or (isinstance(one, (int, float)) and not isinstance(one, bool))
        for one in value.values()
    )


def _like(value: Any, like: Any) -> bool:
    if isinstance(like, list):
        return isinstance(value, list) and all(_like(one, like[0]) for one in value)
    if isinstance(like, float):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and math.isfinite(value)
    return type(value) is type(like)

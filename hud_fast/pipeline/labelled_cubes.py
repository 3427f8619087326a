"""Generated cubes with their class maps as a torch Dataset: made when they are asked for, or read from a written set.

It plugs into a DataLoader, and so into Lightning; its samples have torchgeo's keys.
"""

from __future__ import annotations

import json
import operator
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hud_fast._files import user_path
from hud_fast.pipeline.cubes import ARRAY, CLASSES, MAPS

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD

Pair: TypeAlias = tuple[NDArray[np.float32], NDArray[np.integer[Any]]]  # (h, w, C), (h, w)
Sample: TypeAlias = dict[str, Tensor]
Transform: TypeAlias = Callable[[Sample], Sample]

NO_CLASS = "no class"
AHEAD = 32  # samples made at once, at most, where they are asked for in turn
KEPT = 1 << 26  # bytes of samples made ahead
FAR = (
    1 << 40
)  # between the numbers of samples that ask for one class and those that ask for the next


class LabelledCubes(Dataset[Any]):
    """Pairs of a generated cube and its class map.

    Item i depends on the model, `seed` and i only (and on `size`, `classes` and `balanced`): on a CPU to the bit,
    whatever the order, the batches and the number of workers. Nothing is stored. Items that are asked for in turn, or
    in one batch, are made together; in any other order each is made alone, which takes longer: where a set is gone
    through many times, write it (``hud-fast sample``) and take `from_folder`.

    Parameters
    ----------
    model : HUD or path
        That was fit with labels; or the folder of one, or of a run. A model on a GPU needs ``num_workers=0``.
    length : int
        Number of items.
    seed : int
        Of the samples.
    size : int or (h, w), optional
        In pixels; default the training window's.
    classes : mapping or sequence, optional
        As in ``HUD.sample``: classes, by name or number, that the samples are to hold, with their shares. A model
        without a network weighs its patches for them now, which takes seconds for each.
    balanced : bool
        Ask for one class after the other, of all, or of a sequence of `classes`: item i for the i-th, and so on.
    transform : callable, optional
        Takes a sample and returns it changed.
    residuals : bool
        As in ``HUD.sample``, which leaves them out by default: spectra as the sensor would see them.
    as_tuple : bool
        Items are (image, mask) in place of a dictionary.

    Attributes
    ----------
    classes : tuple of str
        Names of what masks hold: of 0, no class, and of 1 to K. K + 1 outputs of a network.
    numbers : tuple of int
        The same as the user's label map has them.
    ignore_index : int
        0: what losses are to leave out, such as ``torch.nn.CrossEntropyLoss(ignore_index=0)``.
    wavelengths : (C,) float32 tensor or None
        In nm.

    Raises
    ------
    TypeError, ValueError
        A model without classes; an argument of the wrong type or out of its range.

    Examples
    --------
    >>> import hud_fast as hud
    >>> scene = hud.simulate_scene(24, 24, C=12, D=3, seed=0)
    >>> labels = np.zeros((24, 24), int)
    >>> labels[:4], labels[-4:] = 1, 3
    >>> model = hud.HUD.fit(scene, endmembers=3, preset="instant", labels=labels, label_names=("soil", "", "reed"))
    >>> pairs = hud.LabelledCubes(model, 100, size=16)
    >>> pairs.classes, pairs.numbers
    (('no class', 'soil', 'reed'), (0, 1, 3))
    >>> sample = pairs[7]
    >>> sample["image"].shape, sample["mask"].shape, sample["mask"].dtype
    (torch.Size([12, 16, 16]), torch.Size([16, 16]), torch.int64)
    """

    ignore_index = 0

    def __init__(
        self,
        model: HUD | str | os.PathLike[str],
        length: int,
        seed: int = 0,
        size: int | tuple[int, int] | None = None,
        classes: Mapping[Any, float | None] | Sequence[str | int] | None = None,
        balanced: bool = False,
        transform: Transform | None = None,
        *,
        residuals: bool = True,
        as_tuple: bool = False,
    ) -> None:
        source = _Drawn.of(model, length, seed, size, classes, balanced, residuals)
        known, where = source.model.classes, source.model.wavelengths
        assert known is not None
        names = dict(zip(known.numbers, known.names, strict=True))
        self._set(source, names, where, transform, as_tuple)

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        transform: Transform | None = None,
        *,
        wavelengths: Any = None,  # (C,) nm
        as_tuple: bool = False,
    ) -> LabelledCubes:
        """The pairs of a set that ``hud-fast sample`` or ``run`` wrote, memory-mapped; values as in the scene's file.

        Raises
        ------
        FileNotFoundError
            If the folder is none of a set with class maps.
        ValueError
            If its arrays do not go together.
        """
        source = _Stored.of(user_path(path))
        made = cls.__new__(cls)
        made._set(source, source.names, wavelengths, transform, as_tuple)
        return made

    def _set(
        self,
        source: _Source,
        names: Mapping[int, str],
        wavelengths: Any,
        transform: Transform | None,
        as_tuple: bool,
    ) -> None:
        if transform is not None and not callable(transform):
            raise TypeError(
                f"LabelledCubes: `transform` must be callable, got {type(transform).__name__}"
            )
        self._source, self._transform, self._as_tuple = source, transform, as_tuple
        self.numbers = (0, *sorted(names))
        self.classes = (NO_CLASS, *(names[number] for number in sorted(names)))
        self.wavelengths = (
            None if wavelengths is None else torch.as_tensor(np.array(wavelengths, np.float32))
        )
        self._place = np.full(max(self.numbers) + 1, -1, np.int64)
        self._place[list(self.numbers)] = np.arange(len(self.numbers))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several items at once, as DataLoaders ask for a batch of them."""
        whole = [self._checked(index) for index in indices]
        return [
            self._sample(*pair, index)
            for pair, index in zip(self._source.take(whole), whole, strict=True)
        ]

    def _checked(self, index: Any) -> int:
        number, count = operator.index(index), len(self)
        if not -count <= number < count:
            raise IndexError(f"LabelledCubes: `index` must be below {count}, got {number}")
        return number % count

    def _sample(self, cube: NDArray[np.float32], labels: NDArray[Any], index: int) -> Any:
        known = labels <= max(self.numbers)
        mask = self._place[np.where(known, labels, 0)]
        if not known.all() or mask.min() < 0:
            raise ValueError(
                f"LabelledCubes: the map of item {index} must hold the classes {self.numbers}, got "
                f"{sorted({*np.unique(labels).tolist()} - {*self.numbers})}"
            )
        image = torch.from_numpy(np.array(cube.transpose(2, 0, 1), np.float32, order="C"))
        sample = {"image": image, "mask": torch.from_numpy(mask)}
        if self.wavelengths is not None:
            sample["wavelengths"] = self.wavelengths
        if self._transform is not None:
            sample = self._transform(sample)
        return (sample["image"], sample["mask"]) if self._as_tuple else sample


class _Source(Protocol):
    """Where pairs come from."""

    def __len__(self) -> int: ...
    def take(self, indices: Sequence[int]) -> list[Pair]: ...


@dataclass(eq=False)
class _Drawn:
    """Samples of a model."""

    model: HUD
    length: int
    seed: int
    size: int | tuple[int, int] | None
    asked: tuple[Any, ...]  # what item i asks for, each in turn
    ahead: int
    residuals: bool
    _kept: OrderedDict[int, Pair] = field(default_factory=OrderedDict, repr=False)
    _last: int = -1
    _streak: int = 0  # how many came in turn up to the last

    @classmethod
    def of(
        cls,
        model: Any,
        length: Any,
        seed: int,
        size: Any,
        classes: Any,
        balanced: bool,
        residuals: bool,
    ) -> _Drawn:
        from hud_fast.diffusion import HUD
        from hud_fast.diffusion.choices import Sampling
        from hud_fast.diffusion.network import SMALLEST

        if isinstance(model, (str, os.PathLike)):
            folder = user_path(model)
            inner = folder / "model"
            model = HUD.load(inner if inner.is_dir() else folder, device="cpu")
        if not isinstance(model, HUD):
            raise TypeError(
                f"LabelledCubes: `model` must be a HUD or a folder of one, got {type(model).__name__}"
            )
        if model.classes is None:
            raise ValueError(
                "LabelledCubes: `model` must be one with classes, fit it with labels, got one without"
            )
        if isinstance(length, bool) or not hasattr(length, "__index__"):
            raise TypeError(f"LabelledCubes: `length` must be a whole number, got {length!r:.60}")
        if not 1 <= operator.index(length) <= FAR:
            raise ValueError(f"LabelledCubes: `length` must be from 1 to 2**40, got {length}")
        if balanced and isinstance(classes, Mapping):
            raise ValueError(
                "LabelledCubes: `classes` must be a sequence or None where the set is `balanced`, got shares"
            )
        asked: tuple[Any, ...] = (classes,) if classes else (True,)
        if balanced:
            asked = tuple({one: None} for one in classes or model.classes.numbers)
        for one in asked:
            how: dict[str, Any] = {"classes": one}
            h, w = Sampling.of(model, 1, seed=seed, size=size, residuals=residuals, **how).size
            if one is not True and model.network is None:  # patches are weighed once
                model.sample(1, size=SMALLEST, **how)
        return cls(
            model,
            operator.index(length),
            seed,
            size,
            asked,
            max(1, min(AHEAD, KEPT // (4 * h * w * model.C))),
            residuals,
        )

    def __len__(self) -> int:
        return self.length

    def take(self, indices: Sequence[int]) -> list[Pair]:
        if not indices:
            return []
        wanted, first = set(indices) - self._kept.keys(), indices[0]
        self._streak = self._streak + 1 if len(indices) == 1 and first == self._last + 1 else 0
        self._last = indices[-1]
        if wanted and self._streak:  # the longer they come in turn, the more are made
            stop = min(first + min(2 * self._streak, self.ahead), self.length)
            wanted = set(range(first, stop)) - self._kept.keys()
        made = self._made(sorted(wanted))
        found = [made[i] if i in made else self._kept[i] for i in indices]
        self._kept.update(made)
        while len(self._kept) > self.ahead:
            self._kept.popitem(last=False)
        return found

    def _made(self, indices: Sequence[int]) -> dict[int, Pair]:
        """Samples of these numbers, those that follow each other in one go."""
        found: dict[int, Pair] = {}
        turns = len(self.asked)
        for turn, asked in enumerate(self.asked):
            mine = [i for i in indices if i % turns == turn]
            while mine:
                count = next(
                    (n for n in range(1, len(mine)) if mine[n] != mine[n - 1] + turns), len(mine)
                )
                run, mine = mine[:count], mine[count:]
                found.update(zip(run, self._run(turn, run[0] // turns, count, asked), strict=True))
        return found

    def _run(self, turn: int, first: int, count: int, asked: Any) -> list[Pair]:
        how: dict[str, Any] = {
            "classes": asked,
            "first": turn * FAR + first,
            "residuals": self.residuals,
        }
        made: Any = self.model.sample(count, seed=self.seed, size=self.size, **how)
        cubes, maps = made
        return list(zip(cubes, maps, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": OrderedDict(), "_last": -1, "_streak": 0}


@dataclass(eq=False)
class _Stored:
    """A written set."""

    folder: Path
    names: dict[int, str]
    _arrays: tuple[NDArray[Any], NDArray[Any]] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, path: Path) -> _Stored:
        places = (path / "generated", path)
        folder = next((one for one in places if (one / MAPS).is_file()), None)
        if folder is None or not (folder / CLASSES).is_file() or not (folder / ARRAY).is_file():
            raise FileNotFoundError(
                f"LabelledCubes.from_folder: `path` must hold {ARRAY}, {MAPS} and {CLASSES}, got {path}"
            )
        try:
            told = json.loads((folder / CLASSES).read_text(encoding="utf-8"))
            names = {int(number): str(name) for number, name in told.items()}
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"LabelledCubes.from_folder: {folder / CLASSES} must name classes by number, got {error}"
            ) from error
        made = cls(folder, names)
        cubes, maps = made.arrays
        if cubes.ndim != 4 or maps.shape != cubes.shape[:3] or not names or min(names) < 1:
            raise ValueError(
                f"LabelledCubes.from_folder: `path` must hold cubes (B, h, w, C), maps (B, h, w) and classes from 1, "
                f"got {cubes.shape}, {maps.shape} and {sorted(names)} in {folder}"
            )
        return made

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Cubes (B, h, w, C) and maps (B, h, w), mapped from their files."""
        if self._arrays is None:
            cubes, maps = (np.load(self.folder / name, mmap_mode="r") for name in (ARRAY, MAPS))
            self._arrays = cubes, maps
        return self._arrays

    def __len__(self) -> int:
        return len(self.arrays[0])

    def take(self, indices: Sequence[int]) -> list[Pair]:
        cubes, maps = self.arrays
        return [(cubes[i], maps[i]) for i in indices]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_arrays": None}  # another process maps them itself

"""Classes of a scene's pixels, as a model holds them: shares that add up to one, like abundances.

A label map says what a few pixels are. `spread_labels` makes of it soft shares of the classes for every pixel, and a
model takes those along: a network as channels of its latent, patches with the pixels that they are made of. A
generated pixel has shares, too; the map of a generated cube says the class that has more than half of the pixel, and
0 where none has.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import check_number
from hud_fast.scenes import Scene
from hud_fast.scenes.checks import labels as checked_labels
from hud_fast.unmixing import spread_labels

MOST_CLASSES = 64  # channels, as of endmembers
HALF = 0.5  # of a pixel: what a class must have more of to be the pixel's
UNSAID = 0.5  # the share of a class that was asked for without one
LARGEST = 65535  # of the numbers in maps


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """The classes that a model knows, and where they are in its scene.

    Attributes
    ----------
    numbers : tuple of int
        As they stand in the label map, increasing.
    names : tuple of str
        One for each of `numbers`.
    labels : (H, W) int32 array
        What was given, 0 = unlabelled.
    shares : Tensor, (H, W, K) float32
        Of all valid pixels, on the simplex; NaN where not valid.

    Examples
    --------
    >>> cube = np.random.default_rng(0).random((6, 6, 3)) + np.arange(1, 7)[:, None, None]
    >>> labels = np.zeros((6, 6), int)
    >>> labels[0, 0], labels[5, 5] = 2, 7
    >>> found = ClassMaps.of(Scene(cube), labels, ("water", "corn"))
    >>> found.numbers, found.names
    ((2, 7), ('corn', 'class 7'))
    >>> shares, told = found.wanted("HUD.sample", {"corn": 0.3})
    >>> shares.tolist(), told.tolist()
    ([0.30000001192092896, 0.0], [True, False])
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int32]  # (H, W)
    shares: Tensor  # (H, W, K)

    @property
    def K(self) -> int:
        """Number of classes."""
        return len(self.numbers)

    @property
    def dtype(self) -> torch.dtype:
        """Of maps."""
        return torch.uint8 if self.numbers[-1] < 256 else torch.int32

    @classmethod
    def of(
        cls,
        scene: Scene,
        labels: Any,  # (H, W)
        label_names: Sequence[str] | None = None,  # of the numbers 1, 2, ...
        *,
        caller: str = "HUD.fit",
        device: torch.device | None = None,
    ) -> ClassMaps:
        """The classes of a scene, spread from the pixels that `labels` marks.

        Raises
        ------
        TypeError, ValueError
            What `spread_labels` says of labels; names that are no sequence of texts, or more classes than
            `MOST_CLASSES`.
        """
        if label_names is not None and (
            isinstance(label_names, str)
            or not isinstance(label_names, Sequence)
            or not all(isinstance(name, str) for name in label_names)
        ):
            raise TypeError(
                f"{caller}: `label_names` must be a sequence of texts, got {label_names!r:.80}"
            )
        try:
            shares = spread_labels(scene, labels)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("spread_labels:", f"{caller}:", 1)) from error
        given = checked_labels(caller, labels, (scene.H, scene.W))
        assert given is not None
        valid = np.isfinite(shares[..., 0])
        known = np.where(valid, given, 0)
        numbers = tuple(int(k) for k in np.unique(known[known > 0]))
        if len(numbers) > MOST_CLASSES or numbers[-1] > LARGEST:
            raise ValueError(
                f"{caller}: `labels` must hold at most {MOST_CLASSES} classes with numbers up to {LARGEST}, "
                f"got {len(numbers)} up to {numbers[-1]}"
            )
        names = label_names or ()
        return cls(
            numbers,
            tuple(names[k - 1] if k <= len(names) else f"class {k}" for k in numbers),
            known.astype(np.int32),
            torch.from_numpy(shares).to(device),
        )

    def to(self, device: torch.device) -> ClassMaps:
        """The same on a device."""
        return ClassMaps(self.numbers, self.names, self.labels, self.shares.to(device))

    def counts(self) -> dict[str, int]:
        """How many pixels of each class were labelled."""
        each = zip(self.numbers, self.names, strict=True)
        return {name: int((self.labels == number).sum()) for number, name in each}

    def certainty(self) -> Tensor:  # (H, W)
        """From 0, where every class is as likely, to 1, where one is certain; 0 where a pixel is not valid."""
        shares = self.shares.nan_to_num()
        doubt = -torch.special.xlogy(shares, shares).sum(dim=-1) / math.log(max(2, self.K))
        known = self.shares.isfinite().all(dim=-1)
        return torch.where(known, (1 - doubt).clamp(0, 1), 0.0)

    def wanted(
        self, caller: str, classes: Mapping[Any, Any] | Sequence[Any]
    ) -> tuple[Tensor, Tensor]:  # (K,) float32, (K,) bool
        """What is asked of a sample: the share of each class, and which were named.

        Raises
        ------
        TypeError, ValueError
            A class that there is not; a share that is no number in (0, 1]; shares that add up to more than one.
        """
        if isinstance(classes, str) or not isinstance(classes, (Mapping, Sequence)):
            raise TypeError(
                f"{caller}: `classes` must be True, or name classes with their shares such as "
                f"{{{self.names[0]!r}: 0.3}}, got {classes!r:.80}"
            )
        each = classes.items() if isinstance(classes, Mapping) else ((one, None) for one in classes)
        asked = list(each)
        if not asked:
            raise ValueError(f"{caller}: `classes` must name a class, got none")
        shares, told = torch.zeros(self.K), torch.zeros(self.K, dtype=torch.bool)
        for name, value in asked:
            k = self.index(caller, name)
            if isinstance(value, (bool, np.bool_)):
                raise TypeError(
                    f"{caller}: `classes` must give {name!r} a share as a number, got {value!r}"
                )
            share = UNSAID / len(asked) if value is None else check_number(caller, "classes", value)
            if not 0 < share <= 1:
                raise ValueError(
                    f"{caller}: `classes` must give {name!r} a share above 0 and at most 1, got {value}"
                )
            if told[k]:
                raise ValueError(
                    f"{caller}: `classes` must name each class once, got {name!r} twice"
                )
            shares[k], told[k] = share, True
        if float(shares.double().sum()) > 1 + 1e-6:
            raise ValueError(
                f"{caller}: `classes` must have shares that add up to 1 at most, got {float(shares.sum()):g}"
            )
        return shares, told

    def index(self, caller: str, name: Any) -> int:
        """Which of the classes a name or number is."""
        if isinstance(name, str):
            if name in self.names:  # some differ in case only
                return self.names.index(name)
            plain = [known.casefold() for known in self.names]
            if name.casefold() in plain:
                return plain.index(name.casefold())
        elif isinstance(name, (int, np.integer)) and not isinstance(name, bool):
            if int(name) in self.numbers:
                return self.numbers.index(int(name))
        else:
            raise TypeError(
                f"{caller}: `classes` must name classes by name or number, got {type(name).__name__}"
            )
        near = difflib.get_close_matches(str(name), self.names, n=1)
        listed = ", ".join(f"{n} ({k})" for n, k in zip(self.names, self.numbers, strict=True))
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{caller}: `classes` must be of {listed}, got {name!r}{meant}")

    def map_of(
        self,
        shares: Tensor,  # (..., K)
    ) -> Tensor:  # (...) uint8, or int32 where numbers are larger
        """The class that has more than half of a pixel; 0 where none has."""
        most, which = shares.max(dim=-1)
        numbers = torch.tensor(self.numbers, dtype=self.dtype, device=shares.device)
        return torch.where(most > HALF, numbers[which], torch.zeros_like(numbers[:1]))

"""Measures that see their data part by part, with the verbs of torchmetrics: update, compute, reset.

A measure keeps states that add up: a sum, parts one after another, or what its own function joins. So the parts of one
process, of several objects (`merge`) and of several processes give what all rows at once give. `compute` gathers the
states of all processes of `hud_fast.diffusion.processes.starting`, or of torch's default group; all of them must call
it, and each gets the value. States of its own stay what they are, so updates may go on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import torch.distributed as dist

T = TypeVar("T")
Reduction = Literal["sum", "cat"] | Callable[[Any, Any], Any]


class Streaming(ABC, Generic[T]):
    """A measure with states that add up.

    A subclass declares `reductions`, adds to its states by `add` in its `update`, and makes its value of them in
    `value`. A state of reduction "cat" is a list.

    Examples
    --------
    >>> import numpy as np
    >>> class Mean(Streaming[float]):
    ...     reductions = {"total": "sum", "count": "sum"}
    ...
    ...     def update(self, values):
    ...         self.add(total=float(values.sum()), count=len(values))
    ...
    ...     def value(self, states):
    ...         return states["total"] / states["count"]
    >>> mean = Mean()
    >>> mean.update(np.array([1.0, 2.0]))
    >>> mean.update(np.array([6.0]))
    >>> mean.compute()
    3.0
    """

    reductions: ClassVar[dict[str, Reduction]]

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all that was seen."""
        self.states: dict[str, Any] = {}

    def add(self, **parts: Any) -> None:
        """Add one part to each of the named states; those of "cat" to its list."""
        self._join(
            {
                name: [part] if self.reductions[name] == "cat" else part
                for name, part in parts.items()
            }
        )

    def _join(self, states: dict[str, Any]) -> None:
        for name, state in states.items():
            reduction = self.reductions[name]
            if name not in self.states:
                self.states[name] = state
            elif callable(reduction):
                self.states[name] = reduction(self.states[name], state)
            else:  # never in place: what was gathered or merged is another object's
                self.states[name] = self.states[name] + state

    def merge(self, other: Self) -> None:
        """Add all that `other`, a measure with the same settings, has seen.

        Raises
        ------
        TypeError
            Another kind of measure.
        ValueError
            Other settings.
        """
        name = f"{type(self).__name__}.merge"
        if type(other) is not type(self):
            raise TypeError(
                f"{name}: `other` must be a {type(self).__name__}, got {type(other).__name__}"
            )
        if other.settings() != self.settings():
            raise ValueError(
                f"{name}: `other` must have the settings {self.settings()}, got {other.settings()}"
            )
        self._join(other.states)

    def settings(self) -> dict[str, Any]:
        """What two measures must have in common to be merged."""
        return {}

    def compute(self) -> T:
        """The value of all that was seen, by all processes.

        Raises
        ------
        ValueError
            Too little was seen.
        """
        own = self.states
        try:
            self.reset()
            for states in _everybodys(own):
                self._join(states)
            for name in self.reductions:
                if name not in self.states:
                    raise ValueError(
                        f"{type(self).__name__}.compute: `{name}` must have been given by update, got nothing"
                    )
            return self.value(self.states)
        finally:
            self.states = own

    @abstractmethod
    def update(self, *args: Any, **kwargs: Any) -> None:
        """See some more."""

    @abstractmethod
    def value(self, states: dict[str, Any]) -> T:
        """The value of the states of all processes."""


def _everybodys(states: dict[str, Any]) -> list[dict[str, Any]]:
    """The states of each process, in the order of their ranks."""
    if not (dist.is_available() and dist.is_initialized()):
        return [states]
    from hud_fast.diffusion import processes  # with all of its room: only where there are several

    return processes.everybodys(states)

"""A GPU that is none: tensors on a device of their own, which holds them in the CPU's memory and notes what leaves it.

Inside `pretended` torch knows the device "card". Whatever is asked of a tensor there is done on the CPU, by the plain
torch implementations of our operations; but as on a GPU no operation takes a tensor from the host beside one from the
card, numpy cannot read what lies there, and every way back is written down: with the bytes that went, and the function
of the package that asked for them.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = "card"
_TRANSFERS = ("aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense")


class OnCard(Tensor):
    """A tensor of the card."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func}: a tensor of the card outlived it")


class Card(TorchDispatchMode):
    """The device, and what left it: bytes by function, in all and at once."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()
        self.largest: Counter[str] = Counter()  # bytes at once
        self.brought = 0  # bytes from the host

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        given = [t for t in tree_flatten((args, options))[0] if isinstance(t, Tensor)]
        mine = [t for t in given if isinstance(t, OnCard)]
        there = bool(mine)
        if options.get("device") is not None:
            there = torch.device(options["device"]).type == NAME
            options["device"] = torch.device("cpu")
        name = func._schema.name
        if name == "aten::copy_":
            there = isinstance(args[0], OnCard)
        self._note(name, there, given, mine)
        if options.pop("pin_memory", None):
            raise AssertionError(f"{func}: the card has no page-locked memory")
        args, options = tree_map(_held, (args, options))
        made = func(*args, **options)
        if name.startswith("aten::") and name.endswith("_") and mine and args[0] is made:
            return given[0]
        return tree_map(_on_card, made) if there else made

    def _note(self, name: str, there: bool, given: list[Tensor], mine: list[OnCard]) -> None:
        if name in _TRANSFERS:
            if mine and (not there or name.endswith("_dense")):
                caller = _caller()
                size = sum(t.nbytes for t in mine)
                self.bytes[caller] += size
                self.largest[caller] = max(self.largest[caller], size)
            elif there and len(mine) < len(given):
                self.brought += sum(t.nbytes for t in given if not isinstance(t, OnCard))
            return
        strangers = [tuple(t.shape) for t in given if not isinstance(t, OnCard) and t.ndim]
        if mine and strangers:
            raise AssertionError(f"{name}: tensors of the host beside the card's: {strangers}")


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnCard) else value


def _on_card(value: Any) -> Any:
    return OnCard(value) if isinstance(value, Tensor) else value


def _caller() -> str:
    """The innermost function of the package on the stack, as "module.function"."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("hud_fast") and frame.f_code.co_name != "to_host":
            return f"{module.removeprefix('hud_fast.')}.{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "a test"


def _register() -> None:
    """Once a process: a name for torch's device of others, with guards that do nothing."""
    from torch.utils import backend_registration

    if torch._C._get_privateuse1_backend_name() != NAME:
        backend_registration._setup_privateuseone_for_python_backend(NAME)


@contextlib.contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[torch.device, Card]]:
    """The card as a device that the package takes."""
    from hud_fast.baselines import baseline
    from hud_fast.diffusion import checks, choices, model

    _register()
    card = torch.device(NAME, 0)
    real = checks.available_device

    def available(caller: str, device: Any) -> torch.device:
        return card if str(device).startswith(NAME) else real(caller, device)

    for module in (checks, choices, model, baseline):
        monkeypatch.setattr(module, "available_device", available)
    # What a GPU does beside its memory: page-locked buffers, and events that nobody waits for.
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.cuda, "Event", lambda **_: MagicMock())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: None)
    # torch.tensor(numbers, device=card) is then seen as what it is: made on the host, and sent
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with Card() as noted:
            yield card, noted
    finally:
        torch._C._set_only_lift_cpu_tensors(before)

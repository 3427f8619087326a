"""One registration: what torch, `can_run` and `check_gpu` must know of an operation is said once, in its own module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import NO_ROOM, out_of_memory
from hud_fast.kernels._backend import REGISTERED, eager, ran, resolve

_LIBRARY = torch.library.Library("hud_fast", "FRAGMENT")

Implementation = Callable[..., Any]


def contiguous_like(first: Tensor, *rest: Any) -> Tensor:
    """What most operations give back: as their first tensor, and contiguous."""
    return torch.empty_like(first, memory_format=torch.contiguous_format)


def contiguous(reference: Callable[..., Tensor]) -> Implementation:
    """A plain reference as an implementation: its result contiguous, as the kernels' are."""

    def run(*args: Any) -> Tensor:
        return reference(*args).contiguous()

    return run


class Op:
    """An operation, as ``torch.ops.hud_fast.NAME`` and to be called: ``OP(tensor, ..., backend=None)``.

    Parameters
    ----------
    schema : str
        As torch.library has it; ``*, str backend=""`` is added. A bare name stays unknown to torch: nothing traces it.
    implementations : dict
        By backend; each takes the schema's arguments in their order, the first a tensor that decides who can run.
        Those in Triton import it where they run.
    fake : callable
        Results without values for arguments without values.
    setup, backward : callable, optional
        The gradient, as `torch.library.register_autograd` has it: `ctx.backend` is set, and gradients left out at the
        end are None.
    on_gpu : str
        What a GPU's tensors get where nobody names a backend and `check_gpu` has proved it there.
    halves : bool
        Whether the CPU kernels take float16 and bfloat16, too.
    traced : bool
        Whether autograd and torch.compile may look into the implementation in torch; else it is a box like the others.
    gradient_of : Op, optional
        The operation whose gradient this is: who can run is asked of that one, and nothing is noted.
    """

    def __init__(
        self,
        schema: str,
        implementations: dict[str, Implementation],
        *,
        fake: Implementation = contiguous_like,
        setup: Implementation | None = None,
        backward: Implementation | None = None,
        on_gpu: str = "torch",
        halves: bool = False,
        traced: bool = True,
        gradient_of: Op | None = None,
    ) -> None:
        self.name, _, arguments = schema.partition("(")
        self.implementations = implementations
        self.on_gpu, self.halves, self.traced = on_gpu, halves, traced
        self._asked = self.name if gradient_of is None else gradient_of.name
        if gradient_of is None:
            REGISTERED[self.name] = self
        self._op: Any = None
        if arguments:
            self._register(schema, fake)
            if setup is not None and backward is not None:
                self._differentiate(setup, backward)

    def __call__(self, *args: Any, backend: str | None = None) -> Any:
        """Run: round the dispatcher where nobody traces and no gradient is wanted, else through torch."""
        chosen = resolve(self.name, backend, args[0])
        try:
            if (chosen == "torch" and self.traced) or self._op is None or eager(*args):
                result = self.implementations[chosen](*args)
                ran(chosen)
                return result
            return self._op(*args, backend=chosen)
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise MemoryError(f"{self.name}: {NO_ROOM}") from error
            raise

    def _kernel(self, *args: Any, backend: str = "") -> Any:
        chosen = resolve(self._asked, backend or None, args[0])
        result = self.implementations[chosen](*args)
        if self._asked == self.name:
            ran(chosen)
        return result

    def _register(self, schema: str, fake: Implementation) -> None:
        _LIBRARY.define(schema.replace(") -> ", ', *, str backend="") -> ', 1))
        for device in ("CPU", "CUDA"):
            _LIBRARY.impl(self.name, self._kernel, device)
        torch.library.register_fake(
            f"hud_fast::{self.name}", lambda *args, **_: fake(*args), lib=_LIBRARY
        )
        self._op = getattr(torch.ops.hud_fast, self.name).default

    def _differentiate(self, setup: Implementation, backward: Implementation) -> None:
        count = len(self._op._schema.arguments) - 1

        def setup_context(
            ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Any
        ) -> None:
            ctx.backend = keyword_only_inputs["backend"]
            setup(ctx, inputs, output)

        def gradients(ctx: Any, *grads: Any) -> tuple[Any, ...]:
            found = backward(ctx, *grads)
            return (*found, *[None] * (count - len(found)))

        torch.library.register_autograd(
            f"hud_fast::{self.name}", gradients, setup_context=setup_context, lib=_LIBRARY
        )

"""Torch as this package takes it to be, whatever the caller has set: for what trains networks and samples them.

A user may be under ``torch.no_grad()`` or ``torch.inference_mode()``, may have set another default dtype or device, or
be under autocast. Trainings need gradients, networks and buffers are float32 made on the CPU. The default dtype is the
process's: it is set only where it is another one, and put back.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator, Iterator
from functools import wraps
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Gradients on, float32, CPU tensors, no autocast.

    Examples
    --------
    >>> import torch
    >>> with torch.no_grad(), plain_torch():
    ...     torch.is_grad_enabled()
    True
    """
    import torch

    dtype = torch.get_default_dtype()
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        yield


def in_plain_torch(function: F) -> F:
    """The function under `plain_torch`; a generator while it runs, not while its caller does."""
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def stepped(*args: Any, **given: Any) -> Generator[Any]:
            steps = function(*args, **given)
            try:
                while True:
                    with plain_torch():
                        try:
                            found = next(steps)
                        except StopIteration:
                            return
                    yield found
            finally:
                steps.close()

        return cast(F, stepped)

    @wraps(function)
    def called(*args: Any, **given: Any) -> Any:
        with plain_torch():
            return function(*args, **given)

    return cast(F, called)

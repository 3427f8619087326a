"""Which implementation runs: the caller's word, else ``HUD_FAST_BACKEND``, else the fastest that fits the tensor."""

from __future__ import annotations

import os
import threading

import torch
from torch import Tensor

BACKENDS = ("torch", "cpu", "cuda", "triton")
_NATIVE_DTYPES = (torch.float32, torch.float64)
_state = threading.local()


def can_run(
    backend: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    raise_error: bool = False,
) -> bool:
    """Whether a backend can run on tensors of a device and dtype, or why not.

    Parameters
    ----------
    backend : {"torch", "cpu", "cuda", "triton"}
        ``"torch"`` is the plain reference and runs anywhere; ``"cpu"`` the compiled kernels (float32, float64).
        ``"cuda"`` and ``"triton"`` are not part of this release.
    device : str or torch.device
        Where the tensors lie.
    dtype : torch.dtype
        Their dtype.
    raise_error : bool
        Raise the reason instead of returning False.

    Raises
    ------
    ValueError
        For an unknown backend name.
    RuntimeError
        With ``raise_error=True``, where it cannot run: the text says why.

    Examples
    --------
    >>> from hud_fast import can_run
    >>> can_run("cpu", device="cpu"), can_run("cpu", device="cuda")
    (True, False)
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"can_run: `backend` must be one of {', '.join(BACKENDS)}, got {backend!r}"
        )
    kind = torch.device(device).type
    why = ""
    if backend in ("cuda", "triton"):
        why = "this release has no GPU kernels: tensors on a GPU run the torch reference"
    elif backend == "cpu" and kind != "cpu":
        why = f"the compiled CPU kernels need tensors on the CPU, got device {kind!r}"
    elif backend == "cpu" and dtype not in _NATIVE_DTYPES:
        why = f"the compiled CPU kernels take float32 and float64, got {dtype}"
    if why and raise_error:
        raise RuntimeError(f"backend {backend!r} cannot run: {why}")
    return not why


def resolve(backend: str | None, tensor: Tensor) -> str:
    """The backend for `tensor`; remembered for `last_backend`."""
    wanted = backend or os.environ.get("HUD_FAST_BACKEND")
    if wanted is not None:
        can_run(wanted, device=tensor.device, dtype=tensor.dtype, raise_error=True)
        return wanted
    return "cpu" if can_run("cpu", device=tensor.device, dtype=tensor.dtype) else "torch"


def ran(backend: str) -> None:
    """Note which backend has just run, from inside the implementation itself."""
    _state.last = backend


def last_backend() -> str | None:
    """The backend that ran the last operation of this thread, or None before the first.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> _ = hud.simplex_softmax(np.zeros((2, 3)))
    >>> hud.last_backend()
    'cpu'
    """
    return getattr(_state, "last", None)


def readable(*tensors: Tensor) -> bool:
    """True where values may be looked at: plain tensors, nobody tracing or faking."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return False
    # vmap and its like hand on wrappers that look like tensors.
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return all(type(t) in (Tensor, torch.nn.Parameter) for t in tensors)


def eager(*tensors: Tensor) -> bool:
    """True where an op may be called round the dispatcher: readable tensors, and no gradient wanted."""
    grad = torch.is_grad_enabled()
    return readable(*tensors) and not (grad and any(t.requires_grad for t in tensors))

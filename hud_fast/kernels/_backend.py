"""Which implementation runs: the caller's word, else ``HUD_FAST_BACKEND``, else the fastest that fits the tensor."""

from __future__ import annotations

import importlib.util
import os
import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hud_fast.kernels._native import C

if TYPE_CHECKING:
    from hud_fast.kernels._op import Op

BACKENDS = ("torch", "cpu", "cuda", "triton")
_NATIVE_DTYPES = (torch.float32, torch.float64)
_HALVES = (torch.float16, torch.bfloat16)
REGISTERED: dict[str, Op] = {}  # the operations by name: each puts itself here
_PLAIN = (Tensor, torch.nn.Parameter)
GPU_KERNELS = "HUD_FAST_GPU_KERNELS"
_HAS_TRITON = importlib.util.find_spec("triton") is not None
_state = threading.local()
_proven: dict[int, frozenset[str]] = {}  # by the device's number, as far as verdicts have been read


def can_run(
    backend: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    op: str | None = None,
    raise_error: bool = False,
) -> bool:
    """Whether a backend can run on tensors of a device and dtype, or why not.

    Parameters
    ----------
    backend : {"torch", "cpu", "cuda", "triton"}
        ``"torch"`` is the plain reference and runs anywhere; ``"cpu"`` the compiled kernels (float32 and float64;
        with `op` one of the elementwise and softmax operations also float16 and bfloat16); ``"cuda"`` the CUDA kernels
        where they were built; ``"triton"`` the Triton kernels of the elementwise and softmax operations, on a GPU, or
        on the CPU in Triton's interpreter (``TRITON_INTERPRET=1``, for tests). Without a name, a GPU's tensors get
        the kernels that `check_gpu` has proved there, else torch.
    device : str or torch.device
        Where the tensors lie.
    dtype : torch.dtype
        Their dtype.
    op : str, optional
        The operation meant, as "log_project"; without it the answer holds for every operation that has the backend.
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
    >>> import torch
    >>> can_run("cpu", dtype=torch.bfloat16), can_run("cpu", dtype=torch.bfloat16, op="log_project")
    (False, True)
    """
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise ValueError(
            f"can_run: `backend` must be one of {', '.join(BACKENDS)}, got {backend!r}"
        )
    try:
        kind = torch.device(device).type
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"can_run: `device` must be a device, got {device!r}") from None
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"can_run: `dtype` must be a torch.dtype, got {dtype!r}")
    if op is not None and not isinstance(op, str):
        raise TypeError(f"can_run: `op` must be a name or None, got {op!r}")
    why = ""
    if backend == "triton":
        why = _why_no_triton(kind, dtype, op)
    elif backend == "cuda" and not C.cuda_version:
        why = "this build has no CUDA kernels (no CUDA compiler was found when it was installed)"
    elif backend == "cuda" and kind != "cuda":
        why = f"the CUDA kernels need tensors on a GPU, got device {kind!r}"
    elif backend == "cuda" and not torch.cuda.is_available():
        why = "no CUDA device or driver on this machine"
    elif backend == "cuda" and dtype not in _NATIVE_DTYPES:
        why = f"the CUDA kernels take float32 and float64, got {dtype}"
    elif backend == "cpu" and kind != "cpu":
        why = f"the compiled CPU kernels need tensors on the CPU, got device {kind!r}"
    elif backend == "cpu" and dtype not in _NATIVE_DTYPES:
        halves = op in REGISTERED and REGISTERED[op].halves
        if not (halves and dtype in _HALVES):
            more = "float16, bfloat16, " if halves else ""
            why = f"the compiled CPU kernels take {more}float32 and float64, got {dtype}"
    if why and raise_error:
        raise RuntimeError(f"can_run: backend {backend!r} cannot run: {why}")
    return not why


def interpreting() -> bool:
    """Whether Triton kernels run in Triton's interpreter, on the CPU. Triton reads the variable when it is imported."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def _why_no_triton(kind: str, dtype: torch.dtype, op: str | None) -> str:
    if not _HAS_TRITON:
        return "Triton is not installed: `pip install triton`, or this package's extra `gpu`"
    if op is not None and not (op in REGISTERED and "triton" in REGISTERED[op].implementations):
        return f"{op} has no Triton kernel"
    if dtype not in (*_NATIVE_DTYPES, *_HALVES):
        return f"the Triton kernels take float16, bfloat16, float32 and float64, got {dtype}"
    if kind == "cuda":
        return "" if torch.cuda.is_available() else "no CUDA device or driver on this machine"
    if kind == "cpu" and interpreting():
        return ""
    return (
        f"the Triton kernels need tensors on a GPU, got device {kind!r} (with TRITON_INTERPRET=1 in the environment "
        "before the start they run on the CPU, slowly)"
    )


def resolve(op: str, backend: str | None, tensor: Tensor) -> str:
    """The backend for `tensor`, among those an operation has."""
    wanted = os.environ.get("HUD_FAST_BACKEND") or None if backend is None else backend
    if wanted is not None:
        if not isinstance(wanted, str) or wanted not in BACKENDS:
            name = "HUD_FAST_BACKEND" if backend is None else "`backend`"
            raise ValueError(
                f"{op}: {name} must be None or one of {', '.join(BACKENDS)}, got {wanted!r}"
            )
        offered = REGISTERED[op].implementations
        if wanted not in offered:
            raise RuntimeError(
                f"{op}: backend {wanted!r} cannot run: this operation has {' and '.join(offered)} in this release"
            )
        try:
            can_run(wanted, device=tensor.device, dtype=tensor.dtype, op=op, raise_error=True)
        except RuntimeError as error:
            raise RuntimeError(str(error).replace("can_run", op, 1)) from None
        return wanted
    first = on_cuda(op, tensor.device) if tensor.device.type == "cuda" else "cpu"
    return first if can_run(first, device=tensor.device, dtype=tensor.dtype, op=op) else "torch"


def on_cuda(op: str, device: torch.device | None = None) -> str:
    """The backend of a CUDA tensor where nobody names one: HUD_FAST_GPU_KERNELS, else the verdict on file."""
    text = os.environ.get(GPU_KERNELS) or ""
    if text not in ("", "0", "1"):
        raise ValueError(f"{op}: {GPU_KERNELS} must be 0 or 1, got {text!r}")
    chosen = proven(op, device) if text == "" else text == "1"
    return REGISTERED[op].on_gpu if chosen else "torch"


def proven(op: str, device: torch.device | None = None) -> bool:
    """Whether `gpu_check` has proved an operation (or "graphs") on a GPU: read once a process, nothing a call.

    `device` None is the first GPU.
    """
    return _has_proved(0 if device is None else device.index or 0, op)


def _has_proved(number: int, op: str) -> bool:
    known = _proven.get(number)
    if known is None:
        from hud_fast.kernels.gpu_check.verdict import proven_operations

        known = _proven[number] = proven_operations(number)
    return op in known


# torch.compile takes the answer as a constant instead of tracing into files, and without a guard on what reading them
# changes. As torch.compiler.assume_constant_result does, which would import all of torch._dynamo here.
_has_proved._dynamo_marked_constant = True  # type: ignore[attr-defined]


def forget_verdicts() -> None:
    """Read them again where they are next asked for: a check has been made."""
    _proven.clear()


def ran(backend: str) -> None:
    """Note which backend has just run."""
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


def readable(*arguments: object) -> bool:
    """True where values may be looked at: tensors among the arguments are plain, nobody tracing or faking."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return False
    # vmap and its like hand on wrappers that look like tensors.
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    for value in arguments:  # noqa: SIM110  `all` would cost a call with few values half a microsecond
        if isinstance(value, Tensor) and (type(value) not in _PLAIN or value.is_meta):
            return False
    return True


def eager(*arguments: object) -> bool:
    """True where an op may be called round the dispatcher: readable tensors, and no gradient wanted."""
    if torch.is_grad_enabled():
        for value in arguments:
            if isinstance(value, Tensor) and value.requires_grad:
                return False
    return readable(*arguments)


def capturing(tensor: Tensor) -> bool:
    """Whether what is launched on the tensor's stream goes into a CUDA graph: then nothing may be read back."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def on_stream(tensor: Tensor) -> tuple[int, int]:
    """Device index and current stream of a CUDA tensor, as the launchers take them."""
    index = tensor.device.index
    return index, int(torch.cuda.current_stream(tensor.device).cuda_stream)

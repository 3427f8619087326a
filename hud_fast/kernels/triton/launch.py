"""What every Triton call does around its kernel: one launch, on the caller's stream and the tensor's device."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

INTERPRETED = bool(triton.knobs.runtime.interpret)

_POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int64: "*i64",
}


@dataclass(frozen=True)
class Launch:
    """A kernel with its grid, its arguments and what they are compiled for."""

    kernel: Any
    programs: int
    arguments: dict[str, Any]  # in the kernel's order: tensors or None, ints, floats
    constants: dict[str, Any] = field(default_factory=dict)
    warps: int = 4

    def run(self, op: str, like: Tensor) -> None:
        """Launch; RuntimeError that names the operation and the shape where that fails."""
        if self.programs == 0:
            return
        if self.programs >= 2**31:
            raise RuntimeError(f"{op}: too many tiles for one launch, shape {tuple(like.shape)}")
        options = {} if INTERPRETED else self._options()
        try:
            with _around(like):
                self.kernel[(self.programs,)](**self.arguments, **self.constants, **options)
        except Exception as error:
            raise RuntimeError(
                f"{op}: Triton launch failed for shape {tuple(like.shape)}, {like.dtype}: {error}"
            ) from error

    def compile(self, capability: int) -> Any:
        """Compile for compute capability `capability` (90 for sm_90) without a GPU."""
        source = ASTSource(self.kernel, *self._types())
        return triton.compile(
            source, target=GPUTarget("cuda", capability, 32), options=self._options()
        )

    def _options(self) -> dict[str, Any]:
        # a b + c in one rounding, as the polynomials may have it. Triton's default for it changes between versions.
        return {"num_warps": self.warps, "enable_fp_fusion": True}

    def _types(self) -> tuple[dict[str, str], dict[Any, Any], dict[Any, Any]]:
        """Signature, constants and alignments, as the first launch would find them (allocations start on 16 bytes)."""
        signature, constants, hints = {}, {}, {}
        for place, parameter in enumerate(self.kernel.params):
            name = parameter.name
            if name in self.constants or self.arguments.get(name, 0) is None:
                signature[name] = "constexpr"
                constants[(place,)] = self.constants.get(name)
                continue
            value = self.arguments[name]
            if parameter.is_constexpr:
                signature[name], constants[(place,)] = "constexpr", value
            elif isinstance(value, Tensor):
                signature[name] = _POINTERS[value.dtype]
                hints[(place,)] = [["tt.divisibility", 16]]
            elif parameter.annotation_type:
                signature[name] = parameter.annotation_type
            elif value == 1 and not parameter.do_not_specialize:
                signature[name], constants[(place,)] = "constexpr", 1
            else:
                signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
                if value % 16 == 0 and not parameter.do_not_specialize:
                    hints[(place,)] = [["tt.divisibility", 16]]
        return signature, constants, hints


@contextlib.contextmanager
def _interpreting() -> Iterator[None]:
    # NaN and overflow are results here, not accidents; NumPy would warn of them.
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _around(like: Tensor) -> Any:
    """The right device for the length of the launch. Triton takes that device's current stream by itself."""
    if INTERPRETED:
        return _interpreting()
    if like.device.index != torch.cuda.current_device():
        return torch.cuda.device(like.device)
    return contextlib.nullcontext()


def power_of_two(n: int) -> int:
    """The next power of two, 1 for 0 and 1."""
    return 1 << max(0, n - 1).bit_length()


def tiles(count: int, size: int) -> int:
    """Tiles of `size` that cover `count` items; none for none."""
    return -(-count // size) if count else 0


def in_vectors(size: int, itemsize: int) -> tuple[int, int]:
    """(count, vector) with count x vector = size: the widest access up to 16 bytes that lines of `size` allow.

    A kernel that is given both sees what `size` is a multiple of; by itself Triton only looks for 16.
    """
    vector = 16 // itemsize
    while size % vector:
        vector //= 2
    return size // vector, vector

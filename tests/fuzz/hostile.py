"""Hostile arguments: what may stand in the place of a good array or number, each under a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import hud_fast as hud


class Liar:
    """An object that says it is an array and gives none."""

    shape, dtype, ndim = (4, 3), np.dtype("f4"), 2

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return [1.0]


class Subclass(torch.Tensor):
    """A tensor of another class."""


def tensor(a: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(a))


def cast(dtype: str) -> Callable[[Any], Any]:
    return lambda a: tensor(a).to(getattr(torch, dtype))


def put(value: float, everywhere: bool = False) -> Callable[[Any], Any]:
    def changed(a: Any) -> Any:
        a = a.astype(float)
        a.flat[slice(None) if everywhere else slice(1, 2)] = value
        return a

    return changed


def stretched(axis: int, size: int) -> Callable[[Any], Any]:
    """An axis that is declared long, of one value's memory."""

    def changed(a: Any) -> Any:
        if not a.ndim:
            return a
        shape = list(a.shape)
        shape[axis] = size
        return tensor(a[:1, ...] if axis == 0 else a[..., :1]).expand(shape)

    return changed


def unaligned(a: Any) -> Any:
    return np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)


def packed(a: Any) -> Any:
    records = np.zeros(a.shape, [("before", "u1"), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


def quantized(a: Any) -> Any:
    return torch.quantize_per_tensor(torch.ones(a.shape), 0.1, 0, torch.quint8)


CODES, ODD_CODES = "f2 f4 i1 u2 i4 u8 >f8 >i2 g c16 ?", "O U3 S2 M8[s] m8[s] V4 i4,f8"
TORCH_TYPES = "float16 bfloat16 float8_e4m3fn float8_e5m2 complex64 bool uint16 int64"
ARRAYS: dict[str, Callable[[Any], Any]] = {
    **{d: (lambda a, d=d: (a * 9).astype(d)) for d in CODES.split()},
    **{d: (lambda a, d=d: np.zeros(a.shape, d)) for d in ODD_CODES.split()},
    **{d: cast(d) for d in TORCH_TYPES.split()},
    **{f"all {v}": put(v, True) for v in (0.0, np.nan, np.inf, 1e308, -1e308, 5e-324, -1.0, 1e39, 1e-39)},
    **{f"one {v}": put(v) for v in (np.nan, -np.inf, 1e308, -1.0)},
    "tensor": tensor,
    "no rows": lambda a: a[:0],
    "no bands": lambda a: a[..., :0],
    "one row": lambda a: a[:1],
    "one band": lambda a: a[..., :1],
    "a band more": lambda a: np.concatenate([a, a[..., :1]], -1),
    "no axis": lambda _: np.array(1.0),
    "an axis less": lambda a: a[0] if a.ndim else a,
    "an axis more": lambda a: a[None],
    "nine axes": lambda a: a.reshape((1,) * (9 - a.ndim) + a.shape),
    "forty axes": lambda a: a.reshape((1,) * (40 - a.ndim) + a.shape),
    "reversed": lambda a: a[::-1, ..., ::-1] if a.ndim > 1 else a[::-1],
    "Fortran": np.asfortranarray,
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "unaligned": unaligned,
    "packed": packed,
    "masked": lambda a: np.ma.masked_array(a, np.arange(a.size).reshape(a.shape) == 1),
    "matrix": lambda a: np.matrix(a.reshape(-1, a.shape[-1] if a.ndim else 1)),
    "overlapping": lambda a: tensor(np.resize(a, 4096)).as_strided(a.shape, (1,) * a.ndim),
    "transposed": lambda a: tensor(a.T).mT if a.ndim == 2 else tensor(a),
    "strided": lambda a: tensor(a).repeat_interleave(2, -1)[..., ::2] if a.ndim else tensor(a),
    "2**18 rows": stretched(0, 2**18),
    "2**31 rows": stretched(0, 2**31 + 1),
    "2**40 rows": stretched(0, 2**40),
    "2**18 bands": stretched(-1, 2**18),
    "2**33 bands": stretched(-1, 2**33),
    "2**62 bands": lambda a: tensor(a).new_empty(()).expand(2**62),
    "meta tensor": lambda a: tensor(a).to("meta"),
    "sparse": lambda a: tensor(a).to_sparse(),
    "sparse rows": lambda a: tensor(a.reshape(-1, a.shape[-1] if a.ndim else 1)).to_sparse_csr(),
    "mkldnn": lambda a: tensor(a).float().to_mkldnn(),
    "quantized": quantized,
    "nested": lambda a: torch.nested.nested_tensor([tensor(a)] * 2),
    "jagged": lambda a: torch.nested.nested_tensor([tensor(a).reshape(-1, 1)] * 2, layout=torch.jagged),
    "wants a gradient": lambda a: tensor(a).float().requires_grad_(),
    "a parameter": lambda a: torch.nn.Parameter(tensor(a).float()),
    "a subclass": lambda a: tensor(a).as_subclass(Subclass),
    "lazy sign": lambda a: torch._neg_view(-tensor(a)),
    "conjugate": lambda a: torch.complex(tensor(a), -tensor(a)).conj().imag,
    "inference": lambda a: torch.inference_mode()(lambda: tensor(a) + 0)(),
    "named": lambda a: tensor(a).refine_names(*"abcdefgh"[: a.ndim]),
    "a list": lambda a: a.tolist(),
    "a liar": lambda _: Liar(),
    "a class": lambda _: np.ndarray,
    "a file": lambda _: "scene.npy",
    "a scene": lambda _: hud.Scene(np.ones((4, 5, 3), "f4")),
}  # fmt: skip
SCALARS: dict[str, Any] = {
    repr(v): v
    for v in (
        *(
            None,
            True,
            False,
            0,
            1,
            -1,
            2,
            7,
            0.0,
            -0.0,
            0.5,
            1.0,
            -1e308,
            1e308,
            float("nan"),
            float("inf"),
        ),
        *(
            "",
            "x",
            "cpu",
            "cuda:7",
            "meta",
            "\x1b[31m",
            "\ud800",
            b"x",
            [],
            (),
            {},
            [1, 2],
            (0, 3),
            (1, 2, 3),
            1j,
        ),
        *(
            np.int64(2),
            np.float32(2),
            np.bool_(True),
            np.str_("pixel"),
            np.nan,
            torch.float16,
            torch.device("cpu"),
        ),
    )
} | {
    "array": np.array(2),
    "arrays": np.array([1, 2]),
    "tensor": torch.tensor(2),
    "meta tensor": torch.tensor(2.0, device="meta"),
    "object": object(),
    "type": int,
    "function": print,
    "slice": slice(None),
    "liar": Liar(),
}
HUGE: dict[str, Any] = {f"{'-' * (v < 0)}2**{abs(v).bit_length() - 1}": v for v in (
    2**31, 2**32, 2**62, 2**63, 2**64, 2**200, -(2**31), -(2**63), -(2**64)
)}  # fmt: skip

"""A `CosineIndex` in a file: everything, its trees too."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from hud_fast.kernels._index_file import load_index, save_index
from hud_fast.kernels.cosine.checked import check_index

KIND, VERSION = "CosineIndex", 1  # the version rises when an older reader would misread
_DTYPES = (torch.float32, torch.float64, torch.int32)


def save(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the state of an index to `path`, all or nothing."""
    tensors = {name: state[name] for name in ("reference", "inverse", "mean")}
    if state["endmembers"] is not None:
        tensors["endmembers"] = state["endmembers"]
    numbers: dict[str, dict[str, Any]] = {}
    for kind, own in state["trees"].items():
        numbers[kind] = {k: v for k, v in own.items() if not isinstance(v, Tensor)}
        tensors |= {f"{kind}.{k}": v for k, v in own.items() if isinstance(v, Tensor)}
    header = {
        "shape": list(state["shape"]),
        "memory_limit": state["memory_limit"],
        "counts": state["counts"],
        "trees": numbers,
    }
    save_index(KIND, VERSION, header, tensors, path)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the state that `save` wrote; OSError where there is no file, ValueError where it is not one of ours."""
    return load_index(KIND, VERSION, _DTYPES, path, _state)


def _state(header: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    trees = {kind: {**numbers, **_part(tensors, kind)} for kind, numbers in header["trees"].items()}
    state = {
        "shape": tuple(header["shape"]),
        "memory_limit": header["memory_limit"],
        "counts": header["counts"],
        "endmembers": tensors.get("endmembers"),
        "reference": tensors["reference"],
        "inverse": tensors["inverse"],
        "mean": tensors["mean"],
        "trees": trees,
    }
    check_index(state)
    return state


def _part(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    start = f"{kind}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

"""A `CosineIndex` in one safetensors file: tensors, a JSON header, a checksum of both."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hud_fast._files import atomic_path
from hud_fast._text import printable
from hud_fast.kernels.cosine.checked import check_index

FORMAT, VERSION = "hud_fast CosineIndex", 1  # the version rises when an older reader would misread


def save(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the state of an index to `path`, all or nothing."""
    from safetensors.torch import save_file

    tensors = {name: state[name] for name in ("reference", "inverse", "mean")}
    if state["endmembers"] is not None:
        tensors["endmembers"] = state["endmembers"]
    numbers: dict[str, dict[str, Any]] = {}
    for kind, own in state["trees"].items():
        numbers[kind] = {k: v for k, v in own.items() if not isinstance(v, Tensor)}
        tensors |= {f"{kind}.{k}": v for k, v in own.items() if isinstance(v, Tensor)}
    header = {
        "version": VERSION,
        "shape": list(state["shape"]),
        "memory_limit": state["memory_limit"],
        "counts": state["counts"],
        "trees": numbers,
    }
    text = json.dumps(header, sort_keys=True)
    metadata = {"format": FORMAT, "header": text, "checksum": _checksum(text, tensors)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the state that `save` wrote; OSError where there is no file, ValueError where it is not one of ours."""
    from safetensors import SafetensorError, safe_open

    with Path(path).open("rb"):  # missing or forbidden: the system's own error
        pass
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError("it was written by something else")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = _state(metadata, tensors)
        check_index(state)
        return state
    except (
        AttributeError,
        KeyError,
        RecursionError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        ours = type(error) is ValueError
        why = error if ours else f"it is damaged or no such file ({printable(error, 200)})"
        raise ValueError(
            f"CosineIndex.load: `path` must be a file that CosineIndex.save wrote, got {os.fspath(path)}: {why}"
        ) from error


def _state(metadata: dict[str, str], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What the file holds, once the checksum fits; ValueError says why not."""
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64, torch.int32):
            raise ValueError(f"it holds a tensor {name!r} of {tensor.dtype}")
    if _checksum(metadata["header"], tensors) != metadata["checksum"]:
        raise ValueError("its checksum does not fit its content")
    header = json.loads(metadata["header"])
    if header["version"] != VERSION:
        raise ValueError(
            f"its version is {printable(header['version'], 40)}, this package reads {VERSION}"
        )
    trees = {kind: {**numbers, **_part(tensors, kind)} for kind, numbers in header["trees"].items()}
    return {
        "shape": tuple(header["shape"]),
        "memory_limit": header["memory_limit"],
        "counts": header["counts"],
        "endmembers": tensors.get("endmembers"),
        "reference": tensors["reference"],
        "inverse": tensors["inverse"],
        "mean": tensors["mean"],
        "trees": trees,
    }


def _part(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    start = f"{kind}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _checksum(header: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the header and of every tensor, by name: damage, not malice."""
    crc = zlib.crc32(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"

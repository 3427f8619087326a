"""An index in one safetensors file: tensors, a JSON header, a checksum of both."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from hud_fast._checks import check_path
from hud_fast._files import atomic_path, is_utf8, utf8_path
from hud_fast._text import printable

State = TypeVar("State")


def save_index(
    kind: str,
    version: int,
    header: dict[str, Any],
    tensors: dict[str, Tensor],
    path: str | os.PathLike[str],
) -> None:
    """Write a `kind` of index to `path`, all or nothing."""
    from safetensors.torch import save, save_file

    check_path(f"{kind}.save", "path", path)
    text = json.dumps({"version": version, **header}, sort_keys=True)
    metadata = {"format": index_format(kind), "header": text, "checksum": checksum(text, tensors)}
    with atomic_path(path) as temporary:
        if is_utf8(temporary):
            save_file(tensors, temporary, metadata)
        else:
            temporary.write_bytes(save(tensors, metadata))


def load_index(
    kind: str,
    version: int,
    dtypes: Collection[torch.dtype],
    path: str | os.PathLike[str],
    build: Callable[[dict[str, Any], dict[str, Tensor]], State],
) -> State:
    """What `build` makes of the header and the tensors that `save_index` wrote.

    OSError where there is no file; ValueError where it is not one of ours, or `build` finds what cannot be.
    """
    from safetensors import SafetensorError, safe_open

    check_path(f"{kind}.load", "path", path)
    with Path(path).open("rb"):  # missing or forbidden: the system's own error
        pass
    try:
        with utf8_path(Path(path)) as name, safe_open(name, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != index_format(kind):
                raise ValueError("it was written by something else")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return build(_header(metadata, tensors, version, dtypes), tensors)
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
            f"{kind}.load: `path` must be a file that {kind}.save wrote, got {os.fspath(path)}: {why}"
        ) from error


def need(fits: bool, what: str) -> None:
    """ValueError where something of a saved index does not fit the rest."""
    if not fits:
        raise ValueError(f"its {what} cannot be right")


def index_format(kind: str) -> str:
    return f"hud_fast {kind}"


def _header(
    metadata: dict[str, str],
    tensors: dict[str, Tensor],
    version: int,
    dtypes: Collection[torch.dtype],
) -> dict[str, Any]:
    """The header, once the checksum fits; ValueError says why not."""
    for name, tensor in tensors.items():
        if tensor.dtype not in dtypes:
            raise ValueError(f"it holds a tensor {name!r} of {tensor.dtype}")
    if checksum(metadata["header"], tensors) != metadata["checksum"]:
        raise ValueError("its checksum does not fit its content")
    header: dict[str, Any] = json.loads(metadata["header"])
    if header["version"] != version:
        raise ValueError(
            f"its version is {printable(header['version'], 40)}, this package reads {version}"
        )
    return header


def checksum(header: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the header and of every tensor, by name: damage, not malice."""
    crc = zlib.crc32(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"

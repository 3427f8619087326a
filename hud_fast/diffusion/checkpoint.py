"""Tensor files that know whether they are whole, and the folder of a training's newest states.

A file is plain safetensors (no pickle: opening a stranger's file runs nothing) whose metadata hold
a JSON record and a sha256 over the record and all tensors. It is written under another name and
renamed, so a process killed at any moment leaves the old files, the new file, or a stray temporary
one that the next training removes.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hud_fast._files import atomic_write, utf8_path
from hud_fast._text import printable

PREFIX, SUFFIX = "step-", ".safetensors"
OURS = PREFIX + 10 * "[0-9]"  # a user's own step-final.safetensors is not


class DamagedFileError(OSError):
    """A tensor file that is truncated, altered, or none of ours."""


def digest_of(tensors: Mapping[str, Tensor], record: str = "") -> str:
    """Sha256 over a record and tensors of the CPU, their names, kinds and shapes, in hexadecimal digits."""
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able record to `path`, all or nothing."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(record, sort_keys=True)
    # Written by ourselves: safetensors' own writer turns a full disk into an error of its own type.
    content = save(plain, {"record": text, "sha256": digest_of(plain, text)})
    length = int.from_bytes(content[:8], "little")
    # The writer's metadata come in a random order: the same tensors are to give the same bytes.
    facts = json.loads(content[8 : 8 + length])
    facts["__metadata__"] = dict(sorted(facts["__metadata__"].items()))
    header = json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin on whole words
    with atomic_write(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(memoryview(content)[8 + length :])


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of a file, after its checksum was compared.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If the file is truncated or altered, or was not written by `write_tensors`.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"read_tensors: `path` must be a file, got {path}")
    try:
        with utf8_path(path) as name, safe_open(name, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged ({printable(error, 200)})") from error
    text = metadata.get("record", "")
    if metadata.get("sha256") != digest_of(tensors, text):
        raise DamagedFileError(f"{path} is damaged (its checksum does not match its content)")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged (its record: {error})") from error
    if not isinstance(record, dict):
        raise DamagedFileError(f"{path} is damaged (its record is no record)")
    return tensors, record


class CheckpointFolder:
    """The newest `keep` states of one training, named by their step.

    Parameters
    ----------
    folder : Path
        Created when missing. Other files in it are left alone.
    keep : int
        How many states stay; two at least make sense, so that a damaged newest one is no loss.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep
        folder.mkdir(parents=True, exist_ok=True)
        # of a process that was killed while writing
        for stray in folder.glob(f".{OURS}-*{SUFFIX}"):
            stray.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """The states, newest first."""
        return sorted(self.folder.glob(f"{OURS}{SUFFIX}"), reverse=True)

    def save(self, step: int, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> Path:
        """Write the state after `step` steps, then remove all but the newest."""
        path = self.folder / f"{PREFIX}{step:010d}{SUFFIX}"
        write_tensors(path, tensors, record)
        for old in self.paths()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest whole state, or None; a damaged one is passed over with a warning."""
        for path in self.paths():
            try:
                return read_tensors(path)
            except DamagedFileError as error:
                warnings.warn(
                    f"checkpoint left out, the one before is used: {error}",
                    UserWarning,
                    stacklevel=2,
                )
        return None

    def clear(self) -> None:
        """Remove all states, to start over."""
        for path in self.paths():
            path.unlink(missing_ok=True)

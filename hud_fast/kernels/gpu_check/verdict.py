"""What a check found, and where it is kept: one file in the user's cache for each card, driver, torch, Triton, build.

A file that is missing, damaged or of another machine counts as none; where none can be written, the verdict lives as
long as the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hud_fast._files import atomic_write, cache_folder
from hud_fast.kernels._backend import forget_verdicts
from hud_fast.kernels._native import C

FOLDER = "gpu-check"  # in the cache
_held: dict[tuple[str, ...], GPUCheck] = {}  # what this process has read or found


@dataclass(frozen=True)
class Operation:
    """One operation's verdict."""

    backend: str  # whose kernels: "triton", "cuda", or "graphs" for CUDA graphs themselves
    proven: bool
    why: str  # what was wrong; "" where proven
    seconds: float


@dataclass(frozen=True)
class GPUCheck:
    """A card's verdict: which operations gave the CPU's answer there.

    Attributes
    ----------
    card, driver, torch, triton, build : str
        What it holds for: another card, driver, version or build is asked anew.
    operations : dict
        An `Operation` for each name, safest first.
    """

    card: str
    driver: str
    torch: str
    triton: str
    build: str  # digest of the compiled extension and of the kernels' sources
    operations: dict[str, Operation]

    @property
    def key(self) -> tuple[str, ...]:
        """What the verdict holds for."""
        return self.card, self.driver, self.torch, self.triton, self.build

    @property
    def proven(self) -> frozenset[str]:
        """Names of the proven operations."""
        return frozenset(name for name, found in self.operations.items() if found.proven)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> GPUCheck:
        """What `to_dict` gave; ValueError for anything else."""
        try:
            rest = {name: values[name] for name in ("card", "driver", "torch", "triton", "build")}
            operations = {name: Operation(**found) for name, found in values["operations"].items()}
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a verdict: {error}") from error
        if not all(isinstance(value, str) for value in rest.values()):
            raise ValueError(f"not a verdict: {rest}")
        if not all(isinstance(found.proven, bool) for found in operations.values()):
            raise ValueError(f"not a verdict: {operations}")
        return cls(**rest, operations=operations)

    def line(self) -> str:
        """One line: what the kernels do on this card, and what is left to torch."""
        missing = [name for name in self.operations if name not in self.proven]
        text = f"{len(self.proven)} of {len(self.operations)} proven on this {self.card}"
        return f"GPU kernels: {text}" + (f"; torch does {', '.join(missing)}" if missing else "")

    def table(self) -> str:
        """The verdict as text, an operation a line.

        Examples
        --------
        >>> from hud_fast.kernels.gpu_check import GPUCheck, Operation
        >>> found = {"fcls": Operation("cuda", True, "", 1.0), "graphs": Operation("graphs", False, "hung", 60.0)}
        >>> print(GPUCheck("A card", "580.1", "2.11.0", "3.6.0", "0123abcd", found).table())
        A card, driver 580.1, torch 2.11.0, Triton 3.6.0, build 0123abcd
          fcls    cuda    proven          1.0 s
          graphs  graphs  not proven     60.0 s  hung
        """
        width = max(map(len, self.operations), default=0)
        head = f"{self.card}, driver {self.driver}, torch {self.torch}, Triton {self.triton}, build {self.build}"
        lines = [head]
        for name, found in self.operations.items():
            word = "proven" if found.proven else "not proven"
            line = f"  {name:<{width}}  {found.backend:<6}  {word:<10}  {found.seconds:7.1f} s  {found.why}"
            lines.append(line.rstrip())
        return "\n".join(lines)


def key_of(number: int) -> tuple[str, ...]:
    """(card, driver, torch, Triton, build) of a GPU of this process."""
    card = torch.cuda.get_device_name(number)
    return card, _driver(), torch.__version__, _triton(), _build()


@lru_cache
def _driver() -> str:
    """The driver's version: the kernel module's where the system shows it, else the CUDA version it is for."""
    with contextlib.suppress(OSError):
        found = re.search(r"\b\d{3,}\.\d[\d.]*", Path("/proc/driver/nvidia/version").read_text())
        if found:
            return found[0]
    return f"CUDA {torch._C._cuda_getDriverVersion()}"  # type: ignore[attr-defined]


@lru_cache
def _triton() -> str:
    if importlib.util.find_spec("triton") is None:
        return "none"
    for name in ("triton", "pytorch-triton"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return "unknown"


@lru_cache
def _build() -> str:
    """Digest of the compiled extension and of all sources of the kernels: a launch's and this check's count as well."""
    digest = hashlib.sha256(Path(C.__file__).read_bytes())
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def path_of(key: tuple[str, ...], suffix: str = ".json") -> Path:
    """Where the verdict of a machine lies."""
    name = hashlib.sha256("\0".join(key).encode()).hexdigest()[:24]
    return cache_folder() / FOLDER / (name + suffix)


def on_file(key: tuple[str, ...]) -> GPUCheck | None:
    """The verdict of this machine, found by this process or kept by another; None where there is none."""
    if key not in _held:
        try:
            found = GPUCheck.from_dict(json.loads(path_of(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, RuntimeError):  # damaged, or a home that cannot be told
            return None
        if found.key != key:
            return None
        _held[key] = found
    return _held[key]


def keep(found: GPUCheck, *, lasting: bool = True) -> None:
    """For this process, and where `lasting` for those to come, as far as the cache can be written."""
    _held[found.key] = found
    forget_verdicts()
    if lasting:
        with (
            contextlib.suppress(OSError, RuntimeError),
            atomic_write(path_of(found.key), "w") as file,
        ):
            json.dump(found.to_dict(), file, indent=1)


def proven_operations(number: int) -> frozenset[str]:
    """What is proven on a GPU of this process. Nothing that goes wrong here may stop what torch can compute."""
    try:
        found = on_file(key_of(number)) if torch.cuda.is_available() else None
    except Exception:
        found = None
    return frozenset() if found is None else found.proven


@contextlib.contextmanager
def alone(key: tuple[str, ...]) -> Iterator[None]:
    """One process at a time, where the system can lock: the others wait, and then find the verdict."""
    try:
        import fcntl

        path = path_of(key, ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    except (ImportError, OSError, RuntimeError):
        yield
        return
    with handle:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield

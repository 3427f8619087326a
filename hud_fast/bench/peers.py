"""The libraries that the suite compares with: imported where installed, and said to be missing where not.

They come with ``pip install "hud-fast[bench]"``. Each is called as its documentation says, with input in the form and
layout that it wants; making that form is not timed.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hud_fast.bench.case import Kind, Missing, Run

# Module -> the distribution that holds it.
PEERS = {
    "spams": "spams-bin",
    "quadprog": "quadprog",
    "faiss": "faiss-cpu",
    "sklearnex": "scikit-learn-intelex",
    "threadpoolctl": "threadpoolctl",
}


def load(module: str) -> Any:
    """Return the module, or None where it is not installed or does not load."""
    try:
        return importlib.import_module(module)
    except Exception:  # a wheel for another processor or numpy may fail in many ways
        return None


def absent(module: str, kind: Kind = "peer") -> Missing:
    """Say that a peer is not installed.

    Examples
    --------
    >>> absent("spams").why
    'not installed (pip install spams-bin)'
    """
    return Missing(f"not installed (pip install {PEERS[module]})", kind)


def peer(module: str, run: Callable[[Any], Run]) -> Run | Missing:
    """Return ``run(module)``, or `Missing` where the module does not load."""
    found = load(module)
    return absent(module) if found is None else run(found)


def peer_versions() -> dict[str, str]:
    """Return the version of each peer, or "not installed"."""
    found = {}
    for distribution in PEERS.values():
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            found[distribution] = "not installed"
    return found


# glibc's mallopt: from which size on memory is asked from the system, and what is given back to it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


@contextlib.contextmanager
def kept_memory() -> Iterator[bool]:
    """Let the C library keep freed memory inside a with block; False where it is not glibc.

    A result of 32 MiB, or one freed at the heap's end, comes as fresh pages on every call otherwise: the system then
    takes several times as long to clear them as a kernel to fill them, for some sizes and not for others. All
    providers get the same memory.
    """
    import ctypes

    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  only glibc has it
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        yield False
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    try:
        yield True
    finally:  # glibc's first values
        mallopt(_MMAP_MAX, 65_536)
        mallopt(_TRIM_THRESHOLD, 128 << 10)
        mallopt(_MMAP_THRESHOLD, 128 << 10)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Give torch, BLAS and the peers so many threads inside a with block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_num_threads, before)
        pools = load("threadpoolctl")
        if pools is not None:
            stack.enter_context(pools.threadpool_limits(count))
        faiss = load("faiss")
        if faiss is not None:
            stack.callback(faiss.omp_set_num_threads, faiss.omp_get_max_threads())
            faiss.omp_set_num_threads(count)
        daal = load("daal4py")
        if daal is not None:
            stack.callback(daal.daalinit, daal.num_threads())
            daal.daalinit(count)
        torch.set_num_threads(count)  # threadpoolctl may have changed torch's own pool
        yield

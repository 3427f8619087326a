"""The process in which libhdf5 reads a v7.3 file: run as a script by `mat_hdf5`, so it imports nothing of hud_fast.

libhdf5 trusts what a file says: damaged ones end the process or never come to an end (both seen). Here that costs a
process of its own, with a limit on time and memory, and not the user's. A line of JSON comes in, a line goes out, and
after it the bytes of the array that was asked for.

Only what lies in the file itself is read. HDF5 can reach out: links and virtual datasets lead to other files, and
"external storage" takes any file's bytes for values. MATLAB writes none of them; in a stranger's file they would put
what this machine holds into a scene. They are told by name and not followed.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5l

if sys.platform != "win32":  # which has no such limits
    import resource

INTEGER_CLASSES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMERIC_CLASSES = ("double", "single", "logical", *INTEGER_CLASSES)
SECONDS = 10  # of computing for one request, beside
BYTES_A_SECOND = 5e6
MEMORY = 1 << 30  # beside what is read at once
AT_ONCE = 1 << 24
DEEPEST = 8  # structures in structures
IDLE = 60  # seconds without a request, after which it ends


class TooManyError(Exception):
    """More variables than anyone writes."""


class NotNumbersError(Exception):
    """What a variable is instead of an array of numbers that lies in the file."""


def limit(size: int, at_once: int) -> None:
    """Let the next request take the time and memory that an honest one needs."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + SECONDS + size / BYTES_A_SECOND)
    pages = Path("/proc/self/statm")
    limits = [(resource.RLIMIT_CPU, seconds)]
    if pages.exists():
        mapped = int(pages.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        limits.append((resource.RLIMIT_AS, mapped + 4 * at_once + MEMORY))
    for kind, most in limits:
        hard = resource.getrlimit(kind)[1]
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, hard))


def dataset(file: h5py.File, path: str) -> h5py.Dataset:
    """The dataset at this path, whose values lie in this file."""
    group = file
    for name in path.split("/"):
        if not isinstance(group, h5py.Group):
            raise NotNumbersError("broken")
        # `name in group` would follow it
        if group.id.links.get_info(name.encode()).type != h5l.TYPE_HARD:
            raise NotNumbersError("a link, which is not followed")
        group = group[name]
    item = group
    if not isinstance(item, h5py.Dataset):
        kind = None if isinstance(item, h5py.Datatype) else matlab_class(item)
        raise NotNumbersError(kind or type(item).__name__.lower())
    plan = item.id.get_create_plist()
    if plan.get_layout() == h5d.VIRTUAL:
        raise NotNumbersError("a virtual dataset, which is not followed")
    if plan.get_external_count():
        raise NotNumbersError("values in another file, which are not read")
    return item


def matlab_class(item: Any) -> str | None:
    """What MATLAB calls it; None where another program wrote it."""
    if "MATLAB_class" not in item.attrs:
        return None
    word = item.attrs["MATLAB_class"]
    return word.decode("latin1") if isinstance(word, bytes) else str(word)


def describe(file: h5py.File, most: int) -> dict[str, Any]:
    """The variables: the sizes of arrays of numbers, and what the rest is; where those in structures and cells lie."""
    found: dict[str, Any] = {"shapes": {}, "others": {}, "turned": [], "inside": {}, "seen": 0}
    if len(file) > most:
        raise TooManyError(f"it has {len(file)} variables, more than {most}")
    for name in file:
        if not isinstance(name, str) or name.startswith("#"):  # "#refs#": the contents of cells
            continue
        note(file, name, name, found, most)
    return found


def note(
    file: h5py.File, name: str, path: str, found: dict[str, Any], most: int, depth: int = 0
) -> None:
    """Add the variable at `path` to what was found, and those inside it."""
    if name in found["shapes"]:
        return
    found["seen"] += 1
    if found["seen"] > most:
        raise TooManyError(f"it has more than {most} variables")
    try:
        item = dataset(file, path)
        kind = matlab_class(item)
        if item.dtype.kind not in "fiub" or item.shape is None or "MATLAB_empty" in item.attrs:
            raise NotNumbersError(kind or "no numbers")
        if kind not in (None, *NUMERIC_CLASSES):
            raise NotNumbersError(kind)
    except NotNumbersError as error:
        other = str(error)[:200]
    except Exception:  # whatever h5py raises: a broken entry does not keep us from those beside it
        other = "broken"
    else:
        found["shapes"][name] = item.shape
        found["turned"] += [] if kind is None else [name]
        found["inside"] |= {} if depth == 0 else {name: path}
        return
    if depth == 0:
        found["others"][name] = other
    if other in ("struct", "cell") and depth < DEEPEST:
        inside: list[tuple[str, str]] = []
        with contextlib.suppress(Exception):
            inside = list(parts(file, path, most))
        for step, inner in inside:
            note(file, name + step, inner, found, most, depth + 1)


def parts(file: h5py.File, path: str, most: int) -> Iterator[tuple[str, str]]:
    """What MATLAB writes behind the name of a structure or a cell array for each array inside, and its path."""
    item = file[path]  # each link on the way has been looked at
    if not isinstance(item, h5py.Group):
        yield from ((f"{{{i}}}", inner) for i, inner in referred(file, path, most))
        return
    for field in item:
        inner = f"{path}/{field}"
        try:
            array = not matlab_class(dataset(file, inner))  # a field of an array of structures
            places = list(referred(file, inner, most)) if array else []
        except NotNumbersError:
            places = []
        if places:
            yield from ((f"({i}).{field}", place) for i, place in places)
        else:
            yield f".{field}", inner


def referred(file: h5py.File, path: str, most: int) -> Iterator[tuple[int, str]]:
    """Number, from 1, and path of each object that a dataset of references refers to, in MATLAB's order."""
    item = dataset(file, path)
    if h5py.check_ref_dtype(item.dtype) is not h5py.Reference or not 0 < item.size <= most:
        return
    for i, reference in enumerate(item[()].ravel()):
        if reference:
            name = file[reference].name
            if name:
                yield i + 1, name.strip("/")


def ask(item: h5py.Dataset) -> dict[str, Any]:
    """What the array asks for."""
    if item.size and not item.id.get_storage_size():
        raise ValueError(f"{item.name[1:]} has no values")
    return {"shape": item.shape, "dtype": item.dtype.str, "chunk": math.prod(item.chunks or (1,))}


def slabs(item: h5py.Dataset) -> Iterator[np.ndarray]:
    """The values, some rows at once: whole chunks, up to some MB."""
    if not item.shape:
        yield item[()]
        return
    rows = item.chunks[0] if item.chunks else 1
    bytes_a_row = max(1, item.size // max(1, item.shape[0]) * item.dtype.itemsize)
    rows *= max(1, AT_ONCE // (rows * bytes_a_row))
    chunk = math.prod(item.chunks or (1,)) * item.dtype.itemsize
    limit(item.size * item.dtype.itemsize, max(rows * bytes_a_row, chunk))
    for start in range(0, item.shape[0], rows):
        yield item[start : start + rows]


def main() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the process that asks: it ends this one
    out = sys.stdout.buffer

    def hear() -> Any:
        if sys.platform != "win32":
            signal.alarm(IDLE)
        line = sys.stdin.readline()
        if sys.platform != "win32":
            signal.alarm(0)
        return json.loads(line) if line else sys.exit()

    def say(answer: dict[str, Any], data: np.ndarray | None = None) -> None:
        out.write(json.dumps(answer).encode() + b"\n")
        if data is not None:
            out.write(np.ascontiguousarray(data).data)
        out.flush()

    while True:
        request = hear()
        limit(0, 0)
        try:
            with h5py.File(request["path"], "r") as file:
                if request["read"] is None:
                    say(describe(file, request["most"]))
                    continue
                item = dataset(file, request["read"])
                say(ask(item))
                hear()
                for values in slabs(item):
                    say({"bytes": values.nbytes}, values)
                    hear()
                say({"bytes": 0})
        except Exception as error:
            say({"error": str(error)[:500] or type(error).__name__})


if __name__ == "__main__":
    main()

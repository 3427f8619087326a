"""The process in which libhdf5 reads a file: run as a script by `hdf5_process`, so it imports nothing of hud_fast.

libhdf5 trusts what a file says: damaged ones end the process or never come to an end (both seen). Here that costs a
process of its own, with a limit on time and memory, and not the user's. A line of JSON comes in, a line goes out, and
after it the bytes of the array that was asked for. Asked for are the variables of a MATLAB file ("describe"), all
that an HDF5 file holds ("tree"), or an array ("read", "from" and "to" the numbers along each axis).

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
STRUCTURES = 8  # in structures
IDLE = 60  # seconds without a request, after which it ends
DEEPEST = 24  # groups in groups
LONGEST_TEXT = 1 << 17  # bytes of an attribute, or of a text in a dataset: HDF-EOS keeps 32 kB
NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"


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
    item = file
    for name in path.split("/"):
        if not isinstance(item, h5py.Group):
            raise NotNumbersError("broken")
        # `name in group` would follow it
        if item.id.links.get_info(name.encode()).type != h5l.TYPE_HARD:
            raise NotNumbersError("a link, which is not followed")
        item = item[name]
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
        note_variable(file, name, name, found, most)
    return found


def tree(file: h5py.File, most: int) -> dict[str, Any]:
    """All that the file holds: arrays of numbers, texts, the rest; attributes of groups and of what is no array."""
    found: dict[str, Any] = {
        "attributes": {"": attributes(file)},
        "arrays": {},
        "texts": {},
        "others": {},
    }
    known = {h5py.h5o.get_info(file.id).addr}  # a group may hold itself
    waiting = [""]
    while waiting:
        path = waiting.pop(0)
        group = file[path] if path else file
        for name in group:
            inner = f"{path}/{name}" if path else name
            if sum(map(len, found.values())) > most:
                raise ValueError(f"it has more than {most} groups and variables")
            try:
                if group.id.links.get_info(name.encode()).type != h5l.TYPE_HARD:
                    raise NotNumbersError("a link, which is not followed")
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in known:
                    raise NotNumbersError("another name of what is listed")
                known.add(address)
                if not isinstance(item, h5py.Group):
                    note(dataset(file, inner), inner, found)
                elif inner.count("/") < DEEPEST:
                    found["attributes"][inner] = attributes(item)
                    waiting.append(inner)
            except NotNumbersError as error:
                found["others"][inner] = str(error)[:200]
            except Exception:  # as in `describe`
                found["others"][inner] = "broken"
    return found


def note(item: h5py.Dataset, path: str, found: dict[str, Any]) -> None:
    """Add a dataset to what was found."""
    facts = attributes(item)
    if str(facts.get("NAME", "")).startswith(NO_VARIABLE):
        raise NotNumbersError("a dimension")
    if item.shape is not None and item.dtype.kind in "fiub":
        found["arrays"][path] = {
            "shape": item.shape,
            "dtype": item.dtype.str,
            "chunks": item.chunks,
            "at": place(item),
            "attributes": facts,
            "dims": [dimension(axis) for axis in item.dims] if item.ndim else [],
        }
        if "CLASS" in facts and item.ndim == 1:  # a scale is its own
            found["arrays"][path]["dims"] = [path.rpartition("/")[2]]
        return
    found["attributes"][path] = facts
    if item.shape is not None and item.size * item.dtype.itemsize <= LONGEST_TEXT:
        values = plain(item[()])
        words = values if isinstance(values, list) else [values]
        if words and all(isinstance(word, str) for word in words):
            found["texts"][path] = words
            return
    raise NotNumbersError("no numbers" if item.dtype.names is None else "records")


def place(item: h5py.Dataset) -> int | None:
    """Where the values begin, if they lie in one piece and unpacked: such ones need no libhdf5."""
    plan = item.id.get_create_plist()
    if plan.get_layout() != h5d.CONTIGUOUS or plan.get_nfilters():
        return None
    offset = item.id.get_offset()
    return None if offset is None or not item.id.get_storage_size() else int(offset)


def dimension(axis: Any) -> str:
    """The name of an axis; empty where it has none."""
    if len(axis):
        return str(axis[0].name).rpartition("/")[2]
    return str(axis.label)


def attributes(item: Any) -> dict[str, Any]:
    """Attributes that are numbers or text, as JSON has them; the rest is left out."""
    facts: dict[str, Any] = {}
    for name in item.attrs:
        try:
            if item.attrs.get_id(name).get_storage_size() <= LONGEST_TEXT:
                value = plain(item.attrs[name])
                if value is not None:
                    facts[name] = value
        except Exception:
            continue
    return facts


def plain(value: Any) -> Any:
    """Numbers and text as JSON has them; None for anything else."""
    if isinstance(value, np.ndarray):
        if value.size > LONGEST_TEXT // 8:
            return None
        if value.dtype.kind in "fiub":
            return value.tolist()
        parts = [plain(part) for part in value.ravel().tolist()]
        whole = all(isinstance(part, str) for part in parts)
        return (parts if value.ndim else parts[0]) if whole else None
    if isinstance(value, np.generic) and value.dtype.kind in "fiub":
        return value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")[:LONGEST_TEXT]
    return str(value)[:LONGEST_TEXT] if isinstance(value, str) else None


def note_variable(
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
    if other in ("struct", "cell") and depth < STRUCTURES:
        inside: list[tuple[str, str]] = []
        with contextlib.suppress(Exception):
            inside = list(parts(file, path, most))
        for step, inner in inside:
            note_variable(file, name + step, inner, found, most, depth + 1)


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


def slabs(
    item: h5py.Dataset, first: list[int] | None = None, last: list[int] | None = None
) -> Iterator[np.ndarray]:
    """The values (from `first` to `last` along each axis), some rows at once: whole chunks, up to some MB."""
    if not item.shape:
        yield item[()]
        return
    first = [0] * item.ndim if first is None else first
    last = list(item.shape) if last is None else last
    chunks = item.chunks or (1,) * item.ndim
    # What is unpacked for it: chunks have no parts.
    touched = [
        min(-(-b // chunk) * chunk, size) - a // chunk * chunk
        for a, b, chunk, size in zip(first, last, chunks, item.shape, strict=True)
    ]
    rows = chunks[0]
    bytes_a_row = max(1, math.prod(touched[1:]) * item.dtype.itemsize)
    rows *= max(1, AT_ONCE // (rows * bytes_a_row))
    chunk = math.prod(chunks) * item.dtype.itemsize
    limit(touched[0] * bytes_a_row, max(rows * bytes_a_row, chunk))
    rest = tuple(slice(a, b) for a, b in zip(first[1:], last[1:], strict=True))
    start = first[0]
    while start < last[0]:
        stop = min(start // rows * rows + rows, last[0])
        yield item[(slice(start, stop), *rest)]
        start = stop


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
                    answer = (tree if request.get("tree") else describe)(file, request["most"])
                else:
                    item = dataset(file, request["read"])
                    say(ask(item))
                    hear()
                    for values in slabs(item, request.get("from"), request.get("to")):
                        say({"bytes": values.nbytes}, values)
                        hear()
                    answer = {"bytes": 0}
            say(answer)  # the file is closed: whoever asked may write to it
        except Exception as error:
            say({"error": str(error)[:500] or type(error).__name__})


if __name__ == "__main__":
    main()

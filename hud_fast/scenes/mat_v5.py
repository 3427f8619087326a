"""MATLAB v5 files, read and written here. scipy's reader takes the types that a file gives on trust, and one flipped
bit in them ends the process (its own documentation calls it "not hardened").

A file is 128 bytes of header and a chain of elements: a tag of 8 bytes (type, length), then the data, padded to 8
bytes. Up to 4 bytes of data lie inside the tag. An element of the chain is an array, or a zlib stream that holds one;
an array is a chain of elements in turn: flags (class, complex), sizes, name, values. Values are stored in the smallest
type that holds them, whatever the class. A structure or a cell array holds arrays in turn, each with its own tag:
they are variables, too, named as MATLAB does (``hsi.Data``, ``cubes{1}``). Of objects only the name is read, and of
text, until it is asked for.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import printable
from hud_fast.scenes.trust import MOST_VARIABLES, broken, check_claim, check_count, whole

HEADER = 128
ARRAY, COMPRESSED = 14, 15
INTEGERS = (5, 6)  # types of flags and sizes
NAMES = (1, 2, 16)  # types of text; 8 bits a character
NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16-{}", 16: "utf-8", 17: "utf-16-{}"}
CLASSES = {
    1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8", 9: "uint8",
    10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64", 16: "function", 17: "opaque",
}  # fmt: skip
CODES = {name: code for code, name in CLASSES.items()}
NUMERIC = range(6, 16)  # of the classes
LOGICAL, COMPLEX = 0x0200, 0x0800  # of the flags
MOST_AXES = 32
LONGEST_NAME = 4096
LONGEST_TEXT = 1 << 20  # bytes
LONGEST_FIELDS = 1 << 20  # bytes of all names of a structure's fields
DEEPEST = 8  # structures in structures
BLOCK = 1 << 18


class MatV5:
    """The variables of a MATLAB v5 file."""

    format = "mat"
    version = "5"
    column_major = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.others: dict[str, str] = {}
        self.nested: set[str] = set()
        self._places: dict[str, tuple[int, int]] = {}  # of the element, and how far inside
        with whole(path), path.open("rb") as file:
            self._order, places = _chain(path, file)
            check_count(len(places))
            for place in places:
                element = _Element(file, place, self._order)
                head = element.head()
                if head.name in self._places:
                    continue  # the first of a name counts
                self._places[head.name] = place, 0
                if head.kind in NUMERIC:
                    self.shapes[head.name] = head.shape
                    continue
                self.others[head.name] = CLASSES[head.kind]
                inside: list[tuple[str, int, _Head]] = []
                # One that is broken, or of a kind of its own, does not keep us from the variables beside it.
                with contextlib.suppress(ValueError, struct.error, zlib.error):
                    inside.extend(element.parts(head, head.name))
                for name, offset, inner in inside:
                    if inner.kind in NUMERIC and name not in self._places:
                        self._places[name] = place, offset
                        self.shapes[name] = inner.shape
                        self.nested.add(name)
                check_count(len(self._places))

    def read(self, name: str) -> NDArray[Any]:
        """The values of a numeric variable, in the type in which they are stored."""
        with whole(self.path), self.path.open("rb") as file:
            place, offset = self._places[name]
            element = _Element(file, place, self._order)
            if offset:
                element.enter(offset)
            head = element.head()
            if head.is_complex:
                numbers = "complex64" if CLASSES[head.kind] == "single" else "complex128"
                raise TypeError(
                    f"load_scene: `variable` {printable(name, 60)} must hold real numbers, got {numbers} in "
                    f"{self.path}"
                )
            kind, size = element.tag()
            if kind not in NUMBERS:
                raise ValueError(f"{name} is stored as type {kind}, which is none of numbers")
            dtype = np.dtype(self._order + NUMBERS[kind])
            count = math.prod(head.shape)
            if size != count * dtype.itemsize:
                raise ValueError(f"{name} has {size} bytes for {head.shape} numbers of {dtype}")
            check_claim(self.path, name, count, dtype.itemsize)
            values = np.empty(count, dtype)
            element.fill(values)
        return values.reshape(head.shape, order="F")

    def texts(self, name: str) -> list[str]:
        """The lines of a text, or the texts in a cell array."""
        found: list[str] = []
        with whole(self.path), self.path.open("rb") as file:
            element = _Element(file, self._places[name][0], self._order)
            head = element.head()
            if CLASSES[head.kind] == "char":
                found = element.lines(head)
            for _, _, inner in element.parts(head, name):
                if CLASSES[inner.kind] == "char":
                    found += element.lines(inner)
        return found


def write_v5(path: Path, content: dict[str, NDArray[Any]]) -> None:
    """A v5 file of these arrays, compressed, block by block: scipy's writer takes five times an array's memory."""
    with path.open("wb") as file:
        file.write(b"MATLAB 5.0 MAT-file, written by hud_fast".ljust(124) + b"\x00\x01IM")
        for name, values in content.items():
            is_text = values.dtype.kind == "U"
            array = letters(values) if is_text else np.atleast_2d(values)
            dtype = array.dtype.newbyteorder("<")
            code = next(code for code, number in NUMBERS.items() if number == dtype.str[1:])
            kind = {"float64": "double", "float32": "single"}.get(dtype.name, dtype.name)
            kind = "char" if is_text else kind
            head = b"".join((
                _element(6, struct.pack("<II", CODES[kind], 0)),
                _element(5, struct.pack(f"<{array.ndim}i", *array.shape)),
                _element(1, name.encode("ascii")),
                struct.pack("<II", code, array.nbytes),
            ))  # fmt: skip
            padding = -array.nbytes % 8
            stream, start = zlib.compressobj(), file.tell()
            file.write(bytes(8))
            head = struct.pack("<II", ARRAY, len(head) + array.nbytes + padding) + head
            file.write(stream.compress(head))
            step = max(1, BLOCK * array.shape[-1] // max(1, array.nbytes))
            for first in range(
                0, array.shape[-1], step
            ):  # column by column: the last axis is the slowest
                block = array[..., first : first + step].astype(dtype, copy=False)
                file.write(stream.compress(block.tobytes(order="F")))
            file.write(stream.compress(bytes(padding)) + stream.flush())
            end = file.tell()
            file.seek(start)
            file.write(struct.pack("<II", COMPRESSED, end - start - 8))
            file.seek(end)


def letters(lines: NDArray[np.str_]) -> NDArray[np.uint16]:  # (lines, letters)
    """Lines as MATLAB has them in one array: all as long as the longest, filled up by blanks.

    Examples
    --------
    >>> letters(np.array(["ab", "c"])).tolist()
    [[97, 98], [99, 32]]
    """
    coded = [np.frombuffer(str(line).encode("utf-16-le", "replace"), "<u2") for line in lines]
    matrix = np.full((len(coded), max(map(len, coded), default=0)), ord(" "), np.uint16)
    for row, line in zip(matrix, coded, strict=True):
        row[: len(line)] = line
    return matrix


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def _chain(path: Path, file: IO[bytes]) -> tuple[str, list[int]]:
    """The byte order, and where each element starts; their lengths must end at the end of the file."""
    size = path.stat().st_size
    header = file.read(HEADER)
    if len(header) < HEADER:
        raise broken(path, f"it ends inside its header, after {size} bytes")
    order = ">" if header[126:128] == b"MI" else "<"
    places = [HEADER]
    while places[-1] < size:
        file.seek(places[-1])
        tag = file.read(8)
        if len(tag) < 8:
            raise broken(path, f"it ends inside an element at byte {size}")
        places.append(places[-1] + 8 + struct.unpack(order + "II", tag)[1])
    end = places.pop()
    if end > size:
        raise broken(path, f"it has {size} bytes, its elements need {end}")
    return order, places


@dataclass(frozen=True)
class _Head:
    """What is said of an array before its values."""

    name: str
    kind: int  # of CLASSES
    shape: tuple[int, ...]
    is_complex: bool


class _Element:
    """One array of the chain, read from its start."""

    def __init__(self, file: IO[bytes], place: int, order: str) -> None:
        self._order = order
        self._stream: IO[bytes] = file
        self._inside = False  # a structure or a cell array
        self._left = 16  # bytes that may still be read: two tags, then the array's own
        self._at = 0  # bytes that were read
        file.seek(place)
        kind, length = self._numbers("II", 8)
        if kind == COMPRESSED:
            self._stream = io.BufferedReader(_Inflated(file, length), BLOCK)
            self._at = 0
            kind, length = self._numbers("II", 8)
        self._left = self._array(kind, length)

    def parts(self, head: _Head, name: str, depth: int = 0) -> Iterator[tuple[str, int, _Head]]:
        """The arrays inside a structure or a cell array, `head` having been read: name, place for `enter`, head."""
        steps = self._steps(head) if depth < DEEPEST else []
        for step in steps:
            offset = self._at
            length = self._array(*self._numbers("II", 8))
            end = self._at + length
            if length:  # an empty one may have nothing but its tag
                inner = self.head()
                yield name + step, offset, inner
                yield from self.parts(inner, name + step, depth + 1)
            self._skip(end - self._at)

    def _steps(self, head: _Head) -> Iterable[str]:
        """What MATLAB writes behind the name for each array inside."""
        count = math.prod(head.shape)
        if count > MOST_VARIABLES:
            return []  # a table of values in cells, no scene
        if CLASSES[head.kind] == "cell":
            return [f"{{{i + 1}}}" for i in range(count)]
        if CLASSES[head.kind] != "struct":
            return []
        (size,) = struct.unpack(self._order + "i", self._data("field size", INTEGERS, 4))
        text = self._data("field names", NAMES, LONGEST_FIELDS)
        if size < 1 or len(text) % size:
            raise ValueError(f"the names of fields are {len(text)} bytes, {size} each")
        names = [text[i : i + size].split(b"\0")[0] for i in range(0, len(text), size)]
        fields = [name.decode("latin1") for name in names]
        which = [""] if count == 1 else [f"({i + 1})" for i in range(count)]
        return [f"{index}.{field}" for index in which for field in fields]

    def enter(self, offset: int) -> None:
        """Go on to the array that lies inside this one at `offset`."""
        self._skip(offset - self._at)
        self._left = self._array(*self._numbers("II", 8))
        self._inside = True

    def _array(self, kind: int, length: int) -> int:
        if kind != ARRAY:
            raise ValueError(f"an element of type {kind} stands where an array is expected")
        return length

    def _skip(self, count: int) -> None:
        if not 0 <= count <= self._left:
            raise ValueError("an array does not end where the one that holds it says")
        if isinstance(self._stream, io.BufferedReader) and isinstance(self._stream.raw, _Inflated):
            while count:
                count -= len(self._take(min(count, BLOCK)))
        else:
            self._stream.seek(count, io.SEEK_CUR)
            self._left, self._at = self._left - count, self._at + count

    def head(self) -> _Head:
        """Flags, sizes and name; the values follow."""
        word = struct.unpack(self._order + "II", self._data("flags", INTEGERS, 8))[0]
        kind = word & 0xFF
        if kind not in CLASSES:
            raise ValueError(f"an array is of the unknown class {kind}")
        shape: tuple[int, ...] = ()
        if CLASSES[kind] != "opaque":
            sizes = self._data("sizes", INTEGERS, 4 * MOST_AXES)
            shape = struct.unpack(f"{self._order}{len(sizes) // 4}i", sizes)
            if min(shape, default=-1) < 0:
                raise ValueError(f"an array has the sizes {shape}")
        name = self._data("name", NAMES, LONGEST_NAME).decode("latin1")
        return _Head(name, kind, shape, bool(word & COMPLEX))

    def tag(self) -> tuple[int, int]:
        """Type and length of the next element; its data follows."""
        (kind,) = self._numbers("I", 4)
        length = kind >> 16  # 0, but where the data lies inside the tag
        if length > 4:
            raise ValueError(f"an element inside its tag has {length} bytes")
        self._padding = 4 - length
        if length:
            return kind & 0xFFFF, length
        (length,) = self._numbers("I", 4)
        self._padding = -length % 8
        return kind, length

    def lines(self, head: _Head) -> list[str]:
        """The lines of a text, `head` having been read; all are as long as the longest."""
        kind, length = self.tag()
        if kind not in TEXTS or length > LONGEST_TEXT:
            raise ValueError(f"a text is {length} bytes of type {kind}")
        order = "le" if self._order == "<" else "be"
        text = self._take(length).decode(TEXTS[kind].format(order), "replace")
        count = head.shape[0] if len(head.shape) == 2 else 0
        if len(text) != math.prod(head.shape):
            count = min(count, 1)  # of letters that take several bytes
        return [text[line::count].rstrip(" \0") for line in range(count)]

    def fill(self, values: NDArray[Any]) -> None:
        """Read the values, and see that the stream which holds them is whole."""
        rest = memoryview(values.view(np.uint8))  # type: ignore[arg-type]  # numpy's stubs
        if len(rest) > self._left:
            raise ValueError("an array is shorter than its values")
        while rest and (count := self._stream.readinto(rest)):  # type: ignore[attr-defined]
            rest = rest[count:]
        if rest:
            raise ValueError("it ends inside an array")
        if isinstance(self._stream, io.BufferedReader) and isinstance(self._stream.raw, _Inflated):
            if self._inside:
                while self._stream.read(BLOCK):  # what else the structure holds, to the checksum
                    pass
            elif len(self._stream.read(8)) == 8:
                raise ValueError("there is more in a zlib stream than its array")
            self._stream.raw.check_end()

    def _data(self, what: str, kinds: tuple[int, ...], most: int) -> bytes:
        kind, length = self.tag()
        if kind not in kinds or length > most:
            raise ValueError(f"the {what} of an array are {length} bytes of type {kind}")
        data = self._take(length)
        self._take(self._padding)
        return data

    def _numbers(self, format_: str, size: int) -> tuple[int, ...]:
        return struct.unpack(self._order + format_, self._take(size))

    def _take(self, count: int) -> bytes:
        data = self._stream.read(count)
        self._left, self._at = self._left - count, self._at + count
        if len(data) < count or self._left < 0:
            raise ValueError("it ends inside an array")
        return data


class _Inflated(io.RawIOBase):
    """The zlib stream of `length` bytes that starts here, inflated as far as it is asked for."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self._left = file, length
        self._zlib = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = b""
        while not (piece or self._zlib.eof):
            data = self._zlib.unconsumed_tail
            if not data:
                data = self._file.read(min(BLOCK, self._left))
                self._left -= len(data)
                if not data:
                    break
            piece = self._zlib.decompress(data, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def check_end(self) -> None:
        """The stream's checksum stands at its end: whoever has not come there has not compared it."""
        if not self._zlib.eof:
            raise ValueError("a zlib stream is cut off")

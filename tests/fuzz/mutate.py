"""Random changes of bytes, text and JSON, each drawn from one generator: the same seed, the same inputs."""

from __future__ import annotations

import copy
import json
import re
import struct
from random import Random
from typing import Any

INTEGERS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000)
INTEGERS += (0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
FLOATS = (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 1e38, 1e-320, -0.0, 1e30)
TEXT = r"""
0 1 -1 2 3 9 255 256 1e6 2147483647 2147483648 4294967296 9223372036854775807 18446744073709551616 1e400 -1e400
nan inf -inf 0.5 1e-320 0x10 1_000 None True {} [] () {,} { } ( ) , = : ; \ / ../canary /etc/passwd file.npy é
%s %n $x$ $x_{$
"""
WORDS = (*TEXT.split(), "\x00", "\x1b[31m", "\ud7ff", "\U0001f600")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 1 << 20, 1 << 31, 1 << 63, 1 << 64, 10**30, -(1 << 40)),
    *(
        0.5,
        1e308,
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        "x",
        "../canary",
        "\x1b[31m",
        "\n",
    ),
    *([], [0], [1, 2, 3], [[]], {}, {"a": 1}, "1e400", "é" * 40, [0] * 300),
)


def mutate(name: str, data: bytes, rng: Random, other: bytes = b"") -> bytes:
    """`data` with a few changes that suit the file's name; `other` is what parts may be taken from."""
    kind = name.rpartition(".")[2]
    if kind == "json" and rng.random() < 0.8:
        return mutate_json(data, rng)
    if kind in ("hdr", "txt", "json") and rng.random() < 0.8:
        return mutate_text(data, rng)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(CHANGES)(changed, rng, other)
    return bytes(changed)


def _at(data: bytearray, rng: Random) -> int:
    """A place, as often in the first 256 bytes, where headers lie, as anywhere."""
    return rng.randrange(max(1, len(data) if rng.random() < 0.5 else min(len(data), 256)))


def _bit(data: bytearray, rng: Random, other: bytes) -> None:
    if data:
        data[_at(data, rng)] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: Random, other: bytes) -> None:
    if data:
        data[_at(data, rng)] = rng.randrange(256)


def _integer(data: bytearray, rng: Random, other: bytes) -> None:
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(INTEGERS) + rng.choice((0, 0, 0, -1, 1, len(data)))
    at = _at(data, rng) & ~(size - 1)  # numbers in files lie at multiples of their size
    word = (value & ((1 << 8 * size) - 1)).to_bytes(size, rng.choice(("little", "big")))
    data[at : at + size] = word[: max(0, len(data) - at)]


def _float(data: bytearray, rng: Random, other: bytes) -> None:
    code, size = rng.choice((("<f", 4), ("<d", 8)))
    value = rng.choice(FLOATS)
    at = rng.randrange(max(1, len(data))) & ~(size - 1)
    if at + size <= len(data):
        word = min(max(value, -3e38), 3e38) if size == 4 and abs(value) < 1e309 else value
        struct.pack_into(code, data, at, word)


def _add(data: bytearray, rng: Random, other: bytes) -> None:
    """A number a little larger or smaller: the next length, the next offset."""
    if data:
        at = _at(data, rng)
        data[at] = (data[at] + rng.choice((-8, -4, -2, -1, 1, 2, 4, 8))) & 255


def _cut(data: bytearray, rng: Random, other: bytes) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _delete(data: bytearray, rng: Random, other: bytes) -> None:
    at = _at(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 8, 16, 64))]


def _insert(data: bytearray, rng: Random, other: bytes) -> None:
    at = _at(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 16, 64)))


def _repeat(data: bytearray, rng: Random, other: bytes) -> None:
    at, size = _at(data, rng), rng.choice((1, 4, 8, 16, 64, 256))
    data[at:at] = data[at : at + size] * rng.choice((1, 1, 2, 16))


def _move(data: bytearray, rng: Random, other: bytes) -> None:
    at, to, size = _at(data, rng), _at(data, rng), rng.choice((4, 8, 16, 64))
    piece = data[at : at + size]
    data[to : to + len(piece)] = piece


def _splice(data: bytearray, rng: Random, other: bytes) -> None:
    at, size = rng.randrange(max(1, len(other))), rng.choice((4, 16, 64, 256))
    to = rng.randrange(max(1, len(data)))
    data[to : to + size] = other[at : at + size]


def _fill(data: bytearray, rng: Random, other: bytes) -> None:
    at, size = _at(data, rng), rng.choice((4, 8, 16, 64, 256))
    piece = data[at : at + size]
    data[at : at + size] = bytes([rng.choice((0, 0xFF, 0x20, 0x41))]) * len(piece)


CHANGES = (_bit, _bit, _bit, _byte, _byte, _integer, _integer, _integer, _float, _add, _cut)
CHANGES += (_delete, _insert, _repeat, _move, _splice, _fill)

TOKEN = re.compile(r"[\w.+-]+|[^\w\s]")


def mutate_text(data: bytes, rng: Random) -> bytes:
    """Words replaced, removed, doubled; lines removed, doubled, put elsewhere."""
    text = data.decode("utf-8", "replace")
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.75:
            tokens = list(TOKEN.finditer(text))
            if not tokens:
                return rng.choice(WORDS).encode()
            token = rng.choice(tokens)
            word = rng.choice(
                (rng.choice(WORDS), "", token.group() * 2, rng.choice(tokens).group())
            )
            word *= rng.choice((1, 1, 1, 1, 50))
            text = text[: token.start()] + word + text[token.end() :]
            continue
        lines = text.split("\n")
        line = lines.pop(rng.randrange(len(lines)))
        for _ in range(rng.choice((0, 1, 2, 30))):
            lines.insert(rng.randrange(len(lines) + 1), line)
        text = "\n".join(lines)
    return text.encode("utf-8", "surrogatepass")


def mutate_json(data: bytes, rng: Random) -> bytes:
    """One or two values replaced, removed, renamed or put elsewhere; still JSON as Python writes it."""
    try:
        value = json.loads(data)
    except ValueError:
        return mutate_text(data, rng)
    for _ in range(rng.choice((1, 1, 2))):
        holder, key = rng.choice(list(_slots([value], []))[1:] or [([value], 0)])
        way = rng.random()
        if way < 0.6:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        elif way < 0.7 and isinstance(holder[key], (int, float)):
            holder[key] = holder[key] * rng.choice((-1, 2, 1000)) + rng.choice((-1, 0, 1))
        elif way < 0.85:
            del holder[key]
        elif isinstance(holder, dict):
            holder[rng.choice((key + "x", "", "format", "name"))] = copy.deepcopy(holder[key])
        else:
            holder.append(copy.deepcopy(holder[key]))
    return json.dumps(value).encode()


def _slots(holder: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: the dictionary or list, and the key."""
    for key in holder if isinstance(holder, dict) else range(len(holder)):
        found.append((holder, key))
        if isinstance(holder[key], (dict, list)):
            _slots(holder[key], found)
    return found

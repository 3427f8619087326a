"""`hud_fast._C` of another processor: its calls run in an emulated Python, on copies of the tensors.

Imported as the module `_C` it starts `FAR_PYTHON` (a command) on this same file. There it is the other side, which
has the real module in the folder that it is given, and neither torch nor numpy: a tensor comes as its memory and what
the module asks of one (csrc/common/tensor.h). After each call all memory comes back, whatever the call wrote. For
`.ci/arm`.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import os
import pickle
import shlex
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any, BinaryIO

PLAIN = (type(None), bool, int, float, str, bytes)
PAGE = 4096


class Sent:
    """A tensor on its way: which memory, where in it, and its description."""

    def __init__(self, memory: int, offset: int, dtype: str, shape: Any, strides: Any) -> None:
        self.memory, self.offset, self.dtype = memory, offset, dtype
        self.shape, self.strides = shape, strides


class Held:
    """An object that stays on the other side."""

    def __init__(self, handle: int) -> None:
        self.handle = handle


def replaced(value: Any, by: Any) -> Any:
    """`value` with `by` applied to what is no plain value and no container of them."""
    if isinstance(value, tuple | list):
        return type(value)(replaced(each, by) for each in value)
    if isinstance(value, dict):
        return {key: replaced(each, by) for key, each in value.items()}
    return value if isinstance(value, PLAIN) else by(value)


def write(pipe: BinaryIO, message: Any) -> None:
    data = pickle.dumps(message, protocol=4)
    pipe.write(len(data).to_bytes(8, "little") + data)
    pipe.flush()


def read(pipe: BinaryIO) -> Any:
    size = pipe.read(8)
    if len(size) < 8:
        raise EOFError("the other side has ended")
    return pickle.loads(pipe.read(int.from_bytes(size, "little")))


# ---- the other side -------------------------------------------------------------------------------------------------


class Tensor:
    """What the module reads of a torch.Tensor."""

    device = SimpleNamespace(type="cpu")

    def __init__(self, sent: Sent, start: int, keep: Any) -> None:
        self.dtype, self.shape, self.strides = sent.dtype, sent.shape, sent.strides
        self.address, self.keep = start + sent.offset if start else 0, keep

    def stride(self) -> Any:
        return self.strides

    def data_ptr(self) -> int:
        return self.address


def serve(folder: str) -> None:
    sys.path.insert(0, folder)
    import _C

    _C.machine = lambda: os.uname().machine
    objects: list[Any] = [_C]
    source, target = sys.stdin.buffer, sys.stdout.buffer

    def out(value: Any) -> Any:
        objects.append(value)
        return Held(len(objects) - 1)

    while True:
        try:
            handle, name, call, arguments, memories = read(source)
        except EOFError:
            return
        starts, buffers = [], []
        # At the same place of a page as here: kernels ask where a tensor lies.
        for within, data in memories:
            buffer = ctypes.create_string_buffer(len(data) + 2 * PAGE)
            start = -(-ctypes.addressof(buffer) // PAGE) * PAGE + within
            ctypes.memmove(start, data, len(data))
            starts.append(start)
            buffers.append(buffer)

        def back(value: Any, starts: Any = starts, buffers: Any = buffers) -> Any:
            if isinstance(value, Held):
                return objects[value.handle]
            if value.memory < 0:
                return Tensor(value, 0, None)
            return Tensor(value, starts[value.memory], buffers[value.memory])

        try:
            result = getattr(objects[handle], name) if name else objects[handle]
            if call:
                result = result(*replaced(arguments, back))
            answer = (True, replaced(result, out))
        except Exception as error:
            answer = (False, (type(error).__name__, *map(str, error.args)))
        contents = [ctypes.string_at(s, len(m[1])) for s, m in zip(starts, memories, strict=True)]
        write(target, (*answer, contents))


# ---- this side ------------------------------------------------------------------------------------------------------


class Far:
    """An object of the other side: its attributes and calls are asked for there."""

    def __init__(self, handle: int, name: str = "") -> None:
        self._handle, self._name, self._known = handle, name, {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._known:
            self._known[name] = ask(self._handle, name, False, ())
        return self._known[name]

    def __call__(self, *arguments: Any) -> Any:
        return ask(self._handle, "", True, arguments)


_lock = threading.Lock()
_process: dict[int, subprocess.Popen[bytes]] = {}  # by process: a fork starts its own


def ask(handle: int, name: str, call: bool, arguments: Any) -> Any:
    import torch

    spans: list[list[int]] = []  # [first, last) of memory, apart from each other

    def span(t: Any) -> tuple[int, int]:
        reach = sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True))
        return t.data_ptr(), t.data_ptr() + (reach + 1) * t.element_size()

    def has_memory(t: Any) -> bool:
        if type(t) not in (torch.Tensor, torch.nn.Parameter) or t.device.type != "cpu":
            return False
        try:
            return bool(t.layout == torch.strided and t.numel() > 0 and t.data_ptr() != 0)
        except RuntimeError:  # one of torch's own wrappers
            return False

    def note(value: Any) -> None:
        if isinstance(value, torch.Tensor) and has_memory(value):
            spans.append([*span(value)])

    replaced(arguments, note)
    apart: list[list[int]] = []
    for first, last in sorted(spans):
        if apart and first < apart[-1][1]:
            apart[-1][1] = max(last, apart[-1][1])
        else:
            apart.append([first, last])

    def sent(value: Any) -> Any:
        if isinstance(value, Far):
            return Held(value._handle)
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"incompatible function arguments: {type(value).__name__}")
        shape, strides = tuple(value.shape), tuple(value.stride())
        if not has_memory(value):
            return Sent(-1, 0, str(value.dtype), shape, strides)
        first = value.data_ptr()
        at = next(i for i, (low, high) in enumerate(apart) if low <= first < high)
        return Sent(at, first - apart[at][0], str(value.dtype), shape, strides)

    packed = replaced(arguments, sent)
    memories = [(low % PAGE, ctypes.string_at(low, high - low)) for low, high in apart]
    with _lock:
        process = _process.get(os.getpid())
        if process is None:
            command = [*shlex.split(os.environ["FAR_PYTHON"]), __file__, os.environ["FAR_MODULE"]]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            _process[os.getpid()] = process
            atexit.register(process.__exit__, None, None, None)  # ends its input, and so itself
        assert process.stdin is not None
        assert process.stdout is not None
        write(process.stdin, (handle, name, call, packed, memories))
        done, answer, contents = read(process.stdout)
    for (low, _), (_, before), after in zip(apart, memories, contents, strict=True):
        if after != before:
            ctypes.memmove(low, after, len(after))
    if not done:
        raise getattr(builtins, answer[0], RuntimeError)(*answer[1:])
    return replaced(answer, lambda held: Far(held.handle))


# Both sides pickle under one name.
sys.modules["far"] = sys.modules[__name__]
Sent.__module__ = Held.__module__ = "far"
if __name__ == "__main__":
    serve(sys.argv[1])
else:
    _module = Far(0)

    def __getattr__(name: str) -> Any:
        return getattr(_module, name)

"""Suites for the check's child process whose operations do what they are called: end well, lie, hang, die."""

from __future__ import annotations

import os
import sys
import time

import torch


def odd(operation: str, device: torch.device) -> str:
    """An operation of that name."""
    print("a library's word on standard output", operation)
    if operation == "hangs":
        time.sleep(600)
    if operation == "dies":
        print("illegal address\n", file=sys.stderr, flush=True)
        os.abort()
    if operation == "exits":
        os._exit(3)
    if operation == "raises":
        raise RuntimeError("CUDA error: unspecified launch failure\nand what torch adds to it")
    if operation == "starved":
        raise torch.OutOfMemoryError("no memory left")
    return "off by one" if operation == "wrong" else ""


def broken_device(operation: str, device: torch.device) -> str:
    """After the first failure the device answers no more, as after an illegal address."""
    from hud_fast.kernels.gpu_check import child

    if operation != "poisons":
        return ""
    child._answers = lambda _: False
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def environment(operation: str, device: torch.device) -> str:
    """The variable of that name."""
    return os.environ.get(operation, "unset")

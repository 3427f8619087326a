"""The child process of a check: one operation after the other, a line of JSON for each as soon as it is known.

An illegal address or a hang ends this process alone. What a suite finds is its business: `examine(operation, device)`
returns what is wrong, "" where nothing is.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

import torch


def main() -> None:
    """Do the job in the first argument; never returns."""
    job = json.loads(sys.argv[1])
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not for the parent

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=lines, flush=True)

    module, _, name = job["suite"].partition(":")
    examine = getattr(importlib.import_module(module), name)
    device = torch.device(job["device"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
        _answers(device)
    say({"ready": True})
    for operation in job["operations"]:
        begin = time.monotonic()
        memory, why = False, ""
        try:
            why = examine(operation, device)
        except Exception as error:
            memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
            text = str(error).strip().splitlines() or [""]
            why = f"{type(error).__name__}: {text[0]}"
        leaving = bool(why) and not _answers(device)
        seconds = time.monotonic() - begin
        say(
            {
                "operation": operation,
                "why": why,
                "seconds": seconds,
                "lasting": not memory,
                "leaving": leaving,
            }
        )
        if leaving:
            break
    os._exit(0)  # a device that is broken must not be asked to tidy up


def _answers(device: torch.device) -> bool:
    """Whether the device still does what it is told: after an illegal address nothing of this process's does."""
    try:
        return int(torch.ones(1, device=device).item()) == 1
    except RuntimeError:
        return False

"""From the device to the host, batch by batch: each travels while the next one is being made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays: TypeAlias = tuple[NDArray[Any], ...]


def on_host(batches: Iterable[tuple[Tensor, ...]]) -> Iterator[Arrays]:
    """The batches as arrays, in order. From a GPU each comes one later, once its successor has been launched.

    Examples
    --------
    >>> [one.tolist() for one, in on_host([(torch.zeros(2),), (torch.ones(1),)])]
    [[0.0, 0.0], [1.0]]
    """
    leaving: _Leaving | None = None
    for batch in batches:
        if batch[0].device.type != "cuda":
            yield tuple(tensor.cpu().numpy() for tensor in batch)
            continue
        before, leaving = leaving, _Leaving(batch)
        if before is not None:
            yield before.arrived()
    if leaving is not None:
        yield leaving.arrived()


def gathered(
    batches: Iterable[tuple[Tensor, ...]],
    kinds: Sequence[tuple[tuple[int, ...], torch.dtype]],
    device: torch.device | None = None,
) -> tuple[Any, ...]:
    """All batches, one behind the other, in an array for each of `kinds`; with `device` in tensors there.

    Examples
    --------
    >>> batches = [(torch.zeros(2),), (torch.ones(1),)]
    >>> gathered(batches, [((3,), torch.float32)])[0].tolist()
    [0.0, 0.0, 1.0]
    """
    tensors = [torch.empty(shape, dtype=dtype, device=device or "cpu") for shape, dtype in kinds]
    found: list[Any] = [one.numpy() for one in tensors] if device is None else [*tensors]
    done = 0
    arrived: Iterable[Any] = on_host(batches) if device is None else batches
    for batch in arrived:
        for into, part in zip(found, batch, strict=True):
            into[done : done + len(part)] = part
        done += len(batch[0])
    return tuple(found)


class _Leaving:
    """Tensors on their way from a GPU, by a stream of its own into memory that the device can write by itself."""

    def __init__(self, batch: tuple[Tensor, ...]) -> None:
        device = batch[0].device
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            self._here = [
                torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(
                    tensor, non_blocking=True
                )
                for tensor in batch
            ]
            self._done = torch.cuda.Event()
            self._done.record(stream)
        for tensor in batch:
            tensor.record_stream(stream)  # nobody gets its memory before the copy is done

    def arrived(self) -> Arrays:
        self._done.synchronize()
        # page-locked memory is scarce: what the caller keeps is his own
        return tuple(np.array(tensor.numpy()) for tensor in self._here)

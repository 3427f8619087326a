"""Long kernels work in parts, between which signals are looked for: Ctrl-C ends them, and no bit moves for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hud_fast as hud

Array = NDArray[np.float32]
Search = Callable[[Array], Any]


def spectra(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).random(shape, dtype=np.float32)


def brute_force(times: int) -> tuple[Search, Array]:
    reference = spectra(20_000 * times, 60)
    return lambda query: hud.cosine_max(query, reference), spectra(3000 * times, 60)


def pruned(times: int) -> tuple[Search, Array]:
    index = hud.CosineIndex(spectra(15_000, 30), endmembers=spectra(10, 30))
    return index.search_mixtures, spectra(24_000 * times, 10)


def abundances(times: int) -> tuple[Search, Array]:
    ends = spectra(60, 20)
    return lambda pixels: hud.fcls(pixels, ends), spectra(30_000 * times, 20)


def windows(times: int) -> tuple[Search, Array]:
    scene = spectra(800, 800, 24)
    return lambda blocks: hud.window_search(blocks, scene), spectra(128 * times, 20, 20, 24)


class Stopped(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("kernel", [brute_force, pruned, abundances, windows])
def test_a_signal_ends_long_work(kernel: Callable[[int], tuple[Search, Array]]) -> None:
    def stop(*_: object) -> None:
        raise Stopped

    search, rows = kernel(10)
    before = signal.signal(signal.SIGALRM, stop)
    begin = time.thread_time()  # of other processes' work the test is to know nothing
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Stopped):
            search(rows)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.thread_time() - begin < 0.8  # seconds; all of it takes several


@pytest.mark.parametrize("kernel", [brute_force, pruned, abundances])
def test_parts_have_the_bits_of_the_whole(kernel: Callable[[int], tuple[Search, Array]]) -> None:
    search, rows = kernel(1)
    whole = search(rows)
    parts = [search(part) for part in np.array_split(rows, 4)]
    if isinstance(whole, tuple):
        whole, parts = np.column_stack(whole), [np.column_stack(part) for part in parts]
    np.testing.assert_array_equal(np.concatenate(parts), whole)

"""Large results lie on memory that NumPy asked for: they must be tensors like any other."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import hud_fast as hud
from hud_fast.kernels._memory import HUGE, LINE, LONGEST, MOST, _kept, empty


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_large_result_is_contiguous_aligned_and_writable(dtype, extra):
    count = HUGE // dtype.itemsize + extra
    out = empty((1, count), torch.empty(0, dtype=dtype))
    assert (out.shape, out.dtype, out.storage_offset()) == ((1, count), dtype, 0)
    assert out.is_contiguous()
    assert out.data_ptr() % LINE == 0
    out.fill_(1)
    assert out[0, -1] == 1


def test_a_large_result_lives_as_long_as_a_view_of_it_and_travels():
    x = torch.rand(1 << 20, 2)
    z = hud.log_project(x)
    tail = z[-3:]
    expected = z[-3:].clone()
    del z
    assert torch.equal(tail, expected)
    z = hud.log_project(x)
    assert torch.equal(pickle.loads(pickle.dumps(z)), z)
    assert torch.equal(z.clone().share_memory_(), z)
    assert torch.equal(z.share_memory_(), hud.log_project(x))
    array = hud.log_project(x.numpy())
    assert array.flags.writeable
    array += 1


def test_empty_shapes():
    assert empty((0, 3), torch.empty(0)).shape == (0, 3)


def test_what_a_result_lay_on_serves_the_next_and_no_other():
    x = torch.rand(1 << 20, 3)
    first = hud.log_project(x)
    expected, place = first.clone(), first.data_ptr()
    tail = first[-1:].numpy()
    del first
    second = hud.log_project(x)
    assert second.data_ptr() != place  # a view still lives there
    del tail
    assert hud.log_project(x).data_ptr() == place
    third, fourth = hud.log_project(x), hud.log_project(x)
    assert len({t.data_ptr() for t in (second, third, fourth)}) == 3
    assert torch.equal(third, expected)


def test_kept_blocks_give_way_where_there_is_no_more_memory(monkeypatch):
    of_bytes = torch.empty(0, dtype=torch.uint8)
    kept = empty((HUGE,), of_bytes)
    del kept
    assert len(_kept) > 0
    plainly, asked = np.empty, []

    def short(*given, **more):
        asked.append(len(_kept))
        if _kept:
            raise MemoryError
        return plainly(*given, **more)

    monkeypatch.setattr(np, "empty", short)
    assert empty((2 * HUGE,), of_bytes).shape == (2 * HUGE,)
    assert len(asked) == 2
    assert asked[1] == 0


def test_what_is_kept_is_bounded():
    def blocks(size: int) -> list[torch.Tensor]:
        return [empty((size - LINE,), torch.empty(0, dtype=torch.uint8)) for _ in range(MOST + 2)]

    blocks(LONGEST + 1)
    assert all(block.nbytes <= LONGEST for block in _kept)
    blocks(LONGEST)
    assert [block.nbytes for block in _kept] == [LONGEST] * MOST
    _kept.clear()

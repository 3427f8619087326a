"""The network's layers against torch in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, group_norm, silu

from hud_fast.kernels import conv3x3, layers_run, norm_silu
from tests.isa import cpu_only, every_level, running

pytestmark = cpu_only
SHAPES = [(1, 1), (3, 4), (5, 9), (32, 32), (13, 40)]
# Of the largest value. Worst seen: convolution and gradients 7e-6, norm and gradients 3e-6.
LAYER_ERROR = 2e-5


def maps(*shape: int, seed: int = 0, last: bool = True) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    found = torch.randn(*shape, generator=draw)
    return found.contiguous(memory_format=torch.channels_last) if last else found


def with_gradients(layer: Any, inputs: list[Tensor | None], gradient: Tensor) -> tuple[Tensor, ...]:
    given = [None if one is None else one.detach().clone().requires_grad_() for one in inputs]
    found = layer(*given)
    asked = [one for one in given if one is not None]
    return (found.detach(), *torch.autograd.grad(found, asked, gradient))


def doubled(inputs: list[Tensor | None]) -> list[Tensor | None]:
    return [None if one is None else one.double() for one in inputs]


def near(found: Tensor, truth: Tensor) -> None:
    assert found.dtype == torch.float32
    assert found.shape == truth.shape
    apart = (found.double() - truth).abs().max() / truth.abs().max().clamp_min(1e-30)
    assert apart < LAYER_ERROR


@every_level
@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize(("C", "K"), [(16, 48), (64, 32)])
def test_the_convolution_and_its_gradients(
    level: str, size: tuple[int, int], C: int, K: int
) -> None:
    inputs: list[Tensor | None] = [
        maps(3, C, *size),
        maps(K, C, 3, 3, seed=1) / (3 * C**0.5),
        torch.arange(K) / K,
    ]
    gradient = maps(3, K, *size, seed=2)
    with running(level):
        found = with_gradients(conv3x3, inputs, gradient)
        with torch.no_grad():
            assert torch.equal(conv3x3(*inputs), found[0])  # type: ignore[arg-type]
    truth = with_gradients(
        lambda x, w, b: conv2d(x, w, b, padding=1), doubled(inputs), gradient.double()
    )
    for ours, theirs in zip(found, truth, strict=True):
        near(ours, theirs)


@every_level
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("size", SHAPES[1:])
def test_the_norm_and_its_gradients(level: str, told: bool, size: tuple[int, int]) -> None:
    N, C, groups = 3, 48, 8
    inputs: list[Tensor | None] = [
        30 + 5 * maps(N, C, *size),  # far from 0: no difference of large numbers
        maps(C, seed=1, last=False),
        maps(C, seed=2, last=False),
        maps(N, 2 * C, seed=3, last=False) if told else None,
    ]
    gradient = maps(N, C, *size, seed=4)

    def plainly(x: Tensor, gamma: Tensor, beta: Tensor, told: Tensor | None = None) -> Tensor:
        h = group_norm(x, groups, gamma, beta, eps=1e-5)
        if told is not None:
            scale, shift = told[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return silu(h)

    with running(level):
        found = with_gradients(
            lambda *given: norm_silu(*given, groups=groups, eps=1e-5), inputs, gradient
        )
        with torch.no_grad():
            x, gamma, beta, said = inputs
            assert x is not None
            assert gamma is not None
            assert beta is not None
            assert torch.equal(norm_silu(x, gamma, beta, said, groups=groups, eps=1e-5), found[0])
    truth = with_gradients(plainly, doubled(inputs), gradient.double())
    for ours, theirs in zip(found, truth, strict=True):
        near(ours, theirs)


def test_silu_far_from_zero() -> None:
    one = torch.ones(16)
    x = torch.zeros(1, 16, 8, 8)
    shift = torch.tensor([-1e4, -200, -90, -80, 0, 80, 90, 200, 1e4, 0, 0, 0, 0, 0, 0, 0])
    told = torch.cat([0 * one, shift])[None]
    found = norm_silu(x, one, 0 * one, told, groups=8, eps=1e-5)[0, :, 0, 0]
    torch.testing.assert_close(found, silu(shift), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("layout", ["first", "last"])
def test_any_layout_and_number_of_threads_gives_the_same_bits(layout: str) -> None:
    x, w, b = (
        maps(4, 32, 20, 24, last=layout == "last"),
        maps(48, 32, 3, 3, last=False),
        torch.ones(48),
    )
    gradient, before = maps(4, 48, 20, 24), torch.get_num_threads()
    wanted = with_gradients(
        conv3x3, [x.contiguous(memory_format=torch.channels_last), w, b], gradient
    )
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found = with_gradients(conv3x3, [x, w, b], gradient)
            assert all(torch.equal(a, e) for a, e in zip(found[:3], wanted[:3], strict=True))
            weights = w.contiguous(memory_format=torch.channels_last)
            assert torch.equal(conv3x3(x, weights, b), wanted[0])
            torch.testing.assert_close(found[3], wanted[3])  # torch's own sum
    finally:
        torch.set_num_threads(before)


def test_one_image_has_the_same_bits_among_others() -> None:
    x, w, b = maps(5, 16, 12, 20), maps(32, 16, 3, 3, seed=1), torch.zeros(32)
    assert torch.equal(conv3x3(x[2:3], w, b), conv3x3(x, w, b)[2:3])


def test_a_value_that_is_not_finite_stays_near() -> None:
    x, w, b = maps(2, 16, 32, 32), maps(16, 16, 3, 3, seed=1), torch.zeros(16)
    x[0, 3, 5, 6] = float("nan")
    found = conv3x3(x, w, b)
    assert found[0, :, 5, 6].isnan().all()
    assert found[0, :, 13:].isfinite().all()
    assert found[1].isfinite().all()


def test_where_they_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1, 16, 4, 4)
    assert layers_run(x, 16, 64)
    assert not layers_run(x, 16, 24)
    assert not layers_run(x, 4096)
    assert not layers_run(x.double(), 16)
    assert not layers_run(x.to("meta"), 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not layers_run(x, 16)
    monkeypatch.setenv("HUD_FAST_BACKEND", "torch")
    assert not layers_run(x, 16)

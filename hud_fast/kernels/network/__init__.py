"""Layers of the network on a CPU: a convolution by fewer products, group normalisation and SiLU in one.

They take float32 maps (N, C, H, W) that lie channels last, and give such. `layers_run` says where: elsewhere torch's
own layers do the same.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hud_fast.kernels._native import C

__all__ = ["conv3x3", "layers_run", "norm_silu"]

CHANNELS = 16  # counts of channels are multiples of it: csrc/network/job.h
MOST_CHANNELS = 2048


def layers_run(x: Tensor, *channels: int) -> bool:
    """Whether the layers run for `x`, between maps of so many channels.

    Not in another dtype than float32, under autocast, in what torch.compile traces, or with HUD_FAST_BACKEND=torch.

    Examples
    --------
    >>> x = torch.zeros(1, 16, 8, 8)
    >>> layers_run(x, 16, 32), layers_run(x, 16, 9), layers_run(x.double(), 16, 32)
    (True, False, False)
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and all(0 < count <= MOST_CHANNELS and count % CHANNELS == 0 for count in channels)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and os.environ.get("HUD_FAST_BACKEND") in (None, "", "cpu")
    )


def _last(maps: Tensor) -> Tensor:  # (N, C, H, W) -> (N, H, W, C), contiguous
    return maps.detach().permute(0, 2, 3, 1).contiguous()


def _conv(pixels: Tensor, weight: Tensor, bias: Tensor, *, mirrored: bool) -> Tensor:
    out = pixels.new_empty(*pixels.shape[:3], weight.shape[1 if mirrored else 0])
    C.conv3x3(pixels, weight.detach(), bias.detach(), mirrored, out, torch.get_num_threads())
    return out.permute(0, 3, 1, 2)


def _normalised(
    pixels: Tensor, gamma: Tensor, beta: Tensor, told: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    moments = pixels.new_empty(len(pixels), 2, groups)
    out = torch.empty_like(pixels)
    C.norm_silu(
        pixels.flatten(1, 2),
        gamma.detach(),
        beta.detach(),
        told,
        groups,
        eps,
        moments,
        out,
        torch.get_num_threads(),
    )
    return out.permute(0, 3, 1, 2), moments


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        pixels = _last(x)
        ctx.save_for_backward(pixels, weight)
        return _conv(pixels, weight, bias, mirrored=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        pixels, weight = ctx.saved_tensors
        given = _last(gradient)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _conv(given, weight, pixels.new_zeros(pixels.shape[3]), mirrored=True)
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
            C.conv3x3_gradient(pixels, given, of_weight, torch.get_num_threads())
        if ctx.needs_input_grad[2]:
            of_bias = given.flatten(0, 2).sum(0)
        return of_x, of_weight, of_bias


class _NormSilu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        told: Tensor | None,
        groups: int,
        eps: float,
    ) -> Tensor:
        pixels = _last(x)
        given = None if told is None else told.detach().contiguous()
        out, moments = _normalised(pixels, gamma, beta, given, groups, eps)
        ctx.groups, ctx.eps = groups, eps
        ctx.save_for_backward(pixels, gamma, beta, given, moments)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pixels, gamma, beta, given, moments = ctx.saved_tensors
        of_x, of_weights = torch.empty_like(pixels), pixels.new_empty(len(pixels), 2, len(gamma))
        of_told = None if given is None else torch.empty_like(given)
        C.norm_silu_gradient(
            pixels.flatten(1, 2),
            gamma.detach(),
            beta.detach(),
            given,
            ctx.groups,
            ctx.eps,
            moments,
            _last(gradient),
            of_x,
            of_weights,
            of_told,
            torch.get_num_threads(),
        )
        of_gamma, of_beta = of_weights.sum(0).unbind()
        return of_x.permute(0, 3, 1, 2), of_gamma, of_beta, of_told, None, None


def conv3x3(
    x: Tensor,  # (N, C, H, W)
    weight: Tensor,  # (K, C, 3, 3)
    bias: Tensor,  # (K,)
) -> Tensor:  # (N, K, H, W)
    """A convolution with zeros beyond the edges, by F(4 x 4, 3 x 3) (Winograd): where `layers_run` for C and K.

    Within about 5e-6 of the largest values of the definition in float32. Differentiable once.

    Source: Lavin and Gray 2016, arXiv 1509.09308.

    Examples
    --------
    >>> x, weight, bias = torch.ones(1, 16, 8, 8), torch.ones(16, 16, 3, 3), torch.zeros(16)
    >>> round(float(conv3x3(x, weight, bias)[0, 0, 4, 4]), 2)
    144.0
    """
    if not torch.is_grad_enabled():
        return _conv(_last(x), weight, bias, mirrored=False)
    found: Tensor = _Conv.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return found


def norm_silu(
    x: Tensor,  # (N, C, H, W)
    gamma: Tensor,  # (C,)
    beta: Tensor,  # (C,)
    told: Tensor | None,  # (N, 2 C): scale and shift of every channel
    *,
    groups: int,
    eps: float,
) -> Tensor:  # (N, C, H, W)
    """SiLU of group_norm(x) (1 + scale) + shift: where `layers_run` for C. Differentiable once.

    Examples
    --------
    >>> one = torch.ones(16)
    >>> norm_silu(torch.zeros(1, 16, 8, 8), one, 0 * one, None, groups=8, eps=1e-5).abs().max()
    tensor(0.)
    """
    if not torch.is_grad_enabled():
        given = None if told is None else told.contiguous()
        return _normalised(_last(x), gamma, beta, given, groups, eps)[0]
    found: Tensor = _NormSilu.apply(x, gamma, beta, told, groups, eps)  # type: ignore[no-untyped-call]
    return found

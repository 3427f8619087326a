"""The layers of diffusers' U-Net by the package's kernels where they run, elsewhere by torch.

The modules stay what they are, names of weights and all, and only their class becomes one that is derived from it.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from hud_fast.kernels import conv3x3, layers_run, norm_silu


class Conv3x3(nn.Conv2d):
    """A convolution of stride 1 with zeros beyond the edges."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, K, H, W)
        if self.bias is None or not layers_run(x, self.in_channels, self.out_channels):
            return super().forward(x)
        return conv3x3(x, self.weight, self.bias)


class Conv1x1(nn.Conv2d):
    """A matrix for every pixel."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, K, H, W)
        if not layers_run(x):
            return super().forward(x)
        return linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias).permute(0, 3, 1, 2)


class NormSilu(nn.GroupNorm):
    """Group normalisation, with a scale and a shift of each channel where they are told, and SiLU."""

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        if layers_run(x, self.num_channels):
            return norm_silu(x, self.weight, self.bias, told, groups=self.num_groups, eps=self.eps)
        found = super().forward(x)
        if told is not None:
            scale, shift = told[:, :, None, None].chunk(2, dim=1)
            found = found * (1 + scale) + shift
        return silu(found)


class Block(ResnetBlock2D):
    """Two of either, beside what goes past them."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        found = self.conv1(self.norm1(x))
        found = self.conv2(self.norm2(found, self.time_emb_proj(silu(time))))
        if self.conv_shortcut is not None:
            if self.training and not x.is_cpu:
                x = x.contiguous()  # as diffusers has it: for DistributedDataParallel's gradients
            x = self.conv_shortcut(x)
        whole: Tensor = x + found
        return whole


def quicken(unet: Any) -> None:
    """Give the U-Net's modules their kernels."""
    for module in unet.modules():
        if isinstance(module, ResnetBlock2D):
            plain = module.upsample is None and module.downsample is None
            told = module.time_embedding_norm == "scale_shift" and not module.skip_time_act
            if plain and told and module.output_scale_factor == 1 and not module.dropout.p:
                module.__class__ = Block
                module.norm1.__class__ = module.norm2.__class__ = NormSilu
        if type(module) is nn.Conv2d and module.kernel_size in _SAME_SIZE:
            facts = (module.stride, module.padding, module.dilation, module.groups)
            padding, quick = _SAME_SIZE[module.kernel_size]
            if facts == ((1, 1), padding, (1, 1), 1) and module.padding_mode == "zeros":
                module.__class__ = quick
    unet.conv_norm_out.__class__, unet.conv_act = NormSilu, nn.Identity()


# of convolutions whose maps keep their size, by kernel: padding, class
_SAME_SIZE: dict[tuple[int, ...], tuple[tuple[int, ...], type[nn.Conv2d]]] = {
    (1, 1): ((0, 0), Conv1x1),
    (3, 3): ((1, 1), Conv3x3),
}

"""Grouped and dilated kernels as dense ones: what a row without a weight holds is zero."""

import torch
from torch import Tensor

__all__ = ["dense_kernels"]


def dense_kernels(weight: Tensor, groups: int, dilation: tuple[int, int]) -> Tensor:
    """The kernels of a convolution with ``groups`` and ``dilation`` for one without.

    A crossbar sees all channels of a window: a kernel's weights for those of other groups, and
    between dilated taps, are zero. They cost rows; conversions only where a whole chunk of a
    kernel is not zero.

    Parameters
    ----------
    weight
        [kernels, channels of a group, height, width]; kernels must be a multiple of groups, as
        `torch.nn.Conv2d` sees to.
    groups
        Groups of channels.
    dilation
        Distance of taps, vertical and horizontal.

    Returns [kernels, channels, height, width]; ``weight`` itself where nothing is to be done.
    """
    if groups == 1 and dilation == (1, 1):
        return weight
    kernels, channels, height, width = weight.shape
    spread = weight.new_zeros(kernels, channels, dilation[0] * (height - 1) + 1,
                              dilation[1] * (width - 1) + 1)
    spread[..., ::dilation[0], ::dilation[1]] = weight
    dense = spread.new_zeros(groups, kernels // groups, groups, *spread.shape[1:])
    own = torch.arange(groups)
    dense[own, :, own] = spread.reshape(groups, kernels // groups, *spread.shape[1:])
    return dense.reshape(kernels, groups * channels, *spread.shape[2:])

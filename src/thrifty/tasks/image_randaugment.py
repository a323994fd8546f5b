"""RandAugment: two of fourteen changes, drawn anew for each image, at one strength.

Source: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", 2020: its changes, N = 2
of them, at strength M = 9 of 30. The ranges are those of the paper's own code, whose strengths are of 10: translation by up to
150/331 of a side, 100 pixels of 224 as some have it. Here equal changes of geometry and colour are made on fractions and
not on whole numbers, between pixels interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from thrifty.tasks.image_geometry import sampled

ROUNDS = 2
STRENGTH = 9 / 30
"""As a share of the largest."""
_LARGEST_ANGLE, _LARGEST_SHEAR, _LARGEST_SHIFT, _LARGEST_FACTOR = 30.0, 0.3, 150 / 331, 0.9
_POSTERISED_BITS = 4
"""Taken from a pixel's 8 at the largest strength."""
_LUMA = (0.299, 0.587, 0.114)


def randaugment(images: Tensor, which: Tensor, sign: Tensor, background: Tensor) -> Tensor:
    """One round: on each image the change that was drawn for it.

    Args:
        images: float32 from 0 to 1, (images, channels, height, width).
        which: place in CHANGES, int64 (images,).
        sign: -1 or 1, float32 (images,): which way a change goes that has two.
        background: colour, (channels, 1, 1).
    """
    changed = images.clone()
    for number, change in enumerate(CHANGES):
        places = (which == number).nonzero().squeeze(1)
        if len(places):
            changed[places] = change(images[places], sign[places], background)
    return changed


def _as_it_is(images: Tensor, sign: Tensor, background: Tensor) -> Tensor:
    return images


def _turned(images: Tensor, sign: Tensor, background: Tensor) -> Tensor:
    angle = sign * math.radians(STRENGTH * _LARGEST_ANGLE)
    # The matrix works on coordinates from -1 to 1 on both sides: unequal sides would shear.
    tall = images.shape[-2] / images.shape[-1]
    return sampled(
        images, _matrix(angle.cos(), -angle.sin() * tall, 0.0, angle.sin() / tall, angle.cos(), 0.0, sign), background
    )


def _sheared_across(images: Tensor, sign: Tensor, background: Tensor) -> Tensor:
    tall = images.shape[-2] / images.shape[-1]
    return sampled(images, _matrix(1.0, sign * STRENGTH * _LARGEST_SHEAR * tall, 0.0, 0.0, 1.0, 0.0, sign), background)


def _sheared_down(images: Tensor, sign: Tensor, background: Tensor) -> Tensor:
    wide = images.shape[-1] / images.shape[-2]
    return sampled(images, _matrix(1.0, 0.0, 0.0, sign * STRENGTH * _LARGEST_SHEAR * wide, 1.0, 0.0, sign), background)


def _moved_across(images: Tensor, sign: Tensor, background: Tensor) -> Tensor:
    return sampled(images, _matrix(1.0, 0.0, sign * 2 * STRENGTH * _LARGEST_SHIFT, 0.0, 1.0, 0.0, sign), background)


def _moved_down(images: Tensor, sign: Tensor, background: Tensor) -> Tensor:
    return sampled(images, _matrix(1.0, 0.0, 0.0, 0.0, 1.0, sign * 2 * STRENGTH * _LARGEST_SHIFT, sign), background)


def _matrix(
    a: Tensor | float,
    b: Tensor | float,
    c: Tensor | float,
    d: Tensor | float,
    e: Tensor | float,
    f: Tensor | float,
    like: Tensor,
) -> Tensor:
    """[[a, b, c], [d, e, f]] for each image."""
    matrix = torch.empty(len(like), 2, 3, device=like.device)
    for place, value in enumerate((a, b, c, d, e, f)):
        matrix[:, place // 3, place % 3] = value
    return matrix


def _of_colours(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A change that leaves transparency, the fourth channel, alone."""

    def changed(images: Tensor, sign: Tensor, background: Tensor) -> Tensor:
        return torch.cat([change(images[:, :3], sign).clamp(0, 1), images[:, 3:]], dim=1)

    return changed


def _blended(images: Tensor, others: Tensor, sign: Tensor) -> Tensor:
    """Away from the others, or towards them."""
    return others + (images - others) * (1 + sign * STRENGTH * _LARGEST_FACTOR).view(-1, 1, 1, 1)


def _stretched(colours: Tensor, sign: Tensor) -> Tensor:
    """Autocontrast: the darkest of each channel made 0 and the brightest 1."""
    low, high = colours.amin((2, 3), keepdim=True), colours.amax((2, 3), keepdim=True)
    return torch.where(high > low, (colours - low) / (high - low).clamp_min(1e-12), colours)


def _equalised(colours: Tensor, sign: Tensor) -> Tensor:
    """Every brightness of a channel as frequent as any other, as far as its 256 levels allow."""
    levels = (colours.clamp(0, 1) * 255).round().long().flatten(2)
    counts = torch.zeros(*levels.shape[:2], 256, device=colours.device).scatter_add_(
        2, levels, torch.ones_like(levels, dtype=torch.float32)
    )
    below = counts.cumsum(2)
    darkest = counts.gather(2, levels.amin(2, keepdim=True))
    spread = ((below - darkest) / (levels.shape[2] - darkest).clamp_min(1)).clamp(0, 1)
    even = spread.gather(2, levels).view_as(colours)
    return torch.where((levels.amax(2) > levels.amin(2))[..., None, None], even, colours)


def _inverted_above(colours: Tensor, sign: Tensor) -> Tensor:
    """Solarise."""
    return torch.where(colours >= 1 - STRENGTH, 1 - colours, colours)


def _posterised(colours: Tensor, sign: Tensor) -> Tensor:
    width = 2 ** round(STRENGTH * _POSTERISED_BITS)
    return (colours * 255 / width).floor() * width / 255


def _saturated(colours: Tensor, sign: Tensor) -> Tensor:
    return _blended(colours, _grey(colours), sign)


def _contrasted(colours: Tensor, sign: Tensor) -> Tensor:
    return _blended(colours, _grey(colours).mean((2, 3), keepdim=True), sign)


def _brightened(colours: Tensor, sign: Tensor) -> Tensor:
    return _blended(colours, torch.zeros_like(colours), sign)


def _sharpened(colours: Tensor, sign: Tensor) -> Tensor:
    """Against the mean of a pixel's neighbours, itself counting five times; the rim stays as it is."""
    if min(colours.shape[2:]) < 3:
        return colours
    kernel = torch.ones(colours.shape[1], 1, 3, 3, device=colours.device)
    kernel[:, :, 1, 1] = 5
    smooth = colours.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(colours, kernel / 13, groups=colours.shape[1])
    return _blended(colours, smooth, sign)


def _grey(colours: Tensor) -> Tensor:
    if colours.shape[1] < 3:
        return colours
    return (colours * torch.tensor(_LUMA, device=colours.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


CHANGES: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (
    _as_it_is, _turned, _sheared_across, _sheared_down, _moved_across, _moved_down,
    *map(_of_colours, (
        _stretched, _equalised, _inverted_above, _posterised, _saturated, _contrasted, _brightened, _sharpened,
    )),
)  # fmt: skip

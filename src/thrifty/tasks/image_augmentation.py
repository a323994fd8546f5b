"""Training images shown a little differently in each epoch: a pure function of the draw and a seed.

A draw is example + examples * epoch. What happens to it is drawn from a hash of that number and not from a generator, so that it
is the same whatever the batch, its order, the device or the draws before. The first epoch shows every image as it is:
evaluating on training examples takes its draws, and so sees what was read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from thrifty.tasks.image_geometry import cut, mirrored, shifted
from thrifty.tasks.image_randaugment import CHANGES, ROUNDS, randaugment

SHIFT_SHARE = 8
"""A shift is by at most a side's eighth, 4 pixels of 32 as is usual, and by at least one pixel."""
LEAST_CUT = 0.7
"""Of each side, of what `crop` leaves; so it leaves at least half of an image."""
MIXUP_ALPHA = 0.2
"""Of the beta distribution of shares. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018."""
_QUANTILES = 1024
_BORDER_IMAGES = 1024

# One column of random numbers for each thing that is drawn: adding a way to vary images leaves the others as they were.
_DOWN, _RIGHT, _MIRROR, _HEIGHT, _WIDTH, _TOP, _LEFT, _PARTNER, _SHARE, _RANDAUGMENT = range(10)
_COLUMNS = _RANDAUGMENT + 2 * ROUNDS


def uniform(draws: Tensor, seed: int, columns: Sequence[int]) -> list[Tensor]:
    """Independent numbers in [0, 1) for each draw, float32 (draws,) a column.

    Source of the hash: splitmix64, in Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.

    Args:
        draws: int64 (draws,).
        columns: which of the numbers each draw has.
    """
    first = _signed(seed * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15)
    wanted = torch.tensor(columns, device=draws.device).unsqueeze(1)
    state = (draws * _COLUMNS + wanted) * _signed(0x9E3779B97F4A7C15) + first
    for right, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ _shifted_right(state, right)) * _signed(factor)
    state = state ^ _shifted_right(state, 31)
    return list((_shifted_right(state, 40).float() * 2**-24).unbind(0))


class Augmentation:
    """What `task.augment` names.

    Args:
        names: of AUGMENTATIONS.
        examples: of the training split.
        background: colour of what comes in from outside, (channels,) from 0 to 1.
    """

    def __init__(self, names: Sequence[str], examples: int, seed: int, background: Tensor) -> None:
        self.names, self.examples, self.seed = tuple(names), examples, seed
        self.background = background.view(-1, 1, 1)
        shares = stats.beta.ppf((np.arange(_QUANTILES) + 0.5) / _QUANTILES, MIXUP_ALPHA, MIXUP_ALPHA)
        self._shares = torch.from_numpy(shares.astype(np.float32))

    def to(self, device: torch.device) -> None:
        """Compute there from now on."""
        self.background, self._shares = self.background.to(device), self._shares.to(device)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs, and so their targets are probabilities."""
        return "mixup" in self.names

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """The images as their draws show them, apart from mixing.

        Args:
            images: float32 from 0 to 1, (draws, channels, height, width).
        """
        shown = images
        if "shift" in self.names:
            reach = (_reach(images.shape[-2]), _reach(images.shape[-1]))
            down, right = map(_whole, uniform(draws, self.seed, (_DOWN, _RIGHT)), reach)
            shown = shifted(shown, down, right, reach, self.background)
        if "flip" in self.names:
            shown = mirrored(shown, uniform(draws, self.seed, (_MIRROR,))[0] < 0.5)
        if "crop" in self.names:
            height, width, top, left = uniform(draws, self.seed, (_HEIGHT, _WIDTH, _TOP, _LEFT))
            height, width = (LEAST_CUT + (1 - LEAST_CUT) * one for one in (height, width))
            shown = cut(shown, top * (1 - height), left * (1 - width), height, width, self.background)
        if "randaugment" in self.names:
            for first in range(_RANDAUGMENT, _COLUMNS, 2):
                which, way = uniform(draws, self.seed, (first, first + 1))
                sign = torch.where(way < 0.5, -1.0, 1.0)
                shown = randaugment(shown, (which * len(CHANGES)).long(), sign, self.background)
        return torch.where((draws >= self.examples).view(-1, 1, 1, 1), shown, images)

    def partners(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """The draws of the images to mix with, of the same epoch, and the share each keeps of itself: 1 in the first epoch."""
        which, share = uniform(draws, self.seed, (_PARTNER, _SHARE))
        partners = (which * self.examples).long().clamp_max(self.examples - 1)
        shares = self._shares[(share * _QUANTILES).long()]
        return partners + draws - draws % self.examples, torch.where(draws >= self.examples, shares, 1.0)


def border_colour(images: Tensor) -> Tensor:
    """The median colour of images' outermost pixels, (channels,): what lies around what they show, as far as can be told.

    Args:
        images: (images, channels, height, width).
    """
    some = images[:_BORDER_IMAGES]
    rim = [some[:, :, 0], some[:, :, -1], some[:, :, :, 0], some[:, :, :, -1]]
    return torch.cat([one.movedim(1, 0).flatten(1) for one in rim], dim=1).median(dim=1).values


def describe(names: Sequence[str], height: int, width: int) -> str:
    """A sentence for the reader of the summary."""
    said = {
        "shift": f"shifted by up to {_reach(width)} pixels across and {_reach(height)} down",
        "flip": "half of them mirrored",
        "crop": f"cut to {LEAST_CUT:.0%} to 100% of each side and scaled back",
        "randaugment": f"changed in {ROUNDS} of {len(CHANGES)} ways, as RandAugment has it",
        "mixup": "mixed in pairs, their targets too",
    }
    return f"training images are {', '.join(said[one] for one in names)}; from the second epoch on, and never to be evaluated"


def _reach(side: int) -> int:
    return max(1, side // SHIFT_SHARE)


def _whole(drawn: Tensor, reach: int) -> Tensor:
    """From -reach to reach, each as likely."""
    return (drawn * (2 * reach + 1)).long() - reach


def _signed(value: int) -> int:
    """The last 64 bits, as int64 holds them."""
    return (value + 2**63) % 2**64 - 2**63


def _shifted_right(state: Tensor, bits: int) -> Tensor:
    """Zeros come in from the left, not the sign."""
    return (state >> bits) & (2 ** (64 - bits) - 1)

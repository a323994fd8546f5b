"""Images moved about: by whole pixels, mirrored, cut, turned. Each image by its own amount, all at once.

Images are float32 (images, channels, height, width). What comes in from outside has the colour of the background.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shifted(images: Tensor, down: Tensor, right: Tensor, reach: tuple[int, int], background: Tensor) -> Tensor:
    """Moved by whole pixels, which stay as they are to the last bit.

    Args:
        down: int64 (images,); negative is up.
        right: likewise.
        reach: the most that they are, either way.
        background: colour, (channels, 1, 1).
    """
    count, channels, height, width = images.shape
    framed = background.expand(count, channels, height + 2 * reach[0], width + 2 * reach[1]).clone()
    framed[:, :, reach[0] : reach[0] + height, reach[1] : reach[1] + width] = images
    # A view of every place the frame can be looked at from: picking one for each image copies whole rows.
    windows = framed.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(count, device=images.device), :, reach[0] - down, reach[1] - right]


def mirrored(images: Tensor, whether: Tensor) -> Tensor:
    """Those of them that are to be, left to right.

    Args:
        whether: bool (images,).
    """
    return torch.where(whether.view(-1, 1, 1, 1), images.flip(-1), images)


def cut(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, background: Tensor) -> Tensor:
    """A part of each image, scaled to the whole size.

    Args:
        top: where the part begins, as a share of the height; so are the others of theirs, all float32 (images,).
        background: colour; not needed inside, but interpolation reaches half a pixel outside.
    """
    matrix = torch.zeros(len(images), 2, 3, device=images.device)
    # Coordinates go from -1 to 1: the middle of the part, and how far it reaches.
    matrix[:, 0, 0], matrix[:, 0, 2] = width, 2 * left + width - 1
    matrix[:, 1, 1], matrix[:, 1, 2] = height, 2 * top + height - 1
    return sampled(images, matrix, background)


def sampled(images: Tensor, matrix: Tensor, background: Tensor) -> Tensor:
    """Each pixel taken from where the matrix leads, between pixels interpolated.

    Args:
        matrix: (images, 2, 3), from where a pixel is to be to where it is, (x, y) from -1 to 1.
    """
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images - background, grid, padding_mode="zeros", align_corners=False) + background

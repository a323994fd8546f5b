"""A vision transformer: an image cut into square patches, which attend to each other.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", 2021. Two things are
otherwise here. Where the paper reads the answer off a token of its own, we take the mean over the patches, as Beyer et al.,
"Better plain ViT baselines for ImageNet-1k", 2022, found it better in short trainings, and no position is spent on anything
but pixels. And the blocks are GPT-2's without the mask, so that text and images compare.

Positions are learned, as the paper's are: one more weight in the file, nothing that is to be computed anew where a model is
read back, and a handful of patches do not need to be told which are neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thrifty.architectures.example_images import example_images
from thrifty.architectures.shapes_only import given_memory, shapes_only
from thrifty.architectures.transformer import Block, initialise
from thrifty.config.choices.architectures import Vit
from thrifty.errors import BadConfiguration

MOST_PATCHES = 200
"""Of an image, where the patch follows from its size."""


class Patches(nn.Module):
    """Images (batch, channels, height, width) -> the pixels of each patch (batch, patches, channels * patch * patch).

    Row by row from the top left. Images that the patch does not divide are padded with zeros on the right and at the bottom.
    """

    def __init__(self, patch: int, height: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.right, self.bottom = -width % patch, -height % patch
        self.count = _count(height, width, patch)

    def forward(self, images: Tensor) -> Tensor:
        """A patch's pixels in order of channel, row, column."""
        if self.right or self.bottom:
            images = F.pad(images, (0, self.right, 0, self.bottom))
        cut = images.unflatten(3, (-1, self.patch)).unflatten(2, (-1, self.patch))
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


class VitModel(nn.Module):
    """Images (batch, channels, height, width), float32 -> logits (batch, outputs)."""

    def __init__(self, image: tuple[int, int, int], outputs: int, patch: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.image = image
        self.patches = Patches(patch, *image[1:])
        self.embedding = nn.Linear(image[0] * patch * patch, width)
        self.positions = nn.Embedding(self.patches.count, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, dropout, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each image.

        Raises:
            ValueError: images of another size than the model was made for.
        """
        if images.shape[1:] != self.image:
            raise ValueError(f"images of {tuple(images.shape[1:])}: the model takes {self.image} (channels, height, width)")
        stream = self.dropout(self.embedding(self.patches(images)) + self.positions.weight)
        for block in self.blocks:
            stream = block(stream)
        return self.head(self.norm(stream).mean(1))


def patch_for(height: int, width: int) -> int:
    """The side of a patch by image size: 2 for 8x8, 4 for 28x28 and 32x32, 16 for 224x224.

    The power of two nearest the root of the side (of two as near, the smaller): about as many patches in a row as pixels in a
    patch's. Doubled while that makes more than 200 patches, as attention costs their square.
    """
    patch = 1
    while 4 * patch**4 < height * width or _count(height, width, patch) > MOST_PATCHES:
        patch *= 2
    return patch


def _count(height: int, width: int, patch: int) -> int:
    return -(-height // patch) * -(-width // patch)


def build(config: Vit, shape: dict[str, int], dropout: float) -> nn.Module:
    """A model with fresh weights on torch's default device; on `meta` it costs nothing.

    Args:
        config: `width` and `depth` are resolved.
        shape: `channels`, `height` and `width` of the images, and `outputs`.
        dropout: share of activations dropped while training, after the embedding, in attention and after each branch.

    Raises:
        BadConfiguration: a patch larger than the image.
    """
    assert config.width is not None
    assert config.depth is not None
    height, width = shape["height"], shape["width"]
    if config.patch is not None and config.patch > max(height, width):
        raise BadConfiguration(
            f"architecture.patch={config.patch}: is larger than the images, {height}x{width}; give at most {max(height, width)}, "
            f"or leave it out for {patch_for(height, width)}"
        )
    image, patch = (shape["channels"], height, width), config.patch or patch_for(height, width)
    device = torch.get_default_device()
    # torch's modules draw their own initial weights, several times dearer than ours.
    with shapes_only():
        model = VitModel(image, shape["outputs"], patch, config.width, config.depth, dropout)
    if device.type != "meta":
        given_memory(model, device)
        initialise(model, config.depth)
        # Where a patch lies comes in at the size of what it shows, which is that of standardised pixels; smaller, it would be
        # lost beside it (0.02 instead of 1; digits, 10 epochs: 65 % right instead of 95 %).
        nn.init.normal_(model.positions.weight)
    return model


def example_inputs(config: Vit, shape: dict[str, int], batch_size: int) -> Tensor:
    """A batch of what the model takes, always the same."""
    return example_images(shape, batch_size)

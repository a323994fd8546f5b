"""Residual networks: convolutions whose output is added to their input.

Sources: He et al., "Deep Residual Learning for Image Recognition", 2015, whose blocks these are, with the stride of a
bottleneck in its 3x3 convolution as is usual since; the depth of 200 from "Identity Mappings in Deep Residual Networks", 2016.
Where a block changes the shape, its shortcut is a 1x1 convolution at every depth (the paper pads its CIFAR networks'
with zeros instead: 2,752 weights fewer).

Batch norms normalise by the batch while training, and in evaluation mode by running statistics, which are buffers: they lie in
the file with the weights. So a batch computed in parts does not give the gradients of the whole, and a prediction never
depends on what else is in its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thrifty.architectures.example_images import example_images
from thrifty.architectures.shapes_only import given_memory, shapes_only
from thrifty.config.choices.architectures import MemoryFormat, Resnet
from thrifty.errors import BadConfiguration

LARGE_IMAGE = 64
"""Pixels of the shorter side from which on the ImageNet networks begin as published, by quartering the image."""
HEAD_DEVIATION = 0.01

Stride = tuple[int, int]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; (batch, inputs, height, width) -> (batch, width of the stage, height / stride, width / stride)."""

    EXPANSION = 1

    def __init__(self, inputs: int, width: int, stride: Stride) -> None:
        super().__init__()
        self.conv1, self.norm1 = _convolution(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = _convolution(width, width, 3), nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, images: Tensor) -> Tensor:
        """What the convolutions add to what came in."""
        branch = F.relu(self.norm1(self.conv1(images)), inplace=True)
        branch = self.norm2(self.conv2(branch))
        return F.relu(branch + self.shortcut(images), inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """What scales all that the block adds."""
        return self.norm2


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, the last of which widens by 4; otherwise as the basic block."""

    EXPANSION = 4

    def __init__(self, inputs: int, width: int, stride: Stride) -> None:
        super().__init__()
        self.conv1, self.norm1 = _convolution(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = _convolution(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.norm3 = _convolution(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.shortcut = _shortcut(inputs, 4 * width, stride)

    def forward(self, images: Tensor) -> Tensor:
        """What the convolutions add to what came in."""
        branch = F.relu(self.norm1(self.conv1(images)), inplace=True)
        branch = F.relu(self.norm2(self.conv2(branch)), inplace=True)
        branch = self.norm3(self.conv3(branch))
        return F.relu(branch + self.shortcut(images), inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """What scales all that the block adds."""
        return self.norm3


@dataclass(frozen=True)
class Plan:
    """What a depth stands for."""

    block: type[BasicBlock | Bottleneck]
    blocks: tuple[int, ...]
    """In each stage."""
    width: int
    """Of the first stage; each further one is twice as wide."""


PLANS = {
    18: Plan(BasicBlock, (2, 2, 2, 2), 64),
    34: Plan(BasicBlock, (3, 4, 6, 3), 64),
    50: Plan(Bottleneck, (3, 4, 6, 3), 64),
    101: Plan(Bottleneck, (3, 4, 23, 3), 64),
    152: Plan(Bottleneck, (3, 8, 36, 3), 64),
    200: Plan(Bottleneck, (3, 24, 36, 3), 64),
    # For small images: 6n + 2 layers in three stages.
    **{depth: Plan(BasicBlock, ((depth - 2) // 6,) * 3, 16) for depth in Resnet.NARROW},
}


class ResnetModel(nn.Module):
    """Images (batch, channels, height, width), float32 -> logits (batch, outputs).

    Every stage but the first halves each side of the image that has at least 4 pixels then, so that at least 2 are left: of a
    single pixel a 3x3 convolution would see its own padding, and a batch norm nothing to normalise by in a batch of one. So
    8x8 images go 8, 4, 2 and stay there. Sides that come in shorter stay as they are.

    Args:
        quartered: whether the stem is ImageNet's, a 7x7 convolution and a maximum that halve the image each, or a 3x3
            convolution that leaves its size.
        channels_last: whether a pixel's channels lie side by side between layers. The weights lie as ever.
    """

    def __init__(
        self, image: tuple[int, int, int], outputs: int, plan: Plan, quartered: bool, dropout: float, channels_last: bool
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        channels, *sides = image
        inputs = plan.width
        self.stem = nn.Sequential()
        self.stem.add_module("conv", _convolution(channels, inputs, 7 if quartered else 3, (2, 2) if quartered else (1, 1)))
        self.stem.add_module("norm", nn.BatchNorm2d(inputs))
        self.stem.add_module("relu", nn.ReLU(inplace=True))
        if quartered:
            self.stem.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
            sides = [-(-side // 4) for side in sides]
        self.stages = nn.ModuleList()
        for number, blocks in enumerate(plan.blocks):
            width = plan.width * 2**number
            halvings = [2 if number > 0 and side >= 4 else 1 for side in sides]
            sides = [-(-side // halving) for side, halving in zip(sides, halvings, strict=True)]
            stage = nn.Sequential()
            for place in range(blocks):
                stride = (halvings[0], halvings[1]) if place == 0 else (1, 1)
                stage.append(plan.block(inputs, width, stride))
                inputs = width * plan.block.EXPANSION
            self.stages.append(stage)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(inputs, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each image."""
        features = self.stem(images.contiguous(memory_format=self.memory_format))
        # Again: with a single channel either order is the same, and the stem takes it for the usual one.
        features = features.contiguous(memory_format=self.memory_format)
        for stage in self.stages:
            features = stage(features)
        return self.head(self.dropout(features.mean((2, 3))))

    def initialise(self) -> None:
        """Weights that keep the size of gradients (He et al., "Delving Deep into Rectifiers", 2015), and blocks that add nothing.

        The scale of a block's last norm begins at 0, so that at first a network of any depth is its shortcuts (Goyal et al.,
        "Accurate, Large Minibatch SGD", 2017, from where the head's deviation is too).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()  # the running statistics with it
        for module in self.modules():
            if isinstance(module, (BasicBlock, Bottleneck)):
                nn.init.zeros_(module.last_norm.weight)
        nn.init.normal_(self.head.weight, std=HEAD_DEVIATION)
        nn.init.zeros_(self.head.bias)


def _convolution(inputs: int, outputs: int, kernel: int, stride: Stride = (1, 1)) -> nn.Conv2d:
    """Without a bias: the batch norm behind it has one."""
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: Stride) -> nn.Module:
    """Nothing where the shape stays, a 1x1 convolution and a norm where it does not."""
    if inputs == outputs and stride == (1, 1):
        return nn.Identity()
    return nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def build(config: Resnet, shape: dict[str, int], dropout: float) -> nn.Module:
    """A model with fresh weights on torch's default device; on `meta` it costs nothing.

    Args:
        config: `depth` is resolved.
        shape: `channels`, `height` and `width` of the images, and `outputs`.
        dropout: share of the features before the last layer that is dropped while training.

    Raises:
        BadConfiguration: images of a single pixel, which have nothing to convolve.
    """
    assert config.depth is not None
    image = (shape["channels"], shape["height"], shape["width"])
    if max(image[1:]) < 2:
        raise BadConfiguration(
            "architecture=resnet: the images are of a single pixel, where there is nothing to convolve; take architecture=mlp"
        )
    device = torch.get_default_device()
    quartered = config.depth in Resnet.WIDE and min(image[1:]) >= LARGE_IMAGE
    channels_last = config.memory_format is MemoryFormat.channels_last
    # torch's modules draw their own initial weights, some of which ours would replace.
    with shapes_only():
        model = ResnetModel(image, shape["outputs"], PLANS[config.depth], quartered, dropout, channels_last)
    if device.type != "meta":
        given_memory(model, device)
        model.initialise()
    return model


def example_inputs(config: Resnet, shape: dict[str, int], batch_size: int) -> Tensor:
    """A batch of what the model takes, always the same."""
    return example_images(shape, batch_size)

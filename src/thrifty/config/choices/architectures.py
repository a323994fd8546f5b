"""Schemas of `architecture`: what computes the answer, and the ladder of its sizes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from thrifty.config.key import key
from thrifty.errors import BadConfiguration

BY_MODEL = "by model"

WIDTH_POWERS = {
    "sgd": 0.0,
    "momentum": 0.0,
    "nesterov": 0.0,
    "adagrad": 1.0,
    "rmsprop": 1.0,
    "adam": 1.0,
    "adamw": 1.0,
    "lion": 1.0,
    "muon": 0.5,
    "adafactor": 0.5,
}
"""How fast a transformer's best learning rate falls as it widens, by optimizer.

The step of Adam and its like does not shrink as layers widen, and the sum it moves grows with the width: hence 1/width (Yang et al.,
"Tensor Programs V", 2022). The gradient of SGD already carries the width. Muon's step is no sum of like signs but a rotation, which
grows with the root; and Adafactor's is relative to weights that shrink with it.
"""


@dataclass(frozen=True)
class Rung:
    """One step of an architecture's size ladder and what goes with it."""

    shape: dict[str, Any]
    batch_size: int
    evaluation_examples: int
    """Test examples that `measure=quick` looks at; validation during training looks at a quarter of them."""


@dataclass(kw_only=True)
class Architecture:
    """What computes the answer."""

    TASKS: ClassVar[tuple[str, ...]]
    LADDER: ClassVar[dict[str, Rung]]
    LEARNING_RATES: ClassVar[dict[str, float]]
    """Peak learning rate at the lowest rung, by optimizer."""

    name: str

    def learning_rate(self, optimizer: str) -> float:
        """Default peak learning rate for the resolved shape; None of the shape's keys may be null."""
        return self.LEARNING_RATES[optimizer]


@dataclass(kw_only=True)
class Transformer(Architecture):
    """A stack of transformer blocks with heads of 64."""

    width: int | None = key("size of the residual stream, a multiple of 64", at_least=64, null=BY_MODEL)
    depth: int | None = key("number of blocks", at_least=1, null=BY_MODEL)

    def learning_rate(self, optimizer: str) -> float:
        """Falls as the model widens by `WIDTH_POWERS`, and as it deepens, for as many blocks that move together: with the root of the
        depth, or where steps are the gradient itself, which grows with the depth, with the depth.
        """
        assert self.width is not None
        assert self.depth is not None
        power = WIDTH_POWERS[optimizer]
        deep = (4 / max(4, self.depth)) ** (0.5 if power else 1.0)
        return self.LEARNING_RATES[optimizer] * (128 / self.width) ** power * deep

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.width is not None and self.width % 64:
            raise BadConfiguration(
                f"{path}width={self.width}: must be a multiple of 64, the size of an attention head; "
                f"the nearest is {max(64, round(self.width / 64) * 64)}"
            )


@dataclass(kw_only=True)
class Gpt(Transformer):
    """A decoder-only transformer as GPT-2 has it: pre-norm, GELU, learned positions, tied output layer, heads of 64.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """

    TASKS: ClassVar[tuple[str, ...]] = ("text",)
    LADDER: ClassVar[dict[str, Rung]] = {
        "nano": Rung({"width": 128, "depth": 4}, 4, 512),
        "tiny": Rung({"width": 192, "depth": 12}, 4, 256),
        "small": Rung({"width": 384, "depth": 12}, 4, 128),
        "base": Rung({"width": 768, "depth": 12}, 4, 64),
        "large": Rung({"width": 1024, "depth": 24}, 4, 24),
        "xlarge": Rung({"width": 1280, "depth": 36}, 4, 12),
        "xxlarge": Rung({"width": 1600, "depth": 48}, 4, 8),
    }
    LEARNING_RATES: ClassVar[dict[str, float]] = {
        "sgd": 0.125,
        "momentum": 0.02,
        "nesterov": 0.02,
        "adagrad": 0.02,
        "rmsprop": 5e-4,
        "adam": 2e-3,
        "adamw": 2e-3,
        "lion": 3e-4,
        "muon": 8e-3,
        "adafactor": 0.03,
    }

    context: int = key("bytes the model looks back", unit="bytes", at_least=2)


@dataclass(kw_only=True)
class Vit(Transformer):
    """A vision transformer: pre-norm, GELU, square patches, learned positions, the mean over patches, heads of 64.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021.
    """

    TASKS: ClassVar[tuple[str, ...]] = ("image",)
    LADDER: ClassVar[dict[str, Rung]] = {
        "nano": Rung({"width": 128, "depth": 4}, 64, 4096),
        "tiny": Rung({"width": 192, "depth": 12}, 64, 1024),
        "small": Rung({"width": 384, "depth": 12}, 32, 512),
        "base": Rung({"width": 768, "depth": 12}, 16, 384),
        "large": Rung({"width": 1024, "depth": 24}, 8, 128),
        "xlarge": Rung({"width": 1280, "depth": 36}, 4, 64),
        "xxlarge": Rung({"width": 1600, "depth": 48}, 4, 32),
    }
    # Tuned on the digits: sgd, adamw and muon. The others stand to them as they do for gpt.
    LEARNING_RATES: ClassVar[dict[str, float]] = {
        "sgd": 0.4,
        "momentum": 0.03,
        "nesterov": 0.03,
        "adagrad": 0.01,
        "rmsprop": 3e-4,
        "adam": 1.3e-3,
        "adamw": 1.3e-3,
        "lion": 1e-4,
        "muon": 2e-3,
        "adafactor": 0.01,
    }

    patch: int | None = key(
        "side of a patch; images it does not divide are padded", unit="pixels", at_least=1, null="by image size"
    )

    def learning_rate(self, optimizer: str) -> float:
        """As of every transformer; where steps are the gradient itself it falls with the width too, which gpt's need not."""
        assert self.width is not None
        return super().learning_rate(optimizer) * (1.0 if WIDTH_POWERS[optimizer] else (128 / self.width) ** 1.5)


class MemoryFormat(Enum):
    """In which order the numbers of images lie between layers."""

    contiguous = "contiguous"
    channels_last = "channels_last"


@dataclass(kw_only=True)
class Resnet(Architecture):
    """A residual network of convolutions and batch norms.

    Sources: He et al., "Deep Residual Learning for Image Recognition", 2015 (depths up to 152), and "Identity Mappings in Deep
    Residual Networks", 2016 (the depth of 200, here with the blocks of 2015).
    """

    TASKS: ClassVar[tuple[str, ...]] = ("image",)
    LADDER: ClassVar[dict[str, Rung]] = {
        "nano": Rung({"depth": 8}, 64, 4096),
        "tiny": Rung({"depth": 20}, 64, 2048),
        "small": Rung({"depth": 18}, 64, 512),
        "base": Rung({"depth": 50}, 32, 384),
        "large": Rung({"depth": 101}, 16, 256),
        "xlarge": Rung({"depth": 152}, 16, 128),
        "xxlarge": Rung({"depth": 200}, 16, 128),
    }
    # Tuned on the digits: sgd, adamw and muon. The others stand to them as they do for mlp.
    LEARNING_RATES: ClassVar[dict[str, float]] = {
        "sgd": 2.0,
        "momentum": 0.1,
        "nesterov": 0.1,
        "adagrad": 0.05,
        "rmsprop": 3e-3,
        "adam": 1e-2,
        "adamw": 1e-2,
        "lion": 1e-3,
        "muon": 3e-2,
        "adafactor": 0.05,
    }

    NARROW: ClassVar[tuple[int, ...]] = (8, 14, 20, 32, 44, 56, 110)
    """Depths of the networks that the paper made for CIFAR's small images, of up to 64 channels."""
    WIDE: ClassVar[dict[int, int]] = {18: 512, 34: 512, 50: 2048, 101: 2048, 152: 2048, 200: 2048}
    """Depths of those that it made for ImageNet, and the channels of their last stage."""

    depth: int | None = key(
        f"layers with weights: {', '.join(map(str, NARROW))} (narrow, for small images) or {', '.join(map(str, WIDE))}",
        null=BY_MODEL,
    )
    memory_format: MemoryFormat = key("whether a pixel's channels lie side by side between layers, or a channel's pixels")

    def learning_rate(self, optimizer: str) -> float:
        """Falls as the model widens, by a quarter of a transformer's `WIDTH_POWERS`, as batch norms take most of what width does; that of
        plain gradient descent, whose steps are the gradient itself, with the third root of the width; that of muon not at all.
        """
        assert self.depth is not None
        power = {"sgd": 1 / 3, "muon": 0.0}.get(optimizer, WIDTH_POWERS[optimizer] / 4)
        return self.LEARNING_RATES[optimizer] * (64 / self.WIDE.get(self.depth, 64)) ** power

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        depths, given = sorted({*self.NARROW, *self.WIDE}), self.depth
        if given is not None and given not in depths:
            raise BadConfiguration(
                f"{path}depth={given}: must be one of {', '.join(map(str, depths))}; "
                f"the nearest is {min(depths, key=lambda one: abs(one - given))}"
            )


@dataclass(kw_only=True)
class Mlp(Architecture):
    """A funnel of ReLU layers, 128-64-32 at the bottom of the ladder, each rung a multiple of it."""

    TASKS: ClassVar[tuple[str, ...]] = ("tabular", "image")
    LADDER: ClassVar[dict[str, Rung]] = {
        size: Rung({"widths": [128 * times, 64 * times, 32 * times]}, 32, 100_000)
        for size, times in zip(
            ("nano", "tiny", "small", "base", "large", "xlarge", "xxlarge"), (1, 2, 4, 8, 16, 32, 64), strict=True
        )
    }
    # Tuned on the built-in table, and held to a regression (scikit-learn's diabetes), where plain sgd begins to fail at 0.7.
    LEARNING_RATES: ClassVar[dict[str, float]] = {
        "sgd": 0.5,
        "momentum": 0.05,
        "nesterov": 0.05,
        "adagrad": 0.03,
        "rmsprop": 2e-3,
        "adam": 1e-2,
        "adamw": 1e-2,
        "lion": 1e-3,
        "muon": 8e-2,
        "adafactor": 0.05,
    }

    widths: list[int] | None = key("units of each hidden layer", at_least=1, null=BY_MODEL)

    def learning_rate(self, optimizer: str) -> float:
        """Falls as the model widens, by half of a transformer's `WIDTH_POWERS`: its inputs do not widen with it."""
        assert self.widths is not None
        return self.LEARNING_RATES[optimizer] * (128 / max(128, max(self.widths))) ** (WIDTH_POWERS[optimizer] / 2)

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.widths is not None and not self.widths:
            raise BadConfiguration(f"{path}widths=[]: must name at least one hidden layer, such as [128,64,32]")

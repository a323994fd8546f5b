"""What a quantizer offers: layers with fewer bits, in place of those of a trained model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from thrifty.errors import BadConfiguration, nearest
from thrifty.layers.quantized import put_in_place, shares_memory

Ranges = dict[str, tuple[float, int]]
"""By layer, scale and zero point of its inputs as uint8, from calibration."""


@dataclass(frozen=True)
class Targets:
    """Which layers of a model a quantizer converts."""

    layers: list[str]
    kept: list[str]
    """Those that `keep` names."""
    unfit: dict[str, str] = field(default_factory=dict)
    """Those that cannot be converted, and why."""

    @property
    def total(self) -> int:
        """Layers with a weight matrix or a kernel, converted or not."""
        return len(self.layers) + len(self.kept) + len(self.unfit)

    @property
    def sentence(self) -> str:
        """What is converted and what stays, for the record."""
        parts = [f"quantised: {len(self.layers)} of {self.total} layers"]
        if self.kept:
            parts.append(f"kept as asked: {', '.join(self.kept)}")
        for why in dict.fromkeys(self.unfit.values()):
            names = [name for name, one in self.unfit.items() if one == why]
            shown = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]
            parts.append(f"left: {', '.join(shown)} ({why})")
        return "; ".join(parts)


class Quantizer(ABC):
    """A scheme as the rest of the program sees it."""

    calibrates: ClassVar[bool] = False
    """Whether `converted` needs the range of a layer's inputs."""
    rounds_inputs: ClassVar[bool] = False
    """Whether fine-tuning is to see rounded activations too."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def unsupported(self, device_type: str) -> str | None:
        """Why a device cannot run it, in one line with what to do instead; None where it can."""
        return None

    @abstractmethod
    def unfit(self, layer: nn.Module) -> str | None:
        """Why a layer (linear or convolution) cannot be converted; None where it can. Needs shapes only."""

    @abstractmethod
    def converted(self, layer: nn.Module, inputs: tuple[float, int] | None = None) -> nn.Module:
        """The layer with fewer bits, a new one or the same changed; on the meta device one of the shape to be filled.

        Args:
            inputs: scale and zero point, of a scheme that calibrates.
        """

    def rounded(self, weight: Tensor) -> Tensor:
        """What a layer's weight becomes once it is quantised, in floating point: for fine-tuning.

        Raises:
            NotImplementedError: the scheme does not train.
        """
        raise NotImplementedError

    def targets(self, model: nn.Module) -> Targets:
        """The layers to convert; needs shapes only.

        Raises:
            BadConfiguration: `keep` names a layer that is not there.
        """
        layers = [name for name, one in model.named_modules() if isinstance(one, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]
        uncalled = [name for name in layers if isinstance(model.get_submodule(name), NonDynamicallyQuantizableLinear)]
        kept = set()
        for pattern in self.config.keep:
            matched = {one for one in layers if fnmatchcase(one, pattern) or one.startswith(f"{pattern}.")}
            if not matched:
                raise BadConfiguration(
                    f"quantizer.keep: no layer is called {pattern!r}{nearest(pattern, layers)}; give a layer's name or a pattern such as "
                    f"{layers[-1] if layers else '*'}"
                )
            kept |= matched
        unfit: dict[str, str] = {}
        for name in layers:
            if name not in kept:
                if name in uncalled:
                    why = "nn.MultiheadAttention takes its weight and never calls it"
                elif shares_memory(model, name):
                    why = "its weight is another layer's too"
                else:
                    why = self.unfit(model.get_submodule(name))
                if why is not None:
                    unfit[name] = why
        return Targets(
            [one for one in layers if one not in kept and one not in unfit], [one for one in layers if one in kept], unfit
        )

    def convert(self, model: nn.Module, layers: Sequence[str], ranges: Ranges | None = None) -> None:
        """Replace the layers of these names, in place."""
        for name in layers:
            put_in_place(model, name, self.converted(model.get_submodule(name), (ranges or {}).get(name)))

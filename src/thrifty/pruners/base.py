"""What a pruner offers: masks for single weights, or a smaller module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from thrifty.layers.calibration import Calibration

Masks = dict[str, Tensor]
"""By parameter name: bool, of the parameter's shape; True stays."""


class MaskPruner(ABC):
    """Says which single weights stay. What it masks keeps its shape: the model is no smaller and no faster by itself."""

    calibrates: ClassVar[bool] = False
    """Whether `masks` needs a calibration."""
    about: list[str]
    """Sentences on the last call of `masks`, for the record."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.about = []

    @abstractmethod
    def masks(
        self, model: nn.Module, sparsity: float, calibration: Calibration | None = None, held: Masks | None = None
    ) -> Masks:
        """Masks that remove `sparsity` of the weights that are not protected, to one weight.

        Args:
            held: masks of before, whose removed weights stay removed and count.

        Raises:
            Unsupported: the model has nothing that the pruner could prune.
        """

    def observe(self, model: nn.Module, lr: float) -> None:  # noqa: B027 - most have nothing to see there
        """Between the gradients and the step of every optimiser step while weights are going."""

    def state(self) -> dict[str, Any]:
        """What `restore` takes up in another process: tensors on the CPU and plain values."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027 - most have nothing to take up
        """Go on from what `state` gave."""


class UnitPruner(ABC):
    """Makes a smaller module of the same kind."""

    calibrates: ClassVar[bool] = False
    about: list[str]

    def __init__(self, config: Any) -> None:
        self.config = config
        self.about = []

    @abstractmethod
    def shrink(self, model: nn.Module, sparsity: float, example: Tensor, calibration: Calibration | None = None) -> nn.Module:
        """A copy without the units that matter least; the model itself is left as it was.

        Args:
            example: a batch of inputs, on the model's device.

        Raises:
            Unsupported: nothing of the model can be removed this way, or not as much.
        """

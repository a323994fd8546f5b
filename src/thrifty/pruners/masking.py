"""Keeps removed weights at zero while a model trains on."""

from __future__ import annotations

import torch
from torch import nn

from thrifty.errors import BadData
from thrifty.pruners.base import Masks


class Masking:
    """Masks over a model's parameters, which may grow and are to be held after every optimiser step.

    Args:
        model: whose parameters are masked. It may move to another device or type later.
        masks: by parameter name, bool, of the parameter's shape; True stays.

    Raises:
        BadData: a mask that fits no parameter.
    """

    def __init__(self, model: nn.Module, masks: Masks | None = None) -> None:
        self.model = model
        self._masks: Masks = {}
        self._gone: Masks = {}
        """Where the masks are False; what `hold` needs, on the parameter's device."""
        self._owners: dict[str, tuple[nn.Module, str]] = {}
        self._set(masks or {})

    @property
    def masks(self) -> Masks:
        """As they are now."""
        return dict(self._masks)

    @property
    def total(self) -> int:
        """Single weights under a mask, removed or not."""
        return sum(one.numel() for one in self._masks.values())

    @property
    def sparsity(self) -> float:
        """Share of the weights under a mask that is removed, 0 to 1; 0 without masks."""
        return self.removed / self.total if self.total else 0.0

    @torch.no_grad()
    def hold(self) -> None:
        """Set the removed weights to zero, +0 whatever they were."""
        for name, (module, leaf) in self._owners.items():
            weight = getattr(module, leaf)
            if self._gone[name].device != weight.device:
                self._gone[name] = self._gone[name].to(weight.device)
            weight.masked_fill_(self._gone[name], 0.0)  # a product would leave -0, and NaN where a weight was infinite

    def tighten(self, masks: Masks) -> None:
        """Remove more; what is removed stays so, whatever these masks say. Holds nothing by itself.

        Raises:
            BadData: a mask that fits no parameter.
        """
        ours = {name: one & self._masks[name].to(one.device) if name in self._masks else one for name, one in masks.items()}
        self._set({**self._masks, **ours})

    def state(self) -> Masks:
        """What `restore` takes up: copies on the CPU."""
        return {name: one.detach().to("cpu", copy=True) for name, one in self._masks.items()}

    def restore(self, state: Masks) -> None:
        """Go on from what `state` gave, with no regard to the masks of now. Holds nothing by itself.

        Raises:
            BadData: a mask that fits no parameter.
        """
        self._set(state)

    def _set(self, masks: Masks) -> None:
        owners = {}
        for name, mask in masks.items():
            module_name, _, leaf = name.rpartition(".")
            try:
                weight = self.model.get_parameter(name)
            except AttributeError as error:
                raise BadData(f"mask of {name}: the model has no such parameter; the masks are another model's") from error
            if mask.dtype is not torch.bool or mask.shape != weight.shape:
                raise BadData(
                    f"mask of {name}: {mask.dtype} of {tuple(mask.shape)}, and the parameter is of {tuple(weight.shape)}; "
                    "the masks are another model's"
                )
            owners[name] = (self.model.get_submodule(module_name), leaf)
        self._owners = owners
        self._masks = dict(masks)
        self._gone = {name: ~one for name, one in masks.items()}
        self.removed: int = sum(int(one.sum()) for one in self._gone.values())
        """Single weights that are removed."""

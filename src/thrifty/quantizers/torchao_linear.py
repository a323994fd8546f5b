"""Linear layers by torchao: their weight becomes one of torchao's tensors, which brings its own products."""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from torch import nn

from thrifty.errors import Unsupported
from thrifty.layers.flat import parts_of
from thrifty.quantizers.base import Quantizer


class TorchaoLinear(Quantizer):
    """Every scheme of torchao's that takes a layer by itself."""

    def settings(self, weight_dtype: torch.dtype) -> Any:
        """torchao's configuration for a layer; none may change inductor's for the whole process."""
        raise NotImplementedError

    def unfit(self, layer: nn.Module) -> str | None:
        """Anything but linear layers, which torchao passes over in silence."""
        return None if isinstance(layer, nn.Linear) else "the scheme takes linear layers, and it is a convolution"

    def converted(self, layer: nn.Module, inputs: tuple[float, int] | None = None) -> nn.Module:
        """A layer whose weight is torchao's."""
        quantize = torchao_quantization().quantize_
        shell = nn.Sequential(copy.copy(layer))  # the layer itself keeps its weight
        found: Any = shell[0]
        found._parameters = dict(layer._parameters)
        quantize(shell, self.settings(found.weight.dtype))
        if parts_of(found.weight) is None:  # what it does not take it passes over in silence
            sizes = " x ".join(map(str, found.weight.shape))
            raise Unsupported(
                f"quantizer={self.config.name}: torchao left a layer of {sizes} as it was; name it in quantizer.keep"
            )
        # The description that torchao adds to a layer cannot be copied nor compiled.
        found.__dict__.pop("extra_repr", None)
        for one in found.parameters():
            one.requires_grad_(False)
        return found


def torchao_quantization() -> Any:
    """torchao's module of that name; imported late, as it takes seconds."""
    # It tells of each of its own kernels that this machine has no use for, and torch tells it that one of its types is registered twice.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    of_torch = logging.getLogger("torch.utils._pytree")
    before = of_torch.level
    of_torch.setLevel(logging.ERROR)
    try:
        import torchao.quantization
    finally:
        of_torch.setLevel(before)
    return torchao.quantization


def why_no_fp8(device_type: str, name: str) -> str | None:
    """What of a device is missing for 8-bit floating point."""
    if device_type != "cuda":
        return f"quantizer={name}: needs a GPU with 8-bit floating point, this run is on {device_type}; take quantizer=int8_dynamic"
    if torch.cuda.get_device_capability() < (8, 9):
        return f"quantizer={name}: {torch.cuda.get_device_name()} has no 8-bit floating point; take quantizer=int8_dynamic"
    return None

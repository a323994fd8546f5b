"""How large the inputs of layers are, over calibration examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from thrifty.layers.calibration import Calibration


def input_norms(model: nn.Module, layers: dict[str, nn.Module], calibration: Calibration) -> dict[str, Tensor]:
    """L2 norm of what each weight of a layer is multiplied by, over all calibration examples and positions.

    Of a linear layer that is a norm for each input, the same for all outputs. Of a convolution it is one for each input channel and
    place in the kernel, over the patches that the kernel meets, padding included: what a linear layer on the unfolded images
    would see. The model is in evaluation mode meanwhile and keeps no gradients. A layer called several times adds up.

    Args:
        layers: linear layers and convolutions of the model, by any names.

    Returns:
        By the same names float32 norms that broadcast to the layer's weight. Layers that were never called are left out.
    """
    sums: dict[str, dict[torch.Size, Tensor]] = {name: {} for name in layers}
    handles = []
    try:
        for name, layer in layers.items():
            handles.append(layer.register_forward_pre_hook(_adds_squares(sums[name]), with_kwargs=True))
        with _evaluating(model), torch.no_grad():
            for _ in calibration.outputs(model):
                pass
    finally:
        for handle in handles:
            handle.remove()
    return {name: _norms(layers[name], list(maps.values())) for name, maps in sums.items() if maps}


def _adds_squares(sums: dict[torch.Size, Tensor]) -> Any:
    """A hook that adds squares over examples: per input of a linear layer, per pixel of a convolution's image, by its size."""

    def hook(layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        inputs: Tensor = (arguments[0] if arguments else keywords["input"]).detach()
        # Not in the run's type: a sum of thousands of squares outgrows float16, and in bfloat16 stops growing.
        with torch.autocast(inputs.device.type, enabled=False):
            examples = inputs.float().square()
            if isinstance(layer, _ConvNd):
                squares = examples.sum(0) if examples.ndim == layer.weight.ndim else examples
            else:
                squares = examples.reshape(-1, examples.shape[-1]).sum(0)
            sums[squares.shape] = sums[squares.shape] + squares if squares.shape in sums else squares

    return hook


def _norms(layer: nn.Module, sums: list[Tensor]) -> Tensor:
    if not isinstance(layer, _ConvNd):
        return torch.stack(sums).sum(0).sqrt()
    return torch.stack([_patch_sums(layer, one) for one in sums]).sum(0).clamp(min=0).sqrt()


def _patch_sums(layer: _ConvNd, image: Tensor) -> Tensor:
    """An image (channels, ...) summed over the patches that the kernel meets, of the shape of the layer's weight.

    A convolution's gradient by a weight is the sum of what that weight is multiplied by, for any stride, padding and groups.
    """
    shape = (layer.groups, *layer.weight.shape[1:])
    exact = torch.backends.cudnn.flags(deterministic=True, allow_tf32=False)
    with torch.enable_grad(), torch.inference_mode(False), exact:
        probe = torch.ones(shape, device=image.device, requires_grad=True)
        outputs = layer._conv_forward(image.clone()[None], probe, None)  # pyright: ignore[reportCallIssue]
        (sums,) = torch.autograd.grad(outputs.sum(), probe)
    return sums.repeat_interleave(layer.weight.shape[0] // layer.groups, 0)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode, and as it was afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training

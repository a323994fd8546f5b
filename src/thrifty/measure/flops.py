"""Floating-point operations of a model, counted without computing anything.

Convention: a multiplication and an addition are 2 operations; only matrix products and convolutions count, as those of
norms, activations and optimisers are few. Causal attention counts in full, masked half included, as most published
figures do (PaLM, nanoGPT). The backward pass counts what it computes: two products for each of the forward's, less those
for the gradient of the inputs. Nothing depends on precision or device: a sparse or quantised kernel that skips work counts
as dense.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def forward_flops(build_model: Callable[[], nn.Module], inputs: Tensor) -> int:
    """Operations of one forward pass in evaluation mode, in FLOP.

    Args:
        build_model: makes the model; called under the meta device, so that no weight is ever allocated.
        inputs: of the shape and dtype the model takes, on any device; only their shape is looked at. With a batch of 1 the
            result is per example.
    """
    return _count(build_model, inputs, backward=False)


def training_flops(build_model: Callable[[], nn.Module], inputs: Tensor) -> int:
    """Operations of one forward and backward pass in training mode, in FLOP; arguments as of `forward_flops`."""
    return _count(build_model, inputs, backward=True)


def _count(build_model: Callable[[], nn.Module], inputs: Tensor, backward: bool) -> int:
    with torch.device("meta"):
        model = build_model().to("meta").train(backward)
    # Fused attention kernels recompute scores in the backward pass, and which kernel runs depends on the device: plain
    # products keep the count a property of the model.
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward), sdpa_kernel(SDPBackend.MATH):
        outputs = model(inputs.to("meta"))
        if backward:
            outputs.sum().backward()
    return int(counter.get_total_flops())


def nonzero_flops(model: nn.Module, inputs: Tensor, flops: int) -> int:
    """Operations of a forward pass less those of linear layers and convolutions whose weight is zero, in FLOP.

    Args:
        inputs: a batch of 1.
        flops: of the whole, as `forward_flops` counts them.
    """
    saved = 0

    def count(module: nn.Module, _: object, outputs: Tensor) -> None:
        nonlocal saved
        weight = module.weight
        assert isinstance(weight, Tensor)
        channel = -1 if isinstance(module, nn.Linear) else 1
        positions = outputs.numel() // outputs.shape[channel]
        saved += 2 * positions * (weight.numel() - int(weight.count_nonzero()))

    layers = [one for one in model.modules() if isinstance(one, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    hooks = [one.register_forward_hook(count) for one in layers]
    try:
        with torch.inference_mode():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return flops - saved

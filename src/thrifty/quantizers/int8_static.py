"""Weights and activations in 8 bits, all scales fixed before: those of activations by looking at examples. Convolutions too.

Ranges come from torchao's observer for PT2E (a histogram whose ends are cut where that makes the error smaller), and the layers are
written in the operations that its passes for x86 processors turn into integer products (`torchao.quantization.pt2e`). They are observed
layer by layer and not in an exported graph, so that a model keeps its modules: it can be pruned, generate tokens by its cache, take
batches of any size, and be read back without exporting it again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from thrifty.config.choices import quantizers
from thrifty.errors import BadData
from thrifty.layers.calibration import Calibration
from thrifty.layers.quantized import StaticConv2d, StaticLinear
from thrifty.quantizers.base import Quantizer, Ranges
from thrifty.quantizers.torchao_linear import torchao_quantization


class Int8Static(Quantizer):
    """Of linear layers and of convolutions over images."""

    calibrates = True

    def unfit(self, layer: nn.Module) -> str | None:
        """Convolutions over anything but images, or with a padding that is no number."""
        if isinstance(layer, nn.Linear):
            return None
        if not isinstance(layer, nn.Conv2d):
            return "the scheme takes linear layers and convolutions over images"
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            return "the scheme takes convolutions padded with zeros"
        return None

    def converted(self, layer: nn.Module, inputs: tuple[float, int] | None = None) -> nn.Module:
        """A layer of rounded inputs and weights."""
        torchao_quantization()
        import torchao.quantization.pt2e  # it declares the operations
        import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401 - and tells inductor of its passes

        scale, zero = inputs or (1.0, 0)
        if isinstance(layer, nn.Conv2d):
            return StaticConv2d(layer, scale, zero)
        assert isinstance(layer, nn.Linear)
        return StaticLinear(layer, scale, zero)

    def observe(self, model: nn.Module, layers: Sequence[str], calibration: Calibration) -> Ranges:
        """Scale and zero point of the inputs of each layer.

        Raises:
            BadData: a layer saw values that are infinite or no numbers, or saw none at all.
        """
        torchao_quantization()
        from torchao.quantization.pt2e.observer import HistogramObserver

        observers = {
            name: HistogramObserver(dtype=torch.uint8, qscheme=torch.per_tensor_affine, quant_min=0, quant_max=255, eps=2**-12)
            for name in layers
        }
        seen: dict[str, int] = dict.fromkeys(layers, 0)

        def watch(name: str) -> None:
            def before(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                values = inputs[0].detach().float()
                if not bool(values.isfinite().all()):
                    raise BadData(
                        f"method.calibration: {name} sees values that are infinite or no numbers; look for them in the data, or for a "
                        "training that diverged"
                    )
                observers[name](values)
                seen[name] += 1

            handles.append(model.get_submodule(name).register_forward_pre_hook(before))

        handles: list[torch.utils.hooks.RemovableHandle] = []
        try:
            for name in layers:
                watch(name)
            with torch.no_grad():
                for _ in calibration.outputs(model.eval()):
                    pass
        finally:
            for one in handles:
                one.remove()
        unseen = [name for name, count in seen.items() if not count]
        if unseen:
            raise BadData(
                f"method.calibration: {unseen[0]} was never called, so that nothing is known of its inputs; keep it by quantizer.keep"
            )
        found: Ranges = {}
        for name, one in observers.items():
            scale, zero = one.calculate_qparams()
            found[name] = (float(scale), int(zero))
        return found


def build(config: quantizers.Static) -> Int8Static:
    """The quantizer a configuration names."""
    return Int8Static(config)

"""Trains a LightningModule of one's own with numbers rounded, and quantises it at the end."""

from __future__ import annotations

import pytorch_lightning as pl

from thrifty.errors import Unsupported
from thrifty.layers import rounding
from thrifty.quantizers.base import Quantizer


class QuantizationCallback(pl.Callback):
    """While training lasts, the layers compute with rounded numbers; their parameters stay floating point, as do checkpoints.

    Args:
        quantizer: one that trains, as `qat_int8` and `qat_int4` are; `keep` has the LightningModule's names, as `model.head`.
        convert: whether the layers are replaced by quantised ones when training ends.
    """

    def __init__(self, quantizer: Quantizer, convert: bool = True) -> None:
        self.quantizer, self.convert = quantizer, convert
        self.layers: list[str] = []
        """Those it has found to convert."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to round.

        Raises:
            BadConfiguration: `keep` names a layer that is not there.
            Unsupported: nothing of the module can be converted.
        """
        targets = self.quantizer.targets(pl_module)
        if not targets.layers:
            raise Unsupported(f"QuantizationCallback: no layer of the module can be converted; {targets.sentence}")
        self.layers = targets.layers
        rounding.attach(pl_module, self.layers, self.quantizer.rounded, self.quantizer.rounds_inputs)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Round no more, and quantise."""
        self.end(pl_module)
        if self.convert:
            self.quantizer.convert(pl_module, self.layers)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the module as it was given."""
        self.end(pl_module)

    def end(self, module: pl.LightningModule) -> None:
        """Round no more."""
        rounding.detach(module, self.layers)

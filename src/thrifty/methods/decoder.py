"""A model that is run token by token, as a program that predicts with it does: by any engine, under the run's precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thrifty.architectures.cache import Cache, Decoder, Extendable
from thrifty.architectures.extension import Extension
from thrifty.engines.base import Engine
from thrifty.precisions.base import Precision


def decoder(
    model: Decoder, precision: Precision, device: torch.device, engine: Engine | None = None, kept: Path | None = None
) -> Decoder:
    """The model as `predictor` gives it: in evaluation mode, without gradients, the precision entered for each pass.

    Args:
        engine: what executes it; None is PyTorch itself. It is made ready at the first prompt, for one sequence.
        kept: see `Engine.prepare`; a file that is made of it for this is called otherwise than that of the whole model.

    Raises:
        Unsupported: in a pass, where the engine cannot take the model.
    """
    if isinstance(model, nn.Module):
        model.eval()
    if engine is not None and engine.name != "eager":
        assert isinstance(model, Extendable)
        model = _ByEngine(model, engine, precision.name, kept)
    return _UnderPrecision(model, precision, device)


class _UnderPrecision:
    """The precision is entered for each pass: a token costs what it costs a program that predicts."""

    def __init__(self, model: Decoder, precision: Precision, device: torch.device) -> None:
        self.model, self.precision, self.device = model, precision, device
        self.context = model.context

    def prefill(self, tokens: Tensor) -> tuple[Tensor, Cache]:
        with torch.inference_mode(), self.precision.context(self.device.type):
            return self.model.prefill(tokens)

    def decode(self, token: Tensor, cache: Cache) -> Tensor:
        with torch.inference_mode(), self.precision.context(self.device.type):
            return self.model.decode(token, cache)


class _ByEngine:
    """Programs of two lengths only, half a context and one token, as each may take a minute to make: a prompt is read in such parts."""

    def __init__(self, model: Extendable, engine: Engine, precision: str, kept: Path | None) -> None:
        self.model, self.engine, self.precision = model, engine, precision
        self.kept = None if kept is None else kept.with_name(f"{kept.name}-tokens")
        self.context = model.context
        self._part = max(1, model.context // 2)
        self._ready: dict[int, Callable[..., Any]] = {}
        self._empty: list[Tensor] = []

    def prefill(self, tokens: Tensor) -> tuple[Tensor, Cache]:
        time = tokens.shape[1]
        if not 1 <= time <= self.context:
            raise ValueError(f"{time} tokens: a prompt has at least one, and the context holds {self.context}")
        if not self._empty:
            # The model itself tells what it keeps, of which type.
            self._empty = [self._in_its_type(torch.zeros_like(one)) for one in self.model.prefill(tokens[:1, :1])[1].kept]
        cache = Cache(1, self.context, [one.clone() for one in self._empty])
        logits = tokens
        while cache.length < time:
            some = self._part if time - cache.length >= self._part else 1
            logits = self._extend(tokens[:, cache.length : cache.length + some], cache)
        return logits, cache

    def decode(self, token: Tensor, cache: Cache) -> Tensor:
        if cache.length >= self.context:
            raise ValueError(f"the context is full: it holds {self.context} tokens")
        return self._extend(token, cache)

    def _in_its_type(self, kept: Tensor) -> Tensor:
        return kept.float() if self.engine.exports and not self.engine.needs_torch else kept

    def _extend(self, tokens: Tensor, cache: Cache) -> Tensor:
        time = tokens.shape[1]
        inputs = (tokens, torch.tensor([cache.length], device=tokens.device), *cache.kept)
        known = 0 if self.engine.any_length else time
        if known not in self._ready:
            module = Extension(self.model).eval()
            self._ready[known] = self.engine.prepare(module, inputs, self.precision, self.kept)
        logits, *new = self._ready[known](*inputs)
        for kept, one in zip(cache.kept, new, strict=True):
            kept[:, :, :, cache.length : cache.length + time] = one
        cache.length += time
        return logits

"""A model that is run token by token: one sequence of it, and what arms measure of that. Imports no statistics."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thrifty.architectures.cache import Cache, Decoder
from thrifty.errors import Unsupported
from thrifty.measure.workload import Workload
from thrifty.methods.decoder import decoder
from thrifty.methods.model import architecture_of, engine_for, example_inputs, load_trained

_POSITIONS = 16
"""Tokens in a call of an arm, evenly spread."""


class Sequence:
    """One sequence, of which the first half of the context is a prompt and the second is decoded token by token.

    Args:
        model: as `decoder` gives it.
        tokens: (1, context) on the device.
    """

    def __init__(self, model: Decoder, tokens: Tensor, device: torch.device) -> None:
        self.model, self.tokens, self.device = model, tokens, device
        self.half = model.context // 2

    def prefill(self) -> Cache:
        """Read the prompt."""
        return self._read(self.tokens[:, : self.half])

    def positions(self, most: int) -> list[int]:
        """At most `most` places of the second half, evenly spread over it."""
        return [self.half + number for number in evenly_chosen(self.model.context - self.half, most)]

    def decode(self, positions: list[int]) -> None:
        """The tokens at these places, each with a cache of all before it."""
        for position in positions:
            self._cache.length = position
            self.model.decode(self._token[position], self._cache)

    @functools.cached_property
    def _cache(self) -> Cache:
        return self._read(self.tokens)  # all of it, as latency was timed on, so that no kernel is new to this shape

    @functools.cached_property
    def _token(self) -> list[Tensor]:
        return list(self.tokens.split(1, dim=1))

    def _read(self, tokens: Tensor) -> Cache:
        return self.model.prefill(tokens)[1]


def prefill(run: str, config_hash: str, device: str, engine: dict[str, Any] | None = None) -> Workload:
    """What an arm measures: reading a prompt of half the context with a run's model.

    Args:
        engine: the values of the run's engine; None is PyTorch itself.

    Raises:
        BadData: files missing, altered, truncated, or of another run.
        Unsupported: a model that is not run token by token, or an engine that cannot take it.
    """
    sequence = _sequence_of(run, config_hash, device, engine)
    return Workload(sequence.prefill, sequence.device)


def decoding(run: str, config_hash: str, device: str, engine: dict[str, Any] | None = None) -> Workload:
    """What an arm measures: tokens of the context's second half, each from the cache; an example is a token.

    Raises:
        BadData, Unsupported: as `prefill`.
    """
    sequence = _sequence_of(run, config_hash, device, engine)
    positions = sequence.positions(_POSITIONS)
    return Workload(lambda: sequence.decode(positions), sequence.device, len(positions))


def _sequence_of(run: str, config_hash: str, device: str, engine: dict[str, Any] | None) -> Sequence:
    where = torch.device(device)
    executes = engine_for(engine or {"name": "eager"}, where)
    trained = load_trained(Path(run), where, config_hash)
    if not isinstance(trained.module, Decoder):
        raise Unsupported(f"architecture={trained.manifest['architecture']['name']} is not run token by token")
    tokens = example_inputs(architecture_of(trained.manifest), trained.manifest["shape"], 1).to(where)
    return Sequence(decoder(trained.module, trained.precision, where, executes, trained.kept), tokens, where)


def evenly_chosen(count: int, most: int) -> list[int]:
    """At least one and at most `most` of the numbers below `count`, evenly spread over all of them."""
    parts = max(1, min(count, most))
    return [(2 * number + 1) * count // (2 * parts) for number in range(parts)]

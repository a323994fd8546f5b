"""The order in which training examples are drawn, handed out in calls of several batches."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor


class BatchSampler:
    """Draws for every optimiser step of a run: each epoch a fresh permutation, batches running on over its end.

    So every batch has the same size and every example comes once an epoch. A draw is example + examples * epoch. A batch
    of the whole split comes in order: its gradient does not depend on it.
    """

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self._epoch = -1
        self._order = torch.empty(0)

    def draws(self, step: int, count: int) -> Tensor:
        """Draws of `count` batches from 0-based optimiser step `step` on: int64, (count, batch)."""
        if self.batch_size == self.examples:
            epochs = torch.arange(step, step + count).unsqueeze(1)
            return epochs * self.examples + torch.arange(self.examples)
        first, last = step * self.batch_size, (step + count) * self.batch_size
        pieces = []
        while first < last:
            epoch, offset = divmod(first, self.examples)
            end = min(self.examples, offset + last - first)
            pieces.append(self._permutation(epoch)[offset:end].long() + epoch * self.examples)
            first += end - offset
        return torch.cat(pieces).view(count, self.batch_size)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            small = torch.int32 if self.examples < 2**31 else torch.int64
            self._order = torch.randperm(self.examples, generator=generator, dtype=small)
            self._epoch = epoch
        return self._order


class Calls:
    """What Lightning iterates over: for each call of the training step, the draws of as many batches as it shall make.

    A call never runs over a step at which something else is due (a validation, the end). The first step has a call of its
    own: it pays for what is made once.
    """

    def __init__(self, sampler: BatchSampler, steps: int, stops: set[int], steps_per_call: int | None) -> None:
        self.sampler, self.steps = sampler, steps
        self.stops = sorted(stops | {1, steps})
        self.fixed = steps_per_call
        self.size = steps_per_call or 1
        """Optimiser steps of a call; the monitor sets it from the measured step time where it is not fixed.

        Lightning asks for one call more than it has made, to see the end coming: a size holds from the call after the next.
        """
        self.seconds = 0.0
        """Time spent on drawing since it was last set to 0."""

    def __iter__(self) -> Iterator[Tensor]:
        step, next_stop = 0, 0
        while step < self.steps:
            while self.stops[next_stop] <= step:
                next_stop += 1
            count = min(self.size, self.stops[next_stop] - step)
            begin = time.perf_counter()
            draws = self.sampler.draws(step, count)
            self.seconds += time.perf_counter() - begin
            yield draws
            step += count

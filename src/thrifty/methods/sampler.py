"""The order in which training examples are drawn, handed out in calls of several batches."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

import torch
from torch import Tensor

GATHERED_BYTES, MOST_GATHERED = 4 * 2**20, 64
"""How far batches are gathered ahead: gathering many costs little more than one, and a small model's step no more than that."""
Batches = Tensor | list[tuple[Tensor, Tensor]]
"""Inputs and targets of each batch; or their draws, (batches, examples), where they are too large to be gathered whole."""


class BatchSampler:
    """Draws for every optimiser step of a run: each epoch a fresh permutation, batches running on over its end.

    So every batch has the same size and every example comes once an epoch. A draw is example + examples * epoch. A batch
    of the whole split comes in order: its gradient does not depend on it.

    Args:
        batch_size: of all ranks together.
        rank: whose share of each batch is drawn, of `of` equal ones.
    """

    def __init__(self, examples: int, batch_size: int, seed: int, rank: int = 0, of: int = 1) -> None:
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self._share = slice(batch_size // of * rank, batch_size // of * (rank + 1))
        self._epoch = -1
        self._order = torch.empty(0)

    def draws(self, step: int, count: int) -> Tensor:
        """Draws of `count` batches from 0-based optimiser step `step` on: int64, (count, batch), a rank's share (count, batch / ranks)."""
        return self._whole(step, count)[:, self._share]

    def _whole(self, step: int, count: int) -> Tensor:
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
    """What Lightning iterates over: for each call of the training step, as many batches as it shall make steps.

    A call never runs over a step at which something else is due (a validation, the end). The first step has a call of its
    own: it pays for what is made once.

    Args:
        gather: draws (batches, examples) -> inputs and targets, their dimensions led by those; None leaves it to the module.
        start: steps that were made before, in a run that goes on.
        workers: threads that gather ahead, while training goes on; 0 gathers in between. Batches and their order are the same:
            they follow from the draws.
    """

    def __init__(
        self,
        sampler: BatchSampler,
        steps: int,
        stops: set[int],
        steps_per_call: int | None,
        gather: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
        start: int = 0,
        workers: int = 0,
    ) -> None:
        self.sampler, self.steps, self.gather, self.start, self.workers = sampler, steps, gather, start, workers
        self.stops = sorted(stops | {1, steps})
        self.fixed = steps_per_call
        self.size = steps_per_call or 1
        """Optimiser steps of a call; the monitor sets it from the measured step time where it is not fixed.

        Lightning asks for one call more than it has made, to see the end coming: a size holds from the call after the next.
        """
        self.seconds = 0.0
        """Time spent on drawing and gathering since it was last set to 0."""
        self._gathered: list[tuple[Tensor, Tensor]] = []
        self._batch_bytes = 0
        self._coming: deque[Future[tuple[Tensor, Tensor]]] = deque()
        self._asked = 0
        """Steps whose batches are gathered or asked for."""

    def __iter__(self) -> Iterator[Batches]:
        self._gathered, self._asked = [], self.start
        self._coming.clear()
        step, next_stop = self.start, 0
        # Threads share memory with training, and indexing, reading a mapped file among it, lets go of Python's lock.
        with ThreadPoolExecutor(self.workers, "gathers") if self.workers else nullcontext() as pool:
            while step < self.steps:
                while self.stops[next_stop] <= step:
                    next_stop += 1
                count = min(self.size, self.stops[next_stop] - step)
                begin = time.perf_counter()
                batches = self._batches(step, count, pool)
                self.seconds += time.perf_counter() - begin
                yield batches
                step += count

    def _batches(self, step: int, count: int, pool: ThreadPoolExecutor | None) -> Batches:
        """Those of `count` steps from `step` on."""
        if self.gather is None:
            return self.sampler.draws(step, count)
        while (missing := count - len(self._gathered)) > 0:
            # The first step's batch comes alone: its time is the first call's, and it tells how large batches are.
            ahead = min(MOST_GATHERED, GATHERED_BYTES // self._batch_bytes) if self._batch_bytes else 1
            if pool is None or not self._batch_bytes:
                inputs, targets = self.gather(self._next_draws(max(missing, ahead)))
            else:
                while len(self._coming) <= self.workers and self._asked < self.steps:
                    self._coming.append(pool.submit(self.gather, self._next_draws(max(1, ahead))))
                inputs, targets = self._coming.popleft().result()
            self._batch_bytes = max(1, inputs[0].nbytes + targets[0].nbytes)
            self._gathered += zip(inputs, targets, strict=True)
        batches, self._gathered = self._gathered[:count], self._gathered[count:]
        return batches

    def _next_draws(self, count: int) -> Tensor:
        first = self._asked
        self._asked = min(self.steps, first + count)
        return self.sampler.draws(first, self._asked - first)

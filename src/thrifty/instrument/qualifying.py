"""Whether a candidate of a search loses no more than is allowed, each kind of predictions judged once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from thrifty.config.choices.methods import NO_QUANTIZER
from thrifty.engines.base import Engine
from thrifty.execution.judge import Judge, Judged, NotJudged
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.looks import Weights
from thrifty.instrument.race import BEYOND, Standing
from thrifty.instrument.standings import span_of
from thrifty.measure.loss_bound import QualityLoss

_PATIENCE_S = 600.0


class Qualifying:
    """Asks the judge what nobody asked before; what cannot stay has a status and a reason then.

    Args:
        bound: points that may be lost.
        weights: by quantizer; those that are made later count too.
        precisions: values by name.
        engines: by name; `engine_values` are theirs.
        files_count: whether an engine's own file is judged though it was made of the dense model in its own precision.
        remaining: seconds that are left.
    """

    def __init__(
        self,
        judge: Judge,
        bound: float,
        baseline: Standing,
        weights: Mapping[str, Weights],
        precisions: Mapping[str, dict[str, Any]],
        engines: Mapping[str, Engine],
        engine_values: Mapping[str, dict[str, Any]],
        files_count: bool,
        remaining: Callable[[], float],
    ) -> None:
        self.judge, self.bound, self.weights, self.precisions = judge, bound, weights, precisions
        self.engines, self.engine_values, self.files_count, self.remaining = engines, engine_values, files_count, remaining
        self.baseline = baseline.candidate
        assert baseline.loss is not None
        self._losses: dict[tuple[str, ...], QualityLoss | NotJudged] = {(NO_QUANTIZER, self.baseline.precision): baseline.loss}

    def before_speed(self, one: Standing) -> bool:
        """Whether what it loses as PyTorch predicts with it is known and within the bound.

        What PyTorch predicts says nothing of an engine without it, which is judged before it may stay, once for all that differ in
        speed alone.
        """
        candidate = one.candidate
        if self._computes_in_its_own_way(candidate) and not self.engines[candidate.engine].needs_torch:
            known = self._losses.get(_of_its_engine(candidate))
            return known is None or self._hold_to_bound(one, known)
        return self._judged(one, (candidate.quantizer, candidate.precision), {"name": "eager"})

    def before_it_stays(self, one: Standing) -> bool:
        """Whether it keeps within the bound as its own engine computes, where that is not as PyTorch does."""
        if not self._computes_in_its_own_way(one.candidate):
            return True
        return self._judged(one, _of_its_engine(one.candidate), self.engine_values[one.candidate.engine])

    def _computes_in_its_own_way(self, candidate: Candidate) -> bool:
        """Whether an engine's predictions may lose something that PyTorch's, of the same weights in the same precision, do not."""
        changed = (candidate.quantizer, candidate.precision) != (NO_QUANTIZER, self.baseline.precision)
        return self.engines[candidate.engine].exports and (changed or self.files_count)

    def _judged(self, one: Standing, kind: tuple[str, ...], engine: dict[str, Any]) -> bool:
        if kind not in self._losses:
            begin = time.perf_counter()
            self._losses[kind] = self._loss(one.candidate, engine)
            one.seconds += time.perf_counter() - begin
        return self._hold_to_bound(one, self._losses[kind])

    def _loss(self, candidate: Candidate, engine: dict[str, Any]) -> QualityLoss | NotJudged:
        weights, precision = self.weights[candidate.quantizer], self.precisions[candidate.precision]
        judged = Judged(str(weights.path.resolve()), weights.config_hash, precision, engine, self.baseline.threads)
        try:
            return self.judge.loss(judged, min(self.remaining(), _PATIENCE_S))
        except NotJudged as error:
            return error

    def _hold_to_bound(self, one: Standing, loss: QualityLoss | NotJudged) -> bool:
        if isinstance(loss, NotJudged):
            one.status = loss.status if loss.status in ("unsupported", "not tried") else "failed"
            one.why = str(loss)
            return False
        one.loss = loss
        if loss.within(self.bound):
            return True
        one.status = BEYOND
        one.why = f"loses {loss.value:.2f} points on validation ({span_of(loss)}), more than max_quality_loss={self.bound:g}"
        return False


def _of_its_engine(candidate: Candidate) -> tuple[str, ...]:
    return candidate.quantizer, candidate.precision, candidate.engine

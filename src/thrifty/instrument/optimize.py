"""method=optimize: the search for the best way to run a dense model, from what it may try to the run that is left."""

from __future__ import annotations

import contextlib
import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from thrifty.config import registry
from thrifty.config.choice import choice_of
from thrifty.config.choices.methods import NO_QUANTIZER, Optimize
from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.config.values import choice_values
from thrifty.engines.base import Engine
from thrifty.errors import Unsupported
from thrifty.execution import fork_server
from thrifty.execution.beginning import Beginning
from thrifty.execution.cores import freest_cores
from thrifty.execution.experiment import Found
from thrifty.execution.gpus import visible_gpus
from thrifty.execution.judge import Judge, Judged, NotJudged
from thrifty.execution.turns import turns
from thrifty.instrument.arms import Run, preloads_of, settings_of
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.candidate_weights import quantised
from thrifty.instrument.finals import PAIRED, Finals
from thrifty.instrument.floor import kept_floor
from thrifty.instrument.lean_pairs import LeanPairs, Untold
from thrifty.instrument.looks import Arms, Looks, Weights, status_of, told
from thrifty.instrument.pairs import PairFailed, Plan, measure
from thrifty.instrument.race import BEYOND, FINALISTS, TIME_SPENT, Lost, Race, Standing
from thrifty.instrument.rounds import Rounds
from thrifty.instrument.search_space import by_promise, candidates, too_long, why_not
from thrifty.instrument.standings import flags, row_of, sentence, span_of
from thrifty.measure.comparison import Comparison
from thrifty.measure.loss_bound import QualityLoss
from thrifty.measure.statistics import Interval
from thrifty.record import usable_cores
from thrifty.stop import Stopped
from thrifty.store import read_record

_FOR_FINALS = 0.35
"""Share of the time that is kept for the finalists."""
_MEMORY = "infer/peak_host_mib"
_MEMORY_PAIRS = Plan(most_pairs=2, half_width=0.0)


def search(config: Config, overrides: list[str], dense: Path, tell: Callable[[str], None]) -> Found:
    """Look for the best, and say what to run.

    Args:
        config: of method=optimize, as `overrides` compose to.
        dense: the run whose weights all candidates have, as they are or quantised.
        tell: receives a sentence on what is being done.

    Raises:
        ThriftyError: the dense model's record cannot be read.
    """
    looking = _Search(config, overrides, dense, tell)
    try:
        return looking.found()
    except (KeyboardInterrupt, SystemExit, Stopped):
        if len(looking.weights) > 1:
            tell("the search was stopped; what it has quantised is kept, and the same command finds it")
        raise


def _device(config: Config, of_dense: str | None) -> str:
    """Where the run that is left will compute, whatever the dense model was trained on; torch is asked only where that is in doubt."""
    if config.device.name != "auto":
        return config.device.name
    if of_dense in (None, "cpu") and not visible_gpus() and sys.platform != "darwin":
        return "cpu"
    from thrifty.execution.device import available_devices

    return available_devices()[0]


class _Search:
    def __init__(self, config: Config, overrides: list[str], dense: Path, tell: Callable[[str], None]) -> None:
        assert isinstance(config.method, Optimize)
        assert config.objective is not None
        assert config.max_quality_loss is not None
        self.config, self.overrides, self.dense, self.tell = config, overrides, dense, tell
        self.method, self.objective, self.bound = config.method, config.objective.name, config.max_quality_loss
        self.begin = time.perf_counter()
        fork_server.warm_up()
        self.record = read_record(dense)
        self.device = _device(config, self.record["environment"].get("device"))
        self.precision = self._baseline_precision()
        of_training = int(self.record["data"].get("batch_size") or 1)
        baseline = Candidate(
            NO_QUANTIZER,
            self.precision["name"],
            "eager",
            config.threads or usable_cores(),
            of_training if self.objective == "throughput" else 1,
        )
        self.baseline = Standing(baseline, "baseline", "the dense model as PyTorch runs it", 0.0, ratio=Interval(1.0))
        self.baseline.loss = QualityLoss(0.0, 0.0, 0.0, 0)
        self.standings = [Standing(one) for one in candidates(config.method, baseline, self.objective)]
        self.weights = {NO_QUANTIZER: Weights(dense, self.record["config_hash"])}
        used = [baseline, *(one.candidate for one in self.standings)]
        self.engines = {name: choice_values("engine", name) for name in {one.engine for one in used}}
        self.precisions = {name: choice_values("precision", name) for name in {one.precision for one in used}}
        self.precisions[baseline.precision] = self.precision
        self.losses: dict[tuple[str, ...], QualityLoss | NotJudged] = {(NO_QUANTIZER, baseline.precision): self.baseline.loss}
        floor = kept_floor(Path(config.store))
        self.floor = 0.0 if floor is None else floor.share
        self.rounds: tuple[list[Standing], Rounds] | None = None

    def _baseline_precision(self) -> dict[str, Any]:
        """What the dense model computes in: as it was trained, where the device can; else as this search is configured."""
        own: dict[str, Any] = self.record["config"]["precision"]
        return own if self._no_precision(own) is None else plain(self.config.precision)

    def _no_precision(self, values: dict[str, Any]) -> str | None:
        chosen = choice_of("precision", values)
        return registry.load("precision", chosen.name)(chosen).unsupported(self.device)

    def remaining(self) -> float:
        """Seconds of the search that are left; any number where everything is to be measured."""
        if self.method.exhaustive:
            return math.inf
        return self.method.seconds - (time.perf_counter() - self.begin)

    def _for_looks(self) -> float:
        """Of them, those that are not the finalists'."""
        return self.remaining() - _FOR_FINALS * self.method.seconds

    def found(self) -> Found:
        """The winner, after all that leads to it."""
        judged = Judged(
            str(self.dense.resolve()), self.record["config_hash"], self.precisions[self.baseline.candidate.precision]
        )
        with Judge(self.config, self._with_threads(judged)) as self.judge:
            self._refuse_what_cannot_run()
            self._compress()
            with self._alone():
                if self.objective in PAIRED:
                    self._prepare_arms()
                    finalists = self._timed(self._fastest())
                else:
                    finalists = [one for one in self._open if self._sized(one)]
                winner = Finals(self.objective, self.baseline, self._over, self._file).winner(finalists)
        if self.objective in PAIRED:
            fork_server.renew()  # a run needs other imports than arms
        return self._result(winner)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Of what runs side by side only this goes on within it; waiting for that costs the search nothing."""
        begin = time.perf_counter()
        with turns().alone():
            self.begin += time.perf_counter() - begin
            yield

    @property
    def _open(self) -> list[Standing]:
        """Those that nothing is known against."""
        return [one for one in self.standings if one.status == "not tried" and not one.why]

    def _refuse_what_cannot_run(self) -> None:
        for one in self.standings:
            engine = self._engine(one.candidate.engine)
            why = engine.unsupported(self.device) or engine.not_in(one.candidate.precision) or self._not_here(one.candidate)
            if why is not None:
                one.status, one.why = "unsupported", why

    def _not_here(self, candidate: Candidate) -> str | None:
        """Why the device cannot compute in its precision, or slowly; the baseline's is known to do."""
        if candidate.precision == self.baseline.candidate.precision:
            return None
        return self._no_precision(self.precisions[candidate.precision])

    def _compress(self) -> None:
        """The weights of each quantizer: found, or made now."""
        for quantizer in dict.fromkeys(one.candidate.quantizer for one in self._open):
            if quantizer in self.weights:
                continue
            mine, begin = [one for one in self._open if one.candidate.quantizer == quantizer], time.perf_counter()
            if self._for_looks() <= 0:
                self._close(mine, "not tried", TIME_SPENT)
                continue
            waiting = time.perf_counter()
            with turns().working():  # whoever measures beside us is waited for here, and costs the search nothing
                self.begin += time.perf_counter() - waiting
            self.tell(f"quantising: {quantizer}")
            made = quantised(
                quantizer,
                self.config,
                self.overrides,
                self.dense,
                self.precisions[self.baseline.candidate.precision],
                [one.path for one in self.weights.values()],
                self.tell,
            )
            mine[0].seconds += time.perf_counter() - begin
            if isinstance(made, Weights):
                self.weights[quantizer] = made
            else:
                self._close(mine, *made)

    def _qualified(self, one: Standing) -> bool:
        """Quality before speed: whether what it loses as PyTorch predicts with it is known and within the bound.

        What PyTorch predicts says nothing of an engine without it, which is judged before it may stay, once for all that differ in speed alone.
        """
        candidate = one.candidate
        if self._computes_in_its_own_way(candidate) and not self._engine(candidate.engine).needs_torch:
            judged = self.losses.get((candidate.quantizer, candidate.precision, candidate.engine))
            return judged is None or self._hold_to_bound(one, judged)
        return self._judged(one, (candidate.quantizer, candidate.precision), {"name": "eager"})

    def _computes_in_its_own_way(self, candidate: Candidate) -> bool:
        """Whether an engine's predictions may lose something that PyTorch's, of the same weights in the same precision, do not."""
        changed = (candidate.quantizer, candidate.precision) != (NO_QUANTIZER, self.baseline.candidate.precision)
        return self._engine(candidate.engine).exports and (changed or self.objective == "memory")

    def _judged(self, one: Standing, kind: tuple[str, ...], engine: dict[str, Any]) -> bool:
        if kind not in self.losses:
            begin = time.perf_counter()
            self.losses[kind] = self._loss(one.candidate, engine)
            one.seconds += time.perf_counter() - begin
        return self._hold_to_bound(one, self.losses[kind])

    def _loss(self, candidate: Candidate, engine: dict[str, Any]) -> QualityLoss | NotJudged:
        weights = self.weights[candidate.quantizer]
        judged = Judged(str(weights.path.resolve()), weights.config_hash, self.precisions[candidate.precision], engine)
        try:
            return self.judge.loss(self._with_threads(judged), min(self.remaining(), 600.0))
        except NotJudged as error:
            return error

    def _with_threads(self, judged: Judged) -> Judged:
        return Judged(**{**vars(judged), "threads": self.baseline.candidate.threads})

    def _hold_to_bound(self, one: Standing, loss: QualityLoss | NotJudged) -> bool:
        """Whether its loss is known and within the bound."""
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

    @staticmethod
    def _close(standings: list[Standing], status: str, why: str) -> None:
        for one in standings:
            one.status, one.why = status, why

    def _prepare_arms(self) -> None:
        """A fork server for arms, with what their engines have for it, and what arms are told."""
        fork_server.renew()
        engines = [self._engine(name) for name in dict.fromkeys(one.candidate.engine for one in self._open)]
        with settings_of(engines, self.baseline.candidate.threads):
            fork_server.wait_until_ready(fork_server.ARMS, preloads_of(engines))
        threads = {self.baseline.candidate.threads, *(one.candidate.threads for one in self.standings)}
        cores = {one: freest_cores(one) for one in threads}
        self.arms = Arms(self.weights, self.precisions, self.engines, self.device, cores)

    def _engine(self, name: str) -> Engine:
        return registry.load("engine", name)(choice_of("engine", self.engines[name]))

    def _fastest(self) -> list[Standing]:
        """Those to be measured beside the dense model, the fastest first."""
        with Looks(self.arms, self._for_looks) as looks:
            try:
                seconds = looks.seconds_of(self.baseline.candidate)
            except Lost as lost:
                if lost.status == "not tried":
                    self._close(self._open, "not tried", TIME_SPENT)
                    return []
                raise Unsupported(f"method=optimize: the dense model itself cannot be run: {lost}") from lost
            for one in self._open:
                if (why := too_long(one.candidate, seconds)) is not None:
                    self._close([one], "not tried", why)
            if self.method.exhaustive:
                return [one for one in self._open if self._qualified(one) and self._admitted(one)]
            race = Race(
                self.baseline,
                looks,
                self._for_looks,
                why_not,
                time.perf_counter,
                by_promise,
                self._qualified,
                self._admitted,
                self.tell,
            )
            return race.run(self._open)

    def _admitted(self, one: Standing) -> bool:
        """Whether it keeps within the bound as its own engine computes, where that is not as PyTorch does."""
        candidate = one.candidate
        if not self._computes_in_its_own_way(candidate):
            return True
        kind = (candidate.quantizer, candidate.precision, candidate.engine)
        return self._judged(one, kind, self.engines[candidate.engine])

    def _timed(self, finalists: list[Standing]) -> list[Standing]:
        """Those of them that nobody beat where they were measured together; everything is measured against the dense model before."""
        if self.method.exhaustive:
            finalists = [
                one for number, one in enumerate(finalists, 1) if self._against_dense(one, f"{number} of {len(finalists)}")
            ]
        order = sorted(finalists, key=lambda one: math.inf if one.ratio is None else one.ratio.value)
        few = order[:FINALISTS]
        for place, one in enumerate(order[FINALISTS:], FINALISTS):
            one.status, one.why = "dropped", f"{place} others were faster, each measured against the dense model"
        if few:
            self._together(few)
        # A look at what was picked for having looked fast flatters it: beside what was measured in full it would win too often.
        return [one for one in finalists if one.ratio is not None and one.status == "finalist"]

    def _against_dense(self, one: Standing, place: str) -> bool:
        """Whether it could be measured in pairs of fresh processes; no look has held it to PyTorch's own predictions."""
        self.tell(f"measuring in full: {one.candidate.name} ({place})")
        begin = time.perf_counter()
        try:
            first, second = self.arms.together([self.baseline.candidate, one.candidate], held_to_eager=True)
            found = measure(first, second, Plan(lead_in=1), self.floor).comparison
            assert found is not None
            one.ratio, one.status = found.ratio, "finalist"
        except PairFailed as failed:
            whose = "" if failed.place else "the dense model, against which it was measured: "
            one.status, one.why = "unsupported" if failed.status == "unsupported" else "failed", f"{whose}{told(failed)}"
        one.seconds += time.perf_counter() - begin
        return one.ratio is not None

    def _together(self, few: list[Standing]) -> None:
        """Rounds of fresh processes of all of them and the dense model."""
        here = [self.baseline, *few]

        def tell(number: int, left: list[int]) -> None:
            self.tell(f"measuring together, round {number}: {', '.join(here[one].candidate.name for one in left)}")

        begin = time.perf_counter()
        rounds = Rounds(self.arms.together([one.candidate for one in here]), self.remaining, self.floor, tell=tell)
        rounds.run()
        for one in few:
            one.seconds += (time.perf_counter() - begin) / len(few)
        too_many = any(failed.status == "oom" for failed in rounds.failed.values())
        if len(few) > 1 and too_many and all(rounds.comparison(0, place) is None for place in rounds.left):
            self._together_with_fewer(few)
            return
        self.rounds = here, rounds
        for place, one in enumerate(few, 1):
            failed, found = rounds.failed.get(place), rounds.comparison(0, place)
            if failed is None and found is None:
                one.status, one.why = "failed", f"the dense model, beside which it was measured: {rounds.failed[0]}"
            elif failed is not None:
                one.status, one.why = status_of(failed), told(failed)
            elif place in rounds.beaten:
                by, times = rounds.beaten[place]
                one.status, one.why = "dropped", f"measured together, {times:.2f} times as long as {here[by].candidate.name}"
            else:
                one.status = "finalist"
            if found is not None and (one.ratio is None or one.status == "finalist"):
                one.ratio = found.ratio

    def _together_with_fewer(self, few: list[Standing]) -> None:
        """Looks have shown that there is memory for two; who is left out has been slower in them."""
        half = (len(few) + 1) // 2 if len(few) > 2 else 1
        for place, one in enumerate(few[half:], half):
            one.status, one.why = "dropped", f"memory does not hold all finalists together, and {place} others were faster"
        self._together(few[:half])

    def _over(self, first: Standing, second: Standing) -> Comparison | None:
        """The second's time over the first's, where they were measured together."""
        if self.rounds is None or first not in self.rounds[0] or second not in self.rounds[0]:
            return None
        here, rounds = self.rounds
        return rounds.comparison(here.index(first), here.index(second))

    def _sized(self, one: Standing) -> bool:
        """Whether its file, or the memory that predicting takes, could be told."""
        if self.remaining() <= 0:
            one.status, one.why = "not tried", TIME_SPENT
            return False
        if not (self._qualified(one) and self._admitted(one)):
            return False
        weights, begin = self.weights[one.candidate.quantizer], time.perf_counter()
        record = read_record(weights.path)
        one.status = "finalist"
        if self.objective == "file":
            sizes = [each["metrics"]["size/file_mib"]["value"] for each in (self.record, record)]
            one.ratio = Interval(sizes[1] / sizes[0])
            return True
        self.tell(f"measuring memory: {one.candidate.name}")
        runs = (self._run(self.dense, self.record, self.baseline), self._run(weights.path, record, one))
        try:
            comparison = LeanPairs(runs, [_MEMORY], _MEMORY_PAIRS).found(_MEMORY).comparison
            assert comparison is not None
            one.ratio = comparison.ratio
        except (PairFailed, Untold) as error:
            one.status, one.why = "failed", str(error)
        one.seconds += time.perf_counter() - begin
        return one.ratio is not None

    def _run(self, path: Path, record: dict[str, Any], one: Standing) -> Run:
        """A run as a candidate would execute it."""
        config = {**record["config"], "engine": self.engines[one.candidate.engine]}
        environment = {**record["environment"], "threads": one.candidate.threads, "device": self.device}
        return Run(path, {**record, "config": config, "environment": environment})

    def _file(self, one: Standing) -> float:
        entry = read_record(self.weights[one.candidate.quantizer].path)["metrics"].get("size/file_mib") or {}
        return entry.get("value") or math.inf

    def _result(self, winner: Standing) -> Found:
        config, candidate = copy.deepcopy(self.config), winner.candidate
        config.engine = choice_of("engine", self.engines[candidate.engine])
        config.precision = choice_of("precision", self.precisions[candidate.precision])
        if candidate.threads != self.baseline.candidate.threads:
            config.threads = candidate.threads
        with_integers = candidate.quantizer != NO_QUANTIZER
        if with_integers:
            config.quantizer = choice_of("quantizer", choice_values("quantizer", candidate.quantizer))
        if candidate.batch_size not in (1, self.baseline.candidate.batch_size):
            config.measure.batch_sizes = [*config.measure.batch_sizes, candidate.batch_size]
        seconds = time.perf_counter() - self.begin
        standings = [self.baseline, *self.standings]
        found = {
            "rows": [row_of(one, self.bound) for one in standings],
            "seconds": seconds,
            "sentence": sentence(winner, self.standings, self.objective, self.bound, seconds),
            "flags": flags(winner, self.standings, self.bound, self.rounds is not None and self.rounds[1].cut_short),
        }
        compressed = self.weights[candidate.quantizer].path if with_integers else None
        return Found(config, Beginning(origin=self.dense, compressed=compressed, search=found))

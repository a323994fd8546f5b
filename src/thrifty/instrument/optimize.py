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
from thrifty.execution.judge import Judge, Judged
from thrifty.execution.turns import turns
from thrifty.instrument.arms import preloads_of, settings_of
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.candidate_weights import quantised
from thrifty.instrument.finalists import Finalists
from thrifty.instrument.finals import PAIRED, Finals
from thrifty.instrument.floor import kept_floor
from thrifty.instrument.looks import Arms, Looks, Weights
from thrifty.instrument.qualifying import Qualifying
from thrifty.instrument.race import TIME_SPENT, Lost, Race, Standing
from thrifty.instrument.search_space import by_promise, candidates, too_long, why_not
from thrifty.instrument.sizes import Sizes, file_mib
from thrifty.instrument.standings import flags, row_of, sentence
from thrifty.measure.loss_bound import QualityLoss
from thrifty.measure.statistics import Interval
from thrifty.record import usable_cores
from thrifty.stop import Stopped
from thrifty.store import read_record

_FOR_FINALS = 0.35
"""Share of the time that is kept for the finalists."""


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
        self.engine_values = {name: choice_values("engine", name) for name in {one.engine for one in used}}
        chosen = [choice_of("engine", one) for one in self.engine_values.values()]
        self.engines: dict[str, Engine] = {one.name: registry.load("engine", one.name)(one) for one in chosen}
        self.precisions = {name: choice_values("precision", name) for name in {one.precision for one in used}}
        self.precisions[baseline.precision] = self.precision
        floor = kept_floor(Path(config.store))
        self.floor = 0.0 if floor is None else floor.share

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
        baseline = self.baseline.candidate
        judged = Judged(
            str(self.dense.resolve()), self.record["config_hash"], self.precisions[baseline.precision], threads=baseline.threads
        )
        with Judge(self.config, judged) as judge:
            self._refuse_what_cannot_run()
            self._compress()
            qualifying = Qualifying(
                judge,
                self.bound,
                self.baseline,
                self.weights,
                self.precisions,
                self.engines,
                self.engine_values,
                files_count=self.objective == "memory",
                remaining=self.remaining,
            )
            with self._alone():
                if self.objective in PAIRED:
                    winner, hurried = self._fastest(qualifying)
                else:
                    winner, hurried = self._smallest(qualifying), False
        if self.objective in PAIRED:
            fork_server.renew()  # a run needs other imports than arms
        return self._result(winner, hurried)

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
            engine = self.engines[one.candidate.engine]
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

    @staticmethod
    def _close(standings: list[Standing], status: str, why: str) -> None:
        for one in standings:
            one.status, one.why = status, why

    def _prepare_arms(self) -> Arms:
        """A fork server for arms, with what their engines have for it, and what arms are told."""
        fork_server.renew()
        engines = [self.engines[name] for name in dict.fromkeys(one.candidate.engine for one in self._open)]
        with settings_of(engines, self.baseline.candidate.threads):
            fork_server.wait_until_ready(fork_server.ARMS, preloads_of(engines))
        threads = {self.baseline.candidate.threads, *(one.candidate.threads for one in self.standings)}
        cores = {one: freest_cores(one) for one in threads}
        return Arms(self.weights, self.precisions, self.engine_values, self.device, cores)

    def _fastest(self, qualifying: Qualifying) -> tuple[Standing, bool]:
        """The winner, and whether the time was spent before it was measured as often as it should."""
        arms = self._prepare_arms()
        finalists = Finalists(arms, self.baseline, self.floor, self.remaining, self.tell)
        some = self._looked_at(arms, qualifying)
        if self.method.exhaustive:
            some = finalists.each_against_dense(some)
        finals = Finals(self.objective, self.baseline, finalists.over, self._file)
        return finals.winner(finalists.unbeaten(some)), finalists.cut_short

    def _looked_at(self, arms: Arms, qualifying: Qualifying) -> list[Standing]:
        """Those to be measured beside the dense model, the fastest first; all that qualify where everything is measured."""
        with Looks(arms, self._for_looks) as looks:
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
                return [one for one in self._open if qualifying.before_speed(one) and qualifying.before_it_stays(one)]
            race = Race(
                self.baseline,
                looks,
                self._for_looks,
                why_not,
                time.perf_counter,
                by_promise,
                qualifying.before_speed,
                qualifying.before_it_stays,
                self.tell,
            )
            return race.run(self._open)

    def _smallest(self, qualifying: Qualifying) -> Standing:
        sizes = Sizes(self.baseline, self.weights, self.engine_values, self.device, self.tell)
        size_of, finalists = sizes.file if self.objective == "file" else sizes.memory, []
        for one in self._open:
            if self.remaining() <= 0:
                self._close([one], "not tried", TIME_SPENT)
            elif qualifying.before_speed(one) and qualifying.before_it_stays(one) and size_of(one):
                finalists.append(one)
        return Finals(self.objective, self.baseline, lambda first, second: None, self._file).winner(finalists)

    def _file(self, one: Standing) -> float:
        return file_mib(self.weights[one.candidate.quantizer])

    def _result(self, winner: Standing, hurried: bool) -> Found:
        config, candidate = copy.deepcopy(self.config), winner.candidate
        config.engine = choice_of("engine", self.engine_values[candidate.engine])
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
            "flags": flags(winner, self.standings, self.bound, hurried),
        }
        compressed = self.weights[candidate.quantizer].path if with_integers else None
        return Found(config, Beginning(origin=self.dense, compressed=compressed, search=found))

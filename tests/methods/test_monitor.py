"""What watches training, by a clock that only training moves: a step takes 1 s, a batch's data 0.25 s."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from small_training import Clock, Points, Training, mlp, same_bits, undisturbed
from torch import Tensor, nn

from thrifty.errors import Diverged
from thrifty.events import HistoryRow, Progress
from thrifty.measure.statistics import Interval
from thrifty.methods.sampler import BatchSampler
from thrifty.methods.train import _evenly

STEP, DATA = 1.0, 0.25


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Takes the place of the module `time` where training is timed."""
    one = Clock()
    for module in ("monitor", "module", "sampler"):
        monkeypatch.setattr(f"thrifty.methods.{module}.time", one)
    return one


def training(clock: Clock, *overrides: str, step_seconds: float = STEP, **keys: Any) -> Training:
    data = Points.drawn()

    def move(seconds: float) -> None:
        clock.now += seconds

    data.before_loss = lambda number: move(step_seconds)
    data.before_batch = lambda: move(DATA)
    return Training(mlp(4), data, ("optimizer=sgd", "optimizer.lr=0.1", "schedule=constant", *overrides), **keys)


class Script:
    """Validations that find these values in turn, and take 100 s each."""

    def __init__(self, clock: Clock, *values: float, name: str = "accuracy") -> None:
        self.clock, self.values, self.name = clock, list(values), name
        self.seen: list[dict[str, Tensor]] = []
        self.training: Training

    def __call__(self, model: nn.Module) -> dict[str, Interval]:
        self.clock.now += 100
        value = self.values[len(self.seen)]
        self.seen.append(self.training.weights)
        return {self.name: Interval(value), "loss": Interval(value)}

    def of(self, one: Training) -> Training:
        self.training = one
        return one


# -- the clock ----------------------------------------------------------------------------------------------------------


def test_calls_are_timed_with_their_data(clock: Clock) -> None:
    trace = training(clock, steps=6, steps_per_call=2).run().trace
    assert trace.calls == [(1, 1.25, 0.25), (2, 2.5, 0.5), (2, 2.5, 0.5), (1, 1.25, 0.25)]
    assert (trace.steps, trace.seconds) == (6, 7.5)


def test_every_second_of_drawing_is_a_second_of_training(clock: Clock) -> None:
    class Slow(BatchSampler):
        def draws(self, step: int, count: int) -> Tensor:
            clock.now += 2
            return super().draws(step, count)

    begin = clock.now
    trace = training(clock, steps=6, steps_per_call=2, sampler=Slow).run().trace
    # Lightning asks for the second draws before the first call is made, and so on.
    assert trace.calls == [(1, 5.25, 4.25), (2, 4.5, 2.5), (2, 4.5, 2.5), (1, 1.25, 0.25)]
    assert trace.seconds == clock.now - begin


def test_validations_are_not_training_time(clock: Clock) -> None:
    without = training(clock, steps=6, steps_per_call=2, history_steps={2, 4, 6}).run().trace
    script = Script(clock, 0.1, 0.2, 0.3)
    steps = {2, 4, 6}
    found = script.of(training(clock, steps=6, steps_per_call=2, validation_steps=steps, validate=script)).run().trace
    assert len(script.seen) == 3
    assert [call[0] for call in found.calls] == [1, 1, 2, 2]
    assert found.calls == [(1, 1.25, 0.25), (1, 1.25, 0.25), (2, 2.5, 0.5), (2, 2.5, 0.5)]
    assert [row["seconds"] for row in found.history] == [2.5, 5.0, 7.5]
    assert without.seconds == found.seconds == 7.5


def test_what_is_done_between_calls_for_trainings_sake_is_training_time(clock: Clock) -> None:
    one = training(clock, steps=3, history_steps={1, 2, 3})

    def slow(event: object) -> None:
        clock.now += 0.5 if isinstance(event, HistoryRow) else 0

    one.monitor.emit = slow
    assert [call[1] for call in one.run().trace.calls] == [1.25, 1.75, 1.75]


@pytest.mark.parametrize(("step_seconds", "lengths"), [(1.0, {1}), (0.01, {1, 5}), (1e-9, {1, 256})])
def test_calls_take_about_fifty_milliseconds(clock: Clock, step_seconds: float, lengths: set[int]) -> None:
    one = training(clock, step_seconds=step_seconds, steps=600, steps_per_call=None)
    one.data.before_batch = lambda: None
    counts = [call[0] for call in one.run().trace.calls]
    assert set(counts[:-1]) == lengths
    assert counts[0] == 1


# -- validation, target, stopping early ---------------------------------------------------------------------------------


def test_time_to_target_is_the_training_time_of_the_first_validation_that_meets_it(clock: Clock) -> None:
    script = Script(clock, 0.5, 0.8, 0.7, 0.9)
    steps = {2, 4, 6, 8}
    one = script.of(training(clock, steps=8, validation_steps=steps, validate=script, target=0.8)).run()
    assert one.trace.seconds_to_target == 4 * (STEP + DATA)
    assert one.trace.steps == 8  # it goes on


def test_a_target_never_met_has_no_time(clock: Clock) -> None:
    script = Script(clock, 0.5, 0.79)
    one = script.of(training(clock, steps=4, validation_steps={2, 4}, validate=script, target=0.8)).run()
    assert one.trace.seconds_to_target is None


def test_of_a_metric_that_is_better_when_lower_the_target_is_met_from_above(clock: Clock) -> None:
    script = Script(clock, 3.0, 2.5, 1.5, name="bits_per_byte")
    one = training(clock, steps=6, validation_steps={2, 4, 6}, validate=script, target=2.0)
    one.monitor.deciding = "validation/bits_per_byte"
    assert script.of(one).run().trace.seconds_to_target == 6 * (STEP + DATA)


def test_stopping_early_goes_back_to_the_best_weights_and_their_validation(clock: Clock) -> None:
    script = Script(clock, 0.5, 0.9, 0.8, 0.9, 0.95)
    steps = {2, 4, 6, 8, 10}
    one = script.of(training(clock, steps=10, validation_steps=steps, validate=script, patience=2)).run()
    assert (one.trace.steps, one.trace.flags, one.trace.stopped) == (8, ["stopped_early"], None)
    assert len(script.seen) == 4
    assert one.trace.validation["accuracy"].value == 0.9
    assert same_bits(one.weights, script.seen[1])
    assert not same_bits(script.seen[1], script.seen[3])  # equal is not better
    assert one.trace.seconds == 8 * (STEP + DATA)


def test_patience_that_lasts_keeps_the_best_weights_all_the_same(clock: Clock) -> None:
    script = Script(clock, 0.5, 0.9, 0.8)
    one = script.of(training(clock, steps=6, validation_steps={2, 4, 6}, validate=script, patience=5)).run()
    assert (one.trace.steps, one.trace.flags) == (6, [])
    assert same_bits(one.weights, script.seen[1])
    assert one.trace.validation["accuracy"].value == 0.9


def test_without_patience_the_last_weights_stay(clock: Clock) -> None:
    script = Script(clock, 0.5, 0.9, 0.1)
    one = script.of(training(clock, steps=6, validation_steps={2, 4, 6}, validate=script)).run()
    assert same_bits(one.weights, script.seen[2])
    assert one.trace.validation["accuracy"].value == 0.1


def test_running_out_of_patience_at_the_last_step_is_not_early(clock: Clock) -> None:
    script = Script(clock, 0.5, 0.4, 0.3)
    one = script.of(training(clock, steps=6, validation_steps={2, 4, 6}, validate=script, patience=2)).run()
    assert (one.trace.steps, one.trace.flags) == (6, [])


def test_a_last_validation_always_ends_training_and_is_made_once(clock: Clock) -> None:
    script = Script(clock, 0.5)
    assert script.of(training(clock, steps=5, validate=script)).run().trace.validation["accuracy"].value == 0.5
    again = Script(clock, 0.5)
    again.of(training(clock, steps=5, validate=again, validation_steps={5})).run()
    assert len(script.seen) == len(again.seen) == 1


# -- what ends it -------------------------------------------------------------------------------------------------------


def test_the_cap_on_training_time_ends_it_flagged_and_validated(clock: Clock) -> None:
    script = Script(clock, 0.1, 0.2)
    one = script.of(training(clock, steps=100, steps_per_call=2, validation_steps={3}, validate=script, seconds=5.0)).run()
    # Calls of 1, 2, 2: 1.25, 3.75, 6.25 s. The validation of 100 s does not count.
    assert (one.trace.steps, one.trace.seconds, one.trace.flags) == (5, 6.25, ["budget_reached"])
    assert one.trace.validation["accuracy"].value == 0.2
    assert same_bits(script.seen[1], one.weights)
    assert one.trace.stopped is None


def test_a_cap_met_with_the_last_step_is_not_flagged(clock: Clock) -> None:
    assert training(clock, steps=4, seconds=4 * (STEP + DATA)).run().trace.flags == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_its_step_and_the_learning_rate(clock: Clock, loss: float) -> None:
    one = training(clock, steps=20, steps_per_call=6, history_steps=set(range(1, 21)))

    one.data.targets.zero_()  # of an infinite logit the loss is infinite then, and not infinity less infinity

    def spoil(number: int) -> None:
        if number == 9:  # whose outputs are computed already: step 10 is the first to see it
            one.model.get_parameter("output.bias").data.fill_(loss)

    one.data.before_loss = spoil
    with pytest.raises(Diverged, match=rf"^the loss became {loss} at step 10; lower optimizer.lr=0.1, or use precision=fp32$"):
        one.run()
    assert [row["step"] for row in one.trace.history] == list(range(1, 10))  # within the call of steps 8 to 13
    assert one.trace.validation == {}


def test_weights_that_diverge_at_the_last_step_are_seen_by_the_validation(clock: Clock) -> None:
    script = Script(clock, 0.5, math.nan)
    one = script.of(training(clock, steps=4, validation_steps={2, 4}, validate=script))
    with pytest.raises(Diverged, match=r"^the validation loss became nan at step 4; lower optimizer.lr=0.1"):
        one.run()
    assert one.trace.validation["accuracy"].value == 0.5


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")])
def test_a_request_to_stop_ends_training_at_a_step(clock: Clock, number: signal.Signals, reason: str) -> None:
    script = Script(clock, 0.1, 0.2)
    one = script.of(training(clock, steps=50, steps_per_call=4, validation_steps={3}, validate=script))

    def ask(step: int) -> None:
        if step == 5:
            os.kill(os.getpid(), number)

    one.data.before_loss = ask
    one.run()
    assert (one.trace.steps, one.trace.stopped, one.trace.flags) == (7, reason, [])  # calls of 1, 2 and 4
    assert len(script.seen) == 1  # nothing more is looked at
    assert same_bits(one.weights, training(clock, steps=7).run().weights)


def test_a_request_to_stop_while_lightning_has_the_signals_ends_training_after_the_first_call(clock: Clock) -> None:
    class Terminated(BatchSampler):
        asked = False

        def draws(self, step: int, count: int) -> Tensor:
            if not self.asked:
                assert signal.getsignal(signal.SIGTERM) != one.stop._receive  # Lightning's is before it
                os.kill(os.getpid(), signal.SIGTERM)
                self.asked = True
            return super().draws(step, count)

    with undisturbed():
        one = training(clock, steps=50, steps_per_call=4, sampler=Terminated)
        one.stop.install()
        one.run()
    assert (one.trace.steps, one.trace.stopped) == (1, "terminated")
    assert one.monitor.model is one.model


def test_what_ends_training_leaves_no_call_that_lightning_had_asked_for(clock: Clock) -> None:
    losses: list[int] = []
    one = training(clock, steps=50, steps_per_call=3, seconds=1.0)
    before: Callable[[int], object] = one.data.before_loss
    one.data.before_loss = lambda number: (losses.append(number), before(number))
    assert one.run().trace.steps == len(losses) == 1


# -- history and progress -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 99, 100, 101, 250, 1000])
def test_the_history_has_about_a_hundred_rows_the_last_step_among_them(steps: int) -> None:
    chosen = sorted(_evenly(steps, 100) | {1})
    assert (chosen[0], chosen[-1]) == (1, steps)
    assert min(steps, 100) <= len(chosen) <= 101
    gaps = {after - before for before, after in pairwise(chosen[1:])}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_no_points_are_none_and_a_few_are_spread() -> None:
    assert _evenly(100, 0) == set()
    assert _evenly(100, 4) == {25, 50, 75, 100}
    assert _evenly(3, 10) == {1, 2, 3}


@pytest.mark.parametrize("steps_per_call", [1, 7, 256])
def test_a_row_holds_the_mean_loss_since_the_row_before_however_calls_divide_the_steps(
    clock: Clock, steps_per_call: int
) -> None:
    rows = _evenly(250, 100) | {1}
    one = training(clock, steps=250, steps_per_call=steps_per_call, history_steps=rows).run()
    losses = one.data.losses
    before = 0
    assert [row["step"] for row in one.trace.history] == sorted(rows)
    for row in one.trace.history:
        step = int(row["step"])
        assert row["train/loss"] == pytest.approx(math.fsum(losses[before:step]) / (step - before), rel=1e-12)
        assert row["train/lr"] == 0.1
        before = step


def test_a_rows_time_is_that_of_its_step_within_the_call(clock: Clock) -> None:
    one = training(clock, steps=9, steps_per_call=4, history_steps={3, 5, 9}).run()
    # Calls of 1, 4 and 4: 1.25, then 5 s each, spread evenly over their steps.
    assert [row["seconds"] for row in one.trace.history] == [1.25 + 5 / 2, 6.25, 11.25]


def test_every_step_has_one_row_and_is_told_as_it_stands(clock: Clock) -> None:
    script = Script(clock, 0.1, 0.2)
    one = script.of(training(clock, steps=6, validation_steps={3}, history_steps={1, 3, 6}, validate=script)).run()
    history = one.trace.history
    assert [row["step"] for row in history] == [1, 3, 6]
    assert [row.get("validation/accuracy") for row in history] == [None, 0.1, 0.2]
    assert all("train/loss" in row for row in history)
    told: dict[int, dict[str, float]] = {}
    for event in one.events:
        if isinstance(event, HistoryRow):
            told.setdefault(event.step, {"step": event.step, "seconds": event.seconds}).update(event.values)
    assert list(told.values()) == history


def test_progress_leaves_the_first_step_out_of_the_rate_and_knows_the_cap(clock: Clock) -> None:
    one = training(clock, steps=10, steps_per_call=3, batch_size=4, seconds=12.0)
    before: Callable[[int], object] = one.data.before_loss

    def slow_start(number: int) -> None:
        before(number)
        clock.now += 50 if number == 1 else 0

    one.data.before_loss = slow_start
    one.monitor.limits.seconds = 70.0
    one.run()
    told = [event for event in one.events if isinstance(event, Progress)]
    assert [(event.step, event.steps, event.seconds) for event in told] == [
        (1, 10, 51.25),
        (4, 10, 55.0),
        (7, 10, 58.75),
        (10, 10, 62.5),
    ]
    assert told[1].samples_per_s == pytest.approx(4 * 3 / 3.75)
    assert told[1].remaining_s == pytest.approx(6 * 3.75 / 3)
    assert told[0].remaining_s == pytest.approx(70 - 51.25)  # the cap, sooner than 9 steps as slow as the first
    assert told[-1].remaining_s == 0
    assert told[-1].loss == one.data.losses[-1]

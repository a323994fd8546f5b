"""The search's arithmetic on simulated looks whose truth is known, and the rules by which ways are left out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from thrifty.config.choices.methods import Optimize
from thrifty.config.compose import compose
from thrifty.config.registry import CHOICES
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.known import Known
from thrifty.instrument.look import Look
from thrifty.instrument.race import FINALISTS, TIME_SPENT, Lost, Race, Standing
from thrifty.instrument.search_space import RULES, by_promise, candidates, too_long, why_not

BASELINE = Candidate("none", "fp32", "eager", 2, 1)
_BLOCK = 0.05


class Simulated:
    """Looks at candidates of known speed: each block of a look is off by some, and each process by some more.

    Args:
        times: of a call, over the baseline's.
    """

    def __init__(self, times: Mapping[Candidate, float], seed: int = 0, scatter: float = 0.05) -> None:
        self.times, self.random, self.scatter = {BASELINE: 1.0, **times}, random.Random(seed), scatter
        self.now, self.blocks = 0.0, dict.fromkeys(self.times, 0)

    def clock(self) -> float:
        return self.now

    def look(self, champion: Candidate, challenger: Candidate, seconds: float, enough: Callable[[Look], bool]) -> Look:
        truth = math.log(self.times[challenger] / self.times[champion]) + self.random.gauss(0, 0.05)
        begin, seen = self.now, []
        while True:
            seen.append(self.random.gauss(truth, self.scatter))
            self.now += _BLOCK
            self.blocks[challenger] += 1
            look = Look(sum(seen) / len(seen), math.hypot(self.scatter / math.sqrt(len(seen)), 0.05))
            if len(seen) >= 8 and (self.now - begin > seconds or enough(look)):
                return look


def some(times: list[float]) -> dict[Candidate, float]:
    engines = ("eager", "onnxruntime", "openvino", "compile")
    quantizers = ("int8_dynamic", "int8_static", "int8_weight", "int4_weight", "fp8_weight")
    names = [Candidate(quantizer, "fp32", engine, 2, 1) for engine in engines for quantizer in quantizers]
    return dict(zip(names, times, strict=False))


def raced(looks: Simulated, seconds: float = math.inf, **given: object) -> tuple[list[Standing], list[Standing]]:
    """Who is left, and everybody."""
    standings = [Standing(one) for one in looks.times if one != BASELINE]
    race = Race(
        Standing(BASELINE), looks, lambda: seconds - looks.now, lambda one, known: None, looks.clock, **given  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    return race.run(standings), standings


@pytest.mark.parametrize("seed", range(60))
def test_the_best_is_never_dropped(seed: int) -> None:
    drawn = random.Random(seed)
    truth = some([*(drawn.uniform(0.25, 3) for _ in range(17)), drawn.uniform(0.25, 0.9)])
    left, _ = raced(Simulated(truth, seed))
    best = min(truth, key=truth.__getitem__)
    assert best in [one.candidate for one in left]
    assert truth[left[0].candidate] <= 1.05 * truth[best]


@pytest.mark.parametrize("seed", range(20))
def test_among_equals_one_of_the_best_is_left(seed: int) -> None:
    looks = Simulated(some([0.5, 0.51, 0.52, 0.5, 0.49, 0.8, 2.0]), seed)
    left, _ = raced(looks)
    assert len(left) == FINALISTS
    assert looks.times[left[0].candidate] <= 0.53


def test_who_is_clearly_beaten_is_dropped_after_a_few_blocks() -> None:
    looks = Simulated(some([0.4, 3.0, 0.39]))
    _, standings = raced(looks)
    beaten = standings[1]
    assert looks.blocks[beaten.candidate] == 8
    assert beaten.status == "dropped"
    assert beaten.log == pytest.approx(math.log(3), abs=3 * beaten.error)
    assert "times as long as int8_dynamic fp32 eager, 2 threads, batch 1" in beaten.why


def test_who_was_fastest_once_is_dropped_when_somebody_else_is() -> None:
    looks = Simulated(some([0.8, 0.4]))
    left, standings = raced(looks)
    assert [one.candidate for one in left] == [standings[1].candidate]
    assert standings[0].status == "dropped"
    assert standings[0].why.endswith("int8_static fp32 eager, 2 threads, batch 1")


def test_times_over_the_baseline_follow_by_chaining() -> None:
    looks = Simulated(some([0.8, 0.4, 0.3]), scatter=0.001)
    _, standings = raced(looks)
    for one in standings:
        over = one.over_baseline()
        assert over is not None
        assert one.log == pytest.approx(math.log(looks.times[one.candidate]), abs=3 * one.error)
        assert over.low is not None
        assert over.low < looks.times[one.candidate]


def test_what_there_was_no_time_for_is_listed() -> None:
    looks = Simulated(some([0.9, 0.8, 0.7, 0.2]))
    left, standings = raced(looks, seconds=0.3)
    assert [one.status for one in standings[2:]] == ["not tried", "not tried"]
    assert {one.why for one in standings[2:]} == {TIME_SPENT}
    assert left


def test_without_time_the_baseline_is_what_is_left() -> None:
    left, standings = raced(Simulated(some([0.5])), seconds=0.0)
    assert left == []
    assert standings[0].why == TIME_SPENT


def test_who_cannot_be_looked_at_is_told_and_ends_nothing() -> None:
    class Failing(Simulated):
        def look(self, champion: Candidate, challenger: Candidate, seconds: float, enough: Callable[[Look], bool]) -> Look:
            if challenger.quantizer == "int8_dynamic":
                raise Lost("unsupported", "no kernel")
            return super().look(champion, challenger, seconds, enough)

    left, standings = raced(Failing(some([0.2, 0.5])))
    assert (standings[0].status, standings[0].why) == ("unsupported", "no kernel")
    assert [one.candidate for one in left] == [standings[1].candidate]


def test_a_champion_that_dies_is_out_and_nobody_else() -> None:
    class Dying(Simulated):
        def look(self, champion: Candidate, challenger: Candidate, seconds: float, enough: Callable[[Look], bool]) -> Look:
            if champion.quantizer == "int8_static":
                raise Lost("failed", "killed", of_champion=True)
            return super().look(champion, challenger, seconds, enough)

    left, standings = raced(Dying(some([0.5, 0.2, 0.4])))
    assert (standings[1].status, standings[1].why) == ("failed", "killed")
    assert [one.candidate for one in left] == [standings[2].candidate]
    assert standings[0].status == "dropped"


def test_who_is_not_admitted_beats_nobody() -> None:
    def admit(one: Standing) -> bool:
        one.status = "beyond the bound" if one.candidate.quantizer == "int8_dynamic" else one.status
        return one.candidate.quantizer != "int8_dynamic"

    left, standings = raced(Simulated(some([0.2, 0.5])), admit=admit)
    assert standings[0].status == "beyond the bound"
    assert [one.candidate for one in left] == [standings[1].candidate]


def test_what_is_not_allowed_is_no_reason_against_others() -> None:
    fast, allowed = Candidate("none", "bf16", "openvino", 2, 1), Candidate("none", "fp32", "openvino", 2, 1)
    integers = Candidate("int8_static", "fp32", "openvino", 2, 1)
    looks = Simulated({fast: 0.3, allowed: 0.6, integers: 0.35})
    standings = [Standing(one) for one in (fast, allowed, integers)]

    def admit(one: Standing) -> bool:
        return one.candidate != fast

    race = Race(Standing(BASELINE), looks, lambda: math.inf, why_not, looks.clock, admit=admit)
    assert next(one.candidate for one in race.run(standings)) == integers
    assert standings[2].why == ""


def test_cheapest_to_prepare_first() -> None:
    method = compose(["method=optimize"]).method
    assert isinstance(method, Optimize)
    found = candidates(method, BASELINE, "latency")
    assert list(dict.fromkeys(one.engine for one in found)) == ["eager", "onnxruntime", "openvino", "compile"]
    assert (found[0].quantizer, found[0].threads) == ("none", 1)
    assert BASELINE not in found
    assert len(found) == len(set(found)) == 4 * 4 * 2 * 2 - 1
    assert {one.batch_size for one in found} == {1}
    assert {one.batch_size for one in candidates(method, replace(BASELINE, batch_size=4), "throughput")} == {4, 8, 64}
    assert {one.engine for one in candidates(method, BASELINE, "file")} == {"eager"}
    assert len(candidates(method, BASELINE, "file")) == 3


def known_of(logs: Mapping[Candidate, float], error: float = 0.02) -> Known:
    """All set against the baseline itself."""
    known = Known(BASELINE)
    for one, log in logs.items():
        if one != BASELINE:
            known.add(one, BASELINE, Look(log, error))
    return known


SLOW_BF16 = {BASELINE: 0.0, replace(BASELINE, precision="bf16"): math.log(2)}


@pytest.mark.parametrize(
    ("candidate", "known", "says"),
    [
        (Candidate("int8_static", "fp32", "eager", 2, 1), {}, "only imitates its integers"),
        (Candidate("int8_static", "fp32", "compile", 2, 1), {}, None),
        (Candidate("int8_dynamic", "bf16", "eager", 2, 1), SLOW_BF16, "bf16 took 2.00 times as long as fp32"),
        (Candidate("int8_dynamic", "fp32", "eager", 2, 1), SLOW_BF16, None),
        (Candidate("int8_dynamic", "bf16", "openvino", 2, 1), SLOW_BF16, None),
        (Candidate("int8_dynamic", "fp32", "eager", 1, 1), {BASELINE: 0.0, replace(BASELINE, threads=1): 0.5}, "threads 1 took 1.65"),
        (Candidate("int8_dynamic", "fp32", "eager", 1, 1), {BASELINE: 0.0, replace(BASELINE, threads=1): 0.1}, None),
        (Candidate("int8_weight", "fp32", "compile", 2, 1), {BASELINE: 0.0, replace(BASELINE, engine="compile"): 0.8}, "compile took 2.23"),
        (Candidate("int8_static", "fp32", "compile", 2, 1), {BASELINE: 0.0, replace(BASELINE, engine="compile"): 0.8}, None),
    ],
)  # fmt: skip
def test_a_rule_says_why_something_need_not_be_tried(
    candidate: Candidate, known: dict[Candidate, float], says: str | None
) -> None:
    why = why_not(candidate, known_of(known))
    assert (why is None) if says is None else (why is not None and says in why)


def test_what_may_not_be_allowed_rules_nothing_out_by_its_speed() -> None:
    """Nobody has judged it, as it was beaten; that it is slow may be told of it."""
    known, slow = known_of(SLOW_BF16), replace(BASELINE, precision="bf16")
    integers = Candidate("int8_dynamic", "bf16", "eager", 2, 1)
    known.doubt(slow)
    assert why_not(integers, known) is not None
    known.doubt(BASELINE)
    assert why_not(integers, known) is None
    weights = Candidate("int8_weight", "fp32", "compile", 2, 1)
    slow_engine, fast = replace(BASELINE, engine="compile"), replace(BASELINE, engine="openvino")
    known = known_of({slow_engine: 0.3, fast: -0.9})
    assert why_not(weights, known) is not None
    known.doubt(fast)
    assert why_not(weights, known) is None


def test_a_difference_that_may_be_noise_rules_nothing_out() -> None:
    """As a look that ends early, because somebody else was far ahead, leaves one."""
    assert why_not(Candidate("int8_dynamic", "bf16", "eager", 2, 1), known_of(SLOW_BF16, 0.2)) is None
    slow = known_of({replace(BASELINE, engine="compile"): 0.8}, 0.1)
    assert why_not(Candidate("int8_weight", "fp32", "compile", 2, 1), slow) is None


def test_of_two_only_the_looks_between_them_count() -> None:
    """The first look at all was a poor one, and all others hang on it."""
    first, second, third = (Candidate(name, "fp32", "openvino", 2, 1) for name in ("none", "int8_static", "int8_dynamic"))
    known = Known(BASELINE)
    known.add(first, BASELINE, Look(math.log(0.3), 0.4))
    known.add(second, first, Look(math.log(0.5), 0.03))
    known.add(third, first, Look(math.log(0.9), 0.04))
    over = known.over(third, second)
    assert over.times == pytest.approx(1.8)
    assert over.error == pytest.approx(0.05)
    assert over.clearly_above(1.1)
    assert known.log(second) == pytest.approx(math.log(0.15))
    assert known.over(second, BASELINE).error == pytest.approx(math.hypot(0.4, 0.03))
    assert known.over(first, first) == Look(0.0, 0.0)
    known.forget(first)
    assert list(known) == [BASELINE, second, third]
    assert known.over(third, second) == over


def test_what_was_tried_itself_is_no_reason_against_it() -> None:
    assert why_not(replace(BASELINE, precision="bf16"), known_of(SLOW_BF16, 0.0)) is None
    assert all(rule.says.count("{}") == 1 for rule in RULES)


def test_batches_that_take_long_are_left() -> None:
    assert too_long(replace(BASELINE, batch_size=64), 0.05) == "a call would take about 3.2 s"
    assert too_long(replace(BASELINE, batch_size=8), 0.05) is None
    assert too_long(BASELINE, 5.0) is None


def test_every_engine_that_may_be_tried_has_its_place() -> None:
    names = list(CHOICES["engine"])
    method = compose(["method=optimize", f"method.engines=[{','.join(names)}]"]).method
    assert isinstance(method, Optimize)
    assert {one.engine for one in candidates(method, BASELINE, "latency")} == set(names)


def order_of(times: Mapping[Candidate, float]) -> list[tuple[str, str, str]]:
    """Who is looked at, one after the other."""
    seen: list[tuple[str, str, str]] = []

    def qualify(standing: Standing) -> bool:
        seen.append((standing.candidate.quantizer, standing.candidate.precision, standing.candidate.engine))
        return True

    raced(Simulated(times, scatter=0.001), promise=by_promise, qualify=qualify)
    return seen


def test_what_promises_most_is_looked_at_first() -> None:
    """Each engine once; then what is one setting away from the fastest, what compiles after the others of those."""
    speeds = {"eager": 0.9, "onnxruntime": 0.8, "openvino": 0.4, "compile": 0.35}
    times = {
        Candidate(quantizer, precision, engine, 2, 1): speed * (1 if quantizer == "none" else 0.9) * (1 if precision == "fp32" else 0.5)
        for engine, speed in speeds.items()
        for quantizer in ("none", "int8_static")
        for precision in ("fp32", "bf16")
        if (quantizer, precision, engine) != ("none", "fp32", "eager")
    }  # fmt: skip
    assert order_of(times)[:8] == [
        ("none", "fp32", "onnxruntime"),
        ("none", "fp32", "openvino"),
        ("none", "bf16", "openvino"),  # one away from openvino, the fastest so far
        ("int8_static", "bf16", "openvino"),  # one away from that
        ("int8_static", "fp32", "openvino"),  # one away from that
        ("int8_static", "bf16", "eager"),
        ("int8_static", "bf16", "onnxruntime"),
        ("int8_static", "bf16", "compile"),
    ]


def test_an_engine_of_which_nothing_works_is_not_tried_before_all_others_again_and_again() -> None:
    class NoOnnx(Simulated):
        def look(self, champion: Candidate, challenger: Candidate, seconds: float, enough: Callable[[Look], bool]) -> Look:
            if challenger.engine == "onnxruntime":
                raise Lost("unsupported", "no such operation")
            return super().look(champion, challenger, seconds, enough)

    kinds = [
        (quantizer, engine) for engine in ("onnxruntime", "openvino") for quantizer in ("none", "int8_static", "int8_dynamic")
    ]
    looks = NoOnnx({Candidate(quantizer, "fp32", engine, 2, size): 0.5 for quantizer, engine in kinds for size in (1, 8)})
    seen: list[tuple[str, str]] = []
    raced(looks, promise=by_promise, qualify=lambda one: seen.append((one.candidate.quantizer, one.candidate.engine)) is None)
    assert seen[:2] == [("none", "onnxruntime"), ("none", "openvino")]
    assert {engine for _, engine in seen[2:5]} == {"openvino"}, "another batch of what has failed comes late"

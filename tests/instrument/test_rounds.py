"""Arms that are measured together: what rounds tell of arms of known speed, who is in no further round, and that nothing is left of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from thrifty.execution import arms
from thrifty.execution.arm_worker import ArmSpec, Block
from thrifty.instrument.pairs import LEAST_PAIRS, Plan
from thrifty.instrument.rounds import Rounds

SHORT = Plan(seconds=0.1)


def sleeping(milliseconds: float, examples: int = 1, last: int = 10**9) -> ArmSpec:
    return ArmSpec(
        "looked_at_workloads:sleeping", {"seconds": milliseconds / 1e3, "examples": examples, "last": last}, cores=(0,)
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[arms.Arm]:
    """All arms that were there."""
    made: list[arms.Arm] = []

    class Watched(arms.Arm):
        def __init__(self, *given: object, **named: object) -> None:
            super().__init__(*given, **named)  # pyright: ignore[reportArgumentType]
            made.append(self)

    monkeypatch.setattr("thrifty.instrument.rounds.Arm", Watched)
    return made


def test_each_is_known_over_each_by_example(seen: list[arms.Arm]) -> None:
    told: list[tuple[int, list[int]]] = []
    rounds = Rounds(
        [sleeping(20), sleeping(10), sleeping(20, examples=2)],
        lambda: math.inf,
        plan=SHORT,
        tell=lambda number, left: told.append((number, list(left))),
    )
    rounds.run()
    assert rounds.left == [1, 2]
    assert not rounds.cut_short
    assert told == [(number, [1, 2]) for number in range(1, LEAST_PAIRS + 1)]
    for one in (1, 2):
        over = rounds.comparison(0, one)
        assert over is not None
        assert over.ratio.value == pytest.approx(0.5, rel=0.05)
        assert over.ratio.n == LEAST_PAIRS
        assert over.differs
    between = rounds.comparison(1, 2)
    assert between is not None
    assert between.ratio.value == pytest.approx(1.0, rel=0.05)
    assert len(seen) == 3 * LEAST_PAIRS
    assert not any(one.process.is_alive() for one in seen)


def test_who_is_clearly_beaten_is_in_no_further_round(seen: list[arms.Arm]) -> None:
    rounds = Rounds([sleeping(20), sleeping(5), sleeping(10)], lambda: math.inf, plan=SHORT)
    rounds.run()
    assert rounds.left == [1]
    by, times = rounds.beaten[2]
    assert by == 1
    assert times == pytest.approx(2.0, rel=0.1)
    over = rounds.comparison(0, 2)
    assert over is not None
    assert over.ratio.n == 1
    assert len(seen) == 3 + 2 * (LEAST_PAIRS - 1)


def test_who_fails_is_out_and_the_others_go_on(seen: list[arms.Arm]) -> None:
    never, at_once = sleeping(10, last=12), ArmSpec("looked_at_workloads:failing", {})
    rounds = Rounds([sleeping(20), never, sleeping(10), at_once], lambda: math.inf, plan=SHORT)
    rounds.run()
    assert rounds.left == [2]
    assert set(rounds.failed) == {1, 3}
    assert "mat1 and mat2 shapes" in str(rounds.failed[3])
    assert rounds.comparison(0, 1) is None
    over = rounds.comparison(0, 2)
    assert over is not None
    assert over.ratio.n == LEAST_PAIRS
    assert not any(one.process.is_alive() for one in seen)


def test_without_the_first_there_is_nothing_to_tell(seen: list[arms.Arm]) -> None:
    rounds = Rounds([sleeping(20, last=12), sleeping(10)], lambda: math.inf, plan=SHORT)
    rounds.run()
    assert set(rounds.failed) == {0}
    assert rounds.comparison(0, 1) is None
    assert not any(one.process.is_alive() for one in seen)


def test_time_that_is_spent_ends_it_after_a_few_rounds() -> None:
    rounds = Rounds([sleeping(20), sleeping(10)], lambda: 0.0, plan=SHORT)
    rounds.run()
    over = rounds.comparison(0, 1)
    assert over is not None
    assert over.ratio.n == 3
    assert over.ratio.low is not None
    assert rounds.cut_short


def test_who_was_beaten_by_one_that_fails_later_goes_on(tmp_path: Path) -> None:
    once = ArmSpec("looked_at_workloads:once", {"seconds": 0.005, "mark": str(tmp_path / "there")}, cores=(0,))
    rounds = Rounds([sleeping(20), once, sleeping(10)], lambda: math.inf, plan=SHORT)
    rounds.run()
    assert (set(rounds.failed), rounds.beaten, rounds.left) == ({1}, {}, [2])
    over = rounds.comparison(0, 2)
    assert over is not None
    assert over.ratio.n >= LEAST_PAIRS - 1
    assert over.ratio.value == pytest.approx(0.5, rel=0.05)


def test_whoever_is_stopped_leaves_no_process(seen: list[arms.Arm], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def work(arm: arms.Arm, calls: int, lead_in: int = 0) -> None:
        asked.append(calls)
        if len(asked) == 2:
            assert all(one.process.is_alive() for one in seen)
            raise KeyboardInterrupt

    monkeypatch.setattr(arms.Arm, "work", lambda *given: work(*given) or Block(1, 0.01, 0.0, 0.0, 0))
    with pytest.raises(KeyboardInterrupt):
        Rounds([sleeping(20), sleeping(10)], lambda: math.inf, plan=SHORT).run()
    assert len(seen) == 2
    assert not any(one.process.is_alive() for one in seen)

"""Short looks at real arms: what they tell, and that nothing is left of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from thrifty.execution.arm_worker import ArmSpec
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.looks import Looks
from thrifty.instrument.race import Lost

FIRST, SECOND, FAILING = (Candidate(name, "fp32", "eager", 1, 1) for name in ("one", "another", "failing"))


@dataclass
class Workloads:
    """Stands for arms that predict."""

    asked: list[tuple[str, bool]]

    def spec(self, candidate: Candidate, held_to_eager: bool) -> ArmSpec:
        self.asked.append((candidate.quantizer, held_to_eager))
        return ArmSpec(f"looked_at_workloads:{'failing' if candidate is FAILING else 'working'}", {})


def test_a_look_tells_a_ratio_and_keeps_the_champion_alive() -> None:
    arms: Any = Workloads([])
    with Looks(arms, lambda: math.inf) as looks:
        look = looks.look(FIRST, SECOND, 0.0, lambda seen: False)
        assert math.isfinite(look.log)
        assert look.error > 0
        processes = {one: arm.process for one, (arm, _) in looks._alive.items()}
        looks.look(FIRST, SECOND, 0.0, lambda seen: True)
        assert {one: arm.process for one, (arm, _) in looks._alive.items()} == processes
        assert arms.asked == [("one", True), ("another", True)]
        with pytest.raises(Lost, match="mat1 and mat2") as lost:
            looks.look(FIRST, FAILING, 0.0, lambda seen: False)
        assert (lost.value.status, lost.value.of_champion) == ("failed", False)
        assert list(looks._alive) == [FIRST]
        looks.look(FIRST, SECOND, 0.0, lambda seen: True)
        assert arms.asked[-1] == ("another", False)  # it was held to PyTorch's predictions once
        with pytest.raises(Lost, match="mat1 and mat2") as lost:
            looks.look(FAILING, SECOND, 0.0, lambda seen: False)
        assert (lost.value.status, lost.value.of_champion) == ("failed", True)
        looks.look(FIRST, SECOND, 0.0, lambda seen: True)
        looks._alive[FIRST][0].process.kill()
        with pytest.raises(Lost) as lost:
            looks.look(FIRST, SECOND, 0.0, lambda seen: True)
        assert (lost.value.status, lost.value.of_champion) == ("failed", True)
    assert not any(one.is_alive() for one in processes.values())


def test_a_look_is_over_once_enough_was_seen() -> None:
    seen: list[int] = []
    arms: Any = Workloads([])
    with Looks(arms, lambda: math.inf) as looks:
        looks.look(FIRST, SECOND, 60.0, lambda look: len(seen) == 2 or seen.append(1) is not None)
    assert len(seen) == 2

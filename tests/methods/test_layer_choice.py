"""Which layers to spare: the costliest first, as few as will do."""

from __future__ import annotations

from thrifty.measure.loss_bound import QualityLoss
from thrifty.methods.layer_choice import LayerChoice

COSTS = {"a": 0.1, "b": 3.0, "c": 1.0, "d": 0.2}


def walked(bound: float, before: float = 0.0) -> LayerChoice:
    """Each layer costs what it costs alone, whatever the others do."""
    choice = LayerChoice(list(COSTS), bound, QualityLoss(before, before - 0.05, before + 0.05, 100) if before else None)

    def lost(spared: list[str]) -> QualityLoss:
        value = before + sum(cost for name, cost in COSTS.items() if name not in spared)
        return QualityLoss(value, value - 0.05, value + 0.05, 100)

    choice.tell([], lost([]))
    if not choice.met:
        for spared in choice.rounds(COSTS):
            choice.tell(spared, lost(spared))
    return choice


def test_nothing_is_spared_where_all_keep_within_the_bound() -> None:
    choice = walked(5.0)
    assert choice.spared == ()
    assert len(choice.tried) == 1
    assert choice.flags() == []


def test_the_costliest_are_spared_and_no_more_of_them_than_needed() -> None:
    assert walked(1.5).spared == ("b",)
    assert walked(0.5).spared == ("b", "c")


def test_a_bound_that_only_floating_point_meets_spares_all() -> None:
    assert set(walked(0.01).spared) == set(COSTS)


def test_what_was_lost_before_counts() -> None:
    assert walked(1.5, before=0.5).spared == ("b", "c")
    all_spared = walked(0.55, before=0.5)
    assert set(all_spared.spared) == set(COSTS)
    assert all_spared.tried[-1].loss.value == 0.5
    gained = walked(1.5, before=-2.0)
    assert gained.spared == ("b",)


def test_where_more_was_lost_before_than_may_be_nothing_is_spared_for_nothing() -> None:
    choice = walked(0.4, before=0.5)
    assert (choice.spared, len(choice.tried)) == ((), 1)
    assert choice.flags() == ["bound_not_met"]
    assert choice.sentence() == (
        "max_quality_loss=0.4: no choice of layers keeps within it: 0.50 points were lost before any was quantised"
    )


def test_what_is_not_certain_is_said() -> None:
    choice = walked(1.32)  # 1.3 points lost, up to 1.35
    assert choice.flags() == ["not_certified"]
    assert "cannot certify; needs about" in choice.sentence()
    assert choice.rows()[0]["spared"] == []

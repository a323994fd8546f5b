"""Conditions that fail a project's CI: how they are read, and when they hold."""

from __future__ import annotations

import pytest

from thrifty.errors import BadConfiguration
from thrifty.instrument.comparison import Finding
from thrifty.instrument.guards import parse_guard, with_guarded
from thrifty.measure.statistics import Interval


def finding(value: float, claimed: bool, low: float | None = None, high: float | None = None) -> Finding:
    return Finding("infer/latency_ms", "", "how", change=Interval(value, low, high), claimed=claimed)


@pytest.mark.parametrize(
    ("text", "above", "limit"),
    [
        ("infer/latency_ms > +3%", True, 0.03),
        ("infer/latency_ms>3%", True, 0.03),
        ("infer/samples_per_s < -2.5%", False, -0.025),
        ("quality/accuracy < -0.5", False, -0.005),
        ("quality/bits_per_byte > 0.02", True, 0.02),
    ],
)
def test_a_guard_is_read(text: str, above: bool, limit: float) -> None:
    guard = parse_guard(text)
    assert (guard.above, guard.limit) == (above, pytest.approx(limit))


@pytest.mark.parametrize(
    "text",
    ["", "infer/latency_ms", "infer/latency_ms > fast", "infer/latency_ms > 3", "quality/accuracy < -1%", "infer/latency > 3%",
     "quality/bits_per_byte > 2%", "infer/latency_ms >= 3%"],
)  # fmt: skip
def test_what_is_no_guard_is_refused(text: str) -> None:
    with pytest.raises(BadConfiguration):
        parse_guard(text)


def test_a_claimed_change_beyond_the_limit_fails() -> None:
    guard = parse_guard("infer/latency_ms > +3%")
    assert guard.failed_by(finding(0.04, claimed=True))
    assert not guard.failed_by(finding(0.04, claimed=False)), "noise alone fails nothing"
    assert not guard.failed_by(finding(0.025, claimed=True))
    assert not guard.failed_by(finding(-0.5, claimed=True))


def test_what_cannot_be_told_is_said() -> None:
    guard = parse_guard("infer/latency_ms > +3%")
    assert guard.open_in(finding(0.01, False, -0.04, 0.06)) is not None
    assert guard.open_in(finding(0.01, False, -0.01, 0.02)) is None, "the whole interval lies within"
    assert guard.open_in(finding(0.05, True, 0.04, 0.06)) is None
    assert guard.open_in(Finding("infer/latency_ms", "", "the second run died")) == "the second run died"


def test_guarded_metrics_are_compared_once() -> None:
    guards = [parse_guard("infer/latency_ms > 3%"), parse_guard("quality/accuracy < -1")]
    assert with_guarded(["infer/latency_ms", "size/file_mib"], guards) == [
        "infer/latency_ms",
        "size/file_mib",
        "quality/accuracy",
    ]

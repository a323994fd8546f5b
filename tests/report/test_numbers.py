"""Numbers as people read them: examples worked out by hand."""

from __future__ import annotations

import pytest

from thrifty.metrics import METRICS, measured, missing
from thrifty.report.numbers import duration, interval_text, metric_text, number


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "s", "0 s"),
        (9.637e-5, "s", "0.09637 ms"),
        (0.05, "s", "50 ms"),
        (-0.05, "s", "-50 ms"),
        (0.1227, "s", "0.1227 s"),
        (34.4214, "s", "34.42 s"),
        (999.94, "s", "999.9 s"),
        (999.96, "s", "1,000 s"),
        (43210.4, "s", "43,210 s"),
        (1e6, "s", "1,000,000 s"),
        (31096.2, "1/s", "31,096/s"),
        (404.94, "1/s", "404.9/s"),
        (9999, "", "9,999"),
        (14338, "", "14.34 k"),
        (999_960, "", "1 M"),
        (302e6, "", "302 M"),
        (28_220, "FLOP", "28.22 kFLOP"),
        (3.503e12, "FLOP", "3.503 TFLOP"),
        (2.5e18, "FLOP", "2.5 EFLOP"),
        (2.5e22, "FLOP", "2.5e+04 EFLOP"),
        (481.34, "MiB", "481.3 MiB"),
        (0.05527, "MiB", "0.05527 MiB"),
        (2.43216, "nats", "2.432 nats"),
        (-0.005444, "bits", "-0.005444 bits"),
    ],
)
def test_about_four_figures_and_a_unit(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "0.3 s"), (1.4, "1 s"), (2, "2 s"), (42.4, "42 s"), (119, "119 s"), (120, "2 min"), (725, "12 min"),
        (7199, "120 min"), (12600, "3.5 h"), (43_000, "12 h"), (172_800, "2 days"), (778_000, "9 days"),
    ],
)  # fmt: skip
def test_a_rough_time(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("quality/accuracy", 0.92105, "92.11 %"),
        ("validation/r2", -0.5, "-50.00 %"),
        ("quality/rmse", 54210.0, "54.21 k"),
        ("train/data_wait_pct", 0.2831, "0.2831 %"),
        ("train/steps", 300, "300"),
        ("not/declared", 1.5, "1.5"),
    ],
)
def test_a_metric_has_the_unit_of_its_declaration(name: str, value: float, text: str) -> None:
    assert metric_text(name, measured(value)) == text


@pytest.mark.parametrize(
    ("deciding", "value", "text"),
    [("accuracy", 0.011684, "1.17 points"), ("r2", -0.02, "-2.00 points"), ("bits_per_byte", -0.0054, "-0.0054 bits")],
)
def test_the_gap_has_the_deciding_metric_s_unit(deciding: str, value: float, text: str) -> None:
    assert metric_text("quality/gap", measured(value), deciding) == text


@pytest.mark.parametrize("name", METRICS)
def test_what_is_missing_is_a_dash(name: str) -> None:
    assert metric_text(name, missing("no reason at all")) == "-"
    assert metric_text(name, None) == "-"


@pytest.mark.parametrize(
    ("name", "low", "high", "text"),
    [
        ("quality/loss", 0.07694, 0.3025, "0.07694 to 0.3025"),
        ("quality/accuracy", 0.8354, 0.9453, "83.54 to 94.53 %"),
        ("train/samples_per_s", 25366, 40170.4, "25,366 to 40,170/s"),
        ("train/time_s", 0.05, 0.2, "50 ms to 0.2 s"),
        ("size/parameters", 9000, 15000, "9,000 to 15 k"),
        ("train/steps", -3, 5, "-3 to 5"),
        ("quality/loss", None, 0.3, ""),
        ("quality/loss", 0.3, None, ""),
    ],
)
def test_an_interval_says_its_unit_once(name: str, low: float | None, high: float | None, text: str) -> None:
    assert interval_text(name, {"value": 1.0, "low": low, "high": high}) == text

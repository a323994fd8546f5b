"""Power laws through sizes and compute: exact ones are found, noisy ones lie in their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

from thrifty.report.scaling import scaling_report
from thrifty.sweeps.power_law import power_law, scaling


def test_an_exact_law_is_found() -> None:
    law = power_law([1.0, 10.0, 100.0, 1000.0], [8.0 * n**-0.25 for n in (1.0, 10.0, 100.0, 1000.0)])
    assert law is not None
    assert law.factor == pytest.approx(8.0)
    assert law.exponent.value == pytest.approx(-0.25)
    assert (law.exponent.low, law.exponent.high) == (pytest.approx(-0.25, abs=1e-6), pytest.approx(-0.25, abs=1e-6))


def test_by_hand() -> None:
    # Logarithms to the base e of x: 0, 1, 2; of y: 0, 1, 0. Slope 0, residuals -1/3, 2/3, -1/3 with s^2 = 2/3 over one degree of
    # freedom; the slope's error is sqrt((2/3) / 2) = 0.57735, and t(0.975; 1) = 12.7062.
    law = power_law([1.0, np.e, np.e**2], [1.0, np.e, 1.0])
    assert law is not None
    assert law.exponent.value == pytest.approx(0.0, abs=1e-12)
    assert law.exponent.high == pytest.approx(12.7062 * 0.57735, rel=1e-4)
    assert law.factor == pytest.approx(np.exp(1 / 3))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    chance, held = np.random.default_rng(0), 0
    x = np.geomspace(1e5, 1e7, 6)
    for _ in range(400):
        law = power_law(list(x), list(5 * x**-0.1 * np.exp(0.05 * chance.standard_normal(6))))
        assert law is not None
        assert law.exponent.low is not None
        assert law.exponent.high is not None
        held += law.exponent.low <= -0.1 <= law.exponent.high
    assert 0.92 < held / 400 < 0.98


@pytest.mark.parametrize(
    ("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [1.0, 0.0, 2.0])]
)
def test_what_has_no_law(x: list[float], y: list[float]) -> None:
    assert power_law(x, y) is None


def run(flops: float | None, parameters: float, loss: float | None, **other: Any) -> dict[str, Any]:
    metrics = {"size/parameters": {"value": parameters}, "validation/loss": {"value": loss}}
    return {"config": {"budget": {"flops": flops}}, "metrics": metrics, "status": "ok", "flags": []} | other


def test_each_compute_has_its_best_size_and_the_best_have_a_law() -> None:
    records = [
        run(flops, size, loss + 4 * flops**-0.1)
        for flops in (1e10, 1e11, 1e12)
        for size, loss in ((1e5, 0.3), (1e6, 0.0 if flops > 5e11 else 0.1), (1e7, 0.2 if flops > 5e11 else 0.5))
    ]
    cut_short = run(1e12, 1e8, 0.001, flags=["budget_reached"])
    found = scaling([*records, cut_short, run(1e12, 1e9, 0.001, status="diverged"), run(None, 1e5, 0.1)], "validation/loss")
    assert found is not None
    assert [one.flops for one in found.ladders] == [1e10, 1e11, 1e12]
    assert [one.best[0] for one in found.ladders] == [1e6, 1e6, 1e6]
    assert all(len(one.points) == 3 for one in found.ladders)
    assert found.of_compute is not None
    assert found.of_compute.exponent.value < 0
    console = Console(width=120, record=True)
    console.print(*scaling_report(found, "validation/loss"))
    text = console.export_text()
    assert "best validation/loss over compute: " in text
    assert "1 TFLOP" in text


def test_two_sizes_are_no_ladder() -> None:
    assert scaling([run(1e10, 1e5, 0.5), run(1e10, 1e6, 0.4), run(1e10, 1e6, 0.41)], "validation/loss") is None


def test_the_best_size_is_that_of_the_lowest_mean() -> None:
    found = scaling([run(1.0, 1.0, 0.5), run(1.0, 2.0, 0.1), run(1.0, 2.0, 0.95), run(1.0, 3.0, 0.52)], "validation/loss")
    assert found is not None
    assert found.ladders[0].best == (1.0, 0.5)

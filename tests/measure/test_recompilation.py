"""Graphs are counted as torch.compile makes them, and a time that one was made in is flagged."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch._dynamo
from moved_clock import MovedClock

from thrifty.measure import timing
from thrifty.measure.recompilation import graphs_compiled
from thrifty.measure.timing import time_calls

CPU = torch.device("cpu")


def test_new_shapes_and_changed_guards_count_and_calls_do_not() -> None:
    double = torch.compile(lambda inputs: inputs * 2, backend="eager", dynamic=False)
    counted = []
    for shape in (1, 1, 2, 1, 2):
        before = graphs_compiled()
        double(torch.ones(shape))
        counted.append(graphs_compiled() - before)
    assert counted == [1, 0, 1, 0, 0]
    before = graphs_compiled()
    with torch.autocast("cpu", torch.bfloat16):
        double(torch.ones(1))
    assert graphs_compiled() - before == 1, "what is compiled under a precision is of that precision"


@pytest.mark.parametrize(("call", "recompiled"), [(3, False), (40, True), (10**9, False)])
def test_a_time_is_flagged_where_a_sample_compiled_and_not_for_the_warm_up(
    call: int, recompiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """70 calls, of which the first six are warm-up; one of them is given another shape."""
    torch._dynamo.reset()  # what one case compiled is not to be found by the next
    clock = MovedClock()
    monkeypatch.setattr(timing, "time", clock)
    takes, compiled = clock.taking(0.25), torch.compile(lambda inputs: inputs * 3, backend="eager", dynamic=False)
    calls = iter(range(10**6))

    def predict() -> object:
        takes()
        return compiled(torch.ones(1 if next(calls) < call else 2))

    assert time_calls(predict, CPU, 16.0).recompiled == recompiled


def test_counting_imports_no_compiler() -> None:
    program = (
        "import sys; from thrifty.measure.recompilation import graphs_compiled; from thrifty.execution import inductor\n"
        "assert graphs_compiled() == 0 and inductor.in_force() == {}\n"
        "assert not any(name.startswith('torch') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

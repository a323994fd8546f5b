"""Training within the tests' own process: leaves no trace in it, and is timed by a clock where one is wanted."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import torch
from small_training import Clock


@pytest.fixture(autouse=True)
def unchanged_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Training takes over the signals and tells of its seed; models this small want one thread."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    signals = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for one, handler in signals.items():
        signal.signal(one, handler)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Takes the place of the module `time` where training is timed."""
    one = Clock()
    for module in ("monitor", "module", "sampler"):
        monkeypatch.setattr(f"thrifty.methods.{module}.time", one)
    return one

"""Measuring formats: its order, its arithmetic on figures made up, and what becomes of one that fails."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from thrifty.execution.lean import LeanFailed
from thrifty.instrument import format_trials
from thrifty.instrument.format_trials import Samples, measure_formats
from thrifty.report.formats import HEADINGS, as_json, row_of

NAMES = ["npz", "sparse", "hdf5+zstd"]


class MadeUp:
    """Lean processes that answer at once; `asked` is what they were given."""

    def __init__(self, fails: str | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.made: list[str] = []
        self.fails = fails

    def __call__(self, name: str) -> Self:
        self.made.append(name)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def ask(self, task: dict[str, Any]) -> dict[str, Any] | LeanFailed:
        self.asked.append(task)
        if task["do"] == "write":
            if task["format"] == self.fails:
                return LeanFailed("killed", "it died")
            Path(task["path"]).write_bytes(b"x")
            return {"seconds": 0.5, "bytes": 300}
        assert Path(task["path"]).exists()
        told = {"before_mib": 100.0, "peak_mib": 140.0 if task["lazily"] else 164.0}
        return {"seconds": len(self.asked) / 1000, "reason": None, **told}


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    processes = MadeUp()
    monkeypatch.setattr(format_trials, "format_process", processes)
    return processes


def measured(rounds: int, names: list[str] = NAMES) -> list[format_trials.FormatFinding]:
    return measure_formats(Path("run"), 1000, names, rounds, lambda name, done, of: None)


def test_every_figure_is_from_a_fresh_process_in_an_order_that_changes(made_up: MadeUp) -> None:
    found = measured(5)
    assert [one.name for one in found] == NAMES
    written = [task["format"] for task in made_up.asked if task["do"] == "write"]
    assert Counter(written) == dict.fromkeys(NAMES, 5)
    rounds = [tuple(written[place : place + 3]) for place in range(0, 15, 3)]
    assert all(set(one) == set(NAMES) for one in rounds)
    assert len(set(rounds)) > 1
    assert len(made_up.made) == len(made_up.asked) == 5 * (3 + 2 + 3)  # sparse has no lazy way
    ways = {tuple(task["lazily"] for task in made_up.asked[place + 1 : place + 3]) for place in _writes(made_up, "npz")}
    assert ways == {(True, False), (False, True)}
    assert Counter(made_up.made) == {"npz": 15, "sparse": 10, "hdf5+zstd": 15}


def _writes(made_up: MadeUp, name: str) -> list[int]:
    return [place for place, task in enumerate(made_up.asked) if task.get("format") == name]


def test_figures_are_gathered_by_format(made_up: MadeUp) -> None:
    npz, sparse, _ = measured(3)
    assert (npz.bytes, npz.ratio, npz.write_s.values) == (300, 0.3, [0.5] * 3)
    assert npz.fully.peak_mib.values == [64.0] * 3  # above what the process had before
    assert npz.lazily is not None
    assert npz.lazily.peak_mib.values == [40.0] * 3
    assert len(npz.fully.seconds.values) == len(npz.lazily.seconds.values) == 3
    assert sparse.lazily is None
    assert row_of(sparse)[-2:] == ["-", "-"]
    assert row_of(npz)[:4] == ["npz", "0.0002861", "0.300", "500 (500 to 500)"]
    assert as_json([npz])[0]["write_s"] == {"values": [0.5] * 3}


def test_a_median_and_its_range() -> None:
    samples = Samples([3.0, 1.0, 2.0, 10.0])
    assert (samples.median, samples.low, samples.high) == (2.5, 1.0, 10.0)


def test_one_that_fails_says_why_and_the_others_go_on(made_up: MadeUp) -> None:
    made_up.fails = "sparse"
    npz, sparse, hdf5 = measured(3)
    assert sparse.reason == "it died"
    assert row_of(sparse) == ["sparse", *"-" * (len(HEADINGS) - 1)]
    assert len(npz.write_s.values) == len(hdf5.write_s.values) == 3
    assert len(_writes(made_up, "sparse")) == 1  # it is not asked again


def test_progress_counts_every_format_of_every_round(made_up: MadeUp) -> None:
    told: list[tuple[str, int, int]] = []
    measure_formats(Path("run"), 1000, NAMES, 2, lambda *given: told.append(given))
    assert [one[1:] for one in told] == [(number, 6) for number in range(1, 7)]

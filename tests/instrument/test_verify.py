"""The instrument's trial of itself: what is counted, and that a trial that was cut off goes on."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from thrifty.instrument import verify
from thrifty.instrument.verify import Trial, run_trials, smallest_found, tally
from thrifty.report.verify import verify_markdown


def trial(number: int, slowdown: float, ratio: float, claimed: bool, neighbour: bool = False, **others: Any) -> Trial:
    return Trial(
        number,
        neighbour,
        slowdown,
        slowdown,
        ratio,
        ratio * 0.99,
        ratio * 1.01,
        [0.0] * 8,
        claimed,
        3.0,
        others.get("reference"),
    )


def test_claims_misses_and_coverage_are_counted_by_hand() -> None:
    trials = [
        trial(0, 0.0, 1.0, False, reference=1.03),
        trial(1, 0.0, 1.03, True),  # a false claim, and its interval does not hold 1
        trial(0, 0.03, 1.03, True),
        trial(1, 0.03, 0.95, True),  # claimed, but the wrong way round: nothing found
    ]
    same, slower = tally(trials)
    assert (same.claims.value, same.claims.n) == (0.5, 2)
    assert same.coverage.value == 0.5
    assert same.reference is not None
    assert (same.reference.value, same.reference.n) == (1.0, 1)
    assert slower.claims.value == 0.5
    assert slower.coverage.value == 0.5
    assert slower.seconds == 3.0


def test_the_page_says_what_was_counted() -> None:
    page = verify_markdown(tally([trial(0, 0.0, 1.0, False), trial(1, 0.0, 1.0, False)]), 2, 1)
    assert "thrifty verify --trials 2" in page
    assert "0 of 2 comparisons of a model with itself claimed a difference." in page


def test_the_smallest_found_is_what_is_never_claimed_and_the_scatter() -> None:
    exact = tally([trial(number, 0.03, 1.03, True) for number in range(3)])
    assert smallest_found(exact) == pytest.approx(0.02)


def test_a_trial_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, bool, float]] = []

    def fake(number: int, neighbour: bool, slowdown: float, threads: int) -> Trial:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append((number, neighbour, slowdown))
        return trial(number, slowdown, 1 + slowdown, bool(slowdown), neighbour)

    monkeypatch.setattr(verify, "_trial", fake)
    monkeypatch.setattr(verify.fork_server, "wait_until_ready", lambda preload: None)
    monkeypatch.setattr(verify.fork_server, "renew", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        run_trials(tmp_path, 1)
    file = tmp_path / verify.FILE
    assert len(file.read_text().splitlines()) == 6
    with file.open("a") as cut:
        cut.write('{"number": 0, "neighbour": tr')
    first = list(made)
    made.clear()
    found = run_trials(tmp_path, 1)
    assert len(made) == 3
    assert not set(made) & set(first)
    assert len(found) == len(file.read_text().splitlines()) - 1 == 8
    assert all(json.loads(line) for line in file.read_text().splitlines())
    made.clear()
    assert len(run_trials(tmp_path, 1)) == 8
    assert not made


def test_every_second_trial_has_a_fork_server_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int | str] = []

    def fake(number: int, neighbour: bool, slowdown: float, threads: int) -> Trial:
        if number not in told:
            told.append(number)
        return trial(number, slowdown, 1, False, neighbour)

    monkeypatch.setattr(verify, "_trial", fake)
    monkeypatch.setattr(verify, "BusyNeighbour", nullcontext)
    monkeypatch.setattr(verify.fork_server, "renew", lambda: told.append("renewed"))
    monkeypatch.setattr(verify.fork_server, "wait_until_ready", lambda preload: None)
    run_trials(tmp_path, 1)
    run_trials(tmp_path, 4)
    assert told == ["renewed", 0, "renewed", 1, 2, "renewed", 3]


def test_other_settings_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        verify, "_trial", lambda number, neighbour, slowdown, threads: trial(number, slowdown, 1, False, neighbour)
    )
    monkeypatch.setattr(verify.fork_server, "wait_until_ready", lambda preload: None)
    monkeypatch.setattr(verify.fork_server, "renew", lambda: None)
    run_trials(tmp_path, 1, threads=1)
    made = []
    run_trials(tmp_path, 1, threads=2, tell=lambda one, done, of: made.append(one))
    assert len(made) == 8

"""What `thrifty list`, `show`, `predict`, `doctor` and `keys` do. Each takes the parsed options and returns the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from thrifty.errors import BadConfiguration, BadData
from thrifty.record import usable_cores
from thrifty.report.progress import ComparisonProgress, TrialProgress
from thrifty.report.terminal import output_console, show

_MOST_AT_ONCE = 1024
"""Processes or threads: many more than any machine has cores."""
_SHOWN = 500
"""Lines of a table that somebody might read; a machine that reads --json gets all."""


def list_runs(options: argparse.Namespace) -> int:
    """A table of the runs, or with --json a record a line."""
    from thrifty.report.listing import chosen, comparison_table
    from thrifty.store import read_record, run_directories

    if options.last is not None and options.last < 1:
        raise BadConfiguration(f"--last {options.last}: must be at least 1, a number of runs")
    found: list[dict[str, Any]] = []
    directories = list(run_directories(options.store))
    latest = options.last or (None if options.json else _SHOWN)
    if latest is not None and not options.filters:
        older, directories = directories[:-latest], directories[-latest:]
    else:
        older = []
    for directory in directories:
        try:
            found.append(read_record(directory))
        except BadData as error:
            sys.stderr.write(f"left out: {error}\n")
    records = chosen(found, options.filters)
    if latest is not None:
        older, records = [*older, *records[:-latest]], records[-latest:]
    if options.json:
        for record in records:
            print(json.dumps(record))
        return 0
    if not records:
        sys.stderr.write(f"no runs in {options.store}{' that match' if options.filters else ''}; `python run.py` makes one\n")
        return 0
    console = output_console()
    show(comparison_table(records, console.width), console)
    if older and options.last is None:
        print(f"\n{len(older):,} older ones are left out; --last N shows more, key=value fewer")
    return 0


def show_run(options: argparse.Namespace) -> int:
    """The summary of a run, missing metrics and their reasons included."""
    from thrifty.store import find_run, read_record

    directory = find_run(options.store, options.run)
    record = read_record(directory)
    if options.json:
        print(json.dumps(record, indent=1))
        return 0
    from thrifty.report.summary import summary

    console = output_console()
    show(summary(record, str(directory), console.width, everything=True), console)
    return 0


def compare(options: argparse.Namespace) -> int:
    """Two runs against each other; exit 1 where a condition of --fail-if is met."""
    from thrifty.instrument.arms import Run, default_metrics, get_ready
    from thrifty.instrument.guards import parse_guard, with_guarded
    from thrifty.store import find_run, read_record

    guards = [parse_guard(one) for one in options.fail_if]
    if options.pairs is not None and options.pairs < 2:
        raise BadConfiguration(f"--pairs {options.pairs}: must be at least 2, pairs of fresh processes")
    if (options.second is None) == (options.against is None):
        raise BadConfiguration("compare: takes RUN_A RUN_B, or RUN_A --against BASELINE.json; see `thrifty compare --help`")
    # The kept record comes first: what is told is how the run differs from it.
    given = [options.against, options.first] if options.second is None else [options.first, options.second]
    paths = [_record_directory(one) if isinstance(one, Path) else find_run(options.store, one) for one in given]
    records = [
        read_record(paths[0], given[0].name) if isinstance(given[0], Path) else read_record(paths[0]),
        read_record(paths[1]),
    ]
    runs = (Run(paths[0], records[0]), Run(paths[1], records[1]))
    for run in runs:
        if run.record["status"] != "ok":
            raise BadData(f"{run.record['id']}: is {run.record['status']}; only finished runs can be compared")
    metrics = with_guarded(options.metric or default_metrics(runs), guards)
    if options.against is None:
        get_ready(metrics, runs)  # the fork server makes its imports while we make ours
    from thrifty.instrument.baseline import against
    from thrifty.instrument.comparison import compare_runs, with_budget
    from thrifty.instrument.floor import kept_floor
    from thrifty.instrument.pairs import Plan

    floor = kept_floor(options.store)
    if options.against is not None:
        findings = against(*runs, metrics)
    else:
        plan = with_budget(Plan(), options.pairs, options.budget)
        with ComparisonProgress(sys.stderr) as progress:
            findings = compare_runs(runs, metrics, plan, None if floor is None else floor.share, progress.tell)
    by_name = {one.metric: one for one in findings}
    failed = [one.text for one in guards if one.failed_by(by_name[one.metric])]
    unsure = [(one.text, why) for one in guards if (why := one.open_in(by_name[one.metric])) is not None]
    if options.json:
        from thrifty.report.comparison import as_json

        print(json.dumps(as_json(runs, findings, floor, failed), indent=1))
    else:
        from thrifty.report.comparison import comparison_report

        console = output_console()
        show(comparison_report(runs, findings, floor), console)
    for text, why in unsure:
        sys.stderr.write(f"not certain: {text}: {why}\n")
    for text in failed:
        sys.stderr.write(f"failed: {text}\n")
    return 1 if failed else 0


def _record_directory(file: Path) -> Path:
    if not file.is_file():
        raise BadConfiguration(f"--against {file}: there is no such file; give the result.json of a run that was kept")
    return file.parent


def verify(options: argparse.Namespace) -> int:
    """The instrument tried on itself."""
    from thrifty.instrument.verify import run_trials, tally
    from thrifty.record import usable_cores

    for name, most in (("trials", 100_000), ("threads", usable_cores())):
        if not 1 <= getattr(options, name) <= most:
            raise BadConfiguration(f"--{name} {getattr(options, name)}: must be 1 to {most}")
    with TrialProgress(sys.stderr) as progress:
        trials = run_trials(options.store, options.trials, options.threads, options.fresh, progress.tell)
    tallies = tally(trials)
    if options.markdown:
        from thrifty.report.verify import verify_markdown

        print(verify_markdown(tallies, options.trials, options.threads), end="")
    elif options.json:
        print(json.dumps({"trials": [vars(one) for one in trials]}, indent=1))
    else:
        from thrifty.report.verify import verify_report

        console = output_console()
        show(verify_report(tallies), console)
    return 0


def predict(options: argparse.Namespace) -> int:
    """Predictions of a run's model, printed or written."""
    for name, least in (("batch_size", 1), ("length", 1), ("temperature", 0), ("seed", 0), ("processes", 1), ("threads", 1)):
        value = getattr(options, name)
        if value not in (None, "auto") and not least <= value < float("inf"):
            raise BadConfiguration(f"--{name.replace('_', '-')} {value}: must be at least {least}")
    for name in ("processes", "threads"):
        value = getattr(options, name)
        if value is not None and value > _MOST_AT_ONCE:
            raise BadConfiguration(f"--{name} {value}: must be at most {_MOST_AT_ONCE}; we may use {usable_cores()} cores here")
    from thrifty.report.prediction import model_of, predict_run

    text = predict_run(*model_of(options), options)
    print(text, end="" if text.endswith("\n") else "\n")
    return 0


def doctor(options: argparse.Namespace) -> int:
    """What this machine is and can do, and what would spoil a measurement on it now."""
    from thrifty.instrument.doctor import examine

    diagnosis = examine(options.store, options.quick)
    if options.json:
        from dataclasses import asdict

        from thrifty.record import to_json

        print(to_json(asdict(diagnosis)), end="")
        return 0
    from thrifty.report.doctor import doctor_page

    show(doctor_page(diagnosis), output_console())
    return 0


def print_keys(options: argparse.Namespace) -> int:
    """The table of keys."""
    from thrifty.config.table import markdown, matching

    if options.markdown:
        print(markdown(), end="")
        return 0
    keys = matching(options.pattern)
    if not keys:
        from thrifty.config.table import all_keys
        from thrifty.errors import nearest

        hint = nearest(options.pattern, (key.name for key in all_keys()))
        raise BadConfiguration(f"{options.pattern}: no key has that in its name{hint}")
    for key in keys:
        facts = ", ".join(one for one in (key.type, key.unit, key.allowed) if one)
        print(f"{key.name} = {key.default}\n    {key.meaning} ({facts}{'; with ' + key.choice if key.choice else ''})")
    return 0

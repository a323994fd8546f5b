"""`thrifty export`: a run's weights to a file, a file back to a run's, and what each format costs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from thrifty.errors import BadConfiguration, BadData
from thrifty.formats.registry import ALL, FORMATS, file_suffix, named
from thrifty.paths import kind_of
from thrifty.report.progress import FormatProgress
from thrifty.report.terminal import output_console, show
from thrifty.store import MANIFEST


def export_command(options: argparse.Namespace) -> int:
    """Write, read back, or measure."""
    for name in options.format:
        named(name)
    if options.to_run is not None:
        return _back(options)
    if options.measure:
        return _measure(options)
    if len(options.format) != 1:
        raise BadConfiguration(
            f"export: takes one --format ({', '.join(FORMATS)}; +zstd or +shuffle+zstd behind it), or --measure, or --to-run DIR; "
            f"{len(options.format)} were given"
        )
    return _export(options)


def _export(options: argparse.Namespace) -> int:
    _refuse(options, "rounds", "json")
    run, (name,) = _weights_directory(options), options.format
    path = options.output or Path(f"model{file_suffix(name)}")
    if kind_of(path) == "folder":
        raise BadConfiguration(f"-o {path}: is a directory; give the name of a file")
    if kind_of(path) is not None and not options.force:
        raise BadConfiguration(f"{path}: is there already; give --force to replace it, or another name with -o")
    from thrifty.methods.exporting import export_run

    done = export_run(run, name, path)
    print(f"{done.path}: {done.bytes:,} bytes, {done.ratio:.3f} of the run's model.safetensors")
    return 0


def _back(options: argparse.Namespace) -> int:
    _refuse(options, "format", "output", "force", "measure", "rounds", "json")
    file = Path(options.run)
    if kind_of(file) != "file":
        raise BadConfiguration(
            f"{file}: there is no such file; --to-run takes a file that `thrifty export RUN --format F` wrote"
        )
    if options.to_run.resolve() == Path.cwd():
        raise BadConfiguration(f"--to-run {options.to_run}: is the directory we are in; give the name of one to make")
    from thrifty.methods.exporting import run_from

    count = run_from(file, options.to_run)
    print(f"{options.to_run}: model.safetensors and model.json, {count} tensors, as they were to the bit")
    return 0


def _measure(options: argparse.Namespace) -> int:
    _refuse(options, "output", "force")
    rounds = 3 if options.rounds is None else options.rounds
    if not 1 <= rounds <= 1000:
        raise BadConfiguration(f"--rounds {rounds}: must be 1 to 1000")
    run = _weights_directory(options)
    from thrifty.instrument.format_trials import measure_formats
    from thrifty.report.formats import as_json, formats_report
    from thrifty.store import read_json

    described = read_json(run / MANIFEST).get("weights")
    if not isinstance(described, dict) or not isinstance(described.get("bytes"), int) or described["bytes"] < 1:
        raise BadData(f"{run / MANIFEST}: is not a manifest of ours, or was altered (it has no weights)")
    with FormatProgress(sys.stderr) as progress:
        found = measure_formats(run, described["bytes"], options.format or ALL, rounds, progress.tell)
    if options.json:
        print(json.dumps(as_json(found), indent=1))
    else:
        show(formats_report(found, rounds), output_console())
    return 0


def _weights_directory(options: argparse.Namespace) -> Path:
    """The directory that holds the weights: a run's, or one that --to-run made."""
    from thrifty.store import find_run

    if (Path(options.run) / MANIFEST).is_file():
        return Path(options.run)
    return find_run(options.store, options.run)


def _refuse(options: argparse.Namespace, *names: str) -> None:
    """Refuse options that mean nothing beside the others, rather than pass over them."""
    for name in names:
        if getattr(options, name):
            raise BadConfiguration(f"export: --{name} does not go with the other options given; see `thrifty export --help`")

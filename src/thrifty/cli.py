"""The command lines: `python run.py ...` (the same as `thrifty run ...`) and `thrifty COMMAND`."""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from thrifty.errors import BadConfiguration, OutOfMemory, ThriftyError, nearest
from thrifty.execution.death import first_line, out_of_memory
from thrifty.stop import EXIT_CODES, REASONS, STOPPED, Stopped


def run() -> None:
    """`python run.py`: one experiment, or with -m a grid of them."""
    _leave(lambda: run_command(sys.argv[1:]))


def main() -> None:
    """`thrifty`: everything else."""
    _leave(lambda: thrifty_command(sys.argv[1:]))


def _leave(command: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code; an error is one line on stderr."""
    logging.raiseExceptions = False  # a library's log that cannot be written, on a full disk, is no traceback on the terminal
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show must not end the command
    for one in REASONS:
        if signal.getsignal(one) is signal.SIG_DFL:
            signal.signal(one, _stop)
    try:
        code = command()
        sys.stdout.flush()
    except ThriftyError as error:
        if os.environ.get("THRIFTY_DEBUG") == "1":
            traceback.print_exc()
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    except BrokenPipeError:  # `thrifty list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 130
    except Exception as error:  # noqa: BLE001 - told in a line, with the traceback for whoever asks for it
        if os.environ.get("THRIFTY_DEBUG") == "1":
            traceback.print_exc()
        sys.stderr.write(
            f"error: {ThriftyError(f'{type(error).__name__}: {first_line(error)}')}; THRIFTY_DEBUG=1 shows where\n"
        )
        code = OutOfMemory.exit_code if out_of_memory(error) else 1
    except Stopped as stopped:
        sys.stderr.write(f"{stopped}\n")
        code = EXIT_CODES[str(stopped)]
    sys.exit(code)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """What the command has begun is ended in order, and nothing of it is left behind."""
    raise Stopped(REASONS[signal.Signals(number)])


def run_command(arguments: Sequence[str]) -> int:
    """One experiment or a grid; returns the exit code."""
    options, unknown = _run_parser().parse_known_intermixed_args(arguments)
    overrides: list[str] = options.overrides
    if options.help:
        from thrifty.report.help import run_help

        print(run_help(), end="")
        return 0
    if options.version:
        from thrifty import __version__

        print(__version__)
        return 0
    if unknown:
        flag = unknown[0].split("=")[0]
        known = ["--" + name.replace("_", "-") for name in vars(options) if name != "overrides"]
        raise BadConfiguration(
            f"{flag}: there is no such flag{nearest(flag, known)}; settings are written key=value, see --help"
        )
    if options.cfg or options.info or options.shell_completion or options.hydra_help:
        return _ask_hydra(options, overrides)
    if options.package or options.resolve:
        raise BadConfiguration("--package and --resolve say what --cfg prints; add --cfg job")
    if not options.multirun:
        return _one_experiment(overrides)
    if any(one.lstrip("+~").startswith("hydra") for one in overrides):
        from thrifty.sweeps.by_hydra import run_by_hydra

        return run_by_hydra(overrides, _one_experiment)
    from thrifty.config.sweep_files import names_a_search, sweep_of

    if sweep_of(overrides).settings.print is not None:
        from thrifty.sweeps.printed import printed

        print("\n".join(printed(overrides)))
        return 0
    return _search(overrides) if names_a_search(overrides) else _grid(overrides)


def _run_parser() -> _Parser:
    """The flags of `python run.py`: those of Hydra that mean something here, under Hydra's names."""
    parser = _Parser(prog="python run.py", add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--multirun", "-m", action="store_true")
    one.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    topics = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
    one.add_argument("--info", "-i", nargs="?", const="all", choices=topics)
    one.add_argument("--shell-completion", "-sc", action="store_true")
    one.add_argument("--hydra-help", action="store_true")
    return parser


def _one_experiment(overrides: list[str]) -> int:
    from thrifty.config.compose import compose
    from thrifty.config.sweep_files import into_of

    into, overrides = into_of(overrides)
    config = compose(overrides)  # before anything else is imported, so that an error comes at once
    if into is not None and config.resume is not None:
        raise BadConfiguration(f"sweep.into={into}: says itself what goes on there; leave resume out")

    from rich.console import Console

    from thrifty.execution.experiment import run_experiment
    from thrifty.execution.resumption import resumed_run
    from thrifty.instrument.optimize import search
    from thrifty.instrument.waterfall import fill
    from thrifty.sinks.terminal import TerminalSink

    resumed = None
    if config.resume is not None:
        resumed, config, overrides = resumed_run(config, overrides)
    show_run = TerminalSink(Console(stderr=True))
    if into is not None:
        from thrifty.sweeps.into import run_into

        outcome, before = run_into(Path(into), config, overrides, show_run)
        if before:
            print(f"finished before: {outcome.path}")
            return 0
    else:
        outcome = run_experiment(
            config, overrides, Path(config.store) / "runs", show_run, resumed=resumed, complete=fill, search=search
        )
    if outcome.message is not None:
        sys.stderr.write(f"error: {outcome.message}\n")
    elif outcome.record is not None and outcome.exit_code not in (0, *STOPPED):
        sys.stderr.write(f"error: {outcome.record['reason']}\n")
    if outcome.record is not None:
        from thrifty.report.summary import summary
        from thrifty.report.terminal import output_console, show

        console = output_console()
        show(summary(outcome.record, str(outcome.path), console.width), console)
    return outcome.exit_code


def _search(overrides: list[str]) -> int:
    from rich.console import Console

    from thrifty.report.sweep_view import sweep_view
    from thrifty.sweeps.search import run_search

    result = run_search(overrides, sweep_view(Console(stderr=True)))
    from thrifty.report.search_trials import search_trials
    from thrifty.report.terminal import output_console, show

    console = output_console()
    show(search_trials(result, console.width), console)
    return result.exit_code


def _grid(overrides: list[str]) -> int:
    from rich.console import Console

    from thrifty.report.grid import grid_report
    from thrifty.report.sweep_view import sweep_view
    from thrifty.sweeps.grid import run_grid

    result = run_grid(overrides, sweep_view(Console(stderr=True)))
    records = [outcome.record for outcome in result.outcomes if outcome.record is not None]
    if records:
        from thrifty.report.terminal import output_console, show

        console = output_console()
        show(grid_report(records, console.width), console)
        print(f"\n{len(records)} records in {result.directory}")
    refused, left = len(result.outcomes) - len(records), result.size - len(result.outcomes)
    if refused or left:
        print(f"{refused} refused, {left} not started")
    return result.exit_code


def _ask_hydra(options: argparse.Namespace, overrides: list[str]) -> int:
    """What Hydra itself answers, and runs nothing: --cfg, --info, --hydra-help, completion."""
    from thrifty.config.compose import compose
    from thrifty.config.hydra_main import hydra_main

    if options.cfg or options.info:
        compose(overrides)  # what would be refused is refused in our words
    valued = [(name, getattr(options, name)) for name in ("cfg", "package", "info") if getattr(options, name)]
    flags = [part for name, value in valued for part in (f"--{name}", value)]
    names = ("resolve", "shell_completion", "hydra_help")
    flags += ["--" + name.replace("_", "-") for name in names if getattr(options, name)]
    hydra_main([*flags, *overrides], lambda _: None)
    return 0


class _Parser(argparse.ArgumentParser):
    """Errors in one line, with the exit code of a bad configuration."""

    def error(self, message: str) -> NoReturn:
        raise BadConfiguration(f"{message}; see `{self.prog} --help`")


def thrifty_command(arguments: Sequence[str]) -> int:
    """`thrifty COMMAND ...`; returns the exit code."""
    if arguments and arguments[0] == "run":
        return run_command(arguments[1:])
    options = _parser().parse_args(arguments)
    code: int = options.command(options)
    return code


def _seconds(text: str) -> float:
    """A length of time as people type it: 60, 60s, 5m, 1h."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in "smh" else (text, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: is no length of time; write 60s, 5m or 1h")
    return seconds


def _batch_size(text: str) -> int | str:
    """A number, or `auto`."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: is no number of rows; write a whole number, or auto") from None


def _parser() -> argparse.ArgumentParser:
    from thrifty import __version__
    from thrifty.report import commands
    from thrifty.report.cache import cache_command
    from thrifty.report.export import export_command

    parser = _Parser(prog="thrifty", description="Measure what makes a neural network cheaper.")
    parser.add_argument("--version", action="version", version=__version__)
    names = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    names.add_parser("run", help="run an experiment: the same as `python run.py`", add_help=False)

    one = names.add_parser("list", help="the runs of a store, a line each")
    one.add_argument("filters", nargs="*", metavar="KEY=VALUE", help="only these, such as optimizer=adam status=ok")
    one.add_argument("--json", action="store_true", help="whole records, one a line")
    one.add_argument("--last", type=int, metavar="N", help="only the latest N")
    one.set_defaults(command=commands.list_runs)

    one = names.add_parser("show", help="one run in full")
    one.add_argument("run", metavar="RUN", help="a directory, an id, or a unique part of one")
    one.add_argument("--json", action="store_true", help="the record as it is")
    one.set_defaults(command=commands.show_run)

    one = names.add_parser("compare", help="two runs against each other, in interleaved pairs of fresh processes")
    one.add_argument("first", metavar="RUN_A", help="the run to compare with: a directory, an id, or a unique part of one")
    one.add_argument("second", metavar="RUN_B", nargs="?", help="the run that is compared")
    one.add_argument(
        "--against",
        type=Path,
        metavar="BASELINE.json",
        help="instead of RUN_B: compare RUN_A with this kept result.json, a weaker way",
    )
    one.add_argument(
        "--metric", action="append", metavar="NAME", help="a metric to compare; may be given again (quality, latency, size)"
    )
    one.add_argument(
        "--pairs",
        type=int,
        metavar="N",
        help="so many pairs of processes a metric, however narrow the interval; else 6 and, in a few seconds, more",
    )
    one.add_argument(
        "--budget",
        type=_seconds,
        metavar="TIME",
        help="pairs for so long a metric, until a 3 %% difference would be seen: 60s, 5m",
    )
    one.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit 1 where it holds: 'infer/latency_ms > +3%%'; may be given again",
    )
    one.add_argument("--json", action="store_true", help="everything, raw samples included")
    one.set_defaults(command=commands.compare)

    one = names.add_parser("verify", help="the instrument tried on itself, on this machine: false claims, misses, coverage")
    one.add_argument(
        "--trials", type=int, default=20, metavar="N", help="comparisons of each known truth (20: under 10 minutes)"
    )
    one.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the model it is tried on (1)")
    one.add_argument("--fresh", action="store_true", help="begin anew; otherwise trials kept in the store are not made again")
    one.add_argument("--markdown", action="store_true", help="as results/verify.md has it")
    one.add_argument("--json", action="store_true", help="every trial")
    one.set_defaults(command=commands.verify)

    one = names.add_parser("predict", help="predictions of a trained model for new data")
    one.add_argument("run", metavar="RUN", help="a directory, an id, or a unique part of one")
    one.add_argument("input", metavar="INPUT", help="a CSV or Parquet file; for text a prompt, a file that holds one, or -")
    one.add_argument("-o", "--output", type=Path, metavar="OUT", help="where to write; otherwise printed")
    one.add_argument(
        "--batch-size",
        type=_batch_size,
        default=1024,
        metavar="N",
        help="rows or images at a time (1024), or auto: the fastest",
    )
    one.add_argument("--processes", type=int, default=1, metavar="N", help="tables, images: so many share the batches (1)")
    one.add_argument("--threads", type=int, metavar="M", help="of each process (the cores, shared out)")
    one.add_argument(
        "--engine", metavar="NAME", help="what executes the model (the run's own): eager, compile, aot, onnxruntime, openvino"
    )
    one.add_argument("--length", type=int, default=200, metavar="N", help="text: bytes to add (200)")
    one.add_argument("--temperature", type=float, default=0.8, metavar="T", help="text: 0 takes the likeliest byte (0.8)")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="text: seed of the drawing (0)")
    one.set_defaults(command=commands.predict)

    one = names.add_parser(
        "export",
        help="a run's weights to a file in another format, and back",
        description="Write the weights of a run to a file of their own, or make a run's directory of such a file again, to the bit.",
        epilog="torch, safetensors, hdf5 (pip install 'thrifty[hdf5]'), npz, and sparse, which leaves zeros out; each as it is, with "
        "+zstd behind it (compressed), or +shuffle+zstd (bytes of equal place side by side, then compressed). "
        "Examples: thrifty export RUN --format hdf5+zstd; thrifty export model.h5.zst --to-run DIR; thrifty export RUN --measure",
    )
    one.add_argument("run", metavar="RUN|FILE", help="a directory, an id, or a unique part of one; with --to-run a file")
    one.add_argument(
        "--format", action="append", default=[], metavar="F", help="such as npz or hdf5+shuffle+zstd; with --measure several"
    )
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write (model with the format's ending, here)")
    one.add_argument("--force", action="store_true", help="replace a file that is there")
    one.add_argument("--to-run", type=Path, metavar="DIR", help="back: make DIR with model.safetensors and model.json of FILE")
    one.add_argument("--measure", action="store_true", help="bytes, time and memory of every format, or of those given")
    one.add_argument("--rounds", type=int, metavar="N", help="with --measure: fresh processes of each kind (3)")
    one.add_argument("--json", action="store_true", help="with --measure: every sample")
    one.set_defaults(command=export_command)

    one = names.add_parser("cache", help="the dense models kept for compressing: what there is, or --clear")
    one.add_argument(
        "--clear",
        nargs="?",
        const="",
        metavar="RUN",
        help="remove them all, or those with this in their name; your own runs stay",
    )
    one.set_defaults(command=cache_command)

    one = names.add_parser("doctor", help="what this machine can do, and what would spoil a measurement on it now")
    one.add_argument("--json", action="store_true", help="everything, as JSON")
    one.add_argument("--quick", action="store_true", help="shorter measurements of what it can do")
    one.set_defaults(command=commands.doctor)

    one = names.add_parser("keys", help="every key of the configuration, with type, default and meaning")
    one.add_argument(
        "pattern", nargs="?", default="", help="only keys with this in their name, or of this choice (optimizer=adam)"
    )
    one.add_argument("--markdown", action="store_true", help="as docs/keys.md has it")
    one.set_defaults(command=commands.print_keys)

    for name in names.choices:
        if name != "run":
            names.choices[name].add_argument("--store", type=Path, default=Path("results"), help="where the runs lie (results)")
    return parser

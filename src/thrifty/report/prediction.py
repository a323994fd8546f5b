"""`thrifty predict`: which processes and which engine predict, in which batches, and how far they are."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thrifty.config import registry
from thrifty.config.choice import choice_of
from thrifty.config.registry import CHOICES
from thrifty.config.values import choice_values
from thrifty.engines.base import Engine
from thrifty.errors import BadConfiguration, BadData, OutOfMemory, ThriftyError, Unsupported, nearest
from thrifty.execution import fork_server, libraries
from thrifty.execution.death import first_line, out_of_memory
from thrifty.paths import kind_of
from thrifty.record import usable_cores
from thrifty.report.progress import PredictionProgress
from thrifty.store import MANIFEST, RESULT, find_run, read_json, read_record
from thrifty.tasks.prediction_output import require_writable

AUTO = "auto"
_EAGER = {"name": "eager"}


def model_of(options: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """The directory that the weights lie in, and the record of the run; of weights by themselves, as --to-run makes them, what stands for it.

    Raises:
        BadConfiguration: no such run.
        BadData: a record or a manifest that is not ours.
    """
    given, by_itself = Path(options.run), False
    with contextlib.suppress(OSError):  # too long for a name
        by_itself = (given / MANIFEST).is_file() and not (given / RESULT).is_file()
    if not by_itself:
        directory = find_run(options.store, options.run)
        return directory, read_record(directory)
    manifest = read_json(given / MANIFEST)
    try:
        task, precision = manifest["task"]["name"], manifest["precision"]["name"]
        if task not in CHOICES["task"]:
            raise KeyError(task)
        return given, {
            "config": {"task": {"name": task}, "precision": {"name": precision}},
            "config_hash": manifest["config_hash"],
        }
    except (KeyError, TypeError) as error:
        raise BadData(f"{given / MANIFEST}: is not a manifest of ours, or was altered ({error})") from error


def predict_run(directory: Path, record: dict[str, Any], options: argparse.Namespace) -> str:
    """What `thrifty predict` prints.

    Args:
        options: of the command line, each in its range.

    Raises:
        ThriftyError: what cannot be; nothing is left of the output then.
    """
    require_writable(options.output, options.input)
    task = record["config"]["task"]["name"]
    in_batches = CHOICES["task"][task].schema.IN_BATCHES
    if not in_batches:
        _require_one_process(task, options)
    engine, values = _engine(record, options.engine, in_batches)
    # Before the model is loaded, which takes seconds; a path that is none, or that we may not look at, is no such file either.
    if in_batches and kind_of(options.input, expand=True) is None:
        raise BadData(f"{options.input}: there is no such file; give the path of what to predict for")
    threads = options.threads or max(1, usable_cores() // options.processes)
    if options.processes * threads > usable_cores():
        sys.stderr.write(
            f"--processes {options.processes} with {threads} threads each: more than the {usable_cores()} cores that we may use; "
            "they will wait for each other\n"
        )
    with _memory_told(options.batch_size) if in_batches else contextlib.nullcontext():
        if options.processes == 1 and options.batch_size != AUTO:
            return _in_this_process(directory, record, options, engine, in_batches, threads)
        fork_server.warm_up(fork_server.ARMS, _preload(engine))  # it makes its imports while we make ours
        return _in_processes(directory, record, options, engine, values, threads)


@contextlib.contextmanager
def _memory_told(batch_size: int | str) -> Iterator[None]:
    """Where memory does not suffice within it, say what to do."""
    try:
        yield
    except ThriftyError:
        raise
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise OutOfMemory(
            f"--batch-size {batch_size}: out of memory ({first_line(error)}); give a smaller one, or less to predict for at once"
        ) from error


def _require_one_process(task: str, options: argparse.Namespace) -> None:
    given = {
        f"--processes {options.processes}": options.processes > 1,
        "--batch-size auto": options.batch_size == AUTO,
    }
    for what, is_given in given.items():
        if is_given:
            raise BadConfiguration(
                f"{what}: goes with tables and images; task={task} is one sequence, each byte of which waits for the one before it: leave it out"
            )


def _engine(record: dict[str, Any], given: str | None, in_batches: bool) -> tuple[Engine, dict[str, Any]]:
    """What executes the model, and its values: the one asked for, or the run's own."""
    if given is not None and given not in CHOICES["engine"]:
        allowed = ", ".join(CHOICES["engine"])
        raise BadConfiguration(f"--engine {given}: choose one of {allowed}{nearest(given, CHOICES['engine'])}")
    # An engine may take a minute to be ready for what PyTorch itself writes in a second.
    own = (record["config"].get("engine") or _EAGER) if in_batches else _EAGER
    values = own if given in (None, own["name"]) else choice_values("engine", given or "")
    engine: Engine = registry.load("engine", values["name"])(choice_of("engine", values))
    reason = engine.unsupported("cpu") or engine.not_in(record["config"]["precision"]["name"])
    if reason is None:
        return engine, values
    if given is not None:
        raise Unsupported(f"--{reason.replace('=', ' ', 1)}")
    sys.stderr.write(f"{reason.partition('; ')[0]}: the run's engine is left out, PyTorch itself predicts\n")
    return registry.load("engine", "eager")(choice_of("engine", _EAGER)), _EAGER


def _preload(engine: Engine) -> tuple[str, ...]:
    return () if engine.preload is None else (engine.preload,)


def _in_this_process(
    directory: Path, record: dict[str, Any], options: argparse.Namespace, engine: Engine, in_batches: bool, threads: int
) -> str:
    libraries.prepare()  # before they are loaded

    import torch

    from thrifty.architectures.cache import Decoder
    from thrifty.execution.predictors import InThisProcess
    from thrifty.methods.decoder import decoder
    from thrifty.methods.model import load_trained
    from thrifty.methods.prediction import CPU, of_trained

    torch.set_num_threads(threads)
    trained = load_trained(directory, CPU, record["config_hash"])
    task = registry.load("task", trained.manifest["task"]["name"])
    state = trained.manifest["task"]["state"]
    if not in_batches:
        assert isinstance(trained.module, Decoder), trained.manifest["architecture"]["name"]
        model = decoder(trained.module, trained.precision, CPU, engine, trained.kept)
        return task.predict(state, model, options.input, options.output, vars(options))
    with PredictionProgress(sys.stderr) as progress:
        model = InThisProcess(of_trained(trained, engine), options.batch_size, progress.tell)
        return task.predict(state, model, options.input, options.output, {})


def _in_processes(
    directory: Path,
    record: dict[str, Any],
    options: argparse.Namespace,
    engine: Engine,
    values: dict[str, Any],
    threads: int,
) -> str:
    from thrifty.execution.prediction_pool import PredictionPool
    from thrifty.execution.prediction_worker import PredictorSpec
    from thrifty.execution.predictors import InProcesses
    from thrifty.formats.safetensors import read_manifest
    from thrifty.methods.prediction import OF_RUN

    given = {"run": str(directory.resolve()), "config_hash": record["config_hash"], "engine": values}
    pool = PredictionPool(
        PredictorSpec(OF_RUN, given, threads),
        options.processes,
        one_first=engine.compiles or engine.exports,
        preload=_preload(engine),
    )
    size = None if options.batch_size == AUTO else options.batch_size
    with pool, PredictionProgress(sys.stderr) as progress:
        manifest = read_manifest(directory)["task"]
        task = registry.load("task", manifest["name"])
        model = InProcesses(pool, size, progress.tell, lambda text: sys.stderr.write(f"{text}\n"))
        return task.predict(manifest["state"], model, options.input, options.output, {})

"""The process a run happens in: gates, directory, method, record. Started by the fork server, or spawned."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from thrifty.config import registry
from thrifty.config.compose import compose, plain
from thrifty.config.overrides import parse
from thrifty.errors import Diverged, OutOfMemory, ThriftyError
from thrifty.events import Event, Finished, Refused, Started
from thrifty.execution import libraries
from thrifty.record import new_record, usable_cores
from thrifty.stop import EXIT_CODES, Stopped, StopRequest, status_of
from thrifty.store import RunDirectory

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Job:
    """What a worker is given: names and paths, never objects with code in them."""

    overrides: list[str]
    parent: str
    """Directory the run's own is made in."""
    log: str
    """File that stdout and stderr go to until the run has a directory."""
    attempt: str
    """Token by which the record knows whose it is."""


def work(connection: Connection, job: Job) -> None:
    """Run one experiment and tell of it through the connection; the process's exit code is the run's."""
    _end_with_parent()
    stop = StopRequest()
    stop.install()
    _redirect(Path(job.log))
    faulthandler.enable()

    def emit(event: Event) -> None:
        try:
            connection.send(event)
        except OSError:  # nobody listens any more: the run goes on to a safe end
            stop.reason = stop.reason or "terminated"

    try:
        code = _run(job, emit, stop)
    except Stopped as stopped:
        emit(Refused(f"{stopped} before training began; nothing was written", EXIT_CODES[str(stopped)]))
        code = EXIT_CODES[str(stopped)]
    except ThriftyError as error:
        emit(Refused(str(error), error.exit_code, traceback.format_exc()))
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 - told to the user, with the traceback for whoever asks for it
        emit(Refused(f"{type(error).__name__}: {_first_line(error)}; THRIFTY_DEBUG=1 shows where", 1, traceback.format_exc()))
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.close()
    os._exit(code)  # library threads must not outlive or delay the run


def _run(job: Job, emit: Callable[[Event], None], stop: StopRequest) -> int:
    import torch

    from thrifty.execution.device import choose_device, describe_device

    config = compose(job.overrides)
    threads = config.threads or usable_cores()
    torch.set_num_threads(threads)
    device = choose_device(config)
    method = registry.load("method", config.method.name)(config, device, emit, stop)
    data = method.prepare({one.key_or_group for one in parse(job.overrides)})
    record = new_record(plain(config), job.overrides, job.attempt)
    record["data"] = data
    record["environment"] |= {
        **describe_device(device),
        "threads": threads,
        **libraries.in_force(),
    }
    directory = RunDirectory.claim(Path(job.parent), record)
    _redirect(directory.path / "run.log", Path(job.log))
    emit(Started(str(directory.path), record["id"], record["config"], data["about"]))
    status, reason, code = "error", None, 1
    try:
        status, reason = method.run(directory)
        code = 0 if status == "ok" else EXIT_CODES.get(stop.reason or "", 1)
    except Stopped as stopped:
        status, reason, code = status_of(str(stopped)), f"{stopped} after training", EXIT_CODES[str(stopped)]
    except Diverged as error:
        status, reason, code = "diverged", str(error), error.exit_code
    except ThriftyError as error:
        reason, code = str(error), error.exit_code
    except Exception as error:  # noqa: BLE001 - becomes the record's status; the traceback goes to run.log
        traceback.print_exc()
        if _out_of_memory(error):
            status, code = "oom", OutOfMemory.exit_code
            reason = f"out of memory: {_first_line(error)}; lower batch_size={config.batch_size}, or take a smaller model"
        else:
            reason = f"{type(error).__name__}: {_first_line(error)} (the traceback is in run.log)"
    with stop.deferred():
        directory.finish(status, reason)
        emit(Finished(str(directory.path), directory.record, code))
    return code


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the fork server, and with it the command line, is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _redirect(log: Path, earlier: Path | None = None) -> None:
    """Send stdout and stderr, of native code too, to a file; `earlier` names what was written until now."""
    sys.stdout.flush()
    sys.stderr.flush()
    if earlier is not None:
        shutil.copyfile(earlier, log)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

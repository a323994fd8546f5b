"""The process a run happens in: gates, directory, method, record. Started by the fork server, or spawned."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrifty.config import registry
from thrifty.config.compose import plain
from thrifty.config.overrides import parse
from thrifty.config.schema import Config
from thrifty.errors import BadData, Diverged, OutOfMemory, ThriftyError, Unsupported
from thrifty.events import Event, Finished, Refused, Started, Validated
from thrifty.execution import libraries
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.execution.death import end_with_parent, first_line, out_of_memory
from thrifty.execution.ranks import Rank
from thrifty.execution.turns import turns
from thrifty.identity import data_stamp
from thrifty.record import new_record, usable_cores
from thrifty.stop import EXIT_CODES, Stopped, StopRequest, status_of
from thrifty.store import RunDirectory

if TYPE_CHECKING:
    import torch

    from thrifty.measure.conditions import Watch

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a file cannot grow."""


@dataclass(frozen=True)
class Job:
    """What a worker is given: values, names and paths, never objects with code in them."""

    config: Config
    """What the overrides compose to: composing takes as long as training a small model."""
    overrides: list[str]
    parent: str
    """Directory the run's own is made in."""
    log: str
    """File that stdout and stderr go to until the run has a directory."""
    attempt: str
    """Token by which the record knows whose it is."""
    beginning: Beginning = FROM_NOTHING
    rank: Rank = field(default_factory=Rank)
    """Which of the processes that train together the worker is."""
    asks: tuple[str, ...] | None = None
    """Metrics that are told before training where somebody is asked at each validation whether to go on; None where nobody is."""


def work(connection: Connection, job: Job) -> None:
    """Run one experiment and tell of it through the connection; the process's exit code is the run's.

    A rank that does not lead tells only what ended it, if anything did but the end of the training or of another rank.
    """
    stop = StopRequest()
    stop.install()  # first: a signal that was held back until now comes here
    end_with_parent()
    _redirect(Path(job.log))
    faulthandler.enable()

    def emit(event: Event) -> None:
        try:
            connection.send(event)
        except OSError:  # nobody listens any more: the run goes on to a safe end
            stop.reason = stop.reason or "terminated"

    def wait_until_heard() -> None:
        try:
            connection.recv()
        except (EOFError, OSError):
            stop.reason = stop.reason or "terminated"

    def ask(validated: Validated) -> None:
        emit(validated)
        try:
            verdict = connection.recv()
        except (EOFError, OSError):
            stop.reason = stop.reason or "terminated"
            return
        if verdict is not None and validated.step < validated.steps:
            stop.give_up(verdict)

    try:
        code = _run(job, emit, wait_until_heard, stop, ask) if job.rank.leads else _follow(job, stop)
    except Stopped as stopped:
        emit(Refused(f"{stopped} before training began; nothing was written", EXIT_CODES[str(stopped)]))
        code = EXIT_CODES[str(stopped)]
    except ThriftyError as error:
        emit(Refused(str(error), error.exit_code, traceback.format_exc()))
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 - told to the user, with the traceback for whoever asks for it
        code = OutOfMemory.exit_code if out_of_memory(error) else 1
        emit(Refused(f"{type(error).__name__}: {first_line(error)}; THRIFTY_DEBUG=1 shows where", code, traceback.format_exc()))
    with contextlib.suppress(OSError):  # a full disk loses the log's end, not the exit code
        sys.stdout.flush()
        sys.stderr.flush()
    connection.close()
    os._exit(code)  # library threads must not outlive or delay the run


def _follow(job: Job, stop: StopRequest) -> int:
    try:
        _method(job, lambda event: None, stop)[0].follow()
    except Diverged:  # all ranks know, and the one that leads tells
        pass
    except Exception as error:
        if not _another_rank_ended(error):  # whoever watches that one tells
            raise
    return 0


def _method(
    job: Job, emit: Callable[[Event], None], stop: StopRequest, ask: Callable[[Validated], None] | None = None
) -> tuple[Any, dict[str, Any]]:
    """The job's method, every gate passed, and the record's `data`."""
    import torch

    from thrifty.execution.device import choose_device

    with stop.prompt():
        config = job.config
        torch.set_num_threads(config.threads or usable_cores())
        device = choose_device(config, job.rank)
        method = registry.load("method", config.method.name)(config, device, emit, stop, job.rank, ask, job.asks or ())
        return method, method.prepare({one.key_or_group for one in parse(job.overrides)}, job.beginning)


def _run(
    job: Job,
    emit: Callable[[Event], None],
    wait_until_heard: Callable[[], None],
    stop: StopRequest,
    ask: Callable[[Validated], None] | None = None,
) -> int:
    import torch

    from thrifty.execution.device import describe_device, why_this_device

    config = job.config
    method, data = _method(job, emit, stop, None if job.asks is None else ask)
    if (why := why_this_device(config, method.device)) is not None:
        data["about"].append(why)
    with stop.prompt():
        record = new_record(plain(config), job.overrides, job.attempt)
    record["data"] = {**data, "stamp": data_stamp(getattr(config.task, "path", None))}
    record["parents"] = method.parents
    record["environment"] |= {
        **describe_device(method.device),
        "threads": torch.get_num_threads(),
        **libraries.in_force(),
    }
    resumed = job.beginning.resumed
    directory = RunDirectory.claim(Path(job.parent), record) if resumed is None else RunDirectory.go_on(resumed, record)
    _redirect(directory.path / "run.log", Path(job.log))
    emit(Started(str(directory.path), record["id"], record["config"], data["about"]))
    status, reason, code = "error", None, 1
    try:
        with stop.prompt():
            wait_until_heard()  # what the sinks do at the start, wandb above all, would be measured with the first steps
            with turns().working(), _watched(record, method.device, canaries=config.measure.seconds > 0) as watch:
                status, reason = method.run(directory)
                watch.elsewhere_s = method.elsewhere_s
        code = 0 if status == "ok" else EXIT_CODES.get(stop.reason or "", 1)
    except Stopped as stopped:
        when = "after" if "train/steps" in record["metrics"] else "before"
        status, reason, code = status_of(str(stopped)), f"{stopped} {when} training", EXIT_CODES[str(stopped)]
    except Diverged as error:
        status, reason, code = "diverged", str(error), error.exit_code
    except ThriftyError as error:
        status = "unsupported" if isinstance(error, Unsupported) else "error"
        reason, code = str(error), error.exit_code
    except Exception as error:
        with contextlib.suppress(OSError):
            traceback.print_exc()
        if job.rank.of > 1 and _another_rank_ended(error):  # the command line knows how, and writes the record
            raise OutOfMemory(f"another of the {job.rank.of} processes that trained together ended") from error
        if out_of_memory(error):
            status, code = "oom", OutOfMemory.exit_code
            reason = f"out of memory: {first_line(error)}; lower batch_size={config.batch_size}, or take a smaller model"
        elif isinstance(error, OSError) and error.errno in NO_ROOM:
            code = BadData.exit_code
            reason = f"{directory.path}: cannot be written ({error.strerror}); free some space or give another store=DIR"
        else:
            reason = f"{type(error).__name__}: {first_line(error)} (the traceback is in run.log)"
    directory.finish(status, reason)
    emit(Finished(str(directory.path), directory.record, code))
    return code


def _another_rank_ended(error: Exception) -> bool:
    from thrifty.methods.data_parallel import another_rank_ended

    return another_rank_ended(error)


@contextlib.contextmanager
def _watched(record: dict[str, Any], device: torch.device, canaries: bool) -> Iterator[Watch]:
    """Keep the conditions of what happens within it, and the flags they raise, however it ends."""
    from thrifty.measure.conditions import Watch

    watch = Watch(device, canaries, turns().alone)
    try:
        with watch:
            yield watch
    finally:
        found = watch.conditions
        if found is not None:  # else it was stopped before it began
            record["conditions"] = found.as_record()
            record["flags"] += [flag for flag in found.flags() if flag not in record["flags"]]


def _redirect(log: Path, earlier: Path | None = None) -> None:
    """Send stdout and stderr, of native code too, to a file; `earlier` names what was written until now."""
    sys.stdout.flush()
    sys.stderr.flush()
    if earlier is not None:
        with contextlib.suppress(OSError):  # its end is worth less than the run
            with earlier.open("rb") as source, log.open("ab") as target:  # behind what an earlier attempt has left there
                shutil.copyfileobj(source, target)
            earlier.unlink()  # here, and not only by the command line, which may be gone by then
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

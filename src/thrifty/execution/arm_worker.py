"""An arm's process: sets itself up, builds its workload, then does blocks of it at the parent's word, in turn with the other's."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from thrifty.execution import affinity
from thrifty.execution.death import end_with_parent, end_with_the_command_line, first_line, out_of_memory
from thrifty.measure.cpu_times import involuntary_switches
from thrifty.measure.own_clock import OwnClock, seconds_between
from thrifty.measure.recompilation import graphs_compiled

_YOURS, _OVER = b"1", b"0"
"""What arms say to each other: it is your turn; there are no more."""
_WARM_UP_SECONDS = 0.02
"""Least length of the warm-up after the first call; it also tells how long a call takes."""
_WARM_UP_CALLS = 3
LEAD_IN_SHARE = 0.3
"""A block begins with untimed calls, as the other arm has had the caches: of this share of the block, at most. With a tenth, the
rest of what that costs was as much as one of twenty calls, and 10 % more work took 9.4 % longer."""


@dataclass(frozen=True)
class ArmSpec:
    """What an arm is given: names and plain values, never objects with code in them."""

    entry: str
    """`module:function` that makes the workload."""
    options: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    cores: tuple[int, ...] | None = None
    """Cores it may run on; None leaves that to the system."""
    building: tuple[int, ...] | None = None
    """Cores it may build on, up to and with the first call; None leaves that to the system."""
    log: str = os.devnull
    """File that what it prints goes to."""


@dataclass(frozen=True)
class Ready:
    """The arm has made its first calls."""

    build_s: float
    first_call_s: float
    call_s: float
    """Time of a call at the end of the warm-up."""
    examples: int
    settings: dict[str, Any]
    """As they are in force, not as they were asked for."""


@dataclass(frozen=True)
class Turns:
    """The parent's word: do blocks, each when the other arm has done its own.

    The arms pass the turn to each other: over the parent it took as long as a block, and the closer blocks follow each other, the
    less the machine has changed between them.
    """

    calls: int
    """In a block."""
    leads: bool = True
    """Whether to begin, and to say when it is over; without another arm there is nothing else."""
    least: int = 1
    """Blocks of each arm."""
    seconds: float = 0.0
    """Go on for so long."""
    lead_in: int = 0
    """Untimed calls before each block, at least."""


@dataclass(frozen=True)
class Block:
    """A block of work, timed as a whole."""

    calls: int
    seconds: float
    """Without those of `waited_s`."""
    waited_s: float
    """Seconds in which the kernel had given our core to another process; 0 where it does not tell."""
    cpu_seconds: float
    """Of all threads of the process."""
    switches: int
    """Times the kernel took the core away."""
    device_seconds: float | None = None
    """Between two events on the CUDA stream."""
    compiled: int = 0
    """Graphs that torch.compile made meanwhile: more than none, and the time is not that of the work."""


@dataclass(frozen=True)
class Failed:
    """The arm could not do its work; it ends after this word."""

    status: str
    reason: str
    details: str = field(default="", repr=False)


def serve(connection: Connection, spec: ArmSpec, other: Connection | None = None) -> None:
    """Build and obey until the parent is gone or says None.

    Args:
        other: to the arm that turns are taken with.
    """
    end_with_parent()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # what the workload starts is ended with it
    end_with_the_command_line()
    print_to(spec.log)
    faulthandler.enable()
    try:
        _serve(connection, spec, other)
    except (EOFError, ConnectionError):  # the parent is gone
        pass
    except BaseException as error:  # noqa: BLE001 - a library may raise SystemExit: it is told to the parent, and is our end
        memory = isinstance(error, Exception) and out_of_memory(error)
        status = "oom" if memory else getattr(error, "status", "error")
        with contextlib.suppress(OSError):
            connection.send(Failed(status, f"{type(error).__name__}: {first_line(error)}", traceback.format_exc()))
    connection.close()
    os._exit(0)  # library threads must not delay the end


def _serve(connection: Connection, spec: ArmSpec, other: Connection | None) -> None:
    import torch

    from thrifty.measure.device import synchronise

    torch.set_num_threads(spec.threads)
    as_given = affinity.cores()
    affinity.hold_thread(spec.building)
    module, function = spec.entry.split(":")
    begin = time.perf_counter()
    workload = getattr(importlib.import_module(module), function)(**spec.options)
    synchronise(workload.device)
    built = time.perf_counter()
    output = workload.call()
    synchronise(workload.device)
    first = time.perf_counter() - built
    _hold_to_numbers(output)
    del output
    # Not before: two arms that share a core are built on two, and what compiles does so in its first call. OpenMP binds its main
    # thread where it is loaded, so that both arms' would share a core even where each may have all.
    affinity.hold_thread(as_given)
    affinity.hold_process(spec.cores)
    call, clock = workload.call, OwnClock()
    call_s = _warm_up(call, lambda: synchronise(workload.device))
    before = _settings()
    if before["threads"] != spec.threads:  # the workload has set its own: measured as the run would be, so it is put back
        torch.set_num_threads(spec.threads)
    gc.collect()
    gc.freeze()  # what is alive now is not looked through again
    gc.disable()  # a collection in the middle of one arm's block would be a difference between the arms
    connection.send(Ready(built - begin, first, call_s, workload.examples, {**before, "threads": torch.get_num_threads()}))
    baton = _Baton(other)
    while turns := connection.recv():
        connection.send(_take(turns, partial(timed_block, workload, turns, clock), baton))


class _Baton:
    """Whose turn it is, of two arms; without another it is always ours."""

    def __init__(self, other: Connection | None) -> None:
        self._other = other

    def awaited(self) -> bool:
        """Wait for our turn; False where there are no more, or the other arm is gone, which the parent hears from its own end."""
        try:
            return self._other is None or self._other.recv_bytes() == _YOURS
        except (EOFError, OSError):
            return False

    def pass_on(self, word: bytes) -> None:
        """Say that the turn is the other's, or that there are no more."""
        if self._other is not None:
            with contextlib.suppress(OSError):
                self._other.send_bytes(word)


def _take(turns: Turns, block: Callable[[], Block], baton: _Baton) -> list[Block]:
    taken: list[Block] = []
    over = time.perf_counter() + turns.seconds
    ours = turns.leads or baton.awaited()
    while ours:
        taken.append(block())
        baton.pass_on(_YOURS)
        ours = baton.awaited()
        if ours and turns.leads and len(taken) >= turns.least and time.perf_counter() >= over:
            baton.pass_on(_OVER)
            ours = False
    return taken


def _warm_up(call: Callable[[], object], wait: Callable[[], None]) -> float:
    begin = last = time.perf_counter()
    taken: list[float] = []
    while len(taken) < _WARM_UP_CALLS or last - begin < _WARM_UP_SECONDS:
        before = last
        call()
        wait()
        last = time.perf_counter()
        taken.append(last - before)
    return min(taken)


def timed_block(workload: Any, turns: Turns, clock: OwnClock) -> Block:
    """One block of such turns, led in and timed."""
    import torch

    from thrifty.measure.device import synchronise

    call, device, calls = workload.call, workload.device, turns.calls
    lead_in = max(turns.lead_in, int(calls * LEAD_IN_SHARE))
    for _ in range(lead_in):
        call()
    if lead_in < 1 and workload.lead_in is not None:
        workload.lead_in()
    synchronise(device)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
    switches, cpu, graphs = involuntary_switches() or 0, time.process_time(), graphs_compiled()
    begin = clock.read()
    if events:
        events[0].record()
    for _ in range(calls):
        call()
    if events:
        events[1].record()
    synchronise(device)
    end = clock.read()
    return Block(
        calls,
        seconds_between(begin, end),
        end.waited - begin.waited,
        time.process_time() - cpu,
        (involuntary_switches() or 0) - switches,
        events[0].elapsed_time(events[1]) / 1e3 if events else None,
        graphs_compiled() - graphs,
    )


class NotANumber(ValueError):
    """A prediction that is not a number, or infinite."""

    status = "diverged"


def _hold_to_numbers(output: object) -> None:
    import torch

    if isinstance(output, torch.Tensor) and output.is_floating_point() and not bool(torch.isfinite(output).all()):
        raise NotANumber("the prediction holds values that are not numbers, or infinite; look at the training of this model")


def _settings() -> dict[str, Any]:
    """What decides how fast torch computes, as it is in force."""
    import torch

    from thrifty.execution import inductor, libraries

    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cores": affinity.cores(),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "onednn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,  # pyright: ignore[reportAttributeAccessIssue]
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "garbage_collection": "off while a block is timed",
        **libraries.in_force(),
        **inductor.in_force(),
    }


def print_to(log: str) -> None:
    """Send what this process prints, native code too, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

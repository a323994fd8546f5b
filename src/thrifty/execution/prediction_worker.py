"""A process that predicts: loads a model once, then the batches that the parent hands out. Imports no torch before it must."""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
import signal
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from thrifty.errors import ThriftyError
from thrifty.execution import affinity
from thrifty.execution.arm_worker import print_to
from thrifty.execution.death import end_with_parent, end_with_the_command_line, first_line, out_of_memory
from thrifty.execution.shared_slots import array_in, taken


@dataclass(frozen=True)
class PredictorSpec:
    """What a process is given: names and plain values, never objects with code in them."""

    entry: str
    """`module:function` that makes what predicts: inputs, and the examples of a full batch -> outputs."""
    options: dict[str, Any] = field(default_factory=dict)
    threads: int = 1


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""


@dataclass(frozen=True)
class Room:
    """The parent has made slots for the batches to come, and hands over what they lie in."""

    bytes: int


@dataclass(frozen=True)
class Given:
    """A batch to predict, in shared memory."""

    number: int
    offset: int
    shape: tuple[int, ...]
    dtype: str
    full: int
    """Examples of a full batch."""


@dataclass(frozen=True)
class Done:
    """A batch is predicted; its outputs follow, float32."""

    number: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Failed:
    """The process could not go on; it ends after this word."""

    reason: str
    exit_code: int | None
    """Of an error of ours, which has said all there is to say."""
    memory: bool
    """Whether memory was what failed."""
    details: str = field(default="", repr=False)


def serve(connection: Connection, rooms: Connection, spec: PredictorSpec, cores: tuple[int, ...] | None) -> None:
    """Load and predict until the parent is gone or says None.

    Args:
        rooms: through which shared memory comes.
        cores: on which to run; None leaves that to the system.
    """
    end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # what the engine starts is ended with it
    end_with_the_command_line()
    if os.environ.get("THRIFTY_DEBUG") != "1":
        print_to(os.devnull)
    affinity.hold_process(cores)  # before there are threads, which inherit it
    try:
        _serve(connection, rooms, spec)
    except (EOFError, ConnectionError):  # the parent is gone
        pass
    except BaseException as error:  # noqa: BLE001 - a library may raise SystemExit: it is told to the parent, and is our end
        ours = error.exit_code if isinstance(error, ThriftyError) else None
        said = first_line(error) if ours is not None else f"{type(error).__name__}: {first_line(error)}"
        memory = isinstance(error, Exception) and out_of_memory(error)
        with contextlib.suppress(OSError):
            connection.send(Failed(said, ours, memory, traceback.format_exc()))
    connection.close()
    os._exit(0)  # library threads must not delay the end


def _serve(connection: Connection, rooms: Connection, spec: PredictorSpec) -> None:
    import torch

    torch.set_num_threads(spec.threads)
    module, function = spec.entry.split(":")
    predict = getattr(importlib.import_module(module), function)(**spec.options)
    connection.send(Ready())
    memory: mmap.mmap | None = None
    while (said := connection.recv()) is not None:
        if isinstance(said, Room):
            memory = taken(rooms, said.bytes)
            continue
        assert memory is not None, "room comes first"
        inputs = torch.from_numpy(array_in(memory, said.offset, said.shape, said.dtype))
        outputs = predict(inputs, said.full).detach().float().contiguous().numpy()
        connection.send(Done(said.number, outputs.shape))
        connection.send_bytes(outputs.data.cast("B"))

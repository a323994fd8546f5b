"""A lean process: imports what predicting takes and no more, loads a run's model, predicts, and says what that cost.

Run as `python -m thrifty.execution.lean_worker`. It imports at once, then reads its task, one line of JSON, from stdin; its
answer is one line of JSON to what was stdout: what the libraries print goes to stderr.
"""

from __future__ import annotations

import time

_BEGAN = time.monotonic()

import contextlib  # noqa: E402
import faulthandler  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import Any, TextIO  # noqa: E402

from thrifty.execution import libraries  # noqa: E402
from thrifty.execution.death import end_with_parent, first_line, out_of_memory  # noqa: E402

_STEADY_SECONDS = 0.2
_STEADY_CALLS = 5
"""At least; more where they fit in that time."""


def main() -> None:
    """Import, read the task, do it, answer; ends with its parent."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        import safetensors.torch
        import torch

        import thrifty.methods.model
        import thrifty.methods.workloads

        _ = (safetensors, torch, thrifty)
        imported = time.monotonic()
        line = sys.stdin.readline()
        if not line:  # the parent is gone, or has no need of us
            os._exit(0)
        task = json.loads(line)
        found = {"interpreter_s": _BEGAN - task.pop("started"), "import_s": imported - _BEGAN, **_measure(**task)}
        _say(answers, {"measured": found})
    except BaseException as error:  # noqa: BLE001 - a library may raise SystemExit: it is told to the parent, and is our end
        memory = isinstance(error, Exception) and out_of_memory(error)
        _say(answers, {"failed": ["oom" if memory else "error", f"{type(error).__name__}: {first_line(error)}"]})
    os._exit(0)  # library threads must not delay the end


def _say(answers: TextIO, what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        answers.write(json.dumps(what) + "\n")
        answers.flush()


def _measure(
    run: str, config_hash: str | None, batch_size: int, device: str, threads: int, engine: dict[str, Any] | None
) -> dict[str, Any]:
    """Load, first call, steady calls: seconds, and memory of each phase in MiB."""
    from pathlib import Path

    import torch

    from thrifty.measure.device import synchronise
    from thrifty.measure.memory import host_memory
    from thrifty.methods.evaluate import predictor
    from thrifty.methods.model import architecture_of, engine_for, example_inputs, load_trained

    where = torch.device(device)
    executes = engine_for(engine or {"name": "eager"}, where)
    torch.set_num_threads(threads)
    told = torch.get_num_threads()
    before = host_memory()
    with _Phase(where) as loading:
        begin = time.perf_counter()
        trained = load_trained(Path(run), where, config_hash)
        _read_every_weight(trained.module)
        synchronise(where)
        load_s = time.perf_counter() - begin
    inputs = example_inputs(architecture_of(trained.manifest), trained.manifest["shape"], batch_size).to(where)
    with _Phase(where) as first:
        begin = time.perf_counter()
        predict = predictor(trained.module, trained.precision, where, executes, inputs)
        predict(inputs)
        synchronise(where)
        first_call_s = time.perf_counter() - begin
    calls, begin = 0, time.perf_counter()
    with _Phase(where) as steady:
        while calls < _STEADY_CALLS or time.perf_counter() < begin + _STEADY_SECONDS:
            predict(inputs)
            synchronise(where)
            calls += 1
        call_s = (time.perf_counter() - begin) / calls
    return {
        "load_s": load_s,
        "first_call_s": first_call_s,
        "steady_calls": calls,
        "call_s": call_s,
        "before_loading": None if before is None else before.anonymous_mib + before.file_mib,
        "loading": loading.found,
        "first_call": first.found,
        "steady": steady.found,
        "threads": told,
        "libraries": libraries.in_force(),
    }


class _Phase:
    """Peak and final memory of what happens within it."""

    def __init__(self, device: Any) -> None:
        from thrifty.measure.memory import PeakHostMemory

        self.device, self.peak = device, PeakHostMemory()
        self.found: dict[str, Any] = {}

    def __enter__(self) -> _Phase:
        from thrifty.measure.memory import reset_peak_device

        reset_peak_device(self.device)
        self.peak.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        from thrifty.measure.memory import device_memory, host_memory

        self.peak.__exit__(*exception)
        now = host_memory()
        self.found = {
            "peak_mib": self.peak.peak_mib,
            "reason": self.peak.reason,
            "anonymous_mib": None if now is None else now.anonymous_mib,
            "mapped_mib": None if now is None else now.file_mib,
            "device": device_memory(self.device),
        }


def _read_every_weight(module: Any) -> None:
    """Weights on the CPU are pages of the file, read when they are touched: a byte of each page is."""
    import torch

    for one in (*module.parameters(), *module.buffers()):
        if one.device.type == "cpu":
            one.detach().flatten().view(torch.uint8)[::4096].sum()


if __name__ == "__main__":
    main()

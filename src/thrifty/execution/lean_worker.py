"""A lean process: imports what predicting takes and no more, loads a run's model, predicts, and says what that cost.

Run as `python -m thrifty.execution.lean_worker`. It imports at once, then reads its task, one line of JSON, from stdin; its
answer is one line of JSON to what was stdout: what the libraries print goes to stderr.
"""

from __future__ import annotations

import time

_BEGAN = time.monotonic()

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

from thrifty.execution import libraries  # noqa: E402
from thrifty.execution.lean_answer import serve  # noqa: E402

_STEADY_SECONDS = 0.2
_STEADY_CALLS = 5
"""At least; more where they fit in that time."""


def main() -> None:
    """Import, read the task, do it, answer; ends with its parent."""
    engine = sys.argv[1] if len(sys.argv) > 1 else None
    imported = 0.0

    def imports() -> None:
        nonlocal imported
        if engine is None:
            import safetensors.torch
            import torch

            import thrifty.methods.model
            import thrifty.methods.workloads

            _ = (safetensors, torch, thrifty)
        else:
            import numpy

            import thrifty.measure.memory
            from thrifty.config import registry

            registry.load("engine", engine, "library")()
            _ = (numpy, thrifty)
        imported = time.monotonic()

    def measure(task: dict[str, Any]) -> dict[str, Any]:
        return {
            "interpreter_s": _BEGAN - task.pop("started"),
            "import_s": imported - _BEGAN,
            **(_measure if engine is None else _measure_exported)(**task),
        }

    serve(imports, measure)


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

    def call() -> None:
        predict(inputs)
        synchronise(where)

    with _Phase(where) as first:
        begin = time.perf_counter()
        predict = predictor(trained.module, trained.precision, where, executes, inputs, trained.kept)
        call()
        first_call_s = time.perf_counter() - begin
    return {
        "load_s": load_s,
        "first_call_s": first_call_s,
        "before_loading": None if before is None else before.anonymous_mib + before.file_mib,
        "loading": loading.found,
        "first_call": first.found,
        "threads": told,
        **_steady(call, where),
    }


def _measure_exported(
    run: str, config_hash: str | None, batch_size: int, device: str, threads: int, engine: dict[str, Any] | None
) -> dict[str, Any]:
    """The same of a file that an engine runs by itself, as a program would that has nothing but the engine's library."""
    from pathlib import Path

    import numpy as np

    from thrifty.config import registry
    from thrifty.config.choice import choice_of
    from thrifty.engines.base import example_of, file_of
    from thrifty.engines.kept_file import get_ready, is_ours
    from thrifty.measure.memory import host_memory

    chosen = choice_of("engine", engine or {})
    executes = registry.load("engine", chosen.name)(chosen)
    manifest = json.loads((Path(run) / "model.json").read_text())
    if config_hash is not None and manifest["config_hash"] != config_hash:
        raise ValueError("the model is of another configuration than the record")
    kept = Path(run) / f"model-{manifest['sha256'][:12]}"
    one = np.load(example_of(kept), allow_pickle=False)
    inputs = np.ascontiguousarray(np.repeat(one, batch_size, axis=0))
    get_ready()
    before = host_memory()
    with _Phase(None) as loading:
        begin = time.perf_counter()
        if not is_ours(file_of(kept, chosen.name)):  # timed, as PyTorch's weights are held to their hash while they are loaded
            raise ValueError(
                f"its file of engine={chosen.name} was altered, or not made here; predict with that engine once, which makes it anew"
            )
        predict = executes.opened(kept, threads, manifest["precision"]["name"], list(inputs.shape))
        load_s = time.perf_counter() - begin
    with _Phase(None) as first:
        begin = time.perf_counter()
        predict(inputs)
        first_call_s = time.perf_counter() - begin
    return {
        "load_s": load_s,
        "first_call_s": first_call_s,
        "before_loading": None if before is None else before.anonymous_mib + before.file_mib,
        "loading": loading.found,
        "first_call": first.found,
        "threads": threads,
        **_steady(lambda: predict(inputs), None),
    }


def _steady(call: Callable[[], object], device: Any) -> dict[str, Any]:
    """What the calls after the first cost."""
    calls, begin = 0, time.perf_counter()
    with _Phase(device) as steady:
        while calls < _STEADY_CALLS or time.perf_counter() < begin + _STEADY_SECONDS:
            call()
            calls += 1
        call_s = (time.perf_counter() - begin) / calls
    return {"steady_calls": calls, "call_s": call_s, "steady": steady.found, "libraries": libraries.in_force()}


class _Phase:
    """Peak and final memory of what happens within it; without a device of torch's that of the host alone."""

    def __init__(self, device: Any) -> None:
        from thrifty.measure.memory import PeakHostMemory

        self.device, self.peak = device, PeakHostMemory()
        self.found: dict[str, Any] = {}

    def __enter__(self) -> _Phase:
        from thrifty.measure.memory import reset_peak_device

        if self.device is not None:
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
            "device": None if self.device is None else device_memory(self.device),
        }


def _read_every_weight(module: Any) -> None:
    """Weights on the CPU are pages of the file, read when they are touched: a byte of each page is."""
    import torch

    from thrifty.layers.flat import flattened

    for one in flattened({**dict(module.named_parameters()), **dict(module.named_buffers())}).values():
        if one.device.type == "cpu":
            one.detach().flatten().view(torch.uint8)[::4096].sum()


if __name__ == "__main__":
    main()

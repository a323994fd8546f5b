"""A lean process that writes a run's weights in a format, or reads such a file, and says what that cost.

Run as `python -m thrifty.execution.format_worker FORMAT`: beside torch and numpy it imports what that format needs.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrifty.execution.lean_answer import serve

if TYPE_CHECKING:
    from torch import Tensor


def main() -> None:
    """Import, read the task, do it, answer."""
    serve(_imports, _measure)


def _imports() -> None:
    import numpy
    import torch

    import thrifty.formats.exported
    import thrifty.measure.memory
    from thrifty.formats.registry import named

    chosen, _ = named(sys.argv[1])
    chosen.load()
    if (
        chosen.library is not None and importlib.util.find_spec(chosen.library) is not None
    ):  # else the format says what is missing
        importlib.import_module(chosen.library)
    torch.set_num_threads(1)
    _ = (numpy, thrifty)


def _measure(task: dict[str, Any]) -> dict[str, Any]:
    path = Path(task["path"])
    return _written(Path(task["run"]), task["format"], path) if task["do"] == "write" else _read(path, task["lazily"])


def _written(run: Path, name: str, path: Path) -> dict[str, Any]:
    """Seconds until the file was on the disk, and its bytes; the weights lie in memory before."""
    import torch

    from thrifty.formats import safetensors
    from thrifty.formats.exported import plain_tensors, write_file
    from thrifty.formats.header import Header

    manifest = safetensors.read_manifest(run)
    tensors = {name: one.clone() for name, one in safetensors.read_tensors(run, manifest, torch.device("cpu"))[1].items()}
    plain = plain_tensors(tensors)
    header = Header.of(plain, manifest)
    begin = time.perf_counter()
    write_file(path, name, plain, header)
    return {"seconds": time.perf_counter() - begin, "bytes": path.stat().st_size}


def _read(path: Path, lazily: bool) -> dict[str, Any]:
    """Seconds until every byte of every tensor was read, and memory meanwhile, in MiB.

    Args:
        lazily: one tensor after the other, each let go before the next; otherwise all are held.
    """
    from thrifty.formats.exported import opened
    from thrifty.measure.memory import PeakHostMemory

    held: dict[str, Tensor] = {}
    with PeakHostMemory() as memory:
        begin = time.perf_counter()
        with opened(path, lazily) as (header, tensor):
            for name in header.tensors:
                one = tensor(name)
                _read_every_byte(one)
                if not lazily:
                    held[name] = one
                del one
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "before_mib": memory.before_mib, "peak_mib": memory.peak_mib, "reason": memory.reason}


def _read_every_byte(one: Tensor) -> None:
    import numpy as np

    from thrifty.formats.header import bytes_of

    numbers = bytes_of(one)
    words = len(numbers) // 8
    np.frombuffer(numbers[: 8 * words], np.uint64).sum()
    np.frombuffer(numbers[8 * words :], np.uint8).sum()


if __name__ == "__main__":
    main()

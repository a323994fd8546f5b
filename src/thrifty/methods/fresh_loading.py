"""A run's model loaded by fresh processes, which make their imports while the run does something else."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.engines.base import Engine
from thrifty.execution.lean import LeanFailed, LeanMeasurement, LeanProcess, LeanTask, alone, measure_in_turn
from thrifty.formats import safetensors
from thrifty.methods.loading import compile_metrics, loading_metrics, not_loaded
from thrifty.methods.shared_loading import SharedLoading


@dataclass(frozen=True)
class Loaded:
    """What loading told."""

    metrics: dict[str, Any]
    samples: dict[str, Any] = field(default_factory=dict)
    about: list[str] = field(default_factory=list)
    """Sentences for whoever reads the record."""


class FreshLoading:
    """Starts the first process when it is entered, unless none is asked for or the run's grid knows already.

    Args:
        path: the run's directory, weights and all.
    """

    def __init__(self, config: Config, config_hash: str, path: Path, device: torch.device, engine: Engine) -> None:
        self.config, self.engine = config, engine
        self._open = contextlib.ExitStack()
        self._lean: LeanProcess | None = None
        self._task = LeanTask(str(path), 1, str(device), torch.get_num_threads(), config_hash, plain(config.engine))
        settings = {name: getattr(self._task, name) for name in ("device", "threads", "engine")}
        manifest = safetensors.read_manifest(path)
        self._shared = SharedLoading(Path(config.store), path, manifest, {**settings, "processes": config.measure.processes})
        self._known = self._shared.known()

    def __enter__(self) -> FreshLoading:
        if self.config.measure.processes and self._known is None:
            cache = tempfile.TemporaryDirectory(prefix="thrifty-", ignore_cleanup_errors=True)
            environment = self.engine.kept_in(self._open.enter_context(cache))
            self._lean = self._open.enter_context(LeanProcess(environment=environment, engine=alone(self._task.engine)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    @property
    def takes_time(self) -> bool:
        """Whether a process is to be waited for."""
        return self._lean is not None

    def measure(self) -> Loaded:
        """Let the processes load, one after the other, or tell what is known without them."""
        processes = self.config.measure.processes
        if not processes:
            wanted = self.config.measure.seconds > 0
            return Loaded(not_loaded("measure.processes=0: no fresh process was asked for") if wanted else {})
        if self._known is not None:
            run, measurements = self._known
            about = [f"loading and memory were measured on a model of the same shape, in {run}"]
            return Loaded(self._metrics(measurements), {"infer/lean": [asdict(one) for one in measurements]}, about)
        assert self._lean is not None, "entered first"
        processes += self.engine.compiles  # the first fills the cache that the others find
        found = measure_in_turn(self._lean, self._task, processes)
        good = [one for one in found if isinstance(one, LeanMeasurement)]
        if len(good) == processes:
            self._shared.keep(good)
        return Loaded(self._metrics(found), {"infer/lean": [asdict(one) for one in found]})

    def _metrics(self, found: Sequence[LeanMeasurement | LeanFailed]) -> dict[str, Any]:
        if not self.engine.compiles:
            return loading_metrics(found)
        cold, warm = found[0], found[1:] or found[:1]  # one that failed was the last
        return compile_metrics(cold, warm) | loading_metrics(warm)

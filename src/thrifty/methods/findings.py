"""What is found out about a run: metrics and flags into its record, raw samples and history into files beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thrifty.atomic import write_atomically
from thrifty.config.schema import Config
from thrifty.engines.base import Engine
from thrifty.errors import BadData
from thrifty.execution import inductor
from thrifty.formats import safetensors
from thrifty.measure.energy import EnergyMeter, energy_entry
from thrifty.measure.memory import PeakHostMemory
from thrifty.measure.statistics import Interval
from thrifty.methods.arithmetic import quality_metrics, size_metrics, training_metrics
from thrifty.methods.evaluate import scores_of
from thrifty.methods.file_sizes import packed_sizes
from thrifty.methods.fresh_loading import Loaded
from thrifty.methods.inference import inference_metrics
from thrifty.methods.model import manifest_of
from thrifty.methods.monitor import Trace
from thrifty.metrics import measured, missing
from thrifty.record import to_json
from thrifty.store import SAMPLES, RunDirectory, read_json, read_record
from thrifty.tasks.base import Data

_MOST_KEPT = 200_000
"""Numbers of a score with several an example that samples.json holds, some 4 MB; probabilities of many classes are more."""


class Findings:
    """Fills a run's record, part by part; what was found stays there if the run ends early.

    Args:
        data: the run's, as it is prepared.
        device: where it computes.
    """

    def __init__(self, directory: RunDirectory, config: Config, data: Data, device: torch.device) -> None:
        self.record, self.path = directory.record, directory.path
        self._config, self._data, self._device = config, data, device
        self._samples: dict[str, Any] = {}

    @property
    def metrics(self) -> dict[str, Any]:
        """The record's."""
        return self.record["metrics"]

    def training(
        self,
        trace: Trace,
        batch_size: int,
        energy: EnergyMeter,
        host: PeakHostMemory,
        peaks_mib: tuple[float | None, float | None],
    ) -> None:
        """The training's metrics, raw samples and history, also of a run that failed or was stopped.

        Args:
            peaks_mib: on the host and on the device, of the rank with most.
        """
        metrics = self.metrics
        metrics |= training_metrics(trace.calls, batch_size, self._config.target, trace.seconds_to_target)
        host_peak, device_peak = peaks_mib
        metrics["train/peak_host_mib"] = (
            missing(host.reason or "the system does not tell") if host.reason or host_peak is None else measured(host_peak)
        )
        metrics["train/peak_device_mib"] = missing("the run was on the CPU") if device_peak is None else measured(device_peak)
        metrics["train/energy_j"] = energy_entry(energy)
        metrics |= quality_metrics("validation", trace.validation)
        self.record["flags"] += trace.flags
        self._samples["train/calls"] = [list(call) for call in trace.calls]
        self._write_samples()
        self._write("history.csv", _history_csv(trace.history))

    def training_of(self, run: Path) -> Trace:
        """Take over the training's metrics, raw samples and history of another run of ours, which had the same; returns its trace."""
        kept = read_record(run)["metrics"]
        self.metrics.update({name: one for name, one in kept.items() if name.startswith(("train/", "validation/"))})
        self._samples["train/calls"] = read_json(run / SAMPLES)["train/calls"]
        self._write_samples()
        self._write("history.csv", (run / "history.csv").read_text())
        validation = {
            name.removeprefix("validation/"): Interval(one["value"], one.get("low"), one.get("high"))
            for name, one in kept.items()
            if name.startswith("validation/") and one["value"] is not None
        }
        return Trace(
            [(int(steps), seconds, wait) for steps, seconds, wait in self._samples["train/calls"]], validation=validation
        )

    def weights(
        self,
        model: nn.Module,
        form: dict[str, Any] | None = None,
        sparse: bool = False,
        quantized: dict[str, Any] | None = None,
    ) -> None:
        """Save the model, with all that building it takes.

        Args:
            form: shapes of a model that has not those of its configuration.
            sparse: keep a file that leaves zeros out beside the other.
            quantized: the quantizer's values, and the names of the layers that it has converted.
        """
        manifest = manifest_of(self.record["config"], self.record["config_hash"], self._data.shape, self._data.state())
        manifest |= {} if form is None else {"form": form}
        manifest |= {} if quantized is None else {"quantized": quantized}
        size = safetensors.save(self.path, model, manifest, sparse)
        self.record["metrics"] |= size_metrics(model, size)
        if self._config.measure.seconds:
            self.record["metrics"] |= packed_sizes(self.path, model)
        if sparse:
            kept = (self.path / safetensors.SPARSE).stat().st_size
            self.record["metrics"]["size/file_sparse_mib"] = measured(kept / 2**20)

    def untouched(self, because: str) -> None:
        """Say why there is no quality."""
        why = missing(f"{because}; the test split was left untouched")
        self.metrics[f"quality/{self._data.deciding}"] = why

    def quality(self, predict: Callable[[Tensor], Tensor], trace: Trace, validation_examples: int | None) -> None:
        """Evaluate on the test split, once, and on as much of the training split as validation looks at."""
        metrics, data = self.metrics, self._data
        scores = scores_of(predict, data, "test", self._config.measure.examples)
        kept = {name: one for name, one in scores.items() if one.ndim == 1 or one.size <= _MOST_KEPT}
        self._samples["quality/test"] = {name: one.tolist() for name, one in kept.items()}
        self.record["data"]["about"] += [
            f"samples.json leaves out the {name} of {len(one)} test examples: {one.size} numbers, more than {_MOST_KEPT}"
            for name, one in scores.items()
            if name not in kept
        ]
        metrics |= quality_metrics("quality", data.summarise(scores))
        metrics |= {f"quality/{name}": missing(why) for name, why in data.untold(scores).items()}
        train = data.glance(scores_of(predict, data, "train", validation_examples))
        metrics["quality/gap"] = measured(train[data.deciding].value - trace.validation[data.deciding].value)
        self._write_samples()

    def exported(self, seconds: float, kept: Path) -> None:
        """How long it took to make an engine's own file and to open it, and how large it is."""
        self.metrics["infer/prepare_s"] = measured(seconds)
        files = [one for one in kept.parent.glob(f"{kept.name}.*") if one.is_file()]
        if files:
            self.metrics["size/engine_file_mib"] = measured(sum(one.stat().st_size for one in files) / 2**20)

    def loading(self, found: Loaded) -> None:
        """What fresh processes took to load the model."""
        self.record["metrics"] |= found.metrics
        self.record["data"]["about"] += found.about
        self._samples |= found.samples
        self._write_samples()

    def speed(self, engine: Engine, batch_size: int, examples: int, seconds: float) -> None:
        """Measure prediction.

        Args:
            batch_size: the training's.
            examples: that training saw.
            seconds: that training took, of all devices.
        """
        measure, size = self._config.measure, min(batch_size, self._data.most_at_once)
        found, samples, flags = inference_metrics(
            self.path, self._device, size, measure.batch_sizes, measure.seconds, examples, seconds, engine
        )
        if engine.compiles:
            self.record["environment"] |= inductor.in_force()
        self.record["metrics"] |= found
        self.record["flags"] += flags
        self._samples |= samples
        self._write_samples()

    def written(self, checkpoint_bytes: int) -> None:
        """What the run wrote."""
        kept = [one for one in self.path.iterdir() if one.is_file() and not one.name.startswith(".")]
        self.metrics["train/written_mib"] = measured(sum(one.stat().st_size for one in kept) / 2**20)
        self.metrics["train/checkpoints_mib"] = measured(checkpoint_bytes / 2**20)

    def _write_samples(self) -> None:
        self._write(SAMPLES, to_json(self._samples))

    def _write(self, name: str, content: str) -> None:
        path = self.path / name
        try:
            write_atomically(path, content)
        except OSError as error:
            raise BadData(f"{path}: cannot be written ({error.strerror}); free some space or give another store=DIR") from error


def _history_csv(rows: list[dict[str, float]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

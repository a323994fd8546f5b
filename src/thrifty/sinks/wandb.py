"""logger=wandb: a wandb run in the run's directory. Lives in the command line's process, so a dead worker loses nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from thrifty.config.choices import Wandb
from thrifty.events import Event, Finished, HistoryRow, Started

_JOB_TYPES = {"train": "train"}


class WandbSink:
    """Config, history, summary and the weights as an artifact, under the contract's names.

    Args:
        group: id of the sweep or study the run belongs to.
    """

    def __init__(self, config: Wandb, group: str | None = None) -> None:
        self.config, self.group = config, group
        self._run: Any = None

    def handle(self, event: Event) -> None:
        """Pass it on to wandb."""
        match event:
            case Started():
                self._start(event)
            case HistoryRow(step, seconds, values) if self._run is not None:
                self._run.log({"step": step, "train/seconds": seconds, **values})
            case Finished(path, record, code) if self._run is not None:
                self._finish(Path(path), record, code)
            case _:
                pass

    def close(self) -> None:
        """End a run that was never finished."""
        if self._run is not None:
            self._run.finish(exit_code=1)
            self._run = None

    def _start(self, event: Started) -> None:
        # Artifacts are staged here; under $HOME they would be lost to a later `wandb sync` from another machine.
        os.environ["WANDB_DATA_DIR"] = str(Path(event.path, "wandb").resolve())
        os.environ.setdefault("WANDB_CACHE_DIR", os.environ["WANDB_DATA_DIR"])  # its service's own log lies there
        import wandb

        config = event.config
        settings = wandb.Settings(
            console="off", silent=True, quiet=True, x_disable_stats=True, x_disable_machine_info=True,
            x_save_requirements=False, disable_git=True, disable_code=True, x_transaction_log_flush_interval=1,
        )  # fmt: skip
        self._run = wandb.init(
            mode=self.config.mode.name,
            project=self.config.project,
            entity=self.config.entity,
            dir=event.path,
            name=config["name"] or event.id,
            group=self.group,
            job_type=_JOB_TYPES[config["method"]["name"]],
            tags=[*_choices(config), *config["tags"]],
            config={**config, "id": event.id},
            settings=settings,
            reinit="create_new",
        )
        self._run.define_metric("step")
        for pattern in ("train/*", "validation/*"):
            self._run.define_metric(pattern, step_metric="step")

    def _finish(self, path: Path, record: dict[str, Any], exit_code: int) -> None:
        summary: dict[str, Any] = {"status": record["status"], "reason": record["reason"], "flags": record["flags"]}
        for name, entry in record["metrics"].items():
            # A missing metric is told as its reason: absent, it could not be told from one never asked for.
            summary[name] = entry["value"] if entry["value"] is not None else f"missing: {entry['reason']}"
            for bound in ("low", "high"):
                if entry.get(bound) is not None:
                    summary[f"{name}.{bound}"] = entry[bound]
        self._run.summary.update(summary)
        weights, manifest = path / "model.safetensors", path / "model.json"
        if self.config.artifact and self.config.mode.name != "disabled" and weights.is_file() and manifest.is_file():
            import wandb

            artifact = wandb.Artifact(f"model-{record['config_hash'][:12]}", type="model", metadata={"id": record["id"]})
            for file in (weights, manifest):
                artifact.add_file(str(file), policy="immutable", skip_cache=True)
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=exit_code)
        self._run = None


def _choices(config: dict[str, Any]) -> list[str]:
    groups = ("task", "architecture", "method", "optimizer", "schedule", "precision")
    return [f"{group}={config[group]['name']}" for group in groups] + [f"model={config['model']}"]

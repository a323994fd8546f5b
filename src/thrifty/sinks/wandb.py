"""logger=wandb: a wandb run in the run's directory. Lives in the command line's process, so a dead worker loses nothing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thrifty.config.choices.loggers import Wandb
from thrifty.errors import Unsupported
from thrifty.events import Event, Finished, HistoryRow, Started, SweepEnded

_SERVER_SECONDS = 20
"""How long wandb's server may take to take a run in; the worker's events wait meanwhile."""


class WandbSink:
    """Config, history, summary and the weights as an artifact, under the contract's names.

    Args:
        group: id of the sweep or study the run belongs to.

    Raises:
        Unsupported: mode=online without a key, for which wandb would ask on a terminal.
    """

    def __init__(self, config: Wandb, group: str | None = None) -> None:
        import wandb  # noqa: F401 - takes half a second, now while nothing is measured

        self.config, self.group = config, group
        self.mode: Any = config.mode.name
        self._run: Any = None
        if self.mode == "online" and not _has_key():
            raise Unsupported(
                "logger.mode=online: needs WANDB_API_KEY, or a login by `wandb login`; "
                "give one, or take logger.mode=offline and upload later with `wandb sync`"
            )

    def handle(self, event: Event) -> None:
        """Pass it on to wandb."""
        match event:
            case Started():
                self._start(event)
            case HistoryRow(step, seconds, values) if self._run is not None:
                self._run.log({"step": step, "train/seconds": seconds, **values})
            case Finished(path, record, code) if self._run is not None:
                self._finish(Path(path), record, code)
            case SweepEnded():
                self._keep_sweep(event)
            case _:
                pass

    def close(self) -> None:
        """End a run that was never finished."""
        if self._run is not None:
            run, self._run = self._run, None
            run.finish(exit_code=1)

    def _start(self, event: Started) -> None:
        from wandb.errors import CommError

        with _directories(Path(event.path)):
            try:
                self._run = self._init(event)
            except CommError as error:
                self.mode = "offline"
                self._run = self._init(event)
                sys.stderr.write(
                    f"logger.mode=online: wandb's server did not take the run in ({str(error).splitlines()[0]}); "
                    f"it is written offline: `wandb sync {Path(self._run.dir).parent}` uploads it\n"
                )
        self._run.define_metric("step")
        for pattern in ("train/*", "validation/*"):
            self._run.define_metric(pattern, step_metric="step")

    def _init(self, event: Started) -> Any:

        config = event.config
        return self._begin(
            event.path,
            config["name"] or event.id,
            config["method"]["name"],
            [*_choices(config), *config["tags"]],
            {**config, "id": event.id},
        )

    def _begin(self, directory: str, name: str, job_type: str, tags: list[str], config: dict[str, Any]) -> Any:
        import wandb

        settings = wandb.Settings(
            console="off", silent=True, quiet=True, x_disable_stats=True, x_disable_machine_info=True,
            x_save_requirements=False, disable_git=True, disable_code=True, x_transaction_log_flush_interval=1,
            init_timeout=_SERVER_SECONDS,
        )  # fmt: skip
        return wandb.init(
            mode=self.mode,
            project=self.config.project,
            entity=self.config.entity,
            dir=directory,
            name=name,
            group=self.group,
            job_type=job_type,
            tags=tags,
            config=config,
            settings=settings,
            reinit="create_new",
        )

    def _finish(self, path: Path, record: dict[str, Any], exit_code: int) -> None:
        summary: dict[str, Any] = {"status": record["status"], "reason": record["reason"], "flags": record["flags"]}
        for name, entry in record["metrics"].items():
            # A missing metric is told as its reason: absent, it could not be told from one never asked for.
            summary[name] = entry["value"] if entry["value"] is not None else f"missing: {entry['reason']}"
            for bound in ("low", "high"):
                if entry.get(bound) is not None:
                    summary[f"{name}.{bound}"] = entry[bound]
        for step in record.get("waterfall") or []:
            if step["ratio"] is not None:
                summary[f"waterfall/{step['metric']}"] = step["ratio"]
        self._run.summary.update(summary)
        for name in ("waterfall", "search", "sensitivity", "optimize"):
            self._log_table(path, name, record.get(name) or [])
        if self.config.artifact and self.mode != "disabled":
            self._keep_weights(path, record)
        run, self._run = self._run, None
        run.finish(exit_code=exit_code)

    def _keep_sweep(self, event: SweepEnded) -> None:
        """A run of its own in the sweep's group: what came of all of them, and a table with a row for each."""
        with _directories(Path(event.path)):
            self._run = self._begin(event.path, event.name, "sweep", [], event.what)
        self._run.summary.update(event.summary)
        self._log_table(Path(event.path), "runs", event.rows)
        run, self._run = self._run, None
        run.finish()

    def _log_table(self, path: Path, name: str, rows: list[dict[str, Any]]) -> None:
        """Rows of the same keys, as a table of their own."""
        if not rows:
            return
        import wandb

        columns: list[Any] = list(rows[0])
        with _directories(path):
            table = wandb.Table(columns=columns, data=[[row[one] for one in columns] for row in rows], allow_mixed_types=True)
            self._run.log({name: table})

    def _keep_weights(self, path: Path, record: dict[str, Any]) -> None:
        files = [path / "model.safetensors", path / "model.json"]
        if not all(file.is_file() for file in files):
            return
        import wandb

        with _directories(path):
            artifact = wandb.Artifact(f"model-{record['config_hash'][:12]}", type="model", metadata={"id": record["id"]})
            for file in files:
                # An absolute path, or `wandb sync` from another directory would leave the file out.
                artifact.add_file(str(file.resolve()), policy="immutable", skip_cache=True)
            self._run.log_artifact(artifact)


@contextlib.contextmanager
def _directories(path: Path) -> Iterator[None]:
    """Within it wandb stages artifacts and keeps its cache in the run's directory, not under $HOME.

    A staged artifact has to stay for a later `wandb sync`, from another machine too.
    """
    ours = {"WANDB_DATA_DIR": str((path / "wandb").resolve()), "WANDB_CACHE_DIR": str(path.resolve())}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _has_key() -> bool:
    """Whether wandb will find a key without asking: in the environment, netrc, or its settings.

    wandb's own way of looking, as `wandb.login` would ask on a terminal; `wandb.setup` would start its service already.

    Raises:
        Unsupported: a key that cannot be one.
    """
    from wandb.errors import AuthenticationError
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    host = wandb_setup.singleton().settings.base_url
    try:
        found = wbauth.authenticate_session(host=host, source="thrifty", prompt=False, update_session=False)
    except AuthenticationError as error:
        raise Unsupported(f"logger.mode=online: {error}") from error
    return found is not None


def _choices(config: dict[str, Any]) -> list[str]:
    groups = ("task", "architecture", "method", "optimizer", "schedule", "precision")
    return [f"{group}={config[group]['name']}" for group in groups] + [f"model={config['model']}"]

"""The dense model that a compression begins with: named, found, or trained now; and a compression of it that was made before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thrifty import cache
from thrifty.config.compose import compose, plain
from thrifty.config.overrides import parse
from thrifty.config.registry import ONLY_WITH
from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration
from thrifty.execution.launch import Outcome
from thrifty.execution.ranks import launched_by
from thrifty.identity import data_stamp, training_code
from thrifty.record import weights_hash
from thrifty.store import find_run

_OF_THIS_RUN = ("method", "profile", "engine", "name", "tags", "resume", *ONLY_WITH)
"""Keys, and groups of them, that a compression has for itself."""


Make = Callable[[Config, list[str], Path, Path | None], Outcome]
"""(config, overrides, directory, origin) -> Outcome: runs an experiment, its own directory within the one given; `origin` is the run whose
model it begins with."""


@dataclass(frozen=True)
class Dense:
    """Where the model lies that a compression begins with, or how making it failed."""

    path: Path | None
    failed: Outcome | None = None


def dense_overrides(overrides: list[str]) -> list[str]:
    """Those of the training that gives the dense model of a compression."""
    return [one.input_line or "" for one in parse(overrides) if one.key_or_group.split(".")[0] not in _OF_THIS_RUN]


def pruned_overrides(overrides: list[str]) -> list[str]:
    """Those of the pruning that method=prune_quantize begins with."""
    own = ("pruner", "sparsity")
    keys = [(one.key_or_group.split(".")[0], one.input_line or "") for one in parse(overrides)]
    return [*(text for key, text in keys if key in own or key not in _OF_THIS_RUN), "method=prune"]


def beginning_run(config: Config, overrides: list[str], tell: Callable[[str], None], make: Make) -> Dense:
    """The run whose model a compression begins with, made now where there is none.

    Raises:
        BadConfiguration, BadData: as `dense_run`.
    """
    if config.method.name == "prune_quantize":
        return _pruned_run(config, overrides, tell, make)
    return dense_run(config, overrides, tell, make)


def _pruned_run(config: Config, overrides: list[str], tell: Callable[[str], None], make: Make) -> Dense:
    pruned = pruned_overrides(overrides)
    of_pruned = compose(pruned)
    dense = dense_run(of_pruned, pruned, tell, make)
    if (origin := dense.path) is None:
        return dense
    return _kept(
        of_pruned,
        lambda: compressed_before(of_pruned, origin, tell, "the pruned model"),
        lambda directory: make(of_pruned, pruned, directory, origin),
        "prunes the same model",
        "the dense model is pruned, once for all that begins with it",
        tell,
        origin,
    )


def dense_run(config: Config, overrides: list[str], tell: Callable[[str], None], make: Make) -> Dense:
    """The run that `checkpoint` names, an equal one that is finished, or a new one, kept in the store's cache.

    Args:
        tell: receives a sentence on what is being done.

    Raises:
        BadConfiguration: no such run, or a launcher has started several of these commands.
        BadData: the cache cannot be written.
    """
    store = Path(config.store)
    if config.checkpoint is not None:
        return Dense(find_run(store, config.checkpoint))
    cache.bound_bytes()  # before a training that it could refuse to keep
    dense = dense_overrides(overrides)
    of_dense = compose(dense)
    if (launcher := launched_by()) is not None:
        raise BadConfiguration(
            f"method={config.method.name}: {launcher} has started this command several times, and each would train the dense model; "
            "train it first by method=train, and name it by checkpoint=RUN"
        )
    wanted = _wanted(of_dense, measured=of_dense.measure.seconds > 0)

    def found() -> Path | None:
        path = _found(store, wanted, tell)
        if path is not None:
            tell(f"the dense model is that of {path.name}, trained before")
        return path

    return _kept(
        of_dense,
        found,
        lambda directory: make(of_dense, dense, directory, None),
        "trains the same dense model",
        "first the dense model is trained, once for all that begins with it",
        tell,
    )


def _kept(
    config: Config,
    found: Callable[[], Path | None],
    make: Callable[[Path], Outcome],
    what_another_does: str,
    what_we_do: str,
    tell: Callable[[str], None],
    *in_use: Path,
) -> Dense:
    """What is found, or made now by one command at a time, and kept in the store's cache, beside what is in use."""
    if (path := found()) is not None:
        return Dense(path)
    store = Path(config.store)
    with cache.held(store, weights_hash(plain(config)), f"waiting for another command that {what_another_does}", tell):
        if (path := found()) is not None:
            return Dense(path)
        tell(what_we_do)
        outcome = make(cache.cache_directory(store))
        if outcome.exit_code or outcome.path is None:
            return Dense(None, outcome)
        for gone in cache.keep_within_bound(store, outcome.path, *in_use):
            tell(f"{gone.name} was removed: the cache holds at most {cache.bound_bytes() / 2**30:g} GiB ({cache.BOUND})")
        return Dense(outcome.path)


def compressed_before(config: Config, dense: Path, tell: Callable[[str], None], what: str = "the compression") -> Path | None:
    """A finished run that has compressed the same dense model in the same way, however it executed and measured the result."""
    if config.devices != 1:  # every rank would have to be told
        return None
    path = _found(Path(config.store), _wanted(config, parent=dense.name), tell)
    if path is not None:
        tell(f"{what} is that of {path.name}, made before")
    return path


def _wanted(config: Config, measured: bool = False, parent: str | None = None) -> cache.Wanted:
    stamp = data_stamp(getattr(config.task, "path", None))
    return cache.Wanted(config.method.name, weights_hash(plain(config)), training_code(), stamp, measured, parent)


def _found(store: Path, wanted: cache.Wanted, tell: Callable[[str], None]) -> Path | None:
    told: list[str] = []
    path = cache.find(store, wanted, told)
    for sentence in told:
        tell(sentence)
    return path

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


@dataclass(frozen=True)
class Dense:
    """Where the dense model lies, or how its training failed."""

    path: Path | None
    failed: Outcome | None = None


def dense_overrides(overrides: list[str]) -> list[str]:
    """Those of the training that gives the dense model of a compression."""
    return [one.input_line or "" for one in parse(overrides) if one.key_or_group.split(".")[0] not in _OF_THIS_RUN]


def dense_run(
    config: Config, overrides: list[str], tell: Callable[[str], None], train: Callable[[Config, list[str], Path], Outcome]
) -> Dense:
    """The run that `checkpoint` names, an equal one that is finished, or a new one, kept in the store's cache.

    Args:
        tell: receives a sentence on what is being done.
        train: runs an experiment, its directory within the one given.

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

    if (path := found()) is not None:
        return Dense(path)
    with cache.held(store, wanted.weights, "waiting for another command that trains the same dense model", tell):
        if (path := found()) is not None:
            return Dense(path)
        tell("first the dense model is trained, once for all that begins with it")
        outcome = train(of_dense, dense, cache.cache_directory(store))
        if outcome.exit_code or outcome.path is None:
            return Dense(None, outcome)
        for gone in cache.keep_within_bound(store, outcome.path):
            tell(f"{gone.name} was removed: the cache holds at most {cache.bound_bytes() / 2**30:g} GiB ({cache.BOUND})")
        return Dense(outcome.path)


def compressed_before(config: Config, dense: Path, tell: Callable[[str], None]) -> Path | None:
    """A finished run that has compressed the same dense model in the same way, however it executed and measured the result."""
    if config.devices != 1:  # every rank would have to be told
        return None
    path = _found(Path(config.store), _wanted(config, parents=(dense.name,)), tell)
    if path is not None:
        tell(f"the compression is that of {path.name}, made before")
    return path


def _wanted(config: Config, measured: bool = False, parents: tuple[str, ...] | None = None) -> cache.Wanted:
    stamp = data_stamp(getattr(config.task, "path", None))
    return cache.Wanted(config.method.name, weights_hash(plain(config)), training_code(), stamp, measured, parents)


def _found(store: Path, wanted: cache.Wanted, tell: Callable[[str], None]) -> Path | None:
    told: list[str] = []
    path = cache.find(store, wanted, told)
    for sentence in told:
        tell(sentence)
    return path

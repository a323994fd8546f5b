"""The weights that a search tries: each quantizer's model of one dense model, found or made now by a run that leaves the test split alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from thrifty import cache
from thrifty.config.choices.methods import Optimize
from thrifty.config.compose import compose, plain
from thrifty.config.schema import Config
from thrifty.errors import ThriftyError, Unsupported
from thrifty.execution.batch_size import BatchSize
from thrifty.execution.beginning import Beginning
from thrifty.execution.dense import compressed_before, dense_overrides
from thrifty.execution.launch import launch
from thrifty.instrument.looks import Weights
from thrifty.stop import EXIT_CODES, STOPPED
from thrifty.store import read_record

_NOT_OF_CANDIDATES = ("measure", "logger")
"""Groups of keys that say nothing of the weights; a candidate is not measured where it is made."""


def quantised(
    quantizer: str,
    config: Config,
    overrides: list[str],
    dense: Path,
    precision: dict[str, Any],
    others: Collection[Path],
    tell: Callable[[str], None],
) -> Weights | tuple[str, str]:
    """Where the weights lie, or the status and the reason why there are none.

    Args:
        config: of the search, as `overrides` compose to.
        precision: values of the dense model's, which the quantised one is held against.
        others: runs that the search goes on to need, beside the dense one.

    Raises:
        KeyboardInterrupt, SystemExit: it was asked to stop, and the search with it.
    """
    assert isinstance(config.method, Optimize)
    kept = [one for one in dense_overrides(overrides) if one.split("=")[0].split(".")[0] not in _NOT_OF_CANDIDATES]
    if precision != plain(config.precision):
        values = [f"precision.{key}={'null' if value is None else value}" for key, value in precision.items() if key != "name"]
        kept = [one for one in kept if one.split("=")[0].split(".")[0] != "precision"]
        kept += [f"precision={precision['name']}", *values]
    examples = config.measure.examples
    given = [
        *kept,
        "method=quantize",
        f"quantizer={quantizer}",
        f"method.calibration={config.method.calibration}",
        "measure=none",
        f"measure.examples={'null' if examples is None else examples}",
        "logger=none",
    ]
    try:
        wanted = compose(given)
        before = compressed_before(wanted, dense, tell)
        if before is not None:
            return Weights(before, read_record(before)["config_hash"])
        batch = None
        if wanted.batch_size == "auto":
            batch = BatchSize(read_record(dense)["data"].get("batch_size"), "batch_size=auto: as the dense model had it")
        beginning = Beginning(batch, origin=dense, candidate=True)
        outcome = launch(wanted, given, cache.cache_directory(Path(config.store)), lambda event: None, beginning)
    except ThriftyError as error:
        return "unsupported" if isinstance(error, Unsupported) else "failed", str(error)
    if outcome.exit_code in STOPPED:
        if outcome.exit_code == EXIT_CODES["interrupted"]:
            raise KeyboardInterrupt
        raise SystemExit(outcome.exit_code)
    if outcome.exit_code or outcome.path is None or outcome.record is None:
        reason = outcome.message or (outcome.record or {}).get("reason") or "no reason was recorded"
        return "unsupported" if outcome.exit_code == Unsupported.exit_code else "failed", reason
    for gone in cache.keep_within_bound(Path(config.store), outcome.path, dense, *others):
        tell(f"{gone.name} was removed: the cache holds at most {cache.bound_bytes() / 2**30:g} GiB ({cache.BOUND})")
    return Weights(outcome.path, outcome.record["config_hash"])

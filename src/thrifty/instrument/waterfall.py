"""What became of a saving: a compressed model against its dense one, from its parameters down to its latency and its quality."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thrifty.atomic import write_atomically
from thrifty.errors import ThriftyError
from thrifty.instrument.arms import Run
from thrifty.instrument.comparison import Finding, compare_runs
from thrifty.instrument.floor import kept_floor
from thrifty.instrument.pairs import Plan
from thrifty.instrument.why import Facts, why
from thrifty.metrics import measured, metric, missing
from thrifty.record import to_json
from thrifty.store import RESULT, SAMPLES, find_run, read_record

STEPS = (
    "size/parameters",
    "size/nonzero",
    "size/memory_mib",
    "size/file_mib",
    "size/file_zstd_mib",
    "size/file_sparse_mib",
    "infer/load_s",
    "infer/peak_host_mib",
    "infer/nonzero_flops_per_sample",
    "infer/flops_per_sample",
    "infer/latency_ms",
    "infer/samples_per_s",
)
"""In the order in which a saving gets lost; the deciding metric of quality comes last."""
_LEAN = ("infer/load_s", "infer/peak_host_mib")
_PAIRED = ("infer/latency_ms", "infer/samples_per_s")
_DENSE = {"size/file_sparse_mib": "size/file_mib", "infer/nonzero_flops_per_sample": "infer/flops_per_sample"}
"""What a dense model has instead: all of its weights are there, and all of its operations count."""


@dataclass(frozen=True)
class Step:
    """One row of the waterfall."""

    metric: str
    dense: float | None
    compressed: float | None
    ratio: float | None
    """Compressed over dense; of quality the difference, compressed minus dense."""
    low: float | None
    high: float | None
    how: str
    """How the two were compared."""
    why: str
    """One sentence on what became of the saving here."""


def fill(run: Path, record: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Add `waterfall` to the record of a finished compression, on disk too; where it cannot be made, the reason.

    Args:
        tell: receives a sentence on what is being measured.
    """
    try:
        steps = waterfall(run, record, tell)
        record["waterfall"] = [asdict(one) for one in steps]
        record["metrics"]["compress/break_even"] = break_even(steps, record["metrics"]["compress/time_s"]["value"])
    except ThriftyError as error:
        record["waterfall"] = []
        record["data"]["about"].append(f"not compared with the dense model: {error}")
    except OSError as error:
        record["waterfall"] = []
        record["data"]["about"].append(f"not compared with the dense model: {error.strerror}")
    write_atomically(run / RESULT, to_json(record))


def waterfall(run: Path, record: dict[str, Any], tell: Callable[[str], None]) -> list[Step]:
    """The rows, sizes counted, speed in interleaved pairs, quality paired over examples.

    Raises:
        BadConfiguration: the dense model's run is gone.
        BadData: its record was altered.
    """
    config = record["config"]
    path = find_run(Path(config["store"]), record["parents"][-1])
    dense_record = read_record(path)
    # By the threads and on the device of this run, and by its engine where that is not part of what is asked: the dense one may have been
    # made for others.
    engine = dense_engine(config)
    same_engine = dense_record["config"]["engine"] == engine
    dense_record = {**dense_record, "config": {**dense_record["config"], "engine": engine}}
    dense_record["data"] = {**dense_record["data"], "batch_size": record["data"].get("batch_size")}
    here = {"threads": dense_threads(record), "device": record["environment"].get("device")}
    dense_record["environment"] = {**dense_record["environment"], **here}
    runs = (Run(path, dense_record), Run(run, record))
    quality = f"quality/{record['data'].get('deciding')}"
    wanted = [one for one in (*STEPS, quality) if one == quality or _is_recorded(one, runs)]
    measured = config["measure"]["seconds"] > 0
    lean = measured and config["measure"]["name"] == "full"
    if not (lean or same_engine):
        wanted = [one for one in wanted if one not in _LEAN]
    compared = [one for one in wanted if one == quality or (measured and (one in _PAIRED or (lean and one in _LEAN)))]
    if measured:
        tell("measuring the dense and the compressed model against each other")
    floor = kept_floor(Path(config["store"]))
    findings = {one.metric: one for one in compare_runs(runs, compared, Plan(), None if floor is None else floor.share)}
    facts = _facts(runs)
    return [_step(name, runs, findings.get(name), facts) for name in wanted]


def dense_engine(config: dict[str, Any]) -> dict[str, Any]:
    """What executes the dense model beside a compressed one.

    What a mask saves is told by the same engine, if that is one for dense models too; of fewer bits the question is what they and an engine
    for them save, against PyTorch as it is.
    """
    engine = config["engine"]
    if config["method"]["name"] in ("quantize", "prune_quantize", "optimize") or engine["name"] == "semi_structured":
        return {"name": "eager"}
    return engine


def dense_threads(record: dict[str, Any]) -> int | None:
    """Threads of the dense model beside a compressed one: as many, unless they are part of what a search has found."""
    baseline = next((one for one in record.get("optimize") or [] if one["status"] == "baseline"), None)
    return record["environment"].get("threads") if baseline is None else baseline["threads"]


def break_even(steps: Sequence[Step], seconds: float) -> dict[str, Any]:
    """The entry of `compress/break_even`: `seconds` over what a prediction saves; missing where it saves nothing that is known."""
    latency = next((one for one in steps if one.metric == "infer/latency_ms"), None)
    if latency is None or latency.dense is None or latency.ratio is None:
        return missing("latency was not compared with the dense model's")
    if latency.high is None or latency.low is None or latency.high >= 1:
        return missing("a prediction takes no less time than the dense model's, as far as could be resolved")

    def predictions(ratio: float) -> float:
        assert latency is not None
        assert latency.dense is not None
        return seconds / (latency.dense / 1e3 * (1 - ratio))

    return measured(round(predictions(latency.ratio)), round(predictions(latency.low)), round(predictions(latency.high)))


def _is_recorded(name: str, runs: tuple[Run, Run]) -> bool:
    own = runs[1].record["metrics"].get(name)  # a smaller model has no file without zeros
    return own is not None and all(_value(name, one.record) is not None for one in runs)


def _value(name: str, record: dict[str, Any]) -> float | None:
    entry = record["metrics"].get(name)
    if entry is None and name in _DENSE:
        entry = record["metrics"].get(_DENSE[name])
    return None if entry is None else entry.get("value")


def _step(name: str, runs: tuple[Run, Run], finding: Finding | None, facts: Facts) -> Step:
    dense, compressed = (_value(name, one.record) for one in runs)
    ratio = low = high = None
    if finding is None and name in _LEAN:
        how = "one fresh process of each run, at another time; measure=full compares them in pairs"
        return Step(
            name, dense, compressed, None, None, None, how, "of one process each, at other times: measure=full compares them"
        )
    if finding is None:
        how = "counted"
        ratio = compressed / dense if dense and compressed is not None else None
    else:
        dense, compressed = _in_pairs(name, finding) or (dense, compressed)
        how = finding.how
        if finding.change is not None:
            shift = 1.0 if finding.relative else 0.0
            ratio, low, high = (None if one is None else one + shift for one in _bounds(finding))
    return Step(name, dense, compressed, ratio, low, high, how, why(name, ratio, low, high, facts))


def _in_pairs(name: str, finding: Finding) -> tuple[float, float] | None:
    """What the two measured while they took turns: of single runs, made one after the other, the machine's mood is the difference."""
    blocks = [[seconds for pair in finding.samples for seconds in pair[which]] for which in ("first", "second")]
    if not all(blocks):
        return None
    dense, compressed = (statistics.median(one) for one in blocks)
    match metric(name).unit:
        case "ms":
            return 1e3 * dense, 1e3 * compressed
        case "1/s":
            return 1 / dense, 1 / compressed
        case _:
            return dense, compressed


def _bounds(finding: Finding) -> tuple[float, float | None, float | None]:
    assert finding.change is not None
    return finding.change.value, finding.change.low, finding.change.high


def _facts(runs: tuple[Run, Run]) -> Facts:
    dense, compressed = (one.record for one in runs)

    def share(name: str) -> float:
        first, second = _value(name, dense), _value(name, compressed)
        return second / first if first and second is not None else math.nan

    config = compressed["config"]
    quantizer = config.get("quantizer")
    return Facts(
        physical=share("size/parameters") < 1,
        scheme=None if quantizer is None else quantizer["name"],
        engine=config["engine"]["name"],
        parameters=share("size/parameters"),
        nonzero=share("size/nonzero"),
        operations=share("infer/flops_per_sample"),
        flops=_value("infer/flops_per_sample", compressed),
        latency_s=_scaled(_value("infer/latency_ms", compressed), 1e-3),
        samples_per_s=_value("infer/samples_per_s", compressed),
        weights_mib=_value("size/memory_mib", compressed),
        peak_mib=_value("infer/peak_host_mib", compressed),
        ceiling=_ceiling(runs[1].path),
        fraction=metric(f"quality/{compressed['data']['deciding']}").fraction,
        otherwise=_otherwise(config) if config["method"]["name"] == "optimize" else None,
    )


def _otherwise(config: dict[str, Any]) -> str:
    threads = [] if config["threads"] is None else [f"threads={config['threads']}"]
    return " ".join([f"engine={config['engine']['name']}", f"precision={config['precision']['name']}", *threads])


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _ceiling(run: Path) -> float | None:
    """FLOP/s of a matrix product, as measured in the run."""
    try:
        found = json.loads((run / SAMPLES).read_text()).get("ceiling_flops_per_s")
    except (OSError, ValueError):
        return None
    return float(found) if isinstance(found, (int, float)) and found > 0 else None

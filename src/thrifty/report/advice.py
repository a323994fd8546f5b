"""What to try after a run: a few commands with the reason for each, chosen by what the record shows."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import Any

from thrifty.config.schema import ModelSize
from thrifty.metrics import improves
from thrifty.record import reproducing_command
from thrifty.report.compressed import compared, deciding_metric, is_physical, method_of
from thrifty.report.numbers import duration
from thrifty.report.plan import full_seconds, key_of, planned_steps, step_seconds, without
from thrifty.report.points import is_worse
from thrifty.stop import HOPELESS

Advice = tuple[str, str]
"""A command, and why."""

_SIZES = tuple(ModelSize.__members__)
_LONG = 3600.0
_LONGER_BUDGET = 600
_TELLING_GAP = 0.05
_TO_PREDICT = {"text": "def main(", "tabular": "new.csv", "image": "new.png"}
"""An example of what `thrifty predict` takes, by task."""


def next_steps(record: dict[str, Any], most: int = 3) -> list[Advice]:
    """The most telling first; how to use the model last, where there is one."""
    status = record["status"]
    if status == "diverged":
        lower = f"optimizer.lr={record['config']['optimizer']['lr'] / 3:.2g}"
        return [_again(record, "the loss ran away: a third of the learning rate is the usual first try", lower)]
    if status == "oom":
        return [_after_memory_ran_out(record)]
    if status in ("killed", "preempted"):
        return list(_after_a_stop(record))
    if status != "ok":
        return []
    after = {
        "prune": _after_pruning,
        "quantize": _after_quantising,
        "prune_quantize": _after_quantising,
        "optimize": _after_optimising,
    }
    found = after.get(method_of(record), _after_success)(record)
    return [*list(found)[: most - 1], _use(record)]


def _after_success(record: dict[str, Any]) -> Iterator[Advice]:
    config, cut_short = record["config"], "budget_reached" in record["flags"]
    if cut_short:
        yield from _after_the_budget(record)
    if config["precision"]["name"] == "fp32" and _bf16_is_fast(record):
        yield _again(
            record,
            "this processor multiplies bf16 matrices faster than fp32 ones: see what it saves, and what it costs",
            "precision=bf16",
        )
    if _overfits(record) and not config["regularizer"]["dropout"]:
        why = "it does better on training data than on validation: dropout is the first thing to try against it"
        yield _again(record, why, "regularizer.dropout=0.1")
    larger = _size(record, 1)
    if larger and not cut_short:
        yield _again(record, "does a larger model pay for what it costs?", f"model={larger}")
    seed = record["config"]["seed"] + 1
    yield _again(record, "the same with other random numbers: how much of the result is luck", f"seed={seed}")


def _after_pruning(record: dict[str, Any]) -> Iterator[Advice]:
    """What a mask does not save, and what removing units cost."""
    if not is_physical(record):
        why = "a mask's zeros are multiplied all the same and save no time: whole units that are gone do"
        # What belongs to this pruner alone goes; what must stay whole stays. Units go at once, and have no first weights.
        unfit = without(record["overrides"], "pruner", "method.pace", "method.rounds", "method.rewind")
        protect = [one for one in record["overrides"] if key_of(one) == "pruner.protect"]
        yield reproducing_command([*unfit, "pruner=structured_l1", *protect]), why
        return
    row, longer = compared(record, deciding_metric(record)), record["config"]["method"]["finetune"] < 1
    if longer and is_worse(deciding_metric(record), row.get("low"), row.get("high")):
        yield _again(record, "it lost quality: as many steps as the dense model had win back some of it", "method.finetune=1")


def _after_quantising(record: dict[str, Any]) -> Iterator[Advice]:
    """An engine that computes with integers, and what wins quality back."""
    quantizer, engine = record["config"]["quantizer"]["name"], record["config"]["engine"]["name"]
    name = deciding_metric(record)
    row, latency = compared(record, name), compared(record, "infer/latency_ms")
    if record["config"]["max_quality_loss"] is None and is_worse(name, row.get("low"), row.get("high")):
        yield _again(record, "it lost quality: leave the layers that cost most as they are", "max_quality_loss=0.5")
    if engine == "eager" and not (latency.get("high") is not None and latency["high"] < 1):
        yield _again(record, "PyTorch itself saves no time by it: an engine that compiles may", "engine=compile")
    if quantizer == "int8_dynamic":
        yield _again(
            record,
            "scales fixed by calibration leave less to do at every call, and take convolutions too",
            "quantizer=int8_static",
        )


def _after_optimising(record: dict[str, Any]) -> Iterator[Advice]:
    """More time where it was short, more room where nothing was better, then the other question."""
    config, flags = record["config"], record["flags"]
    if "search_cut_short" in flags:
        asked, taken = config["method"]["seconds"], record["metrics"]["compress/time_s"]["value"]
        if "nothing_tried" in flags:  # what goes before the first look alone took all of it
            seconds, why = 10 * math.ceil(max(2 * asked, 4 * taken) / 10), "the time was spent before anything was tried: more"
        else:
            seconds, why = 2 * asked, "the time was spent before everything was tried: twice as much"
        yield _again(record, why, f"method.seconds={seconds:g}")
    if any(one["status"] == "beyond the bound" for one in record.get("optimize", [])) and "nothing_better" in flags:
        bound = 2 * config["max_quality_loss"] or 0.5
        yield _again(record, "nothing better kept within the bound: allow more", f"max_quality_loss={bound:g}")
    other = "throughput" if config["objective"] == "latency" else "latency"
    yield _again(record, f"what is best for {other} may be something else", f"objective={other}")


def _after_the_budget(record: dict[str, Any]) -> Iterator[Advice]:
    """Longer training; where a full one takes more than an hour, something shorter first."""
    full, step, planned = full_seconds(record), step_seconds(record), planned_steps(record)
    if full is not None and full > _LONG:
        smaller = _size(record, -1)
        if (record["config"]["budget"]["seconds"] or 0) < _LONGER_BUDGET:
            reach = (
                f", enough for about {min(planned, round(_LONGER_BUDGET / step)):,} of the {planned:,} steps"
                if planned and step
                else ""
            )
            yield _again(record, f"ten minutes of training{reach}", f"budget.seconds={_LONGER_BUDGET}")
        elif smaller:
            yield _again(record, "a smaller model gets further in the same time", f"model={smaller}")
    length = "" if full is None else f": about {duration(full)} at this speed"
    yield _again(record, f"training to its end{length}", "budget=full")


def _after_memory_ran_out(record: dict[str, Any]) -> Advice:
    batch, smaller = record["config"]["batch_size"], _size(record, -1)
    if batch == 1 and smaller:
        return _again(record, "a smaller model needs less memory", f"model={smaller}")
    if batch == "auto":
        batch = record["data"].get("batch_size") or 2
    half = 256 if batch == "full" else max(1, int(batch) // 2)
    return _again(record, "half the batch takes about half the memory of activations", f"batch_size={half}")


def _after_a_stop(record: dict[str, Any]) -> Iterator[Advice]:
    if HOPELESS in record["flags"]:
        yield (
            reproducing_command(record["overrides"]),
            "trains it to its end after all, outside of the search that ended it early",
        )
        return
    store = record["config"]["store"]
    elsewhere = [] if store == "results" else [f"store={store}"]
    yield shlex.join(["python", "run.py", f"resume={record['id']}", *elsewhere]), "goes on where this one was cut off"
    if record["metrics"].get("size/file_mib", {}).get("value") is not None:
        yield _again(record, "a new run that starts from the weights this one had", f"checkpoint={record['id']}")


def _use(record: dict[str, Any]) -> Advice:
    store = record["config"]["store"]
    given = _TO_PREDICT[record["config"]["task"]["name"]]
    elsewhere = [] if store == "results" else ["--store", store]
    return shlex.join(["thrifty", "predict", record["id"], given, *elsewhere]), "use the model"


def _again(record: dict[str, Any], why: str, change: str) -> Advice:
    """The run's own command with a key changed."""
    kept = without(record["overrides"], key_of(change))
    return reproducing_command([*kept, change]), why


def _size(record: dict[str, Any], further: int) -> str | None:
    """The rung of the ladder above or below; None where it ends."""
    place = _SIZES.index(record["config"]["model"]) + further
    return _SIZES[place] if 0 <= place < len(_SIZES) else None


def _overfits(record: dict[str, Any]) -> bool:
    deciding, metrics = record["data"].get("deciding"), record["metrics"]
    gap, quality = (metrics.get(f"quality/{name}", {}).get("value") for name in ("gap", deciding))
    if not gap or not quality:
        return False
    return improves(f"quality/{deciding}", gap, 0) and abs(gap) > _TELLING_GAP * abs(quality)


def _bf16_is_fast(record: dict[str, Any]) -> bool:
    isa = record["environment"].get("cpu", {}).get("isa", [])
    return record["environment"].get("device") != "cpu" or any(flag in isa for flag in ("avx512_bf16", "amx_bf16"))

"""What to try after a run: a few commands with the reason for each, chosen by what the record shows."""

from __future__ import annotations

import shlex
from typing import Any


def next_steps(record: dict[str, Any], most: int = 3) -> list[tuple[str, str]]:
    """(command, why) pairs, the most telling first."""
    config, metrics = record["config"], record["metrics"]
    found: list[tuple[str, str]] = []

    def again(why: str, *changes: str) -> None:
        names = {change.split("=")[0] for change in changes}
        kept = [one for one in record["overrides"] if one.split("=")[0] not in names]
        found.append((shlex.join(["python", "run.py", *kept, *changes]), why))

    if record["status"] == "diverged":
        again(
            "the loss ran away: a third of the learning rate is the usual first try",
            f"optimizer.lr={config['optimizer']['lr'] / 3:.2g}",
        )
        return found
    if record["status"] == "oom":
        half = max(1, int(config["batch_size"]) // 2) if config["batch_size"] != "full" else 256
        again("half the batch takes about half the memory of activations", f"batch_size={half}")
        return found
    if record["status"] != "ok":
        return found
    if "budget_reached" in record["flags"]:
        again("training was cut short: this one runs to its end", "budget=full")
    if config["precision"]["name"] == "fp32" and _bf16_is_fast(record):
        again(
            "this processor multiplies bf16 matrices faster than fp32 ones: see what it saves, and what it costs",
            "precision=bf16",
        )
    gap = metrics.get("quality/gap", {}).get("value")
    quality = metrics.get(f"quality/{record['data'].get('deciding')}", {}).get("value")
    if gap is not None and quality and abs(gap) > 0.05 * abs(quality):
        again("training and validation differ: dropout is the first thing to try against it", "regularizer.dropout=0.1")
    larger = {"nano": "tiny", "tiny": "small", "small": "base", "base": "large"}.get(config["model"])
    if larger:
        again("does a larger model pay for what it costs?", f"model={larger}")
    run = record["id"]
    target = "new.csv" if config["task"]["name"] == "tabular" else "'def main('"
    found.append((f"thrifty predict {run} {target}", "use the model"))
    return found[-1:] + found[:-1] if most == 1 else [*found[: most - 1], found[-1]]


def _bf16_is_fast(record: dict[str, Any]) -> bool:
    isa = record["environment"].get("cpu", {}).get("isa", [])
    return record["environment"].get("device") != "cpu" or any(flag in isa for flag in ("avx512_bf16", "amx_bf16"))

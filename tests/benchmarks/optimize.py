"""Whether the search finds the best, and how fast that is: python tests/benchmarks/optimize.py

A small GPT with 128 tokens, for latency and for throughput: `method=optimize` as a user types it, and the same with everything measured in
full. The dense model is trained once, for both. The found best is looked up among all that were measured.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _report
from _commands import RUN, output_of

from thrifty.config import registry
from thrifty.config.choice import choice_of
from thrifty.config.choices.methods import NO_QUANTIZER
from thrifty.config.values import choice_values
from thrifty.execution import fork_server
from thrifty.execution.cores import freest_cores
from thrifty.instrument.arms import preloads_of, settings_of
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.looks import Arms, Weights
from thrifty.instrument.pairs import PairFailed, Plan, measure
from thrifty.measure.statistics import Interval
from thrifty.report.optimize import name_of

MODEL = ["task=text", "model=small", "architecture.context=128"]
MOST_OVER, LEAST_SPEED_UP, MOST_POINTS, MOST_SHARE = 1.05, 2.5, 1.0, 0.25


def searched(typed: list[str], folder: Path) -> dict[str, Any]:
    """The record of a search."""
    begin = time.perf_counter()
    output_of([*RUN, *typed], str(folder))
    newest = sorted(folder.glob("results/runs/*/result.json"))[-1]
    print(f"{time.perf_counter() - begin:.0f} s: {shlex.join(typed)}", file=sys.stderr)
    return json.loads(newest.read_text(encoding="utf-8"))


def best_of(record: dict[str, Any]) -> dict[str, Any]:
    """The row of what was found."""
    rows = record["optimize"]
    return next((one for one in rows if one["status"] == "winner"), rows[0])


def seconds_of(record: dict[str, Any]) -> float:
    """What the search took."""
    return record["metrics"]["compress/time_s"]["value"]


def candidate_of(row: dict[str, Any]) -> Candidate:
    """The way to predict that a row is of."""
    return Candidate(**{one.name: row[one.name] for one in dataclasses.fields(Candidate)})


def directly(best: Candidate, mine: Candidate, folder: Path) -> Interval:
    """The second's time by example over the first's, in pairs of fresh processes of the two."""
    if best == mine:
        return Interval(1.0)
    weights: dict[str, Weights] = {}
    for path in sorted(folder.glob("results/cache/*/result.json")):  # of several the latest
        record = json.loads(path.read_text(encoding="utf-8"))
        weights[(record["config"].get("quantizer") or {"name": NO_QUANTIZER})["name"]] = Weights(
            path.parent, record["config_hash"]
        )
    both = (best, mine)
    precisions = {one.precision: choice_values("precision", one.precision) for one in both}
    engines = {one.engine: choice_values("engine", one.engine) for one in both}
    built = [registry.load("engine", name)(choice_of("engine", values)) for name, values in engines.items()]
    fork_server.renew()  # whoever was measured before needed other settings
    with settings_of(built, max(one.threads for one in both)):
        fork_server.wait_until_ready(fork_server.ARMS, preloads_of(built))
    arms = Arms(weights, precisions, engines, "cpu", {one.threads: freest_cores(one.threads) for one in both})
    first, second = arms.together(both)
    try:
        comparison = measure(first, second, Plan(lead_in=1)).comparison
    except PairFailed as failed:
        print(f"{best.name}, {mine.name}: {failed}", file=sys.stderr)
        return Interval(math.inf)
    assert comparison is not None
    return comparison.ratio


def row_of(objective: str, found: dict[str, Any], everything: dict[str, Any], direct: Interval) -> tuple[list[str], bool]:
    """An objective's line, and whether all that was asked for holds.

    Args:
        direct: the found one's time over the best one's, in pairs of the two.
    """
    mine, best = best_of(found), best_of(everything)
    there = {name_of(one): one["ratio"] for one in everything["optimize"]}
    among = (there[name_of(mine)] or float("inf")) / best["ratio"]
    share = seconds_of(found) / seconds_of(everything)
    speed_up = 1 / mine["ratio"]
    metric = "infer/latency_ms" if objective == "latency" else "infer/samples_per_s"
    step = next(one for one in found["waterfall"] if one["metric"] == metric)
    quality = next(one for one in found["waterfall"] if one["metric"].startswith("quality/"))
    points = 100 * quality["ratio"] / quality["dense"]  # percent of bits per byte, more is worse
    met = direct.value <= MOST_OVER and share <= MOST_SHARE and speed_up >= LEAST_SPEED_UP and points <= MOST_POINTS
    cells = [
        objective,
        name_of(mine),
        name_of(best),
        f"{direct.value:.3f}" + (f" ({direct.low:.3f} to {direct.high:.3f})" if direct.low and direct.high else ""),
        f"{among:.3f}",
        f"{speed_up:.2f} ({1 / mine['high']:.2f} to {1 / mine['low']:.2f})" if mine["high"] else f"{speed_up:.2f}",
        f"{step['dense']:.4g}, {step['compressed']:.4g}",
        f"{points:+.2f}",
        f"{seconds_of(found):.0f}",
        f"{seconds_of(everything):.0f}",
        f"{share:.2f}",
        "met" if met else "missed",
    ]
    return cells, met


def main() -> None:
    """Search, measure everything, print and write the table; exit 1 where a target is missed."""
    parser = _report.parser(__doc__)
    parser.add_argument("--only", default="", help="only this objective")
    parser.add_argument("--seconds", type=float, default=300.0, help="of each search")
    parser.add_argument("--add", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides")
    parser.add_argument(
        "--everything",
        nargs="*",
        default=[],
        type=Path,
        metavar="RECORD",
        help="result.json of searches that measured everything before",
    )
    parser.add_argument("--folder", type=Path, help="keeps the runs, so that another call finds the dense model")
    options = parser.parse_args()
    common = [*MODEL, "method=optimize", "max_quality_loss=0.5", "logger=none", *options.add]
    rows, met = [], True
    known = [json.loads(one.read_text(encoding="utf-8")) for one in options.everything]
    before = {one["config"]["objective"]: one for one in known}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for objective in ("latency", "throughput"):
            if options.only in ("", objective):
                typed = [*common, f"objective={objective}"]
                found = searched([*typed, f"method.seconds={options.seconds:g}"], folder)
                everything = before.get(objective) or searched([*typed, "method.exhaustive=true"], folder)
                direct = directly(candidate_of(best_of(everything)), candidate_of(best_of(found)), folder)
                cells, holds = row_of(objective, found, everything, direct)
                rows.append(cells)
                met = met and holds
    lines = [
        f"`python run.py {shlex.join(common)} objective=...`, with `method.seconds={options.seconds:g}` and with `method.exhaustive=true`,",
        "which measures every way in pairs of fresh processes. Found: by the search; best: of everything. Over the best: the found one's time",
        f"over the best one's, in pairs of the two (at most {MOST_OVER:g}); among all: as each was measured among everything, most of them",
        "against the dense model, which scatters more. Times as fast: than the dense model as PyTorch runs it on every core, by example (at least",
        f"{LEAST_SPEED_UP:g}), with 95 % intervals; dense, found: in ms, or predictions a second at the training's batch size. Points: percent of",
        f"bits per byte lost on the test split (at most {MOST_POINTS:g}). Share: of the time of measuring everything (at most {MOST_SHARE:g}).",
        "",
        *_report.table(
            [
                "objective",
                "found",
                "best",
                "over the best",
                "among all",
                "times as fast",
                "dense, found",
                "points",
                "seconds",
                "of everything",
                "share",
                "",
            ],
            rows,
        ),
    ]
    _report.publish("optimize", "The search for the best", lines, options.results)
    sys.exit(not met)


if __name__ == "__main__":
    main()

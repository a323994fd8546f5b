"""One sentence on what became of a saving at each step from a model's parameters to its speed, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

_FOLLOWS = 0.1
"""A ratio this near to another, relative to it, follows it."""
_BUSY = 0.5
"""Share of the measured ceiling from which on products are what takes the time."""


@dataclass(frozen=True)
class Facts:
    """Of a compressed model against its dense one; a ratio that is not known is not a number."""

    physical: bool
    """Whether its tensors are smaller, or have zeros in them."""
    parameters: float
    """Ratio of the two, as all without a unit."""
    nonzero: float
    operations: float
    flops: float | None
    """Of one prediction of the compressed model, FLOP."""
    latency_s: float | None
    samples_per_s: float | None
    weights_mib: float | None
    peak_mib: float | None
    ceiling: float | None
    """FLOP/s of a matrix product on this machine."""
    fraction: bool
    """Whether the deciding metric is one."""


def why(name: str, ratio: float | None, low: float | None, high: float | None, facts: Facts) -> str:
    """The sentence of a step.

    Args:
        ratio: compressed over dense; of quality the difference.
    """
    if name.startswith("quality/"):
        return _quality(ratio, low, high, facts)
    if ratio is None:
        return "it could not be compared"
    return _SENTENCES[name](ratio, low, high, facts)


def _parameters(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if not facts.physical:
        return "mask-only: every tensor keeps its shape"
    return "physical: whole units are gone, and with them their rows and columns"


def _nonzero(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.physical:
        return "what is left is dense"
    return "what was pruned is zero; biases, norms, embeddings and the head stay as they are unless asked for"


def _memory(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    return "follows the parameters" if facts.physical else "a zero takes as many bytes as any other number"


def _file(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    return "follows the parameters" if facts.physical else "a dense file writes the zeros too"


def _zstd(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.physical:
        return "weights look random to a compressor: it takes off about a tenth, of either model"
    if ratio > facts.nonzero * (1 + _FOLLOWS):
        return "a compressor finds the zeros, and pays some for saying where they are"
    return "a compressor finds the zeros"


def _sparse(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    return "one bit for each weight and the values that are left; it is unpacked to the whole when it is loaded"


def _load(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if not facts.physical:
        return "as many bytes are read, checked and given memory"
    if ratio > facts.parameters + 0.5 * (1 - facts.parameters):
        return "building the modules takes most of it, and there are as many of them"
    return "fewer bytes are read, checked and given memory"


def _peak(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.weights_mib is None or facts.peak_mib is None:
        return "libraries, activations and weights together"
    share = facts.weights_mib / facts.peak_mib
    if share < 0.25:
        return f"the weights are {facts.weights_mib:.3g} of {facts.peak_mib:.3g} MiB: the libraries take the rest, whatever the model"
    return "follows the bytes of the weights" if facts.physical else "the weights are held whole, zeros among them"


def _counted(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.physical:
        return "operations whose weight is not zero: all of them"
    return "operations whose weight is not zero: what a machine that skips zeros would do; attention's own products have no weights"


def _executed(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    if facts.physical:
        return "the products are smaller"
    return "dense kernels multiply by zero as by any other number: here a mask's saving gets lost"


def _latency(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    done = None if facts.flops is None or not facts.latency_s else facts.flops / facts.latency_s
    return _speed(ratio, low, high, facts, done, "one example at a time")


def _throughput(ratio: float, low: float | None, high: float | None, facts: Facts) -> str:
    done = None if facts.flops is None or facts.samples_per_s is None else facts.flops * facts.samples_per_s
    inverse = (1 / ratio, None if not high else 1 / high, None if not low else 1 / low)
    return _speed(*inverse, facts, done, "in batches")


def _speed(ratio: float, low: float | None, high: float | None, facts: Facts, done: float | None, when: str) -> str:
    """Args: `ratio` of times; `done`, FLOP/s that were executed."""
    resolved = low is not None and high is not None and not low <= 1 <= high
    if not facts.physical:
        if resolved and abs(ratio - 1) > 0.02:
            return "the same kernels on the same shapes: a difference is the machine's, not the mask's"
        return "the same kernels on the same shapes: no difference is to be expected"
    if low is not None and low > 1:
        return "takes more time than the dense one, though it computes less: odd widths suit the kernels badly, or there is more copying"
    if math.isnan(facts.operations):
        return "smaller products"
    if ratio <= facts.operations * (1 + _FOLLOWS):
        return "follows the operations"
    if done is None or facts.ceiling is None:
        return "saves less time than operations: calls, norms and activations cost as before"
    share = done / facts.ceiling
    rate = f"{done / 1e9:.3g} of the {facts.ceiling / 1e9:.3g} GFLOP/s this machine's products reach"
    if share >= _BUSY:
        return f"saves less time than operations, though products take most of it ({rate}): smaller ones are less efficient"
    return (
        f"saves less time than operations: {when} the time goes into calls and moving activations, not into products ({rate})"
    )


def _quality(ratio: float | None, low: float | None, high: float | None, facts: Facts) -> str:
    if ratio is None:
        return "it could not be compared"
    if low is None or high is None:
        return "too few examples to tell"
    unit = "points" if facts.fraction else "in the metric's unit"
    scale = 100 if facts.fraction else 1
    span = f"{scale * low:+.2f} to {scale * high:+.2f} {unit}"
    if low <= 0 <= high:
        return f"no difference resolved over the test examples ({span})"
    return f"paired over the test examples: {span}"


_SENTENCES: dict[str, Callable[[float, float | None, float | None, Facts], str]] = {
    "size/parameters": _parameters,
    "size/nonzero": _nonzero,
    "size/memory_mib": _memory,
    "size/file_mib": _file,
    "size/file_zstd_mib": _zstd,
    "size/file_sparse_mib": _sparse,
    "infer/load_s": _load,
    "infer/peak_host_mib": _peak,
    "infer/nonzero_flops_per_sample": _counted,
    "infer/flops_per_sample": _executed,
    "infer/latency_ms": _latency,
    "infer/samples_per_s": _throughput,
}
